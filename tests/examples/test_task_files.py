"""The task files that are shipped: each loads, says where its data is, and reads its own labels."""

import json
import re
from pathlib import Path

import pytest

from llamafactory_emotion.parsing.rules import LabelParser
from llamafactory_emotion.prepare.__main__ import main as prepare
from llamafactory_emotion.scoring.generation import answer_tokens
from llamafactory_emotion.task import EMOTION, Task, load_task

ROOT = Path(__file__).parents[2]
LABEL_COUNTS = {
    "20_newsgroups": 20,
    "ag_news": 4,
    "demo_sentiment": 3,
    "financial_sentiment": 3,
    "goemotions_six": 6,
    "imdb": 2,
    "legal_charges": 3,
    "template": 3,
}
FILES = sorted((ROOT / "examples" / "tasks").iterdir())
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_the_files_are_the_ones_we_know():
    assert [path.name for path in FILES] == [f"{name}.yaml" for name in LABEL_COUNTS]


@each_file
def test_a_shipped_task_loads_with_its_labels(path: Path):
    task = load_task(path)

    assert len(task.labels) == LABEL_COUNTS[path.stem]
    assert task.name == ("my_task" if path.stem == "template" else path.stem)


@each_file
def test_every_label_and_alias_is_read_in_an_answer(path: Path):
    task = load_task(path)
    parser = LabelParser(task)
    names = {label: label for label in task.labels} | dict(task.aliases)

    for name, label in names.items():
        for answer in (name, f" {name}\n", f"**{name}**", f"Answer: {name}.", f"答案：{name}。"):
            assert parser.parse(answer).label == label, answer


@each_file
def test_a_file_says_where_its_data_comes_from(path: Path):
    text = path.read_text(encoding="utf-8")

    assert text.startswith("# ")
    if path.stem not in ("template", "demo_sentiment"):
        assert re.search(r"^# Data +not shipped[.:]", text, re.MULTILINE)


def test_the_page_names_every_shipped_task():
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")

    assert all(f"`{path.name}`" in page for path in FILES)


def test_the_labels_of_the_hub_data_have_the_hubs_ids():
    """As the data sets' own class names have them."""
    assert load_task(FILES[0].parent / "ag_news.yaml").label_of(3) == "Sci/Tech"
    assert load_task(FILES[0].parent / "imdb.yaml").label_of(1) == "positive"
    newsgroups = load_task(FILES[0].parent / "20_newsgroups.yaml").labels
    assert list(newsgroups) == sorted(newsgroups)


def test_the_six_of_goemotions_are_asked_as_our_six():
    task = load_task(FILES[0].parent / "goemotions_six.yaml")

    assert task.labels == EMOTION.labels
    assert task.instruction == EMOTION.instruction


def test_the_charges_count_as_the_study_counted_them():
    task = load_task(FILES[0].parent / "legal_charges.yaml")

    assert task.labels == ("盗窃", "故意伤害", "掳掠")
    assert task.match == "contains"
    parser = LabelParser(task)
    assert parser.contains("被告人犯抢劫罪，不是盗窃罪。", "掳掠")
    assert parser.contains("被告人犯抢劫罪，不是盗窃罪。", "盗窃")
    assert not parser.contains("被告人犯抢劫罪。", "故意伤害")


@pytest.mark.parametrize(("strange", "named"), [(40, 40), (500, 10)])
def test_a_wrong_column_is_not_listed_to_its_end(tmp_path: Path, capsys, strange, named):
    train = tmp_path / "train.jsonl"
    rows = (json.dumps({"text": "a", "label": f"strange {n:03}"}) + "\n" for n in range(strange))
    train.write_text("".join(rows), encoding="utf-8")

    assert prepare(["--train", str(train), "--check-only"]) == 1

    told = capsys.readouterr().err
    listed = told[told.index("unknown labels and their rows") :]
    assert listed.count("'strange ") == named


def test_labels_that_the_task_lacks_are_all_listed_with_their_rows(tmp_path: Path, capsys):
    rows = [("a", "World"), ("b", "sport"), ("c", "Weather"), ("d", "Weather"), ("e", "Sports")]
    train = tmp_path / "train.jsonl"
    train.write_text(
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows),
        encoding="utf-8",
    )
    task = str(FILES[0].parent / "ag_news.yaml")
    call = ["--task", task, "--train", str(train), "--name", "x", "--dataset-dir"]

    assert prepare([*call, str(tmp_path / "data")]) == 1

    told = capsys.readouterr().err
    assert "unknown labels and their rows: 'Weather' (2), 'sport' (1)" in told
    assert "has 0 World, 1 Sports, 2 Business, 3 Sci/Tech" in told
    assert not (tmp_path / "data").exists()


class _Scorer:
    """What `answer_tokens` asks of a scorer: the labels and their tokens."""

    task = Task("t", ("short", "a long label"), "Which?")

    class encoder:  # noqa: N801 - stands for an attribute
        label_ids = ((1,), (2, 3, 4, 5))
        answer_ids = staticmethod(lambda _: [(1,), (2, 3, 4, 5)])


@pytest.mark.parametrize(("asked", "given"), [(None, 8), (4, 4), (50, 50)])
def test_an_answer_may_be_as_long_as_the_longest_label(asked, given):
    assert answer_tokens(_Scorer, asked) == given  # type: ignore[arg-type]
