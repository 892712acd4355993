"""Where the texts to be predicted come from: a file, standard input or a LLaMA-Factory data set.

Stands between `data` and `predict`. Rows are given one at a time as LLaMA-Factory would ask them:
the whole user content, which for a row of an alpaca file holds that row's own instruction.
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_emotion.data.dataset_folder import FILE_NAME, read_dataset_info
from llamafactory_emotion.data.reading import NO_COLUMN, iterate_rows, read_texts
from llamafactory_emotion.data.records import BrokenRecord, Record, read_records
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import Task

_ALPACA, _EMOTION = "alpaca", "emotion"
_HUB, _FILE = "hf_hub_url", "file_name"


class InputRow(NamedTuple):
    """One row to predict.

    Attributes:
        content: What the user turn holds: instruction and text.
        label: The gold label, or None.
    """

    content: str
    label: str | None


@dataclass(frozen=True)
class Inputs:
    """The rows to predict and the task they are asked with.

    Attributes:
        task: The task; its instruction is the one the rows begin with.
        rows: The rows; can be gone through once.
        name: What messages call the source.
    """

    task: Task
    rows: Iterator[InputRow]
    name: str


def open_file(
    path: str, task: Task, *, text_column: str | None = None, label_column: str | None = None
) -> Inputs:
    """Open a file of texts or standard input (`-`); see `data.read_texts`."""
    rows = read_texts(path, task=task, text_column=text_column, label_column=label_column)
    contents = (InputRow(task.user_content(row.text), row.label) for row in rows)
    return Inputs(task, contents, "standard input" if path == "-" else path)


def open_dataset(
    names: str, dataset_dir: str, task: Task, *, cache_dir: str | None = None
) -> Inputs:
    """Open data sets by their names in a folder's `dataset_info.json`, one after another.

    Args:
        names: One name, or several with commas between them.
        dataset_dir: The folder that holds `dataset_info.json`.
        task: The labels; its instruction gives way to the one of an alpaca file's first row.
        cache_dir: Where data sets of the hub are kept.

    Raises:
        CallError: A name is not in the file, or its entry is of a kind that is not read here.
        DataError: A file is not what its entry says.
    """
    entries = read_dataset_info(Path(dataset_dir)).entries
    parts = []
    for name in (part.strip() for part in names.split(",")):
        if name not in entries:
            known = ", ".join(entries) or "it has none"
            raise CallError(
                f"the data set {name!r} is not in {Path(dataset_dir) / FILE_NAME} ({known}); "
                "name one of these, or another folder with dataset_dir."
            )
        parts.append(_entry_rows(name, entries[name], Path(dataset_dir), task, cache_dir))
    rows = chain.from_iterable(parts)
    first = next(rows, None)
    if first is None:
        return Inputs(task, iter(()), names)
    instruction = first.instruction or task.instruction
    task = Task(task.name, task.labels, instruction, dict(task.aliases), task.match)
    contents = (InputRow(row.content, row.label) for row in chain([first], rows))
    return Inputs(task, contents, names)


def draw_examples(
    path: str,
    task: Task,
    shots: int,
    *,
    seed: int,
    text_column: str | None = None,
    label_column: str | None = None,
) -> list[tuple[str, str]]:
    """Draw `shots` examples of each label from a labelled file, in a random but fixed order.

    Raises:
        CallError: `shots` is less than 1.
        DataError: The file is wrong or has too few examples of a label.
    """
    if shots < 1:
        raise CallError(f"shots is {shots}; give the number of examples a label, 1 or more.")
    chance = random.Random(seed)  # noqa: S311 - a draw of examples keeps no secret
    drawn: dict[str, list[str]] = {label: [] for label in task.labels}
    seen = dict.fromkeys(task.labels, 0)
    for row in iterate_rows(path, task, text_column=text_column, label_column=label_column):
        seen[row.label] += 1
        place = chance.randrange(seen[row.label])
        if len(drawn[row.label]) < shots:
            drawn[row.label].append(row.text)
        elif place < shots:
            drawn[row.label][place] = row.text
    few = [f"{label} {seen[label]}" for label in task.labels if seen[label] < shots]
    if few:
        raise DataError(
            f"{path} has fewer than {shots} examples of {', '.join(few)}; lower shots or name "
            "another file with few_shot."
        )
    examples = [(text, label) for label, texts in drawn.items() for text in texts]
    chance.shuffle(examples)
    return examples


class _DatasetRow(NamedTuple):
    content: str
    label: str | None
    instruction: str | None


def _entry_rows(
    name: str, entry: Any, folder: Path, task: Task, cache_dir: str | None
) -> Iterator[_DatasetRow]:
    if not isinstance(entry, Mapping):
        raise DataError(f"{folder / FILE_NAME}: the entry {name!r} is not an object; mend it.")
    formatting = entry.get("formatting", _ALPACA)
    if formatting not in (_ALPACA, _EMOTION):
        raise CallError(
            f"the data set {name!r} has the formatting {formatting!r}; predict reads {_ALPACA} and "
            f"{_EMOTION}, so convert it or give its texts with input=FILE."
        )
    if entry.get("num_samples"):
        raise CallError(
            f"the data set {name!r} asks for num_samples, a random draw that only LLaMA-Factory "
            "can repeat; remove it, or use max_samples for the first rows."
        )
    columns = _columns(entry, formatting)
    if formatting == _EMOTION and _HUB not in entry and _FILE in entry:
        return _labelled_file(_data_file(name, entry, folder), task, columns)
    return _convert(name, _records(name, entry, folder, cache_dir), task, columns, formatting)


def _columns(entry: Mapping[str, Any], formatting: str) -> dict[str, str | None]:
    """Give the columns an entry names; LLaMA-Factory's own when it names none."""
    named = entry.get("columns")
    if named is None and formatting == _ALPACA:
        return {"prompt": "instruction", "query": "input", "response": "output"}
    named = named or {}
    return {key: named.get(key) for key in ("prompt", "query", "response")}


def _data_file(name: str, entry: Mapping[str, Any], folder: Path) -> Path:
    path = folder / str(entry[_FILE])
    if path.is_dir():
        raise CallError(f"the data set {name!r} is a folder of files; name one with input=FILE.")
    return path


def _labelled_file(
    path: Path, task: Task, columns: Mapping[str, str | None]
) -> Iterator[_DatasetRow]:
    rows = read_texts(
        path,
        task=task,
        text_column=columns["prompt"],
        label_column=columns["response"] or NO_COLUMN,
    )
    return (_DatasetRow(task.user_content(row.text), row.label, None) for row in rows)


def _records(
    name: str, entry: Mapping[str, Any], folder: Path, cache_dir: str | None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if _HUB in entry:
        return enumerate(_hub_records(name, entry, cache_dir), start=1)
    if _FILE not in entry:
        raise CallError(
            f"the data set {name!r} has neither {_FILE} nor {_HUB}; download it and give its "
            "texts with input=FILE."
        )
    path = _data_file(name, entry, folder)
    return ((record.line, record.fields) for record in _whole_records(path, read_records(path)))


def _whole_records(path: Path, records: Iterable[Record | BrokenRecord]) -> Iterator[Record]:
    for record in records:
        if isinstance(record, BrokenRecord):
            raise DataError(f"{path}:{record.line}: {record.reason}; mend the line.")
        yield record


def _hub_records(
    name: str, entry: Mapping[str, Any], cache_dir: str | None
) -> Iterable[Mapping[str, Any]]:
    from datasets import load_dataset

    split = entry.get("split", "train")
    try:
        rows: Iterable[Mapping[str, Any]] = load_dataset(
            entry[_HUB],
            name=entry.get("subset"),
            data_dir=entry.get("folder"),
            split=split,
            cache_dir=cache_dir,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(
            f"the data set {name!r} ({entry[_HUB]}, split {split}) cannot be loaded: {reason}."
        ) from error
    return rows


def _convert(
    name: str,
    records: Iterator[tuple[int, Mapping[str, Any]]],
    task: Task,
    columns: Mapping[str, str | None],
    formatting: str,
) -> Iterator[_DatasetRow]:
    for line, fields in records:
        parts = [
            fields.get(column)
            for column in (columns["prompt"], columns["query"])
            if column is not None
        ]
        texts = [part for part in parts if isinstance(part, str) and part]
        if not texts:
            raise DataError(
                f"the data set {name!r}, row {line}, has no text in the column "
                f"{columns['prompt']!r}; remove the row or name the text's column in {FILE_NAME}."
            )
        label = _label(fields.get(columns["response"] or ""), task)
        if formatting == _EMOTION:
            yield _DatasetRow(task.user_content(texts[0]), label, None)
        else:
            instruction = texts[0] if len(texts) > 1 else None
            yield _DatasetRow("\n".join(texts), label, instruction)


def _label(value: object, task: Task) -> str | None:
    """Give a gold value's label; a value that names none stays as it stands, for the evaluator."""
    if value is None or value == "":
        return None
    label = task.label_of(value)
    if label is None:
        label = value if isinstance(value, str) else json.dumps(value, default=str)
    return label


def first_rows(inputs: Inputs, count: int | None) -> Inputs:
    """Keep the first rows alone, as LLaMA-Factory's `max_samples` does; all when it is None.

    Raises:
        DataError: There is no row at all, or the first one cannot be read.
    """
    first = next(inputs.rows, None)
    if first is None:
        raise DataError(f"{inputs.name} holds no text; name another input.")
    return Inputs(inputs.task, islice(chain([first], inputs.rows), count), inputs.name)
