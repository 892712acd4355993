"""The accuracy of one checkpoint on the same rows: LLaMA-Factory's own, ours, and `evaluate`'s.

    python benchmarks/accuracy_side_by_side.py --base saves/smollm2 [--data FOLDER] [--rows 1000]
    python benchmarks/accuracy_side_by_side.py --model saves/emotion_merged --data FOLDER

    LLaMA-Factory   `compute_accuracy` under its own template class with the same slots as ours
    ours            `compute_accuracy` under the template emotion
    evaluate        LLaMA-Factory's greedy answers (emotion_predict.yaml), judged by `evaluate`

LLaMA-Factory's figure counts the end token, which is nearly always right, as half of each answer.
Ends with 1 when ours is not exactly what `evaluate` says.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from recipe_runs import DEMO, read_training_rows, run, train, write_data

from llamafactory_emotion.metrics.counts import wilson_interval

STOCK = "emotion_stock"


def main() -> int:
    """Train a LoRA on the base unless a model is given, judge it three ways, print them."""
    options = _options()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    rows = read_training_rows(options.data)
    held_out = rows[-options.held_out :]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seen = rows[: min(options.rows, len(rows) - options.held_out)]
        write_data(folder / "data", {"seen": seen, "rows": held_out})
        model = [f"model_name_or_path={options.model or options.base}"]
        if options.base:
            model.append(f"adapter_name_or_path={_adapter(model, folder)}")
        figures = {
            "LLaMA-Factory": _stock_accuracy(model, folder),
            "ours": _our_accuracy(model, folder),
            "evaluate": _evaluated_accuracy(model, folder),
        }
    n = len(held_out)
    print(f"{n} rows of {options.data.name}, {options.model or f'trained on {len(seen)} others'}")
    for name, accuracy in figures.items():
        low, high = wilson_interval(accuracy * n, n)
        print(f"{name:14} {accuracy:.4f}  (95 % interval {low:.4f} to {high:.4f})")
    return 0 if round(figures["ours"] * n, 6) == round(figures["evaluate"] * n, 6) else 1


def _adapter(base: list[str], folder: Path) -> Path:
    output = folder / "adapter"
    data = (f"dataset_dir={folder / 'data'}", "dataset=seen")
    train("emotion_cpu.yaml", *base, *data, f"output_dir={output}")
    return output


def _stock_accuracy(model: list[str], folder: Path) -> float:
    command = [sys.executable, __file__, "--stock"]
    keys = _evaluation(model, folder, "stock", template=STOCK)
    return float(run(command, "emotion_cpu.yaml", *keys)["eval_accuracy"])


def _our_accuracy(model: list[str], folder: Path) -> float:
    keys = _evaluation(model, folder, "ours", template="emotion")
    return float(train("emotion_cpu.yaml", *keys)["eval_accuracy"])


def _evaluation(model: list[str], folder: Path, name: str, *, template: str) -> list[str]:
    return [
        *model,
        f"template={template}",
        f"dataset_dir={folder / 'data'}",
        "do_train=false",
        "do_eval=true",
        "dataset=null",
        "neat_packing=false",
        "eval_dataset=rows",
        "compute_accuracy=true",
        "per_device_eval_batch_size=32",
        f"output_dir={folder / name}",
    ]


def _evaluated_accuracy(model: list[str], folder: Path) -> float:
    output = folder / "predicted"
    train(
        "emotion_predict.yaml",
        *model,
        f"dataset_dir={folder / 'data'}",
        "eval_dataset=rows",
        f"output_dir={output}",
    )
    answers, judged = output / "generated_predictions.jsonl", folder / "judged.json"
    command = [sys.executable, "-m", "llamafactory_emotion.evaluate", str(answers)]
    subprocess.run([*command, "--json", str(judged)], check=True, capture_output=True)
    return float(json.loads(judged.read_text(encoding="utf-8"))["accuracy"])


def _run_with_the_stock_class(arguments: list[str]) -> None:
    """Run LLaMA-Factory with our slots in its own template class, which keeps its own metric."""
    from llamafactory.data.template import TEMPLATES, register_template
    from llamafactory.train.tuner import run_exp

    ours = TEMPLATES["emotion"]
    register_template(
        name=STOCK,
        format_user=ours.format_user,
        format_assistant=ours.format_assistant,
        format_system=ours.format_system,
        format_prefix=ours.format_prefix,
        replace_jinja_template=True,
    )
    sys.argv = [sys.argv[0], *arguments]
    run_exp()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--base", type=Path, help="a base model to train a LoRA on")
    given.add_argument("--model", type=Path, help="a trained model")
    add = parser.add_argument
    add("--data", type=Path, default=DEMO, help="a folder with a labelled train.jsonl")
    add("--rows", type=int, default=1000, help="rows that the LoRA is trained on")
    add("--held-out", type=int, default=1000, help="rows that judge, the last of the file's")
    add("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stock"]:
        _run_with_the_stock_class(sys.argv[2:])
    else:
        sys.exit(main())
