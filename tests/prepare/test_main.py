"""`prepare` from raw files to what LLaMA-Factory's own loader reads, and what it must not touch."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data import dataset_folder
from llamafactory_emotion.data.dataset_folder import DatasetInfo, extended_text, write_datasets
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.prepare.__main__ import main
from llamafactory_emotion.task import EMOTION

LABELS = EMOTION.labels
OTHERS = '{"b": {"file_name": "b.json"},\n  "a": {"hf_hub_url": "x/é"}\n}\n'

any_text = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


def write_rows(path: Path, rows: list[tuple[str, Any]]) -> Path:
    lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """Sixty rows, ten of each class."""
    return write_rows(tmp_path / "train.jsonl", [(f"text {n}", n % 6) for n in range(60)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset folder that is not there yet."""
    return tmp_path / "data"


def prepare(train: Path, folder: Path, *more: str | Path) -> int:
    arguments = ["--train", train, "--name", "mine", "--dataset-dir", folder, *more]
    return main([str(argument) for argument in arguments])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_the_splits_are_written_and_registered(
    train: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = write_rows(tmp_path / "test.jsonl", [("a test", "joy"), ("another", "LOVE")])
    assert prepare(train, folder, "--test", test, "--validation-size", "12") == 0
    assert sorted(snapshot(folder)) == [
        "dataset_info.json",
        "mine_test.jsonl",
        "mine_train.jsonl",
        "mine_validation.jsonl",
    ]
    validation = read_rows(folder / "mine_validation.jsonl", EMOTION)
    assert Counter(row.label for row in validation) == dict.fromkeys(LABELS, 2)
    kept = read_rows(folder / "mine_train.jsonl", EMOTION)
    assert {row.text for row in [*kept, *validation]} == {f"text {n}" for n in range(60)}
    assert (folder / "mine_test.jsonl").read_text(encoding="utf-8").splitlines()[1] == (
        '{"instruction": "Do emotion classification for data in the following text.", '
        '"input": "another", "output": "love"}'
    )
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    assert list(info) == ["mine_train", "mine_validation", "mine_test"]
    assert info["mine_train"]["file_name"] == "mine_train.jsonl"
    printed = capsys.readouterr().out
    assert printed.index("0 repeats") < printed.index("mine_train.jsonl, 48 rows")


def test_llamafactory_reads_what_was_written(
    train: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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
    assert prepare(train, folder, "--validation-size", "0") == 0
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
def test_any_text_survives_prepare(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    train = write_rows(folder / "raw.jsonl", [(text, "fear") for text in texts])
    assert prepare(train, folder / "data", "--validation-size", "0") == 0
    written = folder / "data" / "mine_train.jsonl"
    assert [row.text for row in read_rows(written, EMOTION)] == texts
    content = written.read_bytes().decode("utf-8")
    assert len(content.splitlines()) == len(texts), "a line is a row for every reader"


def test_windows_files_become_the_same_rows(train: Path, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "windows.csv"
    table.write_bytes(b"\xef\xbb\xbfText,Emotion\r\n" + b'"a ""b"", c",Joy\r\nd,0\r\n')
    assert prepare(table, folder, "--validation-size", "0") == 0
    rows = read_rows(folder / "mine_train.jsonl", EMOTION)
    assert [(row.text, row.label) for row in rows] == [('a "b", c', "joy"), ("d", "sadness")]
    assert b"\r" not in (folder / "mine_train.jsonl").read_bytes()


def test_a_given_validation_file_is_used(train: Path, folder: Path, tmp_path: Path) -> None:
    write_rows(train, [("a", "joy"), ("b", "joy"), ("b", "joy"), ("c", "joy"), ("c", "fear")])
    validation = write_rows(tmp_path / "v.jsonl", [("v", "joy"), ("v", "love")])
    assert prepare(train, folder, "--validation", validation, "--drop", "conflicts,repeats") == 0
    written = read_rows(folder / "mine_validation.jsonl", EMOTION)
    assert [row.label for row in written] == ["joy", "love"], "held-out rows are never dropped"
    kept = read_rows(folder / "mine_train.jsonl", EMOTION)
    assert [row.text for row in kept] == ["a", "b"]


def test_drop_says_what_it_took_and_leaves_test_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("c", "joy"), ("c", "love"), ("r", "joy"), ("r", "joy"), ("t", "fear"), ("k", "joy")]
    train = write_rows(tmp_path / "raw.jsonl", rows)
    test = write_rows(tmp_path / "test.jsonl", [("t", "joy"), ("t", "joy")])
    out = tmp_path / "audit.json"
    more = ["--validation-size", "0", "--drop", "leaks,conflicts,repeats", "--json", out]
    assert prepare(train, folder, "--test", test, *more) == 0
    assert [row.text for row in read_rows(folder / "mine_train.jsonl", EMOTION)] == ["r", "k"]
    assert len(read_rows(folder / "mine_test.jsonl", EMOTION)) == 2
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["dropped"] == {"conflicts": 2, "repeats": 1, "leaks": 1}
    assert report["written"]["mine_train"]["rows"] == 2
    # The audit is of what was given, not of what was left.
    assert (report["rows"], report["repeats"], report["conflicts"], report["leaks"]) == (8, 3, 1, 1)
    assert "conflicts  2 rows" in capsys.readouterr().out


def test_check_only_writes_no_data(train: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.json"
    assert prepare(train, folder, "--check-only", "--json", out) == 0
    assert not folder.exists()
    assert json.loads(out.read_text(encoding="utf-8"))["rows"] == 60
    assert main(["--train", str(train), "--check-only"]) == 0


def test_another_task_brings_its_own_labels_and_instruction(folder: Path, tmp_path: Path) -> None:
    task = tmp_path / "tone.yaml"
    task.write_text("name: tone\ninstruction: Which tone?\nlabels: [bad, good]\n", encoding="utf-8")
    train = write_rows(tmp_path / "raw.jsonl", [("x", 1), ("y", "BAD")])
    assert prepare(train, folder, "--task", task, "--validation-size", "0") == 0
    first = json.loads((folder / "mine_train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first == {"instruction": "Which tone?", "input": "x", "output": "good"}


def test_other_entries_stay_to_the_letter(train: Path, folder: Path) -> None:
    folder.mkdir()
    info = folder / "dataset_info.json"
    info.write_text(OTHERS, encoding="utf-8")
    assert prepare(train, folder, "--validation-size", "0") == 0
    text = info.read_text(encoding="utf-8")
    assert text.startswith(OTHERS.removesuffix("\n}\n") + ",\n")
    assert list(json.loads(text)) == ["b", "a", "mine_train"]
    assert prepare(train, folder, "--validation-size", "0", "--overwrite") == 0
    assert info.read_text(encoding="utf-8") == text, "registering again changes nothing"
    info.write_text(text.replace("mine_train.jsonl", "old"), encoding="utf-8")
    assert prepare(train, folder, "--validation-size", "0", "--overwrite") == 0
    replaced = info.read_text(encoding="utf-8")
    assert json.loads(replaced) == json.loads(text)
    assert "x/é" in replaced


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    entries=st.dictionaries(st.text(), json_values, max_size=5),
    indent=st.sampled_from([None, 2, "\t"]),
    ascii_only=st.booleans(),
    names=st.lists(st.sampled_from(["x", "y", "z"]), unique=True, min_size=1),
)
def test_entries_survive_whatever_they_are(
    entries: dict[str, Any], indent: Any, ascii_only: bool, names: list[str]
) -> None:
    text = json.dumps(entries, indent=indent, ensure_ascii=ascii_only)
    new = {name: {"file_name": name} for name in names}
    extended = json.loads(extended_text(DatasetInfo(entries, text), new))
    assert extended == {**entries, **new}
    assert list(extended) == list({**entries, **new})


def test_a_windows_dataset_info_keeps_its_line_ends(train: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "dataset_info.json").write_bytes(b'{\r\n  "b": {"file_name": "b.json"}\r\n}\r\n')
    assert prepare(train, folder, "--validation-size", "0") == 0
    content = (folder / "dataset_info.json").read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") > 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "dataset_info.json:1: not valid JSON"),
        (b'{"a": 1,\n}', "dataset_info.json:2: not valid JSON"),
        (b"", "dataset_info.json:1: not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"a": "\xe9"}', "is not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_dataset_info_is_left_alone(
    train: Path, folder: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    (folder / "dataset_info.json").write_bytes(content)
    assert prepare(train, folder) == 1
    assert snapshot(folder) == {"dataset_info.json": content}
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_nothing_is_overwritten_unless_allowed(
    train: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(train, folder, "--validation-size", "6") == 0
    before = snapshot(folder)
    write_rows(train, [("new", "joy")])
    assert prepare(train, folder, "--validation-size", "0") == 2
    assert snapshot(folder) == before
    error = capsys.readouterr().err
    assert "mine_train.jsonl, the entry 'mine_train' of" in error
    assert "--overwrite" in error
    assert prepare(train, folder, "--validation-size", "0", "--overwrite") == 0
    assert len(read_rows(folder / "mine_train.jsonl", EMOTION)) == 1
    assert "left as an earlier run wrote it" in capsys.readouterr().out


def test_what_would_be_overwritten_is_seen_before_the_files_are_read(
    train: Path, folder: Path
) -> None:
    assert prepare(train, folder) == 0
    write_rows(train, [("bad", "glee")])
    assert prepare(train, folder) == 2


def test_an_entry_without_a_file_is_not_overwritten_either(folder: Path) -> None:
    folder.mkdir()
    text = '{"x": {"hf_hub_url": "a/b"}}'
    (folder / "dataset_info.json").write_text(text, encoding="utf-8")
    with pytest.raises(CallError, match="the entry 'x' of"):
        _register(folder, "x")
    assert snapshot(folder) == {"dataset_info.json": text.encode()}


def test_an_audit_file_is_not_overwritten_either(train: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.json"
    out.write_text("mine", encoding="utf-8")
    assert prepare(train, folder, "--json", out) == 2
    assert out.read_text(encoding="utf-8") == "mine"
    assert not folder.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--name", "../up"], "--name '../up' must be letters"),
        (["--name", ".hidden"], "must be letters"),
        (["--name", "a/b"], "must be letters"),
        (["--name", "a,b"], "must be letters"),
        (["--name", ""], "must be letters"),
        (["--name", "x" * 101], "must be letters"),
        (["--name", "mine\n"], "must be letters"),
        (["--drop", "leak"], "--drop 'leak': choose from conflicts, repeats, leaks"),
        (["--validation-size", "-3"], "neither a number of rows nor a share"),
        (["--validation-size", "60"], "leaves none of the 60"),
        (["--task", "mood"], "Task 'mood' is neither built in"),
        (["--test", "none.jsonl"], "none.jsonl is not there"),
        (["--train", "none.jsonl"], "none.jsonl is not there"),
    ],
)
def test_a_wrong_call_ends_in_a_sentence(
    train: Path, folder: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(train, folder, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not folder.exists()


def test_name_and_folder_are_needed_to_write(
    train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--train", str(train)]) == 2
    assert "--name and --dataset-dir are needed; or give --check-only" in capsys.readouterr().err


def test_validation_file_and_size_exclude_each_other(train: Path, folder: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        prepare(train, folder, "--validation", train, "--validation-size", "3")
    assert caught.value.code == 2


def test_a_dataset_folder_that_is_a_file(train: Path, tmp_path: Path) -> None:
    assert prepare(train, train) == 2
    assert len(read_rows(train, EMOTION)) == 60


def test_an_input_is_never_overwritten(folder: Path) -> None:
    folder.mkdir()
    train = write_rows(folder / "mine_train.jsonl", [("a", "joy"), ("b", "love")])
    before = train.read_bytes()
    assert prepare(train, folder, "--overwrite") == 2
    assert prepare(train, folder / "other", "--json", train, "--overwrite") == 2
    assert train.read_bytes() == before


def test_all_bad_files_are_in_one_error(
    train: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(train, [("a", "glee"), ("", "joy")])
    test = write_rows(tmp_path / "test.jsonl", [("b", "woe")])
    assert prepare(train, folder, "--test", test) == 1
    error = capsys.readouterr().err
    assert "train.jsonl:1: unknown label 'glee'" in error
    assert "train.jsonl:2: the text is empty" in error
    assert "test.jsonl:1: unknown label 'woe'" in error
    assert not folder.exists()


def test_dropping_everything_is_an_error(
    train: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(train, folder, "--test", train, "--drop", "leaks") == 1
    captured = capsys.readouterr()
    assert "--drop leaves no training rows" in captured.err
    assert "60 test texts that stand in train" in captured.out, "the audit says why"
    assert not folder.exists()


def test_a_failure_in_the_middle_leaves_nothing(
    train: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "dataset_info.json").write_text(OTHERS, encoding="utf-8")
    before = snapshot(folder)
    lines = dataset_folder.alpaca_lines
    calls: list[int] = []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return lines(*arguments)

    monkeypatch.setattr(dataset_folder, "alpaca_lines", failing)
    assert prepare(train, folder, "--validation-size", "6") == 1
    assert len(calls) == 2
    assert snapshot(folder) == before


SLOW_RUN = """
import signal, sys, time
# Whoever runs the tests in the background has interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from llamafactory_emotion.data import dataset_folder
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.prepare.__main__ import main
lines = dataset_folder.alpaca_lines
def slow(rows, task):
    yield from lines(rows, task)
    print("written", file=sys.stderr, flush=True)
    time.sleep(300)
dataset_folder.alpaca_lines = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_killed_in_the_middle_changes_nothing(
    train: Path, folder: Path, number: signal.Signals
) -> None:
    folder.mkdir()
    (folder / "dataset_info.json").write_text(OTHERS, encoding="utf-8")
    before = snapshot(folder)
    arguments = ["--train", str(train), "--name", "mine", "--dataset-dir", str(folder)]
    command = [sys.executable, "-c", SLOW_RUN, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        assert running.stderr is not None
        assert b"written" in running.stderr.readline()
        running.send_signal(number)
        try:
            running.wait(120)
        finally:
            running.kill()
    visible = {name: content for name, content in snapshot(folder).items() if name[0] != "."}
    assert visible == before
    if number == signal.SIGINT:
        assert running.returncode == 130
        assert snapshot(folder) == before
    # Nothing that is left stands in the way of the next run.
    assert prepare(train, folder) == 0


def _register(folder: Path, name: str) -> None:
    write_datasets(folder, {name: [Row("x", "joy", 1)]}, EMOTION, overwrite=False, also={})


def test_runs_at_the_same_time_do_not_lose_each_others_entries(folder: Path) -> None:
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    names = [f"set{n}" for n in range(6)]
    processes = [context.Process(target=_register, args=(folder, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert sorted(json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))) == names


def test_a_reader_who_goes_away_does_not_stop_the_writing(train: Path, folder: Path) -> None:
    arguments = ["--train", str(train), "--name", "mine", "--dataset-dir", str(folder)]
    command = [sys.executable, "-m", "llamafactory_emotion.prepare", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0
    assert (folder / "mine_train.jsonl").exists()


def test_the_same_call_writes_the_same_bytes(train: Path, folder: Path, tmp_path: Path) -> None:
    assert prepare(train, folder) == 0
    assert prepare(train, tmp_path / "again") == 0
    assert snapshot(folder) == snapshot(tmp_path / "again")
    assert prepare(train, tmp_path / "other", "--seed", "7") == 0
    assert snapshot(folder) != snapshot(tmp_path / "other")


def test_the_real_data_in_time(shared_data: Path, folder: Path) -> None:
    source = shared_data / "dair_emotion"
    arguments = ["--train", source / "train.jsonl", "--test", source / "test.jsonl"]
    more = ["--name", "dair", "--dataset-dir", folder, "--json", folder / "audit.json"]
    command = [sys.executable, "-m", "llamafactory_emotion.prepare", *arguments, *more]
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = os.times()
    # Processor time: a busy machine must not fail this.
    assert after.children_user - before.children_user < 5
    assert (done.returncode, done.stderr) == (0, "")
    assert "31 repeats, 30 of them conflicting (15 joy/love, 6 fear/surprise," in done.stdout
    assert "11 test texts that stand in train, all 11 with another label" in done.stdout
    report = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    figures = {key: report[key] for key in ("repeats", "conflicts", "leaks", "leaks_other_label")}
    assert figures == {"repeats": 31, "conflicts": 30, "leaks": 11, "leaks_other_label": 11}
    written = {name: entry["rows"] for name, entry in report["written"].items()}
    assert written == {"dair_train": 14_400, "dair_validation": 1_600, "dair_test": 2_000}


def test_the_audit_replaces_neither_an_input_nor_another_output(
    train: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = train.read_bytes()

    assert main(["--train", str(train), "--check-only", "--json", str(train), "--overwrite"]) == 2
    assert "is an input and would be overwritten" in capsys.readouterr().err
    assert train.read_bytes() == before
    for name in ("mine_train.jsonl", "dataset_info.json"):
        assert prepare(train, folder, "--json", str(folder / name)) == 2
        assert "would be written twice" in capsys.readouterr().err
    assert not folder.exists()
