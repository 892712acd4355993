"""How many labelled rows does each kind of classifier need?

    python benchmarks/learning_curve.py --data FOLDER --base saves/base [--rows 16,64,256,1024]

Samples of the training rows, each label in proportion (at least 6 rows); the same rows for all; all
judged on the same test rows. FOLDER holds train.jsonl and test.jsonl. The settings are the recipes'
own and are not tuned to a size: at least 100 steps, and at least as many epochs as the recipe has.

    svm      tf-idf and a linear SVM, `evaluate --floor`
    minilm   examples/head/minilm.yaml: 22 million parameters, pretrained on a billion sentences
    tiny     examples/emotion_tiny.yaml on --base, which has read all training texts, without labels
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipe_runs import run, train, write_data
from sklearn.model_selection import train_test_split

from llamafactory_emotion.classifier import EmotionClassifier
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.metrics.counts import wilson_interval
from llamafactory_emotion.task import EMOTION

BATCH, FEWEST_STEPS = 32, 100
EPOCHS = {"minilm": 2.5, "tiny": 2}


def main() -> None:
    """Train, judge and print a table."""
    options = _options()
    rows = list(read_rows(options.data / "train.jsonl", EMOTION))
    test = list(read_rows(options.data / "test.jsonl", EMOTION))
    print(f"accuracy on {len(test)} test rows, 95 % intervals, seed {options.seed}")
    print(f"{'rows':>6}  {'svm':24}{'minilm':24}{'tiny':24}")
    for size in options.rows:
        with tempfile.TemporaryDirectory() as scratch:
            sample = _sample(rows, size, options.seed)
            write_data(Path(scratch), {"sample": sample, "test": test})
            minilm, svm = _minilm_and_svm(Path(scratch), size, options.seed)
            tiny = _tiny(Path(scratch), options.base, size, test, options.seed)
        cells = "".join(f"{_with_interval(one, len(test)):24}" for one in (svm, minilm, tiny))
        print(f"{size:6}  {cells}", flush=True)


def _sample(rows: Sequence[Row], size: int, seed: int) -> list[Row]:
    if size >= len(rows):
        return list(rows)
    labels = [row.label for row in rows]
    chosen, _ = train_test_split(
        list(range(len(rows))), train_size=size, stratify=labels, random_state=seed
    )
    return [rows[number] for number in chosen]


def _steps(name: str, size: int) -> int:
    return max(FEWEST_STEPS, math.ceil(EPOCHS[name] * size / BATCH))


def _minilm_and_svm(folder: Path, size: int, seed: int) -> tuple[float, float]:
    """Train the head and judge it; the evaluator fits the SVM on the same rows meanwhile."""
    output, figures = folder / "head", folder / "figures.json"
    run(
        [sys.executable, "-m", "llamafactory_emotion.train_head"],
        "head/minilm.yaml",
        f"train={folder / 'sample.jsonl'}",
        f"test={folder / 'test.jsonl'}",
        f"max_steps={_steps('minilm', size)}",
        f"warmup_steps={min(100, _steps('minilm', size) // 10)}",
        f"seed={seed}",
        f"output_dir={output}",
    )
    command = [sys.executable, "-m", "llamafactory_emotion.evaluate"]
    command += [str(output / "test_predictions.jsonl"), "--source", str(folder / "test.jsonl")]
    command += ["--floor", str(folder / "sample.jsonl"), "--json", str(figures)]
    subprocess.run(command, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return float(found["accuracy"]), float(found["floor"]["metrics"]["accuracy"])


def _tiny(folder: Path, base: Path, size: int, test: Sequence[Row], seed: int) -> float:
    output = folder / "tiny"
    train(
        "emotion_tiny.yaml",
        f"model_name_or_path={base}",
        f"dataset_dir={folder}",
        "dataset=sample",
        f"max_steps={_steps('tiny', size)}",
        f"seed={seed}",
        f"output_dir={output}",
    )
    predicted = EmotionClassifier.from_pretrained(str(output)).predict([row.text for row in test])
    pairs = zip(predicted, test, strict=True)
    return sum(bool(label == row.label) for label, row in pairs) / len(test)


def _with_interval(accuracy: float, n: int) -> str:
    low, high = wilson_interval(round(accuracy * n), n)
    return f"{accuracy:.4f} ({low:.3f} to {high:.3f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument(
        "--rows",
        type=lambda text: [int(number) for number in text.split(",")],
        default=[16, 64, 256, 1024],
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
