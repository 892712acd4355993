"""How fast do the recipes train, and what do they reach, on the same rows from the same base?

    python benchmarks/recipe_speed.py --data FOLDER --base saves/smollm2 [--rows 1024] [--seeds 3]

In turn, seed by seed, one epoch on the same rows of FOLDER's train.jsonl; accuracy is that of the
most likely label on rows that nothing was trained on:

    lora      emotion_lora.yaml
    packed    emotion_lora_packed.yaml
    short     the packed recipe with an instruction of one word
    head      train_head with head/llama3_8b_lora.yaml: a LoRA and a classification head

Rows are counted as rows: under packing LLaMA-Factory's `train_samples_per_second` counts packs.
Seconds are the trainer's `train_runtime`, which leaves loading out; evaluation and saving are off.

What a CPU forces on the recipes: single precision, and torch's attention instead of
FlashAttention-2. That attention computes a pack's whole square and masks it, which
FlashAttention-2 does not, so packs are shorter here (--pack). One learning rate serves all, a step
of `lora` and `head` holds as many rows as a pack does, and gradients are not recomputed.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recipe_runs import ON_A_CPU, Judged, read_training_rows, run, run_judged, tokens_a_row

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.metrics.counts import wilson_interval
from llamafactory_emotion.task import EMOTION

WAYS = ("lora", "packed", "short", "head")
SHORT = replace(EMOTION, instruction="Emotion:")


def main() -> None:
    """Train in turn and print a table."""
    options = _options()
    rows = read_training_rows(options.data)
    rows, held_out = rows[: options.rows], rows[options.rows : options.rows + options.held_out]
    runs: dict[str, list[Judged]] = {way: [] for way in options.ways}
    for seed in range(options.seeds):
        for way in options.ways:
            with tempfile.TemporaryDirectory() as scratch:
                judged = _train(way, Path(scratch), rows, held_out, options, seed)
            runs[way].append(judged)
            print(
                f"seed {seed} {way:8}{len(rows) / judged.seconds:8.2f} rows/s, "
                f"{judged.steps} steps, accuracy {judged.accuracy:.4f}",
                flush=True,
            )
    _print_table(runs, len(rows), len(held_out))


def _train(
    way: str,
    scratch: Path,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    options: argparse.Namespace,
    seed: int,
) -> Judged:
    common = [
        f"model_name_or_path={options.base}",
        "num_train_epochs=1",
        f"learning_rate={options.learning_rate}",
        f"seed={seed}",
    ]
    rows_a_pack = round(options.pack / tokens_a_row(options.base, rows))
    batch = [f"per_device_train_batch_size={rows_a_pack}", "gradient_accumulation_steps=1"]
    if way == "head":
        return _train_head(scratch, rows, held_out, [*common, *batch, "bf16=false"])
    recipe = "emotion_lora.yaml" if way == "lora" else "emotion_lora_packed.yaml"
    settings = batch if way == "lora" else [f"cutoff_len={options.pack}", "eval_dataset=rows"]
    task = SHORT if way == "short" else EMOTION
    overrides = [*ON_A_CPU, "disable_gradient_checkpointing=true", *common, *settings]
    return run_judged(scratch, task, rows, held_out, recipe, overrides)


def _train_head(
    scratch: Path, rows: Sequence[Row], held_out: Sequence[Row], overrides: Sequence[str]
) -> Judged:
    for name, part in (("rows", rows), ("held_out", held_out)):
        lines = [json.dumps({"text": row.text, "label": row.label}) for row in part]
        (scratch / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = scratch / "head"
    run(
        [sys.executable, "-m", "llamafactory_emotion.train_head"],
        "head/llama3_8b_lora.yaml",
        f"train={scratch / 'rows.jsonl'}",
        "validation=",
        f"test={scratch / 'held_out.jsonl'}",
        'save_strategy="no"',
        'eval_strategy="no"',
        "load_best_model_at_end=false",
        f"output_dir={output}",
        *overrides,
    )
    lines = (output / "test_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    predicted = tuple(json.loads(line)["predict"].strip() for line in lines)
    right = sum(label == row.label for label, row in zip(predicted, held_out, strict=True))
    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    seconds = next(one["train_runtime"] for one in state["log_history"] if "train_runtime" in one)
    return Judged(right / len(held_out), seconds, state["global_step"], predicted)


def _print_table(runs: dict[str, list[Judged]], rows: int, n: int) -> None:
    first = next(iter(runs))
    rates = {
        way: statistics.median(rows / one.seconds for one in found) for way, found in runs.items()
    }
    print(f"{'':8} {'rows/s':>8} {'times ' + first:>10} {'accuracy':>9}  95 % interval at n = {n}")
    for way, found in runs.items():
        accuracy = statistics.mean(one.accuracy for one in found)
        low, high = wilson_interval(round(accuracy * n), n)
        print(
            f"{way:8} {rates[way]:8.2f} {rates[way] / rates[first]:10.2f} {accuracy:9.4f}  "
            f"{low:.4f} to {high:.4f}"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a folder with a labelled train.jsonl")
    add("--base", type=Path, required=True, help="the folder that examples/smollm2.py wrote")
    add("--rows", type=int, default=1024, help="rows that every recipe trains on")
    add("--held-out", type=int, default=1000, help="rows that judge")
    add("--pack", type=int, default=256, help="tokens of a pack")
    add("--learning-rate", type=float, default=1e-3, help="for all")
    add("--seeds", type=int, default=1)
    add("--ways", nargs="+", choices=WAYS, default=WAYS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
