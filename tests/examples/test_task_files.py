"""The task files that are shipped: each loads, says where its data is, and reads its own labels."""

from pathlib import Path

import pytest

from llamafactory_emotion.parsing.rules import LabelParser
from llamafactory_emotion.task import load_task

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "tasks").iterdir())
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@each_file
def test_every_label_and_alias_is_read_in_an_answer(path: Path):
    task = load_task(path)
    parser = LabelParser(task)
    names = {label: label for label in task.labels} | dict(task.aliases)

    for name, label in names.items():
        for answer in (name, f" {name}\n", f"**{name}**", f"Answer: {name}.", f"答案：{name}。"):
            assert parser.parse(answer).label == label, answer


def test_the_labels_of_the_hub_data_have_the_hubs_ids():
    assert load_task(FILES[0].parent / "ag_news.yaml").label_of(3) == "Sci/Tech"
    assert load_task(FILES[0].parent / "imdb.yaml").label_of(1) == "positive"
    newsgroups = load_task(FILES[0].parent / "20_newsgroups.yaml").labels
    assert list(newsgroups) == sorted(newsgroups)
