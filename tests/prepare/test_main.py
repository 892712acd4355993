"""`prepare` from raw files to what LLaMA-Factory's own loader reads, and what it must not touch."""

import json
import subprocess
import sys
from collections import Counter
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data.reading import read_rows
from llamafactory_emotion.prepare.__main__ import main
from llamafactory_emotion.task import EMOTION, load_task

any_text = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


def write_rows(path, rows):
    lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def train(tmp_path):
    """Sixty rows, ten of each class."""
    return write_rows(tmp_path / "train.jsonl", [(f"text {n}", n % 6) for n in range(60)])


@pytest.fixture
def folder(tmp_path):
    """A dataset folder that is not there yet."""
    return tmp_path / "data"


def prepare(train, folder, *words):
    return main([f"train={train}", "name=mine", f"dataset_dir={folder}", *map(str, words)])


def written(folder, split="train", task=EMOTION):
    """Return the texts and labels of a data set, each as a list."""
    rows = read_rows(folder / f"mine_{split}.jsonl", task)
    return [row.text for row in rows], [row.label for row in rows]


def test_the_words_of_labels_are_written_and_missing_ones_suggested(
    folder, tmp_path, tiny_base, capsys
):
    task = tmp_path / "task.yaml"
    task.write_text(
        "name: moods\ninstruction: Which?\nlabels: [great joy, deep sadness, fear]\n"
        "words: {great joy: joy}\n"
    )
    rows = [("a", "great joy"), ("b", "joy"), ("c", 1), ("d", "fear")]
    train = write_rows(tmp_path / "train.jsonl", rows)

    words = ("--task", task, "--validation-size", 0, f"model_name_or_path={tiny_base}")
    assert prepare(train, folder, *words) == 0

    lines = (folder / "mine_train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[0] == {"instruction": "Which?", "input": "a", "output": "joy"}
    assert [row["output"] for row in rows] == ["joy", "joy", "deep sadness", "fear"]
    _, labels = written(folder, task=load_task(task))
    assert labels == ["great joy", "great joy", "deep sadness", "fear"]
    said = capsys.readouterr().out
    assert "several tokens       'deep sadness'" in said
    assert "words: {great joy: joy, deep sadness: sadness}" in said
    assert (
        "instruction: Classify the following text. Answer with one of: joy for great joy," in said
    )


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_the_splits_are_written_and_registered(train, folder, tmp_path, capsys):
    test = write_rows(tmp_path / "test.jsonl", [("a test", "joy"), ("another", "LOVE")])
    assert prepare(train, folder, f"test={test}", "validation_size=12") == 0
    assert sorted(snapshot(folder)) == [
        "dataset_info.json",
        "mine_test.jsonl",
        "mine_train.jsonl",
        "mine_validation.jsonl",
    ]
    texts, labels = written(folder, "validation")
    assert Counter(labels) == dict.fromkeys(EMOTION.labels, 2)
    assert {*texts, *written(folder)[0]} == {f"text {n}" for n in range(60)}
    assert (folder / "mine_test.jsonl").read_text(encoding="utf-8").splitlines()[1] == (
        '{"instruction": "Do emotion classification for data in the following text.", '
        '"input": "another", "output": "love"}'
    )
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    assert list(info) == ["mine_train", "mine_validation", "mine_test"]
    assert info["mine_train"]["file_name"] == "mine_train.jsonl"
    printed = capsys.readouterr().out
    assert printed.index("0 repeats") < printed.index("mine_train.jsonl, 48 rows")


def test_columns_are_joined_and_an_encoding_is_taken(folder, tmp_path, capsys):
    train = tmp_path / "pairs.csv"
    table = "premise,hypothesis,label\nUne soupe très froide.,Elle plaît.,anger\nOui.,Déjà.,joy\n"
    train.write_bytes(table.encode("cp1252"))
    assert prepare(train, folder, "validation_size=0") == 1
    assert "encoding=cp1252 (Western Europe)" in capsys.readouterr().err
    assert prepare(train, folder, "validation_size=0", "encoding=cp1252") == 1
    assert "text_column=premise,hypothesis" in capsys.readouterr().err
    assert not folder.exists()

    words = ("validation_size=0", "encoding=cp1252", "text_column=premise,hypothesis")
    assert prepare(train, folder, *words) == 0
    assert written(folder)[0] == [
        "premise: Une soupe très froide.\nhypothesis: Elle plaît.",
        "premise: Oui.\nhypothesis: Déjà.",
    ]


def test_llamafactory_reads_what_was_written(train, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    hard = [
        "plain",
        "two\nlines",
        "a\u2028b\u2029c\x85",
        "nul \x00",
        '"quoted" \\',
        "é 悲 😀",
        "<|eot_id|>",
    ]
    write_rows(train, [(text, "joy") for text in hard])
    assert prepare(train, folder, "validation_size=0") == 0
    program = """
import json, sys
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import TrainingArguments
[attributes] = get_dataset_list(["mine_train"], sys.argv[1])
data = DataArguments(dataset_dir=sys.argv[1], dataset="mine_train")
model = ModelArguments(model_name_or_path="none", cache_dir=sys.argv[2])
rows = _load_single_dataset(attributes, model, data, TrainingArguments(output_dir=sys.argv[2]))
json.dump([[row["_prompt"], row["_response"]] for row in rows], open(sys.argv[3], "w"))
"""
    out = tmp_path / "rows.json"
    arguments = [sys.executable, "-c", program, str(folder), str(tmp_path / "cache"), str(out)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(out.read_text(encoding="utf-8"))
    asked = [prompt[0]["content"] for prompt, _ in rows]
    assert asked == [f"{EMOTION.instruction}\n{text}" for text in hard]
    assert all(response == [{"role": "assistant", "content": "joy"}] for _, response in rows)


@given(texts=st.lists(any_text, min_size=1, max_size=20))
def test_any_text_survives_prepare(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("round")
    train = write_rows(folder / "raw.jsonl", [(text, "fear") for text in texts])
    assert prepare(train, folder / "data", "validation_size=0") == 0
    assert written(folder / "data") == (texts, ["fear"] * len(texts))
    content = (folder / "data" / "mine_train.jsonl").read_bytes().decode("utf-8")
    assert len(content.splitlines()) == len(texts), "a line is a row for every reader"


def test_drop_says_what_it_took_and_leaves_held_out_rows_alone(folder, tmp_path, capsys):
    rows = [("c", "joy"), ("c", "love"), ("r", "joy"), ("r", "joy"), ("t", "fear"), ("k", "joy")]
    train = write_rows(tmp_path / "raw.jsonl", rows)
    test = write_rows(tmp_path / "test.jsonl", [("t", "joy"), ("t", "joy")])
    validation = write_rows(tmp_path / "v.jsonl", [("v", "joy"), ("v", "love")])
    out = tmp_path / "audit.json"
    words = [f"test={test}", f"validation={validation}", "drop=leaks,conflicts", "drop=repeats"]
    assert prepare(train, folder, *words, f"json={out}") == 0
    assert written(folder) == (["r", "k"], ["joy", "joy"])
    assert written(folder, "validation") == (["v", "v"], ["joy", "love"])
    assert written(folder, "test") == (["t", "t"], ["joy", "joy"])
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["dropped"] == {"conflicts": 2, "repeats": 1, "leaks": 1}
    assert report["written"]["mine_train"] == {"file": f"{folder}/mine_train.jsonl", "rows": 2}
    # The audit is of what was given, not of what was left.
    audited = [report[key] for key in ("rows", "repeats", "conflicts", "leaks")]
    assert audited == [10, 4, 2, 1]
    assert "conflicts  2 rows" in capsys.readouterr().out

    for word in ("--json", "json=-"):
        assert prepare(train, folder, *words, word, "overwrite=true") == 0
        assert json.loads(capsys.readouterr().out) == report, "in place of the tables"


def test_check_only_writes_no_data(train, folder, tmp_path, capsys):
    out = tmp_path / "audit.json"
    assert main([str(train), "--check-only", f"json={out}"]) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["rows"] == 60
    assert "0 repeats" in capsys.readouterr().out
    assert main([f"train={train}", "check_only=true", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.json", "train.jsonl"]


def test_nothing_is_overwritten_unless_allowed(train, folder, tmp_path, capsys):
    assert prepare(train, folder, "validation_size=6") == 0
    before = snapshot(folder)
    write_rows(train, [("bad", "glee")])
    assert prepare(train, folder) == 2, "seen before the files are read"
    assert snapshot(folder) == before
    error = capsys.readouterr().err
    assert "mine_train.jsonl, " in error
    assert "the entry 'mine_train' of" in error
    assert "overwrite=true" in error

    write_rows(train, [("new", "joy")])
    assert prepare(train, folder, "validation_size=0", "--overwrite") == 0
    assert written(folder) == (["new"], ["joy"])
    assert "left as an earlier run wrote it" in capsys.readouterr().out

    audit = tmp_path / "audit.json"
    audit.write_text("mine")
    assert prepare(train, tmp_path / "other", f"json={audit}") == 2
    assert audit.read_text() == "mine"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *((f"name={name}", "must be letters") for name in ("../up", ".a", "a,b", "a\n", "x" * 101)),
        ("name=", "name and dataset_dir are needed; or write check_only=true"),
        ("drop=leak", "drop='leak' is none of conflicts, repeats, leaks"),
        ("drop=repeats,", "drop='' is none of"),
        ("validation_size=-3", "validation_size=-3.0 must be 0 or more"),
        ("validation_size=nan", "validation_size=nan must be 0 or more"),
        ("validation_size=1.5", "neither a number of rows nor a share"),
        ("validation_size=many", "validation_size='many' is not a number"),
        ("validation_size=60", "leaves fewer of the 60"),
        ("validation=v.jsonl validation_size=3", "exclude each other; keep one"),
        ("task=mood", "the task 'mood' is neither built in"),
        ("test=none.jsonl", "none.jsonl is not there"),
        ("train=none.jsonl", "none.jsonl is not there"),
        (f"dataset_dir={__file__}", "test_main.py is a file; name a folder"),
        ("no_such_key=1", "unknown key 'no_such_key'"),
    ],
)
def test_a_wrong_call_ends_in_a_sentence(train, folder, words, message, capsys):
    assert prepare(train, folder, *words.split(" ")) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize("key", ["train", "validation", "test", "task", "recipe"])
def test_nothing_that_is_read_is_written_over(train, folder, tmp_path, capsys, key):
    content = "seed: 3\n" if key == "recipe" else "name: t\ninstruction: Which?\nlabels: [a, b]\n"
    read = tmp_path / "read.yaml"
    read.write_text(content)
    folder.mkdir()
    (folder / "mine_train.jsonl").symlink_to(read)
    words = [str(read) if key == "recipe" else f"{key}={read}", "overwrite=true"]

    for target, more in ((folder, ""), (tmp_path / "other", f"json={read}")):
        assert prepare(train, target, *words, *filter(None, [more])) == 2
        assert "is an input and would be overwritten" in capsys.readouterr().err
    assert read.read_text() == content
    assert not (tmp_path / "other").exists()


def test_the_audit_is_no_other_output(train, folder, capsys):
    for name in ("mine_train.jsonl", "dataset_info.json"):
        assert prepare(train, folder, f"json={folder / name}") == 2
        assert "would be written twice" in capsys.readouterr().err
    assert not folder.exists()


def test_all_bad_files_are_in_one_error(train, folder, tmp_path, capsys):
    write_rows(train, [("a", "glee"), ("", "joy")])
    test = write_rows(tmp_path / "test.jsonl", [("b", "woe"), ("c", "sad"), ("d", "joy")])
    assert prepare(train, folder, f"test={test}") == 1
    error = capsys.readouterr().err
    assert "train.jsonl:1: unknown label 'glee'" in error
    assert "train.jsonl:2: the text is empty" in error
    assert "test.jsonl:1: unknown label 'woe'" in error
    assert "an alias counts in answers alone: write 'sadness' for 'sad'" in error
    assert not folder.exists()


def test_dropping_everything_is_an_error(train, folder, capsys):
    assert prepare(train, folder, f"test={train}", "drop=leaks", "--json") == 1
    captured = capsys.readouterr()
    assert "drop leaves no training rows" in captured.err
    assert json.loads(captured.out)["leaks"] == 60, "the audit says why"
    assert not folder.exists()


def test_a_reader_who_goes_away_does_not_stop_the_writing(train, folder):
    arguments = ["--train", str(train), "--name", "mine", "--dataset-dir", str(folder)]
    command = [sys.executable, "-m", "llamafactory_emotion.prepare", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        said = running.stderr.read().decode()
    told = f"{train}: texts from text, labels from label\n{train}: label ids, by the task's order: "
    assert (running.returncode, said[: len(told)]) == (0, told)
    assert (folder / "mine_train.jsonl").exists()


def test_the_same_call_writes_the_same_bytes(train, folder, tmp_path):
    assert prepare(train, folder) == 0
    assert prepare(train, tmp_path / "again") == 0
    assert snapshot(folder) == snapshot(tmp_path / "again")
    assert prepare(train, tmp_path / "other", "seed=7") == 0
    assert snapshot(folder) != snapshot(tmp_path / "other")


def test_the_real_data(shared_data, folder):
    source = shared_data / "dair_emotion"
    arguments = ["--train", source / "train.jsonl", "--test", source / "test.jsonl"]
    more = ["--name", "dair", "--dataset-dir", folder, "--json", folder / "audit.json"]
    command = [sys.executable, "-m", "llamafactory_emotion.prepare", *arguments, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.count("texts from text, labels from label") == 2
    assert "31 repeats, 30 of them conflicting (15 joy/love, 6 fear/surprise," in done.stdout
    assert "11 test texts that are in train too, all 11 with another label" in done.stdout
    report = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    figures = {key: report[key] for key in ("repeats", "conflicts", "leaks", "leaks_other_label")}
    assert figures == {"repeats": 31, "conflicts": 30, "leaks": 11, "leaks_other_label": 11}
    rows = {name: entry["rows"] for name, entry in report["written"].items()}
    assert rows == {"dair_train": 14_400, "dair_validation": 1_600, "dair_test": 2_000}


TICKETS = [
    (f"{text} {n}", label)
    for n in range(10)
    for text, label in (
        ("I was charged twice", "billing"),
        ("where is my parcel", "parcel delayed"),
        ("cancel my plan", "cancel / refund"),
    )
]


def test_unknown_labels_get_a_task_that_fits_and_write_task_writes_it(folder, tmp_path, capsys):
    task = tmp_path / "tickets.yaml"
    train = write_rows(tmp_path / "tickets.jsonl", [*TICKETS, ("pay", " Billing ")])
    with train.open("a") as lines:
        lines.write('{"text": "", "label": "billing"}\n')
    assert prepare(train, folder) == 1
    error = capsys.readouterr().err
    assert "write_task=mine.yaml in this call writes and uses it:\nname: mine\n" in error
    assert "labels:\n- billing\n- cancel / refund\n- parcel delayed\n" in error

    assert prepare(train, folder, f"write_task={task}", "validation_size=0", "skip_empty=true") == 0
    shown = capsys.readouterr()
    assert load_task(task).labels == ("billing", "cancel / refund", "parcel delayed")
    assert f"{task}: billing, cancel / refund, parcel delayed" in shown.out
    assert "labels were tidied: ' Billing ' is 'billing' (1)" in shown.err
    assert f"{train}: texts from text, labels from label\n" in shown.err
    pairs = zip(*written(folder, task=load_task(task)), strict=True)
    assert [*pairs] == [*TICKETS, ("pay", "billing")]

    assert prepare(train, folder, f"write_task={task}", "overwrite=true", "task=emotion") == 2
    assert "task and write_task exclude each other" in capsys.readouterr().err
    assert prepare(task, folder, f"write_task={task}", "overwrite=true") == 2, "never over an input"


def test_which_labels_ids_were_taken_for_is_told(folder, tmp_path, capsys):
    train = write_rows(tmp_path / "stars.jsonl", [("cold soup", 1), ("lovely", "2"), ("fine", 1)])

    assert prepare(train, folder, "labels=1 star, 2 stars, 3 stars", "validation_size=0") == 0

    told = "label ids, by the task's order: 1 is '2 stars' (2), '2' is '3 stars' (1)\n"
    assert told in capsys.readouterr().err


def test_values_that_are_no_classes_are_no_task(folder, tmp_path, capsys):
    train = write_rows(tmp_path / "a.jsonl", [(f"text {n}", f"id {n} of many") for n in range(60)])
    assert prepare(train, folder) == 1
    assert "write_task" not in capsys.readouterr().err
    assert prepare(train, folder, f"write_task={tmp_path / 'a.yaml'}") == 2
    assert "60 different labels in 60 rows are no classes" in capsys.readouterr().err
    write_rows(train, [*((f"text {n}", n % 6) for n in range(60)), ("typo", "joyy")])
    assert prepare(train, folder) == 1
    assert "write_task" not in capsys.readouterr().err, "one typo is not a task of its own"


def test_a_test_split_is_drawn_beside_the_validation(folder, tmp_path, capsys):
    rows = [(f"text {n}", EMOTION.labels[n % 5]) for n in range(100)] + [("alone", "surprise")]
    train = write_rows(tmp_path / "raw.jsonl", [*rows, ("twice", "joy"), ("twice", "joy")])
    assert prepare(train, folder, "test_size=20", "validation_size=10") == 0
    drawn, labels = written(folder, "test")
    assert set(Counter(labels).values()) == {4}
    kept, validation = written(folder)[0], written(folder, "validation")[0]
    assert [len(kept), len(validation), len(drawn)] == [73, 10, 20]
    assert sorted([*kept, *validation, *drawn]) == sorted(
        [text for text, _ in rows] + ["twice", "twice"]
    )
    assert {"alone", "twice"} <= {*kept}

    assert prepare(train, folder, "test_size=0.2", "validation_size=0.1", "overwrite=true") == 0
    assert len(written(folder, "validation")[0]) == 10, "of all rows"
    capsys.readouterr()
    assert prepare(train, folder, "test_size=0.2", f"test={train}", "overwrite=true") == 2
    assert "test and test_size exclude each other" in capsys.readouterr().err
    assert prepare(train, folder, "test_size=1.5", "overwrite=true") == 2
    assert "test_size=1.5 is neither" in capsys.readouterr().err


def test_empty_rows_are_refused_or_left_out_and_counted(folder, tmp_path, capsys):
    train, out = tmp_path / "raw.csv", tmp_path / "a.json"
    train.write_text("text,label\nso glad,joy\n ,joy\nwho is there,\n,\nlow,sadness\n")
    assert prepare(train, folder, "validation_size=0") == 1
    assert "empty rows: 3; skip_empty=true leaves them out" in capsys.readouterr().err
    assert prepare(train, folder, "validation_size=0", "skip_empty=true", f"json={out}") == 0
    assert "rows without a text or a label, left out: 3" in capsys.readouterr().err
    assert json.loads(out.read_text())["skipped"] == {"train": 3}
    assert written(folder) == (["so glad", "low"], ["joy", "sadness"])
    lines = tmp_path / "raw.txt"
    lines.write_text("so glad;joy\n\nlow;sadness\n")
    assert prepare(lines, folder, "validation_size=0", "skip_empty=true", "overwrite=true") == 0
    assert "left out: 1" in capsys.readouterr().err


def test_a_folder_of_files_is_read_and_none_in_it_is_replaced(folder, tmp_path, capsys):
    parts = tmp_path / "parts"
    parts.mkdir()
    for n in (1, 2):
        write_rows(parts / f"part-{n}.jsonl", [(f"text {n}", "joy")])
    assert prepare(parts, folder, "validation_size=0") == 0
    assert written(folder)[0] == ["text 1", "text 2"]
    assert prepare(parts, folder, f"json={parts / 'part-1.jsonl'}", "overwrite=true") == 2
    assert "part-1.jsonl is an input" in capsys.readouterr().err


def test_a_written_task_is_told_of_misspellings_and_has_the_words_of_a_model(
    tiny_base, folder, tmp_path, capsys, monkeypatch
):
    task = tmp_path / "moods.yaml"
    usual = [(f"text {n}", ("deep sadness", "great joy")[n % 2]) for n in range(20)]
    odd = [("one", "great/joy"), ("two", "fear"), ("three", "fear")]
    train = write_rows(tmp_path / "moods.jsonl", [*usual, *odd])

    from transformers import AutoTokenizer

    loaded = Mock(wraps=AutoTokenizer.from_pretrained)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", loaded)
    model = f"model_name_or_path={tiny_base}"
    assert prepare(train, folder, model) == 1
    offered = capsys.readouterr().err
    loaded.reset_mock()
    assert prepare(train, folder, f"write_task={task}", model) == 0

    loaded.assert_called_once()
    said, told = capsys.readouterr()
    assert "several tokens  " in said
    assert "several tokens  deep sadness" not in said
    assert "for the task's file" not in said
    assert "'great/joy' (1) may be 'great joy' (10) in another spelling" in told
    assert told.count("in another spelling") == 1
    assert load_task(task).words["deep sadness"] == "sadness"
    asked = "Classify the following text. Answer with one of: sadness for deep sadness, fear, "
    assert load_task(task).instruction.startswith(asked)
    assert f"instruction: '{asked}" in offered
    assert prepare(train, folder, f"write_task={task}", "name=again") == 2
    assert f"take it as it is with task={task}, or write it anew" in capsys.readouterr().err
