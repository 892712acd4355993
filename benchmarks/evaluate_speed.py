"""How fast does `evaluate` read predictions, and does its memory stay flat?

    python benchmarks/evaluate_speed.py [--rows 1000000] [--times-ten] [--rambling 0.02]

Writes a file of prediction rows with ids as `predict` writes them, times a bare `json.loads` loop
over it and then `python -m llamafactory_emotion.evaluate` as a fresh process (start-up included),
and prints rows a second, the ratio of the two times and the peak memory. Times are the processor's:
what else the machine is doing does not count. `--times-ten` does the
same with ten times the rows, to show that memory does not grow. Nothing is checked: read the table.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
INSTRUCTION = "Do emotion classification for data in the following text."
ACCURACY = 0.92


def write_rows(path: Path, rows: int, *, rambling: float, probabilities: bool) -> None:
    """Write prediction rows: prompts of 19 words, answers right with `ACCURACY`.

    A share `rambling` of the answers are sentences, every one different.
    """
    draw = random.Random(0)  # noqa: S311 - test data, no secret
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 8))) for _ in range(3000)]
    with path.open("w", encoding="utf-8") as out:
        for number in range(rows):
            text = " ".join(draw.choices(words, k=19))
            gold = draw.choice(LABELS)
            answer = gold if draw.random() < ACCURACY else draw.choice(LABELS)
            predict = f" {answer}"
            if draw.random() < rambling:
                predict = f" Well, with {' '.join(draw.choices(words, k=6))}, it is {answer}."
            row: dict[str, object] = {
                "id": number,
                "prompt": f"<|begin_of_text|>{INSTRUCTION}\n{text}\nAnswer:",
                "predict": predict,
                "label": f" {gold}",
            }
            if probabilities:
                shares = {label: draw.random() + 20 * (label == answer) for label in LABELS}
                total = sum(shares.values())
                row["probabilities"] = {label: share / total for label, share in shares.items()}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def time_bare_loop(path: Path) -> float:
    """Measure the seconds of the processor that `json.loads` of every line takes."""
    start = time.process_time()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            json.loads(line)
    return time.process_time() - start


def time_evaluate(path: Path) -> tuple[float, float]:
    """Measure the processor's seconds and the peak memory in MB of a fresh `evaluate` process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "llamafactory_emotion.evaluate", str(path)],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("evaluate failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times-ten", action="store_true", help="also with ten times the rows")
    parser.add_argument("--rambling", type=float, default=0.02, help="share of unique sentences")
    parser.add_argument("--probabilities", action="store_true", help="rows with probabilities")
    options = parser.parse_args()
    sizes = [options.rows] + [options.rows * 10] * options.times_ten
    print("      rows  json.loads  evaluate  ratio     rows/s  peak MB")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "generated_predictions.jsonl"
            write_rows(path, rows, rambling=options.rambling, probabilities=options.probabilities)
            bare = time_bare_loop(path)
            seconds, memory = time_evaluate(path)
        print(
            f"{rows:10,}  {bare:8.2f} s  {seconds:6.2f} s  {seconds / bare:5.2f}  "
            f"{rows / seconds:9,.0f}  {memory:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
