"""How fast is an exported folder, and does it give the same? Stock transformers beside `predict`.

    python benchmarks/export_speed.py --model saves/emotion_merged [--rows 2000] [--threads 2]

The model is exported once. Then the same rows are classified in each way, in turn, in one process.
Loading and a warm-up on the first rows are not timed; the median of the repeats counts.

    predict             the label scorer on the language model: its prefix is computed once
    predict on folder   the same command on the exported folder
    pipeline            transformers' pipeline on the folder, rows as they come, batches of 16
    pipeline, sorted    the same with the rows sorted by length first
    pipeline, one by one
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import pipeline

from llamafactory_emotion.data.reading import read_texts
from llamafactory_emotion.export_classifier.__main__ import main as export
from llamafactory_emotion.scoring.scorer import open_scorer
from llamafactory_emotion.task import EMOTION

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "dair_emotion" / "test.jsonl"
DEMO = ROOT / "data" / "emotion_demo_test.jsonl"
WARM_UP_ROWS, BATCH = 32, 16


def main() -> None:
    """Measure and print a table."""
    options = _options()
    torch.set_num_threads(options.threads)
    source = REAL if REAL.is_file() else DEMO
    texts = [row.text for row in read_texts(source)][: options.rows]
    print(f"{len(texts)} texts of {source.parent.name}/{source.name}, {options.threads} threads")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "head"
        call = [f"model_name_or_path={options.model}", f"output={folder}", f"verify={source}"]
        if export([*call, "infer_dtype=float32", "use_cpu=true"]):
            raise SystemExit("the model could not be exported")
        ways = _ways(options.model, str(folder))
        _print_table(ways, texts, options.repeats)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, help="a trained model's folder")
    add("--rows", type=int, default=2000)
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--repeats", type=int, default=3)
    return parser.parse_args()


Way = Callable[[Sequence[str]], "np.ndarray[tuple[int, int], np.dtype[np.float64]]"]


def _ways(model: str, folder: str) -> Mapping[str, Way]:
    scorer = open_scorer(model, EMOTION, device="cpu")
    head = open_scorer(folder, EMOTION, device="cpu")
    classify = pipeline("text-classification", model=folder, device="cpu", dtype=torch.float32)

    def run_pipeline(texts: Sequence[str], batch: int = BATCH):
        answers = classify(list(texts), top_k=None, batch_size=batch, truncation=True)
        rows = [{one["label"]: one["score"] for one in row} for row in answers]
        return np.array([[row[label] for label in EMOTION.labels] for row in rows])

    def run_sorted(texts: Sequence[str]):
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = np.empty((len(texts), len(EMOTION.labels)))
        found[order] = run_pipeline([texts[row] for row in order])
        return found

    return {
        "predict": lambda texts: scorer.score(texts).probabilities,
        "predict on folder": lambda texts: head.score(texts).probabilities,
        "pipeline": run_pipeline,
        "pipeline, sorted": run_sorted,
        "pipeline, one by one": lambda texts: run_pipeline(texts, 1),
    }


def _print_table(ways: Mapping[str, Way], texts: Sequence[str], repeats: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for work in ways.values():
        work(texts[:WARM_UP_ROWS])
    for _ in range(repeats):
        # In turn, so that what else the machine does hits all of them.
        for name, work in ways.items():
            started = time.perf_counter()
            found[name] = work(texts)
            taken[name].append(time.perf_counter() - started)
    wanted = found["predict"]
    print(f"{'':22} {'rows/s':>9} {'seconds':>9} {'labels alike':>14} {'largest difference':>19}")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        alike = int((found[name].argmax(axis=1) == wanted.argmax(axis=1)).sum())
        apart = float(np.abs(found[name] - wanted).max())
        print(f"{name:22} {len(texts) / median:9.1f} {median:9.2f} {alike:14,} {apart:19.1e}")


if __name__ == "__main__":
    main()
