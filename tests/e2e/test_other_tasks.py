"""A task of twenty labels with signs in them, through every command and the host, without code."""

import json
import random
from pathlib import Path

import pytest
from calls import read_lines, run, write_lines
from programs import PREDICTED, ROOT, llamafactory
from tiny_llama import write_tiny_llama

from llamafactory_emotion.doctor import __main__ as doctor
from llamafactory_emotion.evaluate import __main__ as evaluate
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.prepare import __main__ as prepare
from llamafactory_emotion.task import load_task

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES = ROOT / "examples"
FULL = ROOT / "benchmarks" / "from_scratch.yaml"
TASK = """
name: hostile topics
instruction: Name the topic of this note.
labels: ["Fed | Central Banks", Fed, Central Banks, "Oil, Gas & Coal", Oil, M&A / Investments, M&A,
  I.P.O., "C++ & C#", C++, C, Not relevant, Relevant, Yes (strong), '"Quoted" name',
  "Stock: Movement", 100% bond, "100", 中央银行, Crédit agricole – €]
aliases:
  Oil: [crude, petroleum & co.]
  M&A: ["mergers | acquisitions"]
"""
TRAIN_ROWS, TEST_ROWS = 120, 20


def write_rows(path: Path, labels: tuple[str, ...], rows: int, *, seed: int) -> Path:
    """Write notes of a few words, one of which tells the label."""
    chance = random.Random(seed)  # noqa: S311 - words for a test
    written = []
    for number in range(rows):
        index = number % len(labels)
        note = chance.choices(("bank", "rate", "share", "note", "desk", "plan"), k=5)
        text = f"{' '.join(note)} topic{chr(97 + index)}word {seed}{number}"
        written.append({"text": text, "label": labels[index]})
    return write_lines(path, written)


def test_a_task_of_twenty_labels_with_signs_needs_no_code(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = tmp_path / "topics.yaml"
    task.write_text(TASK, encoding="utf-8")
    labels = load_task(task).labels
    assert len(labels) == 20
    train = write_rows(tmp_path / "train.jsonl", labels, TRAIN_ROWS, seed=1)
    test = write_rows(tmp_path / "test.jsonl", labels, TEST_ROWS, seed=2)

    run(prepare, "--task", task, "--train", train, "--test", test, "--validation-size", 0,
        "--name", "topics", "--dataset-dir", "data")  # fmt: skip
    texts = [str(row["text"]) for row in read_lines(train)]
    write_tiny_llama(texts, tmp_path / "base", load_task(task))
    recipe = ("model_name_or_path=base", "dataset_dir=data", "output_dir=trained")
    run(doctor, "--task", task, FULL, *recipe, "dataset=topics_train")
    llamafactory(
        "train", FULL, *recipe, "dataset=topics_train", "max_steps=12",
        "warmup_ratio=0.15", cwd=tmp_path,
    )  # fmt: skip
    llamafactory(
        "train", EXAMPLES / "emotion_predict.yaml", "model_name_or_path=trained",
        "dataset_dir=data", "eval_dataset=topics_test", "output_dir=host", "max_new_tokens=16",
        cwd=tmp_path,
    )  # fmt: skip
    model = ("model_name_or_path=trained", f"task={task}")
    run(predict, *model, "dataset_dir=data", "eval_dataset=topics_test", "output=scored.jsonl")
    run(predict, *model, f"input={test}", "output=answers.jsonl", "generate=true")
    files = ("scored.jsonl", "answers.jsonl", f"host/{PREDICTED}")
    run(evaluate, *files, "--task", task, "--json", "all.json", "--report", "report.html",
        "--report", "card.md", "--plot", "plot.svg", "--errors", "errors.csv",
        "--source", test, "--train", train)  # fmt: skip

    scored, answers, host = (read_lines(Path(file)) for file in files)
    assert list(scored[0]["probabilities"]) == list(labels)
    assert {row["predict"] for row in scored} <= set(labels)
    assert [row["label"] for row in scored] == [row["label"] for row in answers]
    assert [row["predict"].strip() for row in answers] == [row["predict"].strip() for row in host]
    figures = json.loads(Path("all.json").read_text(encoding="utf-8"))["files"]
    assert [one["n"] for one in figures] == [TEST_ROWS] * 3
    assert figures[0]["invalid"] == 0
    assert "Fed | Central Banks" in Path("report.html").read_text(encoding="utf-8")
