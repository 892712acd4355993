"""The task files that are shipped: each loads, says where its data is, and reads its own labels."""

import re
from pathlib import Path

import pytest
from calls import write_lines

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
NAMES = {"template": "my_task"}
FOLDER = ROOT / "examples" / "tasks"


def test_the_files_are_the_ones_we_know_and_the_page_names_each():
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")

    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.yaml" for name in LABEL_COUNTS}
    assert all(f"`{name}.yaml`" in page for name in LABEL_COUNTS)


@pytest.mark.parametrize("name", LABEL_COUNTS)
def test_a_shipped_task_says_where_its_data_is_and_reads_its_own_labels(name):
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    task = load_task(FOLDER / f"{name}.yaml")
    parser = LabelParser(task)

    assert (task.name, len(task.labels)) == (NAMES.get(name, name), LABEL_COUNTS[name])
    assert text.startswith("# ")
    if name not in ("template", "demo_sentiment"):
        assert re.search(r"^# Data +not shipped[.:]", text, re.MULTILINE)
    for said, label in ({one: one for one in task.labels} | dict(task.aliases)).items():
        for answer in (said, f" {said}\n", f"**{said}**", f"Answer: {said}.", f"答案：{said}。"):
            assert parser.parse(answer).label == label, answer


def test_the_labels_of_the_hub_data_have_the_hubs_ids():
    """As the data sets' own class names have them."""
    assert load_task(FOLDER / "ag_news.yaml").label_of(3) == "Sci/Tech"
    assert load_task(FOLDER / "imdb.yaml").label_of(1) == "positive"
    newsgroups = load_task(FOLDER / "20_newsgroups.yaml").labels
    assert list(newsgroups) == sorted(newsgroups)


def test_the_six_of_goemotions_are_asked_as_our_six():
    task = load_task(FOLDER / "goemotions_six.yaml")

    assert task.labels == EMOTION.labels
    assert task.instruction == EMOTION.instruction


def test_the_charges_count_as_the_study_counted_them():
    task = load_task(FOLDER / "legal_charges.yaml")

    assert task.labels == ("盗窃", "故意伤害", "掳掠")
    assert task.match == "contains"
    parser = LabelParser(task)
    assert parser.contains("被告人犯抢劫罪，不是盗窃罪。", "掳掠")
    assert parser.contains("被告人犯抢劫罪，不是盗窃罪。", "盗窃")
    assert not parser.contains("被告人犯抢劫罪。", "故意伤害")


@pytest.mark.parametrize(("strange", "named"), [(40, 40), (500, 10)])
def test_a_wrong_column_is_not_listed_to_its_end(tmp_path: Path, capsys, strange, named):
    rows = ({"text": "a", "label": f"strange {number:03}"} for number in range(strange))
    train = write_lines(tmp_path / "train.jsonl", rows)

    assert prepare(["--train", str(train), "--check-only"]) == 1

    told = capsys.readouterr().err.partition("unknown labels and their rows")[2]
    assert told.count("'strange ") == named


def test_labels_that_the_task_lacks_are_all_listed_with_their_rows(tmp_path: Path, capsys):
    labels = ("World", "sport", "Weather", "Weather", "Sports")
    rows = ({"text": text, "label": label} for text, label in zip("abcde", labels, strict=True))
    files = ["--train", str(write_lines(tmp_path / "train.jsonl", rows)), "--dataset-dir"]

    task = ["--task", str(FOLDER / "ag_news.yaml"), "--name", "x"]
    assert prepare([*task, *files, str(tmp_path / "data")]) == 1

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
