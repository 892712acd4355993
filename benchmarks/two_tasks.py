"""Two tasks in one model, apart, and one after the other: what helps, and what is forgotten.

    python benchmarks/two_tasks.py FIRST SECOND --second-task FILE --base saves/smollm2

FIRST (the emotion task) and SECOND are folders with a train.* and a test.* file. One base is
trained with examples/emotion_cpu.yaml

    alone       on either task
    together    on both, mixed (`dataset=first,second`, as emotion_multitask.yaml does)
    then        on the first, and after that on the second

and each model is judged on each task's test rows, row by row against the model that was trained on
that task alone (exact McNemar test).
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recipe_runs import train
from scipy.stats import binomtest

from llamafactory_emotion.classifier import EmotionClassifier
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.metrics.counts import wilson_interval
from llamafactory_emotion.task import EMOTION, Task, load_task


def main() -> None:
    """Train four models and print how they do."""
    options = _options()
    tasks = {"first": EMOTION, "second": load_task(options.second_task)}
    folders = {"first": options.first, "second": options.second}
    rows = {name: _rows(folders[name], "train", tasks[name], options.rows) for name in tasks}
    test = {name: _rows(folders[name], "test", tasks[name], None) for name in tasks}
    with tempfile.TemporaryDirectory() as scratch:
        models = _train(Path(scratch), tasks, rows, options)
        for name, task in tasks.items():
            gold = [row.label for row in test[name]]
            print(f"{task.name}: {len(rows[name])} training rows, {len(gold)} test rows")
            alone = _right(models[name], task, test[name])
            for other in (name, "together", "then"):
                right = _right(models[other], task, test[name])
                print(f"  {'alone' if other == name else other:10}{_said(right, alone)}")


def _rows(folder: Path, split: str, task: Task, most: int | None) -> list[Row]:
    file = next(iter(sorted(folder.glob(f"{split}.*"))), folder / f"{split}.jsonl")
    rows = list(read_rows(file, task))
    random.Random(0).shuffle(rows)  # noqa: S311 - not for secrets
    return rows[:most]


def _train(
    scratch: Path,
    tasks: dict[str, Task],
    rows: dict[str, list[Row]],
    options: argparse.Namespace,
) -> dict[str, Path]:
    _write_data(scratch / "data", tasks, rows)
    plan = (
        ("first", "first", ()),
        ("second", "second", ()),
        ("together", "first,second", ()),
        ("then", "second", (f"adapter_name_or_path={scratch / 'first'}",)),
    )
    for name, datasets, start in plan:
        train(
            "emotion_cpu.yaml",
            f"model_name_or_path={options.base}",
            *start,
            f"dataset_dir={scratch / 'data'}",
            f"dataset={datasets}",
            f"seed={options.seed}",
            f"output_dir={scratch / name}",
        )
    return {name: scratch / name for name, _, _ in plan}


def _write_data(folder: Path, tasks: dict[str, Task], rows: dict[str, list[Row]]) -> None:
    """Write each task's rows as alpaca rows with its own instruction."""
    folder.mkdir()
    for name, task in tasks.items():
        lines = [
            json.dumps({"instruction": task.instruction, "input": row.text, "output": row.label})
            for row in rows[name]
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    entries = {name: {"file_name": f"{name}.jsonl"} for name in tasks}
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")


def _right(model: Path, task: Task, rows: Sequence[Row]) -> list[bool]:
    classifier = EmotionClassifier.from_pretrained(
        str(model), task=task, device="cpu", template="emotion"
    )
    predicted = classifier.predict([row.text for row in rows])
    return [bool(label == row.label) for label, row in zip(predicted, rows, strict=True)]


def _said(right: Sequence[bool], alone: Sequence[bool]) -> str:
    low, high = wilson_interval(sum(right), len(right))
    said = f"{sum(right) / len(right):.4f} ({low:.4f} to {high:.4f})"
    gained = sum(a and not b for a, b in zip(right, alone, strict=True))
    lost = sum(b and not a for a, b in zip(right, alone, strict=True))
    if not gained + lost:
        return said
    p = binomtest(gained, gained + lost).pvalue
    return f"{said}, {gained} rows gained and {lost} lost against alone, p = {p:.2g}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--second-task", required=True)
    parser.add_argument("--base", type=Path, required=True, help="the base model's folder")
    parser.add_argument("--rows", type=int, default=4000, help="the most training rows of a task")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
