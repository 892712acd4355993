"""Data sets that are not there, not sound or too long."""

import json

import pyarrow
import pytest
from datasets import Dataset
from doctor_calls import PREDICT, is_told, sentences, serious

from llamafactory_emotion.doctor import loading

pytestmark = pytest.mark.filterwarnings("ignore")

BROKEN = [
    ({"dataset_dir": "nowhere"}, "dataset-dir", "is not there", "init"),
    ({"dataset": "soudn"}, "dataset", "no data set 'soudn'", "write sound"),
    ({"dataset": ["sound", "soudn"]}, "dataset", "no data set 'soudn'", "write sound"),
    ({"dataset": "sound,,alpaca"}, "dataset", "comma", "remove"),
    ({"dataset": "misspelt"}, "entry", "a key 'formating'", "write formatting"),
    ({"dataset": "miscolumned"}, "entry", "a key 'promt'", "write prompt"),
    ({"dataset": "split"}, "rows", "Unknown split", "mend"),
    ({"stage": "dpo"}, "stage", "one answer a row, which stage: dpo", "stage: sft"),
    ({"stage": "pt"}, "stage", "does not learn to answer", "stage: sft"),
    ({"dataset": "gone"}, "rows", "gone.jsonl not found", "mend"),
    ({"dataset": "strange"}, "rows", "boredom", "mend"),
    ({"dataset": "empty"}, "rows", "it has no rows", "mend"),
    ({"dataset": "formless"}, "rows", "'no_such_formatting' is not known; write alpaca", "mend"),
    ({"dataset": "listed"}, "rows", "must be an object of names", "mend"),
    ({"dataset": "nowhere"}, "rows", "names no file_name and no hub", "mend"),
    ({"dataset": "textless"}, "rows", "'text' (prompt) is missing; it has 'instruction'", "mend"),
    ({"dataset": "alpaca_ids"}, "answers", "holds label ids and not text", "as text"),
    ({"eval_dataset": "leaking"}, "audit", "1 of them with another label", "--drop leaks"),
    ({"dataset": "long"}, "cutoff", "1 of 1 rows", "raise cutoff_len"),
    ({"cutoff_len": 2}, "cutoff", "cuts the answers of 40 of", "raise cutoff_len"),
    ({"streaming": True, "max_steps": 9}, "fields", "reads no row of a file", "workers: 1"),
]


@pytest.mark.parametrize(("changes", "check", "said", "remedy"), BROKEN, ids=str)
def test_broken_data_is_told_with_its_remedy(look, changes, check, said, remedy):
    found = look(**changes)["recipe"]

    assert is_told(found, check, said, remedy), found


TEXTS = ["the train was late", "she sent me flowers", "a knock at the door", "so it goes"] * 3
COLUMNS = {"columns": {"prompt": "text", "response": "label"}}
HISTORY = {"columns": COLUMNS["columns"] | {"history": "history"}}
TURNS = {"formatting": "sharegpt"}


def table(*labels: object, head: str = "text,label") -> str:
    lines = [f"{text},{labels[row % len(labels)]}" for row, text in enumerate(TEXTS)]
    return "\n".join([head, *lines, ""])


def lines(*labels: object, **columns: object) -> str:
    rows = enumerate(TEXTS)
    found = [{"text": text, "label": labels[row % len(labels)]} | columns for row, text in rows]
    return "".join(map("{}\n".format, map(json.dumps, found)))


def conversations(user: str, assistant: str, *, odd: bool = False) -> str:
    turns = [{"from": user, "value": "so it goes"}, {"from": assistant, "value": "joy"}]
    rows = [turns[: 1 if odd and row % 2 else 2] for row in range(6)]
    return "".join(json.dumps({"conversations": row}) + "\n" for row in rows)


# What an unmodified LLaMA-Factory does with each: stops (error), drops or changes rows (the level
# of the loss), or trains.
READ = [
    ("d.csv", table("joy", "anger"), COLUMNS, None, ""),
    ("d.csv", table(0, 1), COLUMNS, "error", "holds int64 and not text; LLaMA-Fac"),
    ("d.csv", table("001", "002"), COLUMNS, "error", "holds int64 and not text"),
    ("d.csv", table(1.5, 2), COLUMNS, "error", "holds float64 and not text"),
    ("d.csv", table(True, False), COLUMNS, "error", "holds bool and not text"),
    ("d.csv", table("None", "joy", "n/a"), COLUMNS, "error", "drops 4 of 12 rows of 'd'"),
    ("d.csv", table("None", "joy", "n/a"), COLUMNS, "error", "says 'n/a', which pandas reads as"),
    ("d.csv", table("joy", "joy", ""), COLUMNS, "warning", "drops 4 of 12 rows of 'd'"),
    ("d.csv", table("joy").replace(",", ";"), COLUMNS, "error", "missing; it has 'text;label'"),
    ("d.csv", table("joy", head="text, label"), COLUMNS, "error", "it has 'text', ' label'"),
    ("d.csv", table("joy").replace("it", ","), COLUMNS, "error", "Expected 2 fields in line"),
    ("d.csv", table("joy").replace("late", "late,"), COLUMNS, "error", "3 of 12 rows of 'd'"),
    ("d.csv", table("a,joy"), COLUMNS, "error", "not under their columns"),
    ("d.csv", table("joy").encode("gb18030") + b"\xc4\xe3", COLUMNS, "error", "is not UTF-8 text"),
    ("d.csv", "", COLUMNS, "error", "cannot load the data set 'd'"),
    ("d.csv", "text,label\n", COLUMNS, "error", "it has no rows"),
    ("d.csv", "text,label\n1,joy\n2,joy\n", COLUMNS, "error", "(prompt) holds int64 and not"),
    ("d.jsonl", lines("joy", 0), COLUMNS, "error", "Column(/label) changed from string to number"),
    ("d.jsonl", lines(0, 1), COLUMNS, "error", "holds int64 and not text"),
    ("d.jsonl", lines("2020-01-01"), COLUMNS, "error", "holds timestamp[s] and not"),
    ("d.jsonl", lines(None), COLUMNS, "error", "they have no answer; LLaMA-Factory stops"),
    ("d.jsonl", lines(""), COLUMNS, "error", "12 of 12 rows of 'd'"),
    ("d.jsonl", lines("joy", "joy", ""), COLUMNS, "warning", "trains the model to say nothing"),
    ("d.jsonl", lines("joy") + '{"text": "so', COLUMNS, "error", "JSON parse error"),
    ("d.jsonl", lines("joy"), {}, "error", "the column 'instruction' (prompt) is missing"),
    ("d.jsonl", conversations("human", "gpt"), TURNS, None, ""),
    ("d.jsonl", conversations("user", "assistant"), TURNS, "error", "not user and assistant"),
    ("d.jsonl", conversations("human", "gpt", odd=True), TURNS, "warning", "drops 3 of 6 rows"),
    ("d.jsonl", lines("joy"), COLUMNS | {"ranking": True}, "error", "two answers a row"),
    ("d.jsonl", lines("joy", history="so"), HISTORY, "error", "LLaMA-Factory passes over it"),
    ("d.tsv", table("joy").replace(",", "\t"), COLUMNS, "error", "Allowed file types: arrow,csv"),
]  # fmt: skip


def write_set(folder, file, content, entry):
    folder.mkdir()
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "dataset_info.json").write_text(json.dumps({"d": {"file_name": file, **entry}}))
    return {"dataset_dir": str(folder), "dataset": "d"}


@pytest.mark.parametrize(("file", "content", "entry", "level", "said"), READ, ids=str)
def test_a_file_is_judged_as_the_host_reads_it(
    look, tmp_path, capfd, file, content, entry, level, said
):
    changes = write_set(tmp_path / "set", file, content, entry)
    capfd.readouterr()

    found = look(**changes)["recipe"]

    told = [one for one in serious(found) if one.check in ("rows", "answers", "fields", "stage")]
    assert capfd.readouterr() == ("", "")
    assert bool(told) is bool(level), told
    assert not level or any(one.level == level and said in one.sentence for one in told), told


@pytest.mark.parametrize(("label", "level"), [(None, None), ("", None), (1, "warning")])
def test_a_set_to_predict_needs_no_labels(look, tmp_path, label, level):
    changes = write_set(tmp_path / "set", "d.jsonl", lines(label), COLUMNS)
    assert serious(look(**changes)["recipe"], "answers") != []

    told = serious(look(**changes | PREDICT | {"eval_dataset": "d"})["recipe"], "answers")

    assert [one.level for one in told] == ([level] if level else [])
    assert not level or "predicts without their labels 12 of 12 rows" in told[0].sentence


def test_an_arrow_file_is_read(look, tmp_path):
    changes = write_set(tmp_path / "set", "d.arrow", "", COLUMNS)
    rows = Dataset.from_dict({"text": TEXTS, "label": ["joy"] * len(TEXTS)}).data.table
    with pyarrow.ipc.new_stream(str(tmp_path / "set" / "d.arrow"), rows.schema) as file:
        file.write_table(rows)

    assert serious(look(**changes)["recipe"]) == []


@pytest.mark.parametrize("file", ["d.jsonl", "d.json", "d.csv"])
def test_the_rest_of_a_long_file_is_counted_and_not_read(look, tmp_path, monkeypatch, file):
    written = table('"joy\nand joy"', "joy") if file == "d.csv" else lines("joy", "anger")
    changes = write_set(tmp_path / "set", file, written, COLUMNS)
    monkeypatch.setattr(loading, "BYTES_READ", len(written) - 80)
    before = set((tmp_path / "set").rglob("*"))

    said = sentences(look(**changes)["recipe"])

    assert "'d' has 12 rows; the first 1" in said or file == "d.csv"
    assert " rows are looked at" in said
    assert set((tmp_path / "set").rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{}/elsewhere.jsonl", "'d' has 12 rows; the first 1"),
        ("../elsewhere.jsonl", "'d' has 12 rows; the first 1"),
        ("https://example.org/d.jsonl", "example.org/d.jsonl not found"),
    ],
)
def test_a_file_outside_the_folder_is_read_in_part_too(look, tmp_path, monkeypatch, name, said):
    written = lines("joy", "anger")
    (tmp_path / "elsewhere.jsonl").write_text(written)
    entry = COLUMNS | {"file_name": name.format(tmp_path)}
    changes = write_set(tmp_path / "set", "d.jsonl", "", entry)
    monkeypatch.setattr(loading, "BYTES_READ", len(written) - 80)

    assert said in sentences(look(**changes)["recipe"])


def test_a_hub_that_is_not_to_be_asked_is_told(look, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert is_told(look(dataset="hub")["recipe"], "rows", "HF_HUB_OFFLINE=1", "unset")


def test_conflicting_labels_are_noted(look):
    assert "1 training texts stand there with two labels" in sentences(
        look(dataset="conflicting")["recipe"]
    )


def test_all_rows_make_the_steps_where_only_the_first_are_looked_at(look, monkeypatch):
    monkeypatch.setattr(loading, "ROWS_READ", 30)
    found = look(num_train_epochs=6, save_steps=500, eval_steps=500)["recipe"]

    assert serious(found) == []
    said = sentences(found)
    assert "60 optimizer steps, 0 of them warm-up: 6 epochs of 40 rows, effective batch 4" in said
    assert "'sound' has 40 rows; the first 30 rows are looked at" in said
    assert "'sound': the first 30 rows, " in said
    assert "labels of the first 30 rows is one token" in said


def test_what_is_found_in_the_first_rows_says_so(look, monkeypatch):
    monkeypatch.setattr(loading, "ROWS_READ", 1)
    leaking = sentences(look(eval_dataset="leaking", cutoff_len=8)["recipe"])
    monkeypatch.setattr(loading, "ROWS_READ", 2)
    conflicting = sentences(look(dataset="conflicting,sound")["recipe"])

    assert "(in texts of the first 1 rows)" in leaking
    assert "1 of the first 1 rows of 'sound' are cut" in leaking
    assert "1 training texts of the first 2 rows stand there with two labels" in conflicting
