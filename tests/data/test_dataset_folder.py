"""`dataset_info.json` is extended and never harmed, whatever ends a run and whoever runs beside."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data.dataset_folder import (
    FILE_NAME,
    DatasetInfo,
    extended_text,
    read_dataset_info,
    write_datasets,
)
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.task import EMOTION

OTHERS = '{"b": {"file_name": "b.json"},\n  "a": {"hf_hub_url": "x/é"}\n}\n'


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def register(folder, name, *, overwrite=False):
    return write_datasets(
        folder, {name: [Row("x", "joy", 1)]}, EMOTION, overwrite=overwrite, also={}
    )


@pytest.fixture
def folder(tmp_path):
    """A dataset folder with somebody else's entries."""
    (tmp_path / FILE_NAME).write_text(OTHERS, encoding="utf-8")
    return tmp_path


def test_other_entries_stay_to_the_letter(folder):
    info = folder / FILE_NAME
    register(folder, "mine")
    text = info.read_text(encoding="utf-8")
    assert text.startswith(OTHERS.removesuffix("\n}\n") + ",\n")
    assert list(json.loads(text)) == ["b", "a", "mine"]

    register(folder, "mine", overwrite=True)
    assert info.read_text(encoding="utf-8") == text, "registering again changes nothing"

    info.write_text(text.replace("mine.jsonl", "old"), encoding="utf-8")
    register(folder, "mine", overwrite=True)
    assert json.loads(info.read_text(encoding="utf-8")) == json.loads(text)
    assert "x/é" in info.read_text(encoding="utf-8")


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
def test_entries_survive_whatever_they_are(entries, indent, ascii_only, names):
    text = json.dumps(entries, indent=indent, ensure_ascii=ascii_only)
    new = {name: {"file_name": name} for name in names}
    extended = json.loads(extended_text(DatasetInfo(entries, text), new))
    assert list(extended.items()) == list({**entries, **new}.items())


def test_a_windows_file_keeps_its_line_ends(folder):
    (folder / FILE_NAME).write_bytes(b'{\r\n  "b": {"file_name": "b.json"}\r\n}\r\n')
    register(folder, "mine")
    content = (folder / FILE_NAME).read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") > 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "dataset_info.json:1: not valid JSON"),
        (b'{"a": 1,\n:}', "dataset_info.json:2: not valid JSON"),
        (b"", "dataset_info.json:1: not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "dataset_info.json:1: not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"a": "\xe9"}', "is not UTF-8"),
    ],
)
def test_a_bad_file_is_left_alone(folder, content, message):
    (folder / FILE_NAME).write_bytes(content)
    for act in (read_dataset_info, lambda folder: register(folder, "mine")):
        with pytest.raises(DataError, match=message):
            act(folder)
    assert contents(folder) == {FILE_NAME: content}


def test_a_folder_that_cannot_be_made_is_said(folder):
    with pytest.raises(EmotionError, match=r"dataset_info\.json/below cannot be made \(Not a dir"):
        register(folder / FILE_NAME / "below", "mine")


def test_an_entry_without_a_file_is_not_overwritten_either(folder):
    with pytest.raises(CallError, match=r"the entry 'a' of .* allow it with overwrite=true"):
        register(folder, "a")
    assert contents(folder) == {FILE_NAME: OTHERS.encode()}


def test_a_full_disk_in_the_middle_leaves_everything_as_it_was(folder, full_disk):
    datasets = {"one": [Row("x", "joy", 1)], "two": [Row("x" * full_disk, "joy", 1)]}
    with pytest.raises(EmotionError, match=r"two\.jsonl cannot be written"):
        write_datasets(folder, datasets, EMOTION, overwrite=False, also={folder / "audit": "{}"})
    assert contents(folder) == {FILE_NAME: OTHERS.encode()}


SLOW_RUN = """
import signal, sys, time
from pathlib import Path
from llamafactory_emotion.data.dataset_folder import write_datasets
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.task import EMOTION
# Whoever runs the tests in the background has interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
class Slow(list):
    def __iter__(self):
        yield Row("x", "joy", 1)
        print("written", flush=True)
        time.sleep(300)
write_datasets(Path(sys.argv[1]), {"mine": Slow()}, EMOTION, overwrite=False, also={})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_killed_in_the_middle_changes_nothing(folder, number):
    command = [sys.executable, "-c", SLOW_RUN, str(folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        assert b"written" in running.stdout.readline()
        running.send_signal(number)
        try:
            running.wait(120)
        finally:
            running.kill()
    left = contents(folder)
    if number == signal.SIGKILL:
        left = {name: content for name, content in left.items() if name[0] != "."}
    assert left == {FILE_NAME: OTHERS.encode()}
    register(folder, "mine")  # nothing that is left stands in the way of the next run


def test_runs_at_the_same_time_do_not_lose_each_others_entries(folder):
    names = [f"set{n}" for n in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: register(folder, name), names))
    assert set(json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))) == {*names, "a", "b"}
