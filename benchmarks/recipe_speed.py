"""How many rows a second does the recommended recipe train, beside the seed recipe?

    python benchmarks/recipe_speed.py [--data FOLDER] [--rows 3000] [--seeds 3]
    python benchmarks/recipe_speed.py --sweep 5e-5 1e-4 2e-4 5e-4    (the packed recipe's rate)

One tiny base that has read other texts of the same data and was shortly trained on their labels, so
that a LoRA has something to learn on; the same rows for all; in turn, seed by seed:

    lora           emotion_lora.yaml
    packed         emotion_lora_packed.yaml
    llama3         emotion_lora.yaml with LLaMA-Factory's own template llama3

Rows are counted as rows: under packing LLaMA-Factory's `train_samples_per_second` counts packs.
Seconds are its `train_runtime`, which leaves loading out; evaluation and saving are off. Accuracy
is that of the most likely label on rows that nothing was trained on.

What a CPU forces on the recipes: single precision, and torch's attention instead of
FlashAttention-2. That attention computes a pack's whole square and masks it, which
FlashAttention-2 does not, so packs are shorter here (--pack), and as many are accumulated as make
the seed recipe's 20 rows a step. Everything else is the recipes' own, the learning rate too;
--learning-rate gives all of them one.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipe_runs import (
    DEMO,
    NEITHER_SAVED_NOR_JUDGED,
    ON_A_CPU,
    make_base,
    read_training_rows,
    tokens_a_row,
    train,
    write_data,
)

from llamafactory_emotion.classifier import EmotionClassifier
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.metrics.counts import wilson_interval
from llamafactory_emotion.task import EMOTION

PACKED = "emotion_lora_packed.yaml"
STEP_ROWS = 20  # of the seed recipe: batch 5, accumulated 4 times


def main() -> None:
    """Measure and print a table."""
    options = _options()
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    rows = read_training_rows(options.data)
    needed = options.base_rows + options.rows + options.held_out
    if len(rows) < needed:
        raise SystemExit(f"{options.data} has {len(rows)} rows and {needed} are asked for.")
    base_rows, rows = rows[: options.base_rows], rows[options.base_rows :]
    splits = {
        "base": base_rows,
        "rows": rows[: options.rows],
        "held_out": rows[options.rows : options.rows + options.held_out],
    }
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        write_data(data, splits)
        base = options.base or make_base(Path(scratch), base_rows, data, epochs=options.base_epochs)
        Measurement(options, Path(scratch), base, splits).print_table()


class Measurement:
    """Three ways to train on the same rows from the same base."""

    def __init__(
        self, options: argparse.Namespace, scratch: Path, base: Path, splits: dict[str, list[Row]]
    ) -> None:
        self.options, self.scratch, self.base = options, scratch, base
        self.rows, self.held_out = splits["rows"], splits["held_out"]
        self.rows_a_pack = options.pack / tokens_a_row(base, self.rows)
        self.accumulated = max(1, round(STEP_ROWS / self.rows_a_pack))

    def print_table(self) -> None:
        """Train in turn and print rows a second and accuracy, one row a way."""
        ways = self._ways()
        untrained = self._accuracy(None, "lora")
        print(
            f"{len(self.rows)} rows of {self.options.data.name}, {self.options.epochs:g} epochs, "
            f"{self.options.threads} threads; packs of {self.options.pack} tokens, "
            f"{self.rows_a_pack:.1f} rows a pack, {self.accumulated} packs a step"
        )
        print(f"accuracy of the base on {len(self.held_out)} held-out rows: {untrained:.4f}")
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for seed in range(self.options.seeds):
            for name, (recipe, overrides) in ways.items():
                rate, accuracy = self._run(name, recipe, overrides, seed)
                runs[name].append((rate, accuracy))
                print(f"seed {seed} {name:8} {rate:8.1f} rows/s, accuracy {accuracy:.4f}")
        self._print_summary(runs)

    def _ways(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        packs = (
            f"cutoff_len={self.options.pack}",
            f"gradient_accumulation_steps={self.accumulated}",
        )
        if self.options.sweep:
            return {
                f"{rate:g}": (PACKED, (*packs, f"learning_rate={rate}"))
                for rate in self.options.sweep
            }
        return {
            "lora": ("emotion_lora.yaml", ()),
            "packed": (PACKED, packs),
            "llama3": ("emotion_lora.yaml", ("template=llama3",)),
        }

    def _run(
        self, name: str, recipe: str, overrides: Sequence[str], seed: int
    ) -> tuple[float, float]:
        output = self.scratch / f"{name}_{seed}"
        rate = self.options.learning_rate
        results: dict[str, Any] = train(
            recipe,
            f"model_name_or_path={self.base}",
            f"dataset_dir={self.scratch / 'data'}",
            "dataset=rows",
            *(("eval_dataset=held_out",) if recipe == PACKED else ()),
            *ON_A_CPU,
            *NEITHER_SAVED_NOR_JUDGED,
            *overrides,
            *((f"learning_rate={rate}",) if rate else ()),
            f"num_train_epochs={self.options.epochs}",
            f"seed={seed}",
            f"output_dir={output}",
        )
        seconds = float(results["train_runtime"])
        return len(self.rows) * self.options.epochs / seconds, self._accuracy(output, name)

    def _accuracy(self, adapter: Path | None, name: str) -> float:
        # An adapter's folder carries the tokenizer with the chat template it was trained with.
        classifier = EmotionClassifier.from_pretrained(
            str(adapter or self.base),
            device="cpu",
            template="llama3" if name == "llama3" else EMOTION.name,
        )
        predicted = classifier.predict([row.text for row in self.held_out])
        gold = [row.label for row in self.held_out]
        return sum(a == b for a, b in zip(predicted, gold, strict=True)) / len(gold)

    def _print_summary(self, runs: dict[str, list[tuple[float, float]]]) -> None:
        n = len(self.held_out)
        first = next(iter(runs))
        slow = statistics.median(rate for rate, _ in runs[first])
        print(
            f"{'':8} {'rows/s':>8} {'times ' + first:>10} {'accuracy':>9}  95 % interval at n = {n}"
        )
        for name, figures in runs.items():
            rate = statistics.median(rate for rate, _ in figures)
            accuracy = statistics.mean(accuracy for _, accuracy in figures)
            low, high = wilson_interval(round(accuracy * n), n)
            print(
                f"{name:8} {rate:8.1f} {rate / slow:10.2f} {accuracy:9.4f}  {low:.4f} to {high:.4f}"
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=DEMO, help="a folder with a labelled train.jsonl")
    add("--base", type=Path, help="a base model to use instead of making one")
    add("--base-rows", type=int, default=4000, help="rows that the base is made of")
    add("--base-epochs", type=float, default=0.5, help="how long it is trained on their labels")
    add("--rows", type=int, default=3000, help="rows that every recipe trains on")
    add("--held-out", type=int, default=1000, help="rows that judge")
    add("--epochs", type=float, default=1.0)
    add("--pack", type=int, default=256, help="tokens of a pack")
    add("--learning-rate", type=float, help="for all; the recipes' own when not given")
    add("--sweep", type=float, nargs="+", help="learning rates for the packed recipe alone")
    add("--seeds", type=int, default=1)
    add("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
