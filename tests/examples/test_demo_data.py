"""The demo data is what its card says, and the test set shares nothing with the training set."""

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from demo_rows import DATA, Rows, normalised, repeats, rows_of

from llamafactory_emotion.task import EMOTION

GENERATOR = DATA / "make_emotion_demo.py"
TRAIN = DATA / "emotion_demo_train.jsonl"
TEST = DATA / "emotion_demo_test.jsonl"


@pytest.fixture(scope="module")
def train_rows() -> Rows:
    return rows_of(TRAIN)


@pytest.fixture(scope="module")
def test_rows() -> Rows:
    return rows_of(TEST)


@pytest.mark.parametrize("path", [TRAIN, TEST], ids=lambda path: path.stem)
def test_a_file_is_clean_json_lines(path: Path) -> None:
    content = path.read_bytes()
    assert content.endswith(b"\n")
    assert b"\r" not in content
    assert not content.startswith(b"\xef\xbb\xbf")
    for row in rows_of(path):
        assert list(row) == ["text", "label"]
        assert row["label"] in EMOTION.labels
        assert row["text"] == row["text"].strip() != ""
        assert "\n" not in row["text"]


def test_the_test_set_has_sixty_sentences_a_label(test_rows: Rows) -> None:
    assert Counter(row["label"] for row in test_rows) == dict.fromkeys(EMOTION.labels, 60)


def test_the_test_set_repeats_no_sentence(test_rows: Rows) -> None:
    assert repeats([row["text"] for row in test_rows]) == []


def test_the_test_set_is_no_frame_with_slots(test_rows: Rows) -> None:
    """Sentences cut from one frame begin alike or run alike over many words."""
    words = [normalised(row["text"]).split() for row in test_rows]
    openings = Counter(" ".join(sentence[:4]) for sentence in words)
    runs = Counter(
        run
        for sentence in words
        for run in {" ".join(sentence[i : i + 6]) for i in range(len(sentence) - 5)}
    )
    assert [opening for opening, count in openings.items() if count > 1] == []
    assert [run for run, count in runs.items() if count > 1] == []


def test_the_test_set_is_shuffled(test_rows: Rows) -> None:
    longest = max(
        sum(1 for _ in run) for _, run in itertools.groupby(row["label"] for row in test_rows)
    )
    assert longest < 10


def test_the_card_gives_the_lengths_of_the_test_set(test_rows: Rows) -> None:
    lengths = [len(row["text"].split()) for row in test_rows]
    average = round(sum(lengths) / len(lengths))
    stated = f"{min(lengths)} to {max(lengths)} words, {average} on average"
    assert stated in " ".join((DATA / "README.md").read_text(encoding="utf-8").split())


def test_the_training_set_is_large_and_has_every_label(train_rows: Rows) -> None:
    assert len(train_rows) >= 6_000
    assert {row["label"] for row in train_rows} == set(EMOTION.labels)


def test_no_test_sentence_stands_in_a_training_row(train_rows: Rows, test_rows: Rows) -> None:
    """Neither as the whole row nor as a part of it."""
    training = "\n".join(f" {normalised(row['text'])} " for row in train_rows)
    shared = [row["text"] for row in test_rows if f" {normalised(row['text'])} " in training]
    assert shared == []


def test_the_script_makes_the_committed_training_file(tmp_path: Path) -> None:
    output = tmp_path / "train.jsonl"
    subprocess.run([sys.executable, GENERATOR, "--output", output], check=True, cwd=tmp_path)
    assert output.read_bytes() == TRAIN.read_bytes()
