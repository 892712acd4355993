"""Where the texts to be predicted come from: a file, standard input or a LLaMA-Factory data set.

Stands between `data` and `predict`. Rows are given one at a time as LLaMA-Factory would ask them:
the whole user content, which for a row of an alpaca file holds that row's own instruction.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from llamafactory_emotion.data.dataset_folder import EMOTION_FORMATTING, FILE_NAME
from llamafactory_emotion.data.entries import Entry, read_entries
from llamafactory_emotion.data.reading import (
    NO_COLUMN,
    ColumnChoice,
    is_no_label,
    iterate_rows,
    read_texts,
    require_columns,
    text_rows,
)
from llamafactory_emotion.data.records import BrokenRecord, Record, Source
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import Task


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
    names: str,
    dataset_dir: str,
    task: Task,
    *,
    cache_dir: str | None = None,
    token: str | None = None,
) -> Inputs:
    """Open data sets by their names in a folder's `dataset_info.json`, one after another.

    Args:
        names: One name, or several with commas between them.
        dataset_dir: The folder that holds `dataset_info.json`.
        task: The labels; its instruction gives way to the one of an alpaca file's first row.
        cache_dir: Where data sets of the hub are kept.
        token: The hub token.

    Raises:
        CallError: A name is not in the file, or its entry is of a kind that is not read here.
        DataError: A data set is not what its entry says, or the hub does not give it.
    """
    entries = read_entries(names, Path(dataset_dir))
    parts = [_entry_rows(entry, task, cache_dir, token) for entry in entries]
    rows = chain.from_iterable(parts)
    first = next(rows, None)
    if first is None:
        return Inputs(task, iter(()), names)
    instruction = first.instruction or task.instruction
    task = Task(task.name, task.labels, instruction, dict(task.aliases), task.match)
    contents = (InputRow(row.content, row.label) for row in chain([first], rows))
    return Inputs(task, contents, names)


def draw_examples(
    path: str | None,
    task: Task,
    shots: int,
    *,
    seed: int,
    text_column: str | None = None,
    label_column: str | None = None,
) -> list[tuple[str, str]]:
    """Draw `shots` examples of each label from a labelled file, in a random but fixed order.

    Without a file there are none.

    Raises:
        CallError: `shots` is less than 1.
        DataError: The file is wrong or has too few examples of a label.
    """
    if path is None:
        return []
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
    entry: Entry, task: Task, cache_dir: str | None, token: str | None
) -> Iterator[_DatasetRow]:
    if entry.formatting == EMOTION_FORMATTING:
        return _labelled_rows(entry, task, cache_dir, token)
    return _alpaca_rows(entry, entry.open(cache_dir=cache_dir, token=token), task)


def _labelled_rows(
    entry: Entry, task: Task, cache_dir: str | None, token: str | None
) -> Iterator[_DatasetRow]:
    label = entry.response or NO_COLUMN
    if isinstance(entry.place, Path):
        rows = read_texts(entry.place, task=task, text_column=entry.prompt, label_column=label)
    else:
        source = entry.open(cache_dir=cache_dir, token=token)
        rows = text_rows(source, task, ColumnChoice(entry.prompt, label))
    return (_DatasetRow(task.user_content(row.text), row.label, None) for row in rows)


def _alpaca_rows(entry: Entry, source: Source, task: Task) -> Iterator[_DatasetRow]:
    named = [column for column in (entry.prompt, entry.query) if column]
    missing = set(named)
    columns = named if entry.columns else ["instruction", "input"]
    label = entry.response if entry.columns else "output"
    for number, record in enumerate(source.records):
        place = source.place_of(record.line)
        if isinstance(record, BrokenRecord):
            raise DataError(f"{place}: {record.reason}; mend the line.")
        if number == 0:
            require_columns(record, named[:1], place)
        missing.difference_update(record.fields)
        yield _alpaca_row(record, columns, label, task, place)
    if missing:
        raise DataError(
            f"{source.name}: no row has the column {', '.join(sorted(missing))} that {FILE_NAME} "
            "names, so the texts lack it; name the right one."
        )


def _alpaca_row(
    record: Record, columns: list[str], label: str | None, task: Task, place: str
) -> _DatasetRow:
    parts = [record.fields.get(column) for column in columns]
    texts = [part for part in parts if isinstance(part, str) and part]
    if not texts:
        raise DataError(
            f"{place}: no text in the columns {', '.join(columns) or 'named'}; remove the row, or "
            f"name the text's column in {FILE_NAME}."
        )
    instruction = texts[0] if len(texts) > 1 else None
    gold = _label(record.fields.get(label or ""), task)
    return _DatasetRow("\n".join(texts), gold, instruction)


def _label(value: object, task: Task) -> str | None:
    """Give a gold value's label; a value that names none stays as it stands, for the evaluator."""
    if is_no_label(value):
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
