"""Data sets by name: every reader gets the same rows from a file and from the hub."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import datasets
import huggingface_hub
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from llamafactory_emotion.data import entries
from llamafactory_emotion.data.dataset_folder import FILE_NAME
from llamafactory_emotion.data.entries import read_entries
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.predict.inputs import open_dataset
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.data import read_splits

EMOTION_COLUMNS = {"prompt": "text", "response": "label"}
ALPACA_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
# Another order than the task's.
NAMES = ["joy", "anger", "fear"]
ALPACA_ROW = {"instruction": "Which?", "input": "so glad", "output": "joy"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(params=["file", "hub"])
def on_hub(request):
    return request.param == "hub"


@pytest.fixture
def register(tmp_path):
    """Register rows as a data set of the hub (a folder stands for it) or as a local file."""

    def registered(rows, columns, *, features=None, on_hub=True, **entry):
        (tmp_path / "hub").mkdir()
        path = tmp_path / "hub" / "train.parquet"
        Dataset.from_list(rows, features=features).to_parquet(path)
        place = {"hf_hub_url": str(path.parent)} if on_hub else {"file_name": "hub/train.parquet"}
        content = {"mine": place | {"columns": columns} | entry}
        (tmp_path / FILE_NAME).write_text(json.dumps(content), encoding="utf-8")
        return str(tmp_path)

    return registered


def trained_on(folder, train="mine", **keys):
    head = HeadArguments(model_name_or_path="model", train=train, dataset_dir=folder, **keys)
    return [(row.text, row.label) for row in read_splits(head, EMOTION).train]


def predicted(folder):
    return [(row.content, row.label) for row in open_dataset("mine", folder, EMOTION).rows]


def chat(*turns, role="from", content="value"):
    return {"talk": [{role: one, content: text} for one, text in turns]}


OPENAI = {"role_tag": "role", "content_tag": "content", "user_tag": "user",
          "assistant_tag": "assistant"}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "tags"),
    [
        (chat(("human", "so glad"), ("gpt", "joy")), {}),
        (chat(("user", "so glad"), ("assistant", "joy"), role="role", content="content"), OPENAI),
        (chat(("Q", "so glad"), ("A", "joy")), {"user_tag": "Q", "assistant_tag": "A"}),
    ],
)
def test_a_conversation_is_its_question_and_its_answer(register, on_hub, row, tags):
    folder = register([row], {"messages": "talk"}, formatting="sharegpt", tags=tags, on_hub=on_hub)

    assert trained_on(folder) == [("so glad", "joy")]
    assert predicted(folder) == [("so glad", "joy")]


@pytest.mark.parametrize("formatting", ["emotion", "alpaca"])
def test_ids_mean_the_names_that_the_data_set_gives_them_on_every_path(
    register, on_hub, formatting
):
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
    rows = [{"text": "so glad", "label": 0}, {"text": "who is there", "label": 2}]
    folder = register(
        rows, EMOTION_COLUMNS, features=features, on_hub=on_hub, formatting=formatting
    )

    assert trained_on(folder) == [("so glad", "joy"), ("who is there", "fear")]
    ask = EMOTION.user_content if formatting == "emotion" else str
    assert predicted(folder) == [(ask(text), label) for text, label in trained_on(folder)]


@pytest.mark.parametrize(
    "row",
    [
        ALPACA_ROW,
        {"instruction": "so glad", "input": "", "output": "joy"},
        {"instruction": "so glad", "input": None, "output": "joy", "text": "another"},
    ],
)
def test_a_head_reads_the_text_of_an_alpaca_data_set(register, row, on_hub):
    folder = register([row] * 2, ALPACA_COLUMNS, on_hub=on_hub)
    assert trained_on(folder) == [("so glad", "joy")] * 2


def test_the_columns_of_a_call_come_before_those_of_an_entry_and_are_told(register, capsys):
    folder = register([ALPACA_ROW | {"title": "yes", "mood": "fear"}], ALPACA_COLUMNS)
    assert trained_on(folder, text_column="title", label_column="mood") == [("yes", "fear")]
    told = "mine: texts from title, labels from mood; left: instruction, input, output\n"
    assert capsys.readouterr().err.endswith(told)


TALK = {"columns": {"messages": "talk"}, "formatting": "sharegpt"}
TEXTS = {"columns": EMOTION_COLUMNS, "formatting": "emotion"}
PLAIN = {"text": "so glad", "label": "joy"}
GLEE = Features({"text": Value("string"), "label": ClassLabel(names=["joy", "glee"])})
WITHOUT_TEXT = r"'mine' \(.*, split train\): row 2: the text is empty"
REFUSED = [
    (TALK, [chat(("human", "hi"), ("gpt", "oh"), ("human", "so glad"), ("gpt", "joy"))], "history"),
    (TALK, [chat(("system", "Label."), ("human", "so glad"), ("gpt", "joy"))], "system"),
    (TALK, [chat(("gpt", "joy"))], "no turn of the user"),
    (TALK, [chat(("tool", "joy"))], "only texts of user"),
    *((TEXTS, [PLAIN, PLAIN | {"text": text}], WITHOUT_TEXT) for text in (None, "", "  ")),
    *(
        (TEXTS | {"columns": EMOTION_COLUMNS | {role: "x"}}, [PLAIN],
         "no column 'x'; the columns are text, label")
        for role in EMOTION_COLUMNS
    ),
    ({"columns": ALPACA_COLUMNS}, [{"input": "so glad", "output": "joy"}],
     "no column 'instruction'"),
    ({"columns": ALPACA_COLUMNS}, [{"instruction": "so glad", "output": "joy"}],
     "no (column 'input'|row has the column input)"),
    (TEXTS | {"features": GLEE}, [{"text": one, "label": 1 - (one == "b")} for one in "abc"],
     r"unknown labels and their rows: 'glee' \(2\)"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "rows", "said"), REFUSED)
def test_rows_that_would_lose_something_are_refused_by_every_reader(register, entry, rows, said):
    folder = register(rows, **entry)

    for read in (trained_on, predicted):
        with pytest.raises(DataError, match=said):
            read(folder)


def test_a_head_reads_a_file_too_and_an_entry_knows_its_own(register, on_hub, capsys):
    folder = register([PLAIN], EMOTION_COLUMNS, on_hub=on_hub)
    file = f"{folder}/hub/train.parquet"
    assert trained_on(folder, file) == [("so glad", "joy")]
    assert capsys.readouterr().err.endswith(f"{file}: texts from text, labels from label\n")

    [entry] = read_entries("mine", Path(folder))
    assert entry.path == (Path(folder) / "hub" if on_hub else Path(file))
    assert replace(entry, says={"hf_hub_url": "someone/emotion"}).path is None


def test_an_unlabelled_row_of_the_hub_can_be_predicted(register):
    folder = register([{"text": "a", "label": -1}], EMOTION_COLUMNS, formatting="emotion")
    assert predicted(folder) == [(EMOTION.user_content("a"), None)]


def test_every_reader_asks_the_hub_for_what_the_entry_says(register, monkeypatch):
    more = {"subset": "s", "split": "test", "folder": "f", "formatting": "emotion"}
    folder = register([{"text": "a", "label": "joy"}], EMOTION_COLUMNS, **more)
    calls = []

    def load_dataset(_url, **asked):
        calls.append(asked)
        return Dataset.from_list([{"text": "a", "label": "joy"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    trained_on(folder, hf_hub_token="secret", cache_dir="here")
    list(open_dataset("mine", folder, EMOTION, token="secret", cache_dir="here").rows)

    where = {"name": "s", "data_dir": "f", "split": "test"}
    assert calls == [{**where, "token": "secret", "cache_dir": "here"}] * 2


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
        ({"columns": ["a"]}, DataError, r"columns of 'mine' are \[\"a\"\]"),
        ({"columns": {"prompt": ["text"]}}, DataError, "must be an object of names; write for"),
        ({"columns": None}, DataError, "columns of 'mine' are null"),
        ({"formatting": "openai"}, CallError, "the formatting 'openai'"),
        ({"formatting": "sharegpt", "tags": []}, DataError, "the tags of"),
        ({"formatting": "sharegpt", "tags": {"role_tag": ["x"]}}, DataError, "the tags of"),
        ({"file_name": 3, "emotion_task": []}, DataError, "emotion_task, file_name of 'mine' must"),
        ({"num_samples": 3}, CallError, "num_samples"),
        ({"columns": {"system": "x"}}, CallError, "names a column for system, which belongs"),
        ({"columns": {"history": "x"}}, CallError, "names a column for history, which belongs"),
        ({"script_url": "x"}, CallError, "neither file_name nor hf_hub_url"),
        ({"file_name": "."}, CallError, "is a directory with files of several formats"),
        (None, CallError, "'mine' is no data set of .* [(]other[)]; name one of these"),
    ],
)
def test_an_entry_that_is_not_read_is_one_sentence_for_every_reader(tmp_path, entry, error, said):
    content = {"other": {}} if entry is None else {"mine": entry}
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    (tmp_path / "rows.csv").write_text("text,label\na,joy\n")

    for read in (trained_on, predicted):
        with pytest.raises(error, match=said):
            read(str(tmp_path))


def test_a_hub_that_does_not_answer_is_told_in_seconds(tmp_path, monkeypatch):
    (tmp_path / FILE_NAME).write_text('{"mine": {"hf_hub_url": "someone/emotion"}}')
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(entries, "_SECONDS", 0.1)

        with pytest.raises(DataError, match=r"cannot be reached .* name a file, or set HF_HUB"):
            predicted(str(tmp_path))


def test_lines_of_plain_text_without_labels_can_be_predicted(tmp_path):
    (tmp_path / "texts.txt").write_text("so glad\ngo away\n", encoding="utf-8")
    entry = {"file_name": "texts.txt", "formatting": "emotion", "columns": {"prompt": "text"}}
    (tmp_path / FILE_NAME).write_text(json.dumps({"mine": entry}), encoding="utf-8")
    (read,) = read_entries("mine", tmp_path)
    assert [(row.text, row.label) for row in read.asked(EMOTION)] == [
        ("so glad", ""),
        ("go away", ""),
    ]
