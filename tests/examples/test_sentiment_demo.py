"""The second demo set is what its card says, and asks what its task file asks."""

import json
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from demo_rows import DATA, Rows, normalised, repeats, rows_of

from llamafactory_emotion.task import Task, load_task

GENERATOR = DATA / "make_sentiment_demo.py"
ROWS_PER_LABEL = {DATA / "sentiment_demo_train.jsonl": 300, DATA / "sentiment_demo_test.jsonl": 30}
TRAIN, TEST = ROWS_PER_LABEL


def word_sets(path: Path) -> list[tuple[str, set[str]]]:
    return [(row["input"], set(normalised(row["input"]).split())) for row in rows_of(path)]


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(DATA.parent / "examples" / "tasks" / "demo_sentiment.yaml")


@pytest.mark.parametrize("path", ROWS_PER_LABEL, ids=lambda path: path.stem)
def test_every_row_asks_what_the_task_asks(path: Path, task: Task) -> None:
    content = path.read_bytes()
    assert content.endswith(b"\n")
    assert b"\r" not in content
    rows = rows_of(path)
    assert {tuple(row) for row in rows} == {("instruction", "input", "output")}
    assert {row["instruction"] for row in rows} == {task.instruction}
    assert all(row["input"] == row["input"].strip() != "" for row in rows)
    counts = Counter(row["output"] for row in rows)
    assert counts == dict.fromkeys(task.labels, ROWS_PER_LABEL[path])


@pytest.mark.parametrize("path", ROWS_PER_LABEL, ids=lambda path: path.stem)
def test_no_sentence_comes_twice(path: Path) -> None:
    assert repeats([row["input"] for row in rows_of(path)]) == []


@pytest.mark.parametrize("path", ROWS_PER_LABEL, ids=lambda path: path.stem)
def test_the_entry_names_the_file_and_its_columns(path: Path) -> None:
    entries = json.loads((DATA / "dataset_info.json").read_text(encoding="utf-8"))
    assert entries[path.stem] == {
        "file_name": path.name,
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "query": "input", "response": "output"},
    }


def test_no_test_sentence_is_like_a_training_row() -> None:
    """Two sentences are alike when they share half of all their different words."""
    training = word_sets(TRAIN)
    alike = [
        (text, other)
        for text, words in word_sets(TEST)
        for other, other_words in training
        if 2 * len(words & other_words) >= len(words | other_words)
    ]
    assert alike == []


def test_the_test_sentences_are_no_frame_with_slots() -> None:
    words = [normalised(row["input"]).split() for row in rows_of(TEST)]
    openings = [" ".join(sentence[:4]) for sentence in words]
    assert repeats(openings) == []


def test_every_label_fills_every_frame_equally_often() -> None:
    """The script fills the frames in turn, so that it comes out even is all that it takes."""
    shared = tomllib.loads((DATA / "sentiment_demo_phrases.toml").read_text("utf-8"))["shared"]
    frames = shared["news_frame"].split("\n")[:-1] + shared["letter_frame"].split("\n")[:-1]
    assert ROWS_PER_LABEL[TRAIN] % len(frames) == 0


def test_the_card_gives_the_lengths_of_the_test_sentences() -> None:
    lengths = [len(row["input"].split()) for row in rows_of(TEST)]
    average = round(sum(lengths) / len(lengths))
    stated = f"{min(lengths)} to {max(lengths)} words, {average} on average"
    assert stated in " ".join((DATA / "README.md").read_text(encoding="utf-8").split())


def test_the_script_makes_the_committed_training_rows(tmp_path: Path, task: Task) -> None:
    output = tmp_path / "train.jsonl"
    subprocess.run([sys.executable, GENERATOR, "--output", output], check=True, cwd=tmp_path)
    made: Rows = [
        {"instruction": task.instruction, "input": row["text"], "output": row["label"]}
        for row in rows_of(output)
    ]
    assert made == rows_of(TRAIN)
