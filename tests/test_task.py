"""A task as data: what it accepts, what it refuses, and how it is read from a file."""

from pathlib import Path

import pytest

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import EMOTION, ClassName, Task, load_task
from llamafactory_emotion.terminal import run_work


def task(**changes):
    content = {"name": "t", "labels": ("yes", "no"), "instruction": "Say yes or no."}
    return Task(**{**content, **changes})


def test_the_emotion_task_has_the_ids_of_the_hub_data():
    assert EMOTION.labels == ("sadness", "joy", "love", "anger", "fear", "surprise")
    assert EMOTION.user_content("a text") == (
        "Do emotion classification for data in the following text.\na text"
    )


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("sadness", [0]),
        ("surprise", [5]),
        ("anger", [3, 3.0, "3", " 3 "]),
        ("joy", ["Joy", "ｊｏｙ", "j\u200boy", ClassName("Happy")]),
        ("love", ["  LOVE\n"]),
        (None, ["happy", "", "-1", "6", "٣", "9" * 5000, 6, -1, 1.5, True, None, [1]]),
        (None, [float("nan"), float("inf"), ClassName("calm")]),
    ],
)
def test_a_gold_value_is_an_id_or_a_name(label, values):
    assert [EMOTION.label_of(value) for value in values] == [label] * len(values)


@pytest.mark.parametrize("value", ["1", 1, 1.0, "1.0", " 1 "])
def test_where_a_label_is_a_number_no_number_is_an_id(value):
    stars = task(labels=("1", "2", "3"))

    assert stars.label_of(value) == "1"
    assert not stars.is_id(value)
    assert stars.label_of(0) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": ("yes",)}, "two labels or more"),
        ({"labels": ("yes", "Yes ")}, "'yes' and 'Yes ' cannot be told apart in an answer"),
        ({"labels": ("-1", "\u22121")}, "cannot be told apart in an answer"),
        ({"labels": ("it's", "it’s")}, "cannot be told apart in an answer"),
        ({"labels": ("a b", "a  b")}, "cannot be told apart in an answer"),
        ({"labels": ("yes", " ")}, "a label is empty"),
        ({"aliases": {"yep": "maybe"}}, "alias 'yep' names 'maybe', which is no label"),
        ({"aliases": {"NO": "yes"}}, "alias 'NO' is claimed by 'no' and 'yes'"),
        ({"aliases": {" ": "yes"}}, "an alias of 'yes' is empty"),
        ({"instruction": "\n"}, "the instruction is empty"),
        ({"name": ""}, "it has no name"),
        ({"match": "fuzzy"}, "match 'fuzzy' is none of strict, flexible, contains"),
        ({"labels": ("joy", "\u200b")}, "a label is empty"),
        ({"aliases": {"n\u00ado": "yes"}}, "is claimed by 'no' and 'yes'"),
        ({"labels": ("a", "b\nc")}, "holds a line break"),
        ({"words": {"maybe": "m"}}, "word 'm' names 'maybe', which is no label"),
        ({"words": {"yes": "NO"}}, "word 'NO' is claimed by 'no' and 'yes'"),
        ({"words": {"yes": "x", "no": "X"}}, "word 'X' is claimed by 'yes' and 'no'"),
        ({"words": {"yes": "x"}, "aliases": {"x": "no"}}, "alias 'x' is claimed by 'yes' and 'no'"),
        ({"words": {"yes": " "}}, "the word of 'yes' is empty"),
        ({"words": {"yes": "a\nb"}}, "word .* holds a line break"),
        ({"words": {"yes": "1"}}, "'1' of 'yes' is a number, which means 'no' in the data"),
        ({"words": {"yes": "①"}}, "'①' of 'yes' is a number, which means 'no' in the data"),
        ({"words": {"no": "2.0"}}, "is a number, which means no label in the data"),
        ({"labels": ("1", "2", "no"), "words": {"no": "3"}}, "which means no label in the data"),
    ],
)
def test_a_wrong_task_is_refused_with_the_reason(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        task(**changes)


def test_the_fingerprint_changes_with_what_shapes_the_data():
    changes = (
        {"labels": ("no", "yes")},
        {"instruction": "Say no or yes."},
        {"aliases": {"yep": "yes"}},
        {"name": "other"},
    )

    assert task().fingerprint == task(match="strict").fingerprint
    assert len({task(**change).fingerprint for change in ({}, *changes)}) == 5


@pytest.mark.parametrize("words", [{}, {"yes": "good"}, {"yes": "0", "no": "1"}])
def test_no_word_changes_what_a_number_or_a_label_means(words):
    values = [0, "0", 1.0, "1", 2, -1, "yes", "NO", "aye", ClassName("aye")]
    labels = ["yes", "yes", "no", "no", None, None, "yes", "no", None, "yes"]

    assert [*map(task(words=words, aliases={"aye": "yes"}).label_of, values)] == labels
    assert all(task(words=words).is_id(number) for number in (0, "1"))


def test_a_gold_value_may_be_the_word_of_a_label():
    tickets = task(labels=("bug report", "refund"), words={"bug report": "top-bug"})

    assert [*map(tickets.label_of, ("top-bug", " Top Bug", "bug_report"))] == ["bug report"] * 3
    assert [*map(tickets.word_of, tickets.labels)] == ["top-bug", "refund"]


def test_a_task_without_words_is_the_one_it_was():
    assert EMOTION.fingerprint == "b94d8c08687cd4e4"
    assert task(words={"yes": "y"}).fingerprint != task().fingerprint


def write(folder: Path, content: str) -> Path:
    path = folder / "task.yaml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_task_is_read_from_a_file(tmp_path):
    path = write(
        tmp_path,
        "name: charges\ninstruction: |\n  判断罪名。\nlabels: [盗窃, 掳掠]\n"
        "words: {盗窃: 盗}\naliases: {掳掠: [抢劫]}\nmatch: contains\n",
    )

    assert load_task(path) == Task(
        "charges", ("盗窃", "掳掠"), "判断罪名。", {"抢劫": "掳掠"}, "contains", {"盗窃": "盗"}
    )


def test_keys_are_read_as_they_are_written(tmp_path):
    path = write(
        tmp_path,
        "name: t\ninstruction: i\nlabels: ['yes', 'no', '1', 'null']\n"
        "words: {no: nay}\naliases: {yes: [aye], 1: [one], null: [void]}\n",
    )

    read = load_task(path)

    assert read.words == {"no": "nay"}
    assert read.aliases == {"aye": "yes", "one": "1", "void": "null"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("just text", "is not a task"),
        ("name: [", "is not valid YAML"),
        ("name: t\ninstruction: i\nlabels: [yes, no]\n", "list of words, not yes, no .quote"),
        ("name: t\ninstruction: i\nlabels: [12:30, null, 010]\n", "not 12:30, null, 010 .quote"),
        ("name: t\ninstruction: i\nlabels: [a, b]\nlabel: [c]\n", "unknown key 'label'"),
        ("name: t\ninstruction:\nlabels: [a, b]\n", "instruction must be text"),
        ("name: t\ninstruction: i\nlabels: [a, b]\naliases: [x]\n", "aliases must map"),
        (
            "name: t\ninstruction: i\nlabels: [a, b]\naliases: {a: [x], b: [x]}\n",
            "alias 'x' is claimed by 'a' and 'b'",
        ),
        ("name: t\ninstruction: i\nlabels: [a, a]\n", "cannot be told apart"),
        (
            "name: t\ninstruction: i\nlabels: [a, b]\nlabels: [a, c]\n",
            "'labels' is there twice",
        ),
        (
            "name: t\ninstruction: i\nlabels: [a, b]\naliases:\n  a: [x]\n  a: [y]\n",
            "the key 'a' is there twice",
        ),
        ("name: t\ninstruction: i\nlabels: [a, b]\naliases: {a: [no]}\n", "aliases .*, not no"),
        ("name: t\ninstruction: i\nlabels:\n  - a\n  -\n", "labels .*, not an empty one"),
        ("name: t\ninstruction: i\nlabels: a, b\n", "labels must be a list of words[.]"),
        ("name: t\ninstruction: i\nlabels: [a, b]\nmatch: [strict]\n", "match .* is none of"),
        ("name: t\ninstruction: i\n", "labels must be a list of words"),
        (
            "nam: t\nlabels: [a, a]\naliases: {c: [x]}\nmatch: loose\n",
            "unknown key 'nam'; name must be text; match 'loose' .*"
            "; labels 'a' and 'a' .* in an answer; alias 'x' names 'c', which is no label",
        ),
        ("name: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
        ("name: 2001-99-99\n", "is not valid YAML; mend it: month must be"),
        ("name: !!timestamp x\n", "is not valid YAML"),
        ("name: !!bool x\n", "is not valid YAML"),
        ("name: &name t\nlabels: [*name, b]\n", "has YAML aliases"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path, content, sentence):
    with pytest.raises(DataError, match=sentence):
        load_task(write(tmp_path, content))


def test_a_file_nested_too_deeply_ends_in_a_sentence(tmp_path, capsys):
    path = write(tmp_path, "labels: " + "[" * 1_000 + "]" * 1_000)

    assert run_work(lambda: bool(load_task(path))) == 1
    assert "nested too deeply" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["emotions", "no/such/file.yaml", "."])
def test_an_unknown_task_is_refused(name):
    with pytest.raises(CallError, match=r"neither built in \(emotion\) nor a file"):
        load_task(name)
