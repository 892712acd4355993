"""Texts and labels out of the files people have, every row checked.

A file is read row by row. Once a row is wrong no further one is yielded, the rest is still checked,
and one `DataError` lists what is wrong with the whole file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from llamafactory_emotion.data.records import (
    LABEL,
    BrokenRecord,
    Record,
    Source,
    open_source,
    read_records,
)
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import shortened

# Tried in this order, in any case, when no column is named.
TEXT_COLUMNS = ("text", "sentence", "content", "tweet", "utterance", "review", "document", "input")
LABEL_COLUMNS = ("label", "emotion", "sentiment", "category", "class", "target", "output")
NO_COLUMN = ""
_INPUT, _INSTRUCTION = "input", "instruction"
_PROBLEMS_SHOWN = 10
_LABELS_SHOWN = 100
_LABELS_COUNTED = 1000
_LINES_JUDGED = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A text and its label; `line` counts from 1 (lines of a text file, rows of a Parquet file)."""

    text: str
    label: str
    line: int


class TextRow(NamedTuple):
    """A text to be labelled, with its gold label when the file has one."""

    line: int
    text: str
    label: str | None


class ColumnChoice(NamedTuple):
    """The columns that a caller names; what is None is guessed from the first record.

    `instruction` holds the texts where the first record's `text` is empty, as in alpaca records
    without an input; `label` is `NO_COLUMN` for none.
    """

    text: str | None = None
    label: str | None = None
    instruction: str | None = None


def read_rows(
    path: str | Path, task: Task, *, text_column: str | None = None, label_column: str | None = None
) -> list[Row]:
    """Read and check a whole file; see `iterate_rows`."""
    return list(labelled_rows(open_source(path), task, ColumnChoice(text_column, label_column)))


def iterate_rows(
    path: str | Path, task: Task, *, text_column: str | None = None, label_column: str | None = None
) -> Iterator[Row]:
    """Yield the labelled rows of a file, one in memory at a time.

    Args:
        path: JSON Lines, JSON (a list of objects), CSV, TSV, Parquet or `text;label` text, also
            gzipped; `-` is standard input.
        task: A value may be a label's name or its id.
        text_column: The column of the texts; guessed from `TEXT_COLUMNS` when not given. In an
            alpaca file it is `input`, or `instruction` where the first row has no input.
        label_column: The column of the labels; guessed from `LABEL_COLUMNS` when not given.

    Raises:
        CallError: The file is not there or its format is not known.
        DataError: Lists every problem: a label that is none of the task's, a missing column, an
            empty text, a broken line; or the file is empty or not UTF-8.
    """
    yield from labelled_rows(open_source(path), task, ColumnChoice(text_column, label_column))


def read_texts(
    path: str | Path,
    *,
    task: Task | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> Iterator[TextRow]:
    """Yield the texts of a file lazily, with their labels where there are any.

    Like `iterate_rows`, but a row may have no label (an empty value or the id -1), and without a
    task any value is one. Plain text is one text a line, unless `task` is given and each of the
    first lines ends in a semicolon and one of its labels. Standard input is JSON Lines when it
    opens with `{`. `label_column` is `NO_COLUMN` for none.
    """
    source = open_source(path, split_labels=_has_labels(path, task))
    yield from text_rows(source, task, ColumnChoice(text_column, label_column))


def labelled_rows(source: Source, task: Task, choice: ColumnChoice) -> Iterator[Row]:
    """Check the records of a source and yield them as labelled rows; see `iterate_rows`."""
    for line, text, label in _checked_rows(source, task, choice, label_needed=True):
        yield Row(text, label or "", line)


def text_rows(source: Source, task: Task | None, choice: ColumnChoice) -> Iterator[TextRow]:
    """Check the records of a source and yield their texts; see `read_texts`."""
    yield from _checked_rows(source, task, choice, label_needed=False)


def is_no_label(value: object) -> bool:
    """Whether a value means "not labelled"; test sets of the hub have the id -1."""
    return value is None or value == "" or (value == -1 and not isinstance(value, bool))


def require_columns(record: Record, columns: Iterable[str], where: str) -> None:
    """Raise a DataError that names the file and line if the record lacks a column."""
    for column in columns:
        if column not in record.fields:
            raise DataError(f"{where}: no column {column!r}; {_there(record)}. Name one of these.")


def _has_labels(path: str | Path, task: Task | None) -> bool:
    """Whether plain text is `text;label`: its first lines all end in a label of the task."""
    is_text = str(path).lower().removesuffix(".gz").endswith(".txt")
    if task is None or not is_text or str(path) == STANDARD_STREAM:
        return False
    head = list(islice(read_records(path), _LINES_JUDGED))
    values = [record.fields[LABEL] if isinstance(record, Record) else None for record in head]
    odd = [number for number, value in enumerate(values) if not task.label_of(value)]
    if odd and len(odd) < len(values) / 2:
        raise DataError(
            f"{path}:{head[odd[0]].line}: most of the first lines end in a semicolon and a label "
            f"of the task {task.name!r}, and this one does not; mend it, or name the file .csv "
            "with a header if these are no labels."
        )
    return bool(values) and not odd


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a source; `unused_input` must be empty, or its content would be dropped."""

    text: str
    label: str | None
    unused_input: str | None = None


class _RowError(Exception):
    """Why a row cannot be used; `label` is the value that is no label of the task."""

    def __init__(self, reason: str, *, label: str = "") -> None:
        super().__init__(reason)
        self.label = label


@dataclass
class _Problems:
    """The first problems of a source, how many there are, and the labels that are unknown."""

    count: int = 0
    shown: list[str] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, reason: str, label: str = "") -> None:
        self.count += 1
        if len(self.shown) < _PROBLEMS_SHOWN:
            self.shown.append(f"{where}: {reason}")
        # A wrong column may hold a different value in every row.
        if label and (label in self.labels or len(self.labels) < _LABELS_COUNTED):
            self.labels[label] += 1

    def raise_for(self, name: str, task: Task | None) -> None:
        rest = self.count - len(self.shown)
        lines = [*self.shown, *([f"... and {rest:,} more"] if rest else [])]
        if self.labels and task is not None:
            few = len(self.labels) <= _LABELS_SHOWN
            common = self.labels.most_common(None if few else _PROBLEMS_SHOWN)
            counts = ", ".join(f"{label} ({count:,})" for label, count in common)
            known = ", ".join(f"{number} {label}" for number, label in enumerate(task.labels))
            lines.append(
                f"unknown labels and their rows: {counts}{'' if few else ', ...'}; "
                f"task {task.name!r} has {known}"
            )
        count = "1 problem" if self.count == 1 else f"{self.count:,} problems"
        listed = "\n  ".join(lines)
        raise DataError(f"{name} has {count}; mend or remove these rows:\n  {listed}")


def _checked_rows(
    source: Source, task: Task | None, choice: ColumnChoice, *, label_needed: bool
) -> Iterator[TextRow]:
    """Yield the rows until one is wrong; then check the rest and raise."""
    problems = _Problems()
    columns: _Columns | None = None
    record = None
    for record in source.records:
        if isinstance(record, BrokenRecord):
            problems.add(source.place_of(record.line), record.reason)
            continue
        if columns is None:
            where = source.place_of(record.line)
            columns = _choose_columns(record, choice, where, label_needed=label_needed)
        elif columns.label is None and choice.label is None:
            columns = replace(columns, label=_first_of(LABEL_COLUMNS, record.fields))
        try:
            row = _checked_row(record, columns, task, label_needed=label_needed)
        except _RowError as error:
            problems.add(source.place_of(record.line), str(error), error.label)
        else:
            if not problems.count:
                yield row
    if problems.count:
        problems.raise_for(source.name, task)
    if record is None:
        raise DataError(f"{source.name} holds no rows; check that it is the right one.")


def _choose_columns(
    record: Record, choice: ColumnChoice, where: str, *, label_needed: bool
) -> _Columns:
    """Choose the columns by the first record.

    Raises:
        DataError: A named column is not there, or none looks like what is needed.
    """
    fields = record.fields
    named = (choice.text, choice.label, choice.instruction)
    require_columns(record, filter(None, named), where)
    text = choice.text or _first_of(TEXT_COLUMNS, fields)
    label = choice.label if choice.label is not None else _first_of(LABEL_COLUMNS, fields)
    instruction = choice.instruction
    if choice.text is None and (text is None or text.casefold() == _INPUT):
        instruction = instruction or _first_of((_INSTRUCTION,), fields)
    unused_input = None
    if instruction and not (text and fields[text]):
        text, unused_input = instruction, text
    missing = [] if text else ["text (text_column)"]
    missing += ["label (label_column)"] if label_needed and not label else []
    if text is None or missing:
        raise DataError(
            f"{where}: no column that looks like the {' or the '.join(missing)}; {_there(record)}. "
            "Name it."
        )
    return _Columns(text, label or None, unused_input)


def _there(record: Record) -> str:
    return f"the columns are {', '.join(map(str, record.fields)) or 'none'}"


def _first_of(names: tuple[str, ...], fields: Mapping[str, object]) -> str | None:
    by_name = {str(column).strip().casefold(): column for column in fields}
    return next((by_name[name] for name in names if name in by_name), None)


def _checked_row(
    record: Record, columns: _Columns, task: Task | None, *, label_needed: bool
) -> TextRow:
    text = _checked_text(record.fields, columns)
    value = record.fields.get(columns.label) if columns.label else None
    if is_no_label(value) and not label_needed:
        return TextRow(record.line, text, None)
    if value is None or value == "":
        raise _RowError(f"no label in the column {columns.label!r}")
    return TextRow(record.line, text, str(value) if task is None else _checked_label(value, task))


def _checked_text(fields: Mapping[str, object], columns: _Columns) -> str:
    if columns.text not in fields:
        raise _RowError(f"no column {columns.text!r}")
    text = fields[columns.text]
    if text is None or (isinstance(text, str) and not text.strip()):
        raise _RowError("the text is empty")
    if not isinstance(text, str):
        raise _RowError(f"the text is not a string but {shortened(repr(text))}")
    try:
        text.encode()
    except UnicodeEncodeError:
        reason = "the text holds half of a surrogate pair, which no UTF-8 file can hold"
        raise _RowError(reason) from None
    if columns.unused_input and fields.get(columns.unused_input):
        raise _RowError("an input beside the instruction, which is the text in the first row")
    return text


def _checked_label(value: object, task: Task) -> str:
    label = task.label_of(value)
    if label is None:
        shown = shortened(repr(value))
        raise _RowError(f"unknown label {shown}", label=shown)
    if not isinstance(value, str) and label != str(value) in task.labels:
        said = f"{value} is a label and the id of {label!r}"
        raise _RowError(f'{said}; write labels as text: "{value}"')
    return label
