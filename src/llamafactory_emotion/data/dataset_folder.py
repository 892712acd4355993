"""The folder that LLaMA-Factory calls `dataset_dir`: data files and `dataset_info.json`.

Writes rows as alpaca JSON Lines and registers them, for `prepare` and `init`. Entries that are
not ours stay as they are, to the letter where that is possible. Data files are in place before they
are registered, and nothing is moved into place before all of it is written.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.files import lock, open_text, write_whole
from llamafactory_emotion.task import BUILT_IN_TASKS, EMOTION, Task, load_task

if TYPE_CHECKING:
    from llamafactory_emotion.data.reading import Row

FILE_NAME = "dataset_info.json"
ALPACA_FORMATTING, EMOTION_FORMATTING = "alpaca", "emotion"
# The key of an entry that names its task: a built-in one, or a file in the same folder.
# LLaMA-Factory passes over keys that it does not know.
TASK_KEY = "emotion_task"
# Said in every entry, not left to LLaMA-Factory's defaults.
_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
_NAMES = {
    "columns": '{"prompt": "text", "response": "label"}',
    "tags": '{"role_tag": "from", "content_tag": "value"}',
}
_TEXTS = (TASK_KEY, "formatting", "file_name", "hf_hub_url", "subset", "split", "folder")
# Legal in JSON, but some readers take them for the end of a line.
_LINE_ENDS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


@dataclass(frozen=True)
class DatasetInfo:
    """The entries of a `dataset_info.json`, and its text (empty when there is no file)."""

    entries: Mapping[str, Any]
    text: str = ""


def read_dataset_info(folder: Path) -> DatasetInfo:
    """Read a folder's `dataset_info.json`; a folder without one has no entries.

    Raises:
        DataError: The file is not a JSON object in UTF-8.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return DatasetInfo({})
    with open_text(path) as file:
        text = file.read()
    try:
        entries = json.loads(text)
    except ValueError as error:
        line, reason = getattr(error, "lineno", 1), getattr(error, "msg", error)
        raise DataError(
            f"{path}:{line}: not valid JSON ({reason}); mend it, nothing was changed."
        ) from error
    if not isinstance(entries, dict):
        raise DataError(f"{path} is not a JSON object of data sets; mend it, nothing was changed.")
    return DatasetInfo(entries, text)


def read_entry(entries: Mapping[str, Any], name: str, folder: Path) -> Mapping[str, Any]:
    """Return the entry of a registered data set.

    Raises:
        DataError: It is not an object, its columns or tags are not an object of names, or a value
            is not text where LLaMA-Factory takes text alone.
    """
    path, entry = folder / FILE_NAME, entries[name]
    if not isinstance(entry, Mapping):
        raise DataError(f"{path}: the entry {name!r} is not an object; mend it.")
    for key, example in _NAMES.items():
        names = entry.get(key, {})
        is_object = isinstance(names, Mapping)
        if not is_object or not all(isinstance(one, str | None) for one in names.values()):
            raise DataError(
                f"{path}: the {key} of {name!r} are {json.dumps(names, ensure_ascii=False)} and "
                f"must be an object of names; write for example {example}."
            )
    if strange := [key for key in _TEXTS if not isinstance(entry.get(key), str | None)]:
        raise DataError(f"{path}: {', '.join(strange)} of {name!r} must be text; mend the entry.")
    return entry


def task_file(folder: Path, name: str) -> Path:
    """Return the file that holds the task of the data sets called `name`."""
    return folder / f"{name}_task.yaml"


def task_of_entry(entries: Mapping[str, Any], name: str, folder: Path) -> Task | None:
    """Return the task that a registered data set asks, or None where its entry does not say.

    Raises:
        DataError: Its task's file is not there, or is none.
    """
    entry = read_entry(entries, name, folder)
    named = entry.get(TASK_KEY)
    if named is None:
        return EMOTION if entry.get("formatting") == EMOTION_FORMATTING else None
    if named in BUILT_IN_TASKS:
        return BUILT_IN_TASKS[named]
    path = folder / str(named)
    if not path.is_file():
        raise DataError(
            f"{path}, the task of the data set {name!r} ({TASK_KEY} in {folder / FILE_NAME}), is "
            "not there; put it back, or name the task with task=FILE."
        )
    return load_task(path)


def extended_text(info: DatasetInfo, new: Mapping[str, Any]) -> str:
    """Return the file's text with new entries; those of the same name are replaced where they are.

    When all of `new` is new, the text is only added to, so that a diff shows the added lines alone.
    """
    entries = {**info.entries, **new}
    if info.text and entries == info.entries:
        return info.text
    if info.entries and not new.keys() & info.entries.keys():
        ending = "\r\n" if "\r\n" in info.text else "\n"
        head = info.text.rstrip().removesuffix("}").rstrip()
        added = f"{head},{ending}{ending.join(json.dumps(new, indent=2).splitlines()[1:])}{ending}"
        if json.loads(added) == entries:
            return added
    # LLaMA-Factory reads the file in the system's own encoding, which need not be UTF-8.
    return json.dumps(entries, indent=2, ensure_ascii=info.text.isascii()) + "\n"


def data_file(folder: Path, name: str) -> Path:
    """Return the file that holds the data set `name`."""
    return folder / f"{name}.jsonl"


def check_free(folder: Path, names: Iterable[str], info: DatasetInfo) -> None:
    """Raise a CallError that names every file and entry of these names that is there already."""
    names = list(names)
    taken = [str(data_file(folder, name)) for name in names if data_file(folder, name).exists()]
    taken += [
        f"the entry {name!r} of {folder / FILE_NAME}" for name in names if name in info.entries
    ]
    if taken:
        raise CallError(
            f"{', '.join(taken)} would be overwritten; choose another name or allow it with "
            "overwrite=true."
        )


def write_datasets(
    folder: Path,
    datasets: "Mapping[str, Sequence[Row]]",
    task: Task,
    *,
    overwrite: bool,
    also: Mapping[Path, str],
    asks: str | None = None,
) -> DatasetInfo:
    """Write each data set to its file and register it; all or nothing.

    Args:
        folder: LLaMA-Factory's `dataset_dir`; made when it is not there.
        datasets: Name to rows.
        task: Gives the instruction and the answer words.
        overwrite: Replace files and entries of these names.
        also: Other files that belong to the run: path to text, to which a line end is added.
        asks: The task as the entries name it: a built-in one, or its file's name in the folder.

    Returns:
        What `dataset_info.json` held before.

    Raises:
        CallError: Something would be overwritten.
        DataError: `dataset_info.json` is not valid.
        EmotionError: A file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmotionError(
            f"{folder} cannot be made ({error.strerror}); name another with dataset_dir."
        ) from error
    with _locked(folder), ExitStack() as stack:
        info = read_dataset_info(folder)
        if not overwrite:
            check_free(folder, datasets, info)
        entries = {
            name: {
                "file_name": data_file(folder, name).name,
                "formatting": ALPACA_FORMATTING,
                "columns": _COLUMNS,
                **({TASK_KEY: asks} if asks else {}),
            }
            for name in datasets
        }
        # An exit stack unwinds from its end: what is written first is moved into place last.
        registry = stack.enter_context(write_whole(folder / FILE_NAME, overwrite=True))
        _write_lines(registry, [extended_text(info, entries)])
        for path, text in also.items():
            _write_lines(stack.enter_context(write_whole(path, overwrite=overwrite)), [text, "\n"])
        for name, rows in datasets.items():
            out = write_whole(data_file(folder, name), overwrite=overwrite)
            _write_lines(stack.enter_context(out), _alpaca_lines(rows, task))
    return info


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder's `dataset_info.json` between reading and writing it.

    The lock is on the folder itself: no lock file is left behind, and it ends with the process.
    """
    if os.name == "nt":  # a folder cannot be opened; the file is still replaced whole
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _alpaca_lines(rows: "Iterable[Row]", task: Task) -> Iterator[str]:
    """Yield each row as a line of JSON; a text is data and every character of it survives."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    for row in rows:
        answer = task.word_of(row.label)
        line = encode({"instruction": task.instruction, "input": row.text, "output": answer})
        yield line.translate(_LINE_ENDS) + "\n"


def _write_lines(out: TextIO, lines: Iterable[str]) -> None:
    """Write and push to the disk, so that a full one is met before anything is moved."""
    out.writelines(lines)
    out.flush()
    os.fsync(out.fileno())
