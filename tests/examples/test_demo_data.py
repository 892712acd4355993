"""The demo sets are what their card says, and a test set shares nothing with its training set."""

import itertools
import json
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from llamafactory_emotion.task import EMOTION, load_task

DATA = Path(__file__).parents[2] / "data"
SENTIMENT = load_task(DATA.parent / "examples" / "tasks" / "demo_sentiment.yaml")
ROWS = {
    path.stem: [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
    for path in sorted(DATA.glob("*_demo_*.jsonl"))
}
TEXTS = {name: [row.get("text", row.get("input")) for row in rows] for name, rows in ROWS.items()}


def words_of(text: str) -> list[str]:
    """Letters and digits: case, punctuation and spacing do not make another sentence."""
    return "".join(c if c.isalnum() else " " for c in text.casefold().replace("'", "")).split()


@pytest.mark.parametrize("name", ROWS)
def test_a_file_is_clean_and_of_its_task(name):
    content = (DATA / f"{name}.jsonl").read_bytes()
    assert content.endswith(b"\n")
    assert b"\r" not in content
    assert not content.startswith(b"\xef\xbb\xbf")
    is_emotion = name.startswith("emotion")
    keys = ["text", "label"] if is_emotion else ["instruction", "input", "output"]
    labels = Counter(row[keys[-1]] for row in ROWS[name])
    assert {tuple(row) for row in ROWS[name]} == {tuple(keys)}
    assert labels.keys() == set((EMOTION if is_emotion else SENTIMENT).labels)
    assert all(text == text.strip() != "" and "\n" not in text for text in TEXTS[name])
    counts = {"emotion_demo_test": 60, "sentiment_demo_train": 300, "sentiment_demo_test": 30}
    assert set(labels.values()) == {counts.get(name)} or name == "emotion_demo_train"
    if not is_emotion:
        assert {row["instruction"] for row in ROWS[name]} == {SENTIMENT.instruction}
        entry = json.loads((DATA / "dataset_info.json").read_text("utf-8"))[name]
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
        wanted = {"file_name": f"{name}.jsonl", "formatting": "alpaca", "columns": columns}
        wanted |= {"emotion_task": "../examples/tasks/demo_sentiment.yaml"}
        assert entry == wanted


@pytest.mark.parametrize("name", ["emotion_demo_test", "sentiment_demo_test"])
def test_the_test_sentences_are_single_ones_of_the_lengths_on_the_card(name):
    """Sentences cut from one frame begin alike or run alike over many words."""
    sentences = [words_of(text) for text in TEXTS[name]]
    alike = Counter(" ".join(sentence[:4]) for sentence in sentences)
    alike += Counter(
        run
        for sentence in sentences
        for run in {" ".join(sentence[i : i + 6]) for i in range(len(sentence) - 5)}
    )
    assert [part for part, count in alike.items() if count > 1] == []
    in_order = itertools.groupby(row.get("label", row.get("output")) for row in ROWS[name])
    assert max(len(list(run)) for _, run in in_order) < 10, "not shuffled"
    lengths = [len(text.split()) for text in TEXTS[name]]
    average = round(sum(lengths) / len(lengths))
    stated = f"{min(lengths)} to {max(lengths)} words, {average} on average"
    assert stated in " ".join((DATA / "README.md").read_text("utf-8").split())


def test_no_test_sentence_is_like_a_training_row():
    """Of emotion, none is part of a row; of sentiment, none shares half of all words with one."""
    training = "\n".join(f" {' '.join(words_of(text))} " for text in TEXTS["emotion_demo_train"])
    sentences = [f" {' '.join(words_of(text))} " for text in TEXTS["emotion_demo_test"]]
    assert [sentence for sentence in sentences if sentence in training] == []
    test, train = (
        [set(words_of(text)) for text in TEXTS[f"sentiment_demo_{split}"]]
        for split in ("test", "train")
    )
    assert [one for one in test for row in train if 2 * len(one & row) >= len(one | row)] == []


def test_every_sentiment_fills_every_frame_equally_often():
    shared = tomllib.loads((DATA / "sentiment_demo_phrases.toml").read_text("utf-8"))["shared"]
    frames = shared["news_frame"].split("\n")[:-1] + shared["letter_frame"].split("\n")[:-1]
    assert 300 % len(frames) == 0


@pytest.mark.parametrize("task", ["emotion", "sentiment"])
def test_the_script_makes_the_committed_training_rows(task, tmp_path):
    output = tmp_path / "train.jsonl"
    program = DATA / f"make_{task}_demo.py"
    subprocess.run([sys.executable, program, "--output", output], check=True, cwd=tmp_path)
    made = [json.loads(line) for line in output.read_text("utf-8").split("\n")[:-1]]
    committed = ROWS[f"{task}_demo_train"]
    if task == "emotion":
        assert output.read_bytes() == (DATA / "emotion_demo_train.jsonl").read_bytes()
        assert len(made) >= 6_000
    assert [tuple(row.values()) for row in made] == [tuple(row.values())[-2:] for row in committed]
