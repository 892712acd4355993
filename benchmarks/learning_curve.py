"""How many labelled rows does each kind of classifier need?

    python benchmarks/learning_curve.py --data FOLDER --base saves/smollm2 [--rows 64,256,1024,4096]

Samples of the training rows, each label in proportion; the same rows for all; all judged on the
same test rows. FOLDER holds train.jsonl and test.jsonl.

    svm      tf-idf and a linear SVM, `evaluate floor=`
    minilm   examples/head/minilm.yaml: 22 million parameters, pretrained on a billion sentences;
             the recipe's settings, at least 100 steps and 2.5 epochs
    smollm2  examples/emotion_cpu.yaml: a LoRA on a Llama of 135 million parameters, with more
             epochs the fewer rows there are

The last column is the exact McNemar test of smollm2 against minilm.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recipe_runs import run, run_judged
from sklearn.model_selection import train_test_split
from statsmodels.stats.contingency_tables import mcnemar

from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.metrics.counts import wilson_interval
from llamafactory_emotion.task import EMOTION

BATCH, FEWEST_STEPS, MINILM_EPOCHS = 32, 100, 2.5
# Overrides of examples/emotion_cpu.yaml, by rows. benchmarks/few_rows.py tried those of 256 and of
# 1,024 rows on held-out rows.
SETTINGS = {
    64: ("num_train_epochs=10",),
    256: ("num_train_epochs=4",),
    1024: ("num_train_epochs=2",),
    4096: ("num_train_epochs=2", "learning_rate=1.0e-3"),
}


def main() -> None:
    """Train, judge and print a table."""
    options = _options()
    rows = list(read_rows(options.data / "train.jsonl", EMOTION))
    test = list(read_rows(options.data / "test.jsonl", EMOTION))
    print(f"accuracy on {len(test)} test rows, 95 % intervals, seed {options.seed}")
    print(f"{'rows':>6}  {'svm':24}{'minilm':24}{'smollm2':24}{'seconds':>8}  smollm2 - minilm")
    for size in options.rows:
        sample = sample_rows(rows, size, options.seed)
        with tempfile.TemporaryDirectory() as scratch:
            svm, minilm = _svm_and_minilm(Path(scratch), sample, test, options.seed)
        settings = [f"model_name_or_path={options.base}", f"seed={options.seed}", *SETTINGS[size]]
        with tempfile.TemporaryDirectory() as scratch:
            llama = run_judged(Path(scratch), EMOTION, sample, test, "emotion_cpu.yaml", settings)
        gold = [row.label for row in test]
        right = [a == b for a, b in zip(llama.predicted, gold, strict=True)]
        shares = (svm, sum(minilm) / len(test), sum(right) / len(test))
        cells = "".join(f"{_with_interval(share, len(test)):24}" for share in shares)
        print(f"{size:6}  {cells}{llama.seconds:8.0f}  {_difference(right, minilm)}", flush=True)


def sample_rows(rows: Sequence[Row], size: int, seed: int) -> list[Row]:
    """Draw rows, each label in proportion."""
    if size >= len(rows):
        return list(rows)
    chosen, _ = train_test_split(
        list(rows), train_size=size, stratify=[row.label for row in rows], random_state=seed
    )
    return list(chosen)


def _svm_and_minilm(
    folder: Path, sample: Sequence[Row], test: Sequence[Row], seed: int
) -> tuple[float, list[bool]]:
    """Train the head; return the SVM's accuracy, and which test rows the head has right."""
    for name, rows in (("sample", sample), ("test", test)):
        lines = [json.dumps({"text": row.text, "label": row.label}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    steps = max(FEWEST_STEPS, math.ceil(MINILM_EPOCHS * len(sample) / BATCH))
    run(
        [sys.executable, "-m", "llamafactory_emotion.train_head"],
        "head/minilm.yaml",
        f"train={folder / 'sample.jsonl'}",
        f"test={folder / 'test.jsonl'}",
        f"max_steps={steps}",
        f"warmup_steps={min(100, steps // 10)}",
        f"seed={seed}",
        f"output_dir={folder / 'head'}",
    )
    predictions, figures = folder / "head" / "test_predictions.jsonl", folder / "figures.json"
    command = [sys.executable, "-m", "llamafactory_emotion.evaluate", str(predictions)]
    command += ["--floor", str(folder / "sample.jsonl"), "--source", str(folder / "test.jsonl")]
    subprocess.run([*command, "--json", str(figures)], check=True, capture_output=True)
    svm = json.loads(figures.read_text(encoding="utf-8"))["floor"]["metrics"]["accuracy"]
    predicted = [
        json.loads(line)["predict"] for line in predictions.read_text("utf-8").splitlines()
    ]
    return svm, [label.strip() == row.label for label, row in zip(predicted, test, strict=True)]


def _difference(right: Sequence[bool], other: Sequence[bool]) -> str:
    """Compare two ways on the same rows: points, and the exact McNemar test of the difference."""
    pairs = list(zip(right, other, strict=True))
    table = [[pairs.count((a, b)) for b in (True, False)] for a in (True, False)]
    p = mcnemar(table, exact=True).pvalue
    points = 100 * (sum(right) - sum(other)) / len(pairs)
    return f"{points:+.1f} points (p = {p:.2g})"


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
        default=list(SETTINGS),
        help=f"of {', '.join(map(str, SETTINGS))}",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
