"""Find the task of a call, so that nobody names one twice.

The first of these counts: what the call says (`task=`, `labels=`), what the model was trained for,
what the data asks, what the predictions were made with, the labels of a head, and the built-in
emotion. Models are folders here; `scoring.loading.folder_with` makes one of a hub id.
"""

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import (
    TASK_KEY,
    read_dataset_info,
    task_file,
    task_of_entry,
)
from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.files import STANDARD_STREAM, open_text, real_path
from llamafactory_emotion.predictions.sidecar import read_sidecar, sidecar_path
from llamafactory_emotion.run_record import BAKED_PROMPT, RECORD_NAME, read_record
from llamafactory_emotion.task import (
    BUILT_IN_TASKS,
    EMOTION,
    Task,
    instruction_for,
    load_task,
    task_of,
)
from llamafactory_emotion.terminal import printable
from llamafactory_emotion.text import name_key

TASK_ABOUT = (
    "a built-in task or a task's YAML file (default: the model's, the data's, else emotion)"
)
LABELS_ABOUT = "labels instead of a task: a, b, c, or a file with one a line"
KNOWING = (RECORD_NAME, "config.json")  # the files of a model that know its task
_DEFAULT = "the default, as nothing here names a task"
_SPLIT = re.compile(r"_(?:train|validation|test)$")
_LIST = re.compile(r"\[[^\[\]]*\]")
_NO_LABEL = re.compile(r"label_\d+", re.IGNORECASE)
Found = Iterable[tuple[Task, str]]


@dataclass(frozen=True)
class Sources:
    """What a call names that may know its task.

    Attributes:
        models: Folders of an adapter and its model, the adapter first.
        dataset_dir: The folder of `dataset_info.json`.
        datasets: The names of data sets in it, with commas.
        files: Files of data.
        predictions: Files of predictions.
    """

    models: Sequence[str | None] = ()
    dataset_dir: str | Path = ""
    datasets: str | None = None
    files: Sequence[str | Path | None] = ()
    predictions: Sequence[str] = ()


def choose_task(named: str | None, labels: str | None, sources: Sources) -> Task:
    """Find the task of a command's call and say in one line, on stderr, which it is.

    Nothing is said of a task that the call names, nor of the one that is the default.

    Raises:
        CallError: Both `task` and `labels` are given, or several tasks are found and none named.
        DataError: A task, a record or a sidecar is broken, or the task of a data set is gone.
    """
    task, warning = find_task(named, labels, sources)
    if warning:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    if not (named or labels) and task != EMOTION:
        print(printable(f"task {task.name!r}, {task.origin}"), file=sys.stderr)
    return task


def find_task(
    named: str | Task | None, labels: str | Sequence[str] | None, sources: Sources
) -> tuple[Task, str | None]:
    """Find a task as `choose_task`, and what to warn of."""
    trained = [*tasks_of_models(sources.models)]
    called = called_task(named, labels, chain(trained, _of_predictions(sources.predictions)))
    if called is not None:
        other = trained_otherwise(called, trained)
        return called, other and f"the call's task {called.name!r} is used, and {other}"
    found = trained
    if len(trained) != 1:  # of several that a model knows, the data chooses
        found = [*_of_data(sources)] or trained
    if not found:
        found = [*_of_predictions(sources.predictions)]
        # Files to compare may have asked in different words.
        found = found[: 1 if len({frozenset(task.labels) for task, _ in found}) == 1 else None]
    found = found or [*_of_heads(sources.models)]
    return _only(found or [(EMOTION, _DEFAULT)]), None


def _only(found: Sequence[tuple[Task, str]]) -> Task:
    """Return the one task of what was found, with its origin."""
    if len({(task.labels, task.instruction, *task.words.items()) for task, _ in found}) > 1:
        listed = ", ".join(dict.fromkeys(f"{task.name!r} ({origin})" for task, origin in found))
        raise CallError(f"there are several tasks here: {listed}; choose one with task=.")
    task, origin = found[0]
    return replace(task, origin=origin)


def called_task(
    named: str | Task | None, labels: str | Sequence[str] | None, known: Found = ()
) -> Task | None:
    """Return the task that a call names, by its labels or as `named`; None where it names none.

    `named` is a task, the name of one that is known or built in, or a task's file.

    Raises:
        CallError: Both are given, or the labels are none.
        DataError: There is no such task, or its file is broken.
    """
    if named is not None and labels is not None:
        raise CallError("task and labels exclude each other; keep one.")
    if labels is not None:
        named = task_of_labels(labels)
    elif isinstance(named, str):
        named = next((task for task, _ in known if task.name == named), None) or load_task(named)
    return named and replace(named, origin="named by the call")


def trained_otherwise(task: Task, trained: Sequence[tuple[Task, str]]) -> str | None:
    """Say that a model was trained for other labels, words or another question than a task's."""

    def asked(one: Task) -> object:
        return set(one.labels), dict(one.words), one.instruction

    if not trained or any(asked(one) == asked(task) for one, _ in trained):
        return None
    others = (f"{one.name!r} ({origin})" for one, origin in trained)
    return f"the model was trained for another: {', '.join(dict.fromkeys(others))}"


def task_of_labels(labels: str | Sequence[str]) -> Task:
    """Make a task of labels alone: a list, text with commas, or a file with one a line.

    A label that holds a comma itself is quoted, as in CSV.
    """
    if isinstance(labels, str):
        labels = _labels_in(labels)
    labels = tuple(text for label in labels if (text := str(label).strip()))
    if len(labels) < 2:
        raise CallError(
            f'labels={", ".join(labels)} are not two or more; write labels="a, b, c", or name a '
            "file with one label a line."
        )
    return Task("labels", labels, instruction_for(labels))


def _labels_in(text: str) -> list[str]:
    with suppress(OSError, ValueError):  # a name too long for a file's is none
        if Path(text).is_file():
            with open_text(text) as file:
                return file.read().splitlines()
    if _LIST.fullmatch(text):
        text = text[1:-1]
        text = text.replace("'", '"') if text.startswith("'") else text  # as Python writes a list
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise CallError(
            f"labels={text} cannot be read ({error}); quote a label that holds a comma: "
            "labels='a, \"b, c\"'."
        ) from error


def _folders(models: Sequence[str | None]) -> Iterator[Path]:
    """Yield the folder of each model, and that of its run where it is a checkpoint."""
    for folder in map(Path, filter(None, models)):
        yield folder
        if folder.name.startswith("checkpoint-"):
            yield folder.parent


def tasks_of_models(models: Sequence[str | None]) -> Iterator[tuple[Task, str]]:
    """Yield the tasks in the record of the first model that has one, and where they are from.

    Raises:
        DataError: A record is broken, or of a later version of this package.
    """
    for folder in _folders(models):
        record = read_record(folder)
        if record is not None and record.tasks:
            yield from ((task, f"from {folder / RECORD_NAME}") for task in record.tasks)
            return


def _of_data(sources: Sources) -> Iterator[tuple[Task, str]]:
    folder = Path(sources.dataset_dir)
    if sources.datasets:
        entries = read_dataset_info(folder).entries
        for name in (part.strip() for part in sources.datasets.split(",")):
            task = task_of_entry(entries, name, folder) if name in entries else None
            if task is not None:
                yield task, f"of the data set {name!r}"
    for file in sources.files:
        if file is not None and str(file) != STANDARD_STREAM:
            yield from _beside(Path(file))


def _beside(file: Path) -> Iterator[tuple[Task, str]]:
    """Yield the task of the data set that a file holds, or of the task file beside it."""
    folder = file.parent
    entries: Mapping[str, Any] = {}
    with suppress(EmotionError):  # the registry of somebody else may be anything
        entries = read_dataset_info(folder).entries
    for name, entry in entries.items():
        if isinstance(entry, Mapping) and TASK_KEY in entry and _is_file_of(entry, file):
            task = task_of_entry(entries, name, folder)
            yield from [(task, f"of the data set {name!r}")] if task else []
            return
    path = task_file(folder, _SPLIT.sub("", file.stem))
    if path.is_file():
        yield load_task(path), f"from {path}"


def _is_file_of(entry: Mapping[str, Any], file: Path) -> bool:
    named = entry.get("file_name")
    return isinstance(named, str) and real_path(file.parent / named) == real_path(file)


def _of_predictions(files: Sequence[str]) -> Iterator[tuple[Task, str]]:
    """Yield the tasks of the sidecars of files, or of the records of the runs that wrote them."""
    for file in files:
        sidecar = read_sidecar(file)
        said = sidecar.everything.get("task") if sidecar else None
        where = f"from {sidecar_path(Path(file))}"
        if isinstance(said, Mapping):
            yield task_of(dict(said), f"the task in {sidecar_path(Path(file))}"), where
        elif isinstance(said, str) and said in BUILT_IN_TASKS:
            yield BUILT_IN_TASKS[said], where
        elif file != STANDARD_STREAM:
            yield from tasks_of_models([str(Path(file).parent)])


def _of_heads(models: Sequence[str | None]) -> Iterator[tuple[Task, str]]:
    for folder in _folders(models):
        try:
            config = json.loads((folder / "config.json").read_bytes())
            kinds, names = " ".join(config["architectures"]), config["id2label"]
            labels = tuple(str(names[str(number)]) for number in range(len(names)))
            baked = dict(config.get(BAKED_PROMPT) or {})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if "ForSequenceClassification" not in kinds or any(map(_NO_LABEL.fullmatch, labels)):
            continue
        task = _task_of_head(folder, labels, baked)
        if task is not None:
            yield task, f"from id2label in {folder / 'config.json'}"
            return


def _task_of_head(folder: Path, labels: tuple[str, ...], baked: Mapping[str, Any]) -> Task | None:
    instruction = str(baked.get("instruction") or instruction_for(labels))
    for task in BUILT_IN_TASKS.values():  # which have aliases, and an order of their own
        same = set(map(name_key, labels)) == set(map(name_key, task.labels))
        if same and baked.get("instruction") in (None, task.instruction):
            return task
    try:
        return Task(str(baked.get("task") or folder.absolute().name), labels, instruction)
    except DataError:  # labels of another kind: the loader says what is wrong with them
        return None
