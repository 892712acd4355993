"""Data sets by name: every reader gets the same rows from a file and from the hub."""

import json

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from llamafactory_emotion.data.dataset_folder import FILE_NAME
from llamafactory_emotion.data.entries import read_entries
from llamafactory_emotion.data.hub import HubAddress, hub_class_names
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.predict.inputs import open_dataset
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.data import read_splits

EMOTION_COLUMNS = {"prompt": "text", "response": "label"}
ALPACA_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
# Another order than the task's.
NAMES = ["joy", "anger", "fear"]
NAMED = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def register(tmp_path):
    """Register rows as a data set of the hub (a folder stands for it) or as a local file."""

    def registered(rows, columns, *, features=None, local=False, **entry):
        (tmp_path / "hub").mkdir()
        path = tmp_path / "hub" / "train.parquet"
        Dataset.from_list(rows, features=features).to_parquet(path)
        place = {"file_name": "hub/train.parquet"} if local else {"hf_hub_url": str(path.parent)}
        content = {"mine": place | {"columns": columns} | entry}
        (tmp_path / FILE_NAME).write_text(json.dumps(content), encoding="utf-8")
        return str(tmp_path)

    return registered


def trained_on(folder, **arguments):
    head = HeadArguments("model", "mine", dataset_dir=folder, **arguments)
    return [(row.text, row.label) for row in read_splits(head, EMOTION).train]


def predicted(folder):
    return [tuple(row) for row in open_dataset("mine", folder, EMOTION).rows]


@pytest.mark.parametrize("local", [True, False], ids=["file", "hub"])
def test_ids_mean_the_names_that_the_data_set_gives_them_on_every_path(register, local):
    rows = [{"text": "so glad", "label": 0}, {"text": "who is there", "label": 2}]
    folder = register(rows, EMOTION_COLUMNS, features=NAMED, local=local, formatting="emotion")

    assert trained_on(folder) == [("so glad", "joy"), ("who is there", "fear")]
    asked = [(EMOTION.user_content(text), label) for text, label in trained_on(folder)]
    assert predicted(folder) == asked


@pytest.mark.parametrize("local", [True, False], ids=["file", "hub"])
def test_ids_of_an_alpaca_data_set_mean_its_names_too(register, local):
    features = Features({"q": Value("string"), "a": ClassLabel(names=NAMES)})
    columns = {"prompt": "q", "response": "a"}
    folder = register([{"q": "so glad", "a": 0}], columns, features=features, local=local)

    assert trained_on(folder) == [("so glad", "joy")]
    assert predicted(folder) == [("so glad", "joy")]


@pytest.mark.parametrize("local", [True, False], ids=["file", "hub"])
@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Which?", "input": "so glad", "output": "joy"},
        {"instruction": "so glad", "input": "", "output": "joy"},
        {"instruction": "so glad", "input": None, "output": "joy", "text": "another"},
    ],
)
def test_a_head_reads_the_text_of_an_alpaca_data_set(register, row, local):
    assert trained_on(register([row] * 2, ALPACA_COLUMNS, local=local)) == [("so glad", "joy")] * 2


def test_the_columns_of_a_call_come_before_those_of_an_entry(register):
    row = {"instruction": "Which?", "input": "no", "output": "fear", "title": "yes", "mood": "joy"}
    folder = register([row], ALPACA_COLUMNS)

    assert trained_on(folder, text_column="title", label_column="mood") == [("yes", "joy")]


@pytest.mark.parametrize("text", [None, "", "  "])
def test_a_row_of_the_hub_without_a_text_stops_the_run_with_its_place(register, text):
    rows = [{"text": "so glad", "label": "joy"}, {"text": text, "label": "fear"}]
    folder = register(rows, EMOTION_COLUMNS, formatting="emotion")

    for read in (trained_on, predicted):
        with pytest.raises(
            DataError, match=r"'mine' \(.*, split train\): row 2: the text is empty"
        ):
            read(folder)


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        ({"prompt": "tweet", "response": "label"}, "tweet"),
        ({"prompt": "text", "response": "mood"}, "mood"),
    ],
)
def test_a_column_that_is_not_there_is_named(register, columns, missing):
    row = {"text": "so glad", "label": "joy"}
    folder = register([row], columns, formatting="emotion")

    for read in (trained_on, predicted):
        with pytest.raises(DataError, match=f"no column '{missing}'; the columns are text, label"):
            read(folder)


@pytest.mark.parametrize("missing", ["instruction", "input"])
def test_a_text_column_that_an_alpaca_data_set_lacks_is_named(register, missing):
    row = {"instruction": "Which?", "input": "so glad", "output": "joy"}
    del row[missing]
    folder = register([row], ALPACA_COLUMNS)

    for read in (trained_on, predicted):
        with pytest.raises(DataError, match=rf"no (column '{missing}'|row has the .* {missing})"):
            read(folder)


def test_labels_that_the_task_lacks_are_listed_with_their_counts(register):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["joy", "glee"])})
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}, {"text": "c", "label": 1}]
    folder = register(rows, EMOTION_COLUMNS, features=features, formatting="emotion")

    for read in (trained_on, predicted):
        with pytest.raises(DataError, match=r"unknown labels and their rows: 'glee' \(2\)"):
            read(folder)


def test_an_unlabelled_row_of_the_hub_can_be_predicted(register):
    rows = [{"text": "so glad", "label": -1}]
    folder = register(rows, EMOTION_COLUMNS, formatting="emotion")

    assert predicted(folder) == [(EMOTION.user_content("so glad"), None)]


def test_every_reader_hands_the_token_on(register, monkeypatch):
    folder = register([{"text": "a", "label": "joy"}], EMOTION_COLUMNS, formatting="emotion")
    calls = []

    def load_dataset(_url, **options):
        calls.append(options)
        return Dataset.from_list([{"text": "a", "label": "joy"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    trained_on(folder, hf_hub_token="secret", cache_dir="here")
    list(open_dataset("mine", folder, EMOTION, token="secret", cache_dir="here").rows)

    assert [(one["token"], one["cache_dir"]) for one in calls] == [("secret", "here")] * 2


def test_an_entry_says_where_on_the_hub_its_rows_are(tmp_path):
    entry = {"hf_hub_url": "a/b", "subset": "s", "split": "test", "folder": "f"}
    (tmp_path / FILE_NAME).write_text(json.dumps({"mine": entry, "plain": {"hf_hub_url": "a/b"}}))
    mine, plain = read_entries("mine, plain", tmp_path)

    assert mine.place == HubAddress("a/b", "s", "test", "f")
    assert plain.place == HubAddress("a/b")


@pytest.mark.parametrize("error", [OSError(), datasets.exceptions.DatasetGenerationError("No.")])
def test_what_the_hub_does_not_give_is_one_sentence(register, monkeypatch, error):
    def load_dataset(*_, **__):
        raise error

    folder = register([{"text": "a"}], EMOTION_COLUMNS, formatting="emotion")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    with pytest.raises(DataError, match=r"'mine' \(.*\) cannot be loaded: (OSError|No); without"):
        trained_on(folder)


@pytest.mark.parametrize(
    ("entry", "error", "said"),
    [
        ([], DataError, "the entry 'mine' is not an object"),
        (
            {"columns": ["text", "label"]},
            DataError,
            r"columns of 'mine' are \[\"text\", \"label\"\]",
        ),
        ({"columns": {"prompt": ["text"]}}, DataError, "must be an object of names; write for"),
        ({"columns": None}, DataError, "columns of 'mine' are null"),
        ({"formatting": "sharegpt"}, CallError, "the formatting 'sharegpt'"),
        ({"num_samples": 3}, CallError, "num_samples"),
        ({"script_url": "x"}, CallError, "neither file_name nor hf_hub_url"),
    ],
)
def test_an_entry_that_is_not_read_is_one_sentence_for_every_reader(tmp_path, entry, error, said):
    (tmp_path / FILE_NAME).write_text(json.dumps({"mine": entry}))

    for read in (trained_on, predicted):
        with pytest.raises(error, match=said):
            read(str(tmp_path))


def test_the_names_of_ids_are_known_before_the_rows_are_loaded(register, tmp_path):
    register([{"text": "a", "label": 0}], EMOTION_COLUMNS, features=NAMED)
    write_card(tmp_path / "hub")

    assert hub_class_names(HubAddress(str(tmp_path / "hub"))) == {"label": NAMES}
    assert hub_class_names(HubAddress(str(tmp_path / "nowhere"))) == {}


def write_card(folder):
    names = "".join(f"            '{number}': {name}\n" for number, name in enumerate(NAMES))
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n"
        f"    dtype:\n      class_label:\n        names:\n{names}---\n"
    )


@pytest.mark.parametrize("unread", ["system", "history"])
def test_columns_that_would_change_the_prompt_are_not_passed_over(register, unread):
    rows = [{"instruction": "name it", "input": "hi", "output": "joy", unread: "x"}]
    folder = register(rows, ALPACA_COLUMNS | {unread: unread})
    with pytest.raises(CallError, match=f"names a column for {unread}, which would stand in"):
        predicted(folder)
