"""Read texts and labels from the formats people have, and check every row.

Stands between the files (`records`) and everything that trains, scores or audits. A file is read
row by row; once a row is wrong, no further row is given, the rest is still checked, and one
`DataError` lists what is wrong with the whole file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from llamafactory_emotion.data.columns import (
    ColumnChoice,
    Columns,
    choose_columns,
    label_column_of,
)
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

_PROBLEMS_SHOWN = 10
_LABELS_SHOWN = 100
_LABELS_COUNTED = 1000
_LINES_JUDGED = 100
_SHORT = 60


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


def read_rows(
    path: str | Path,
    task: Task,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
) -> list[Row]:
    """Read and check a whole file; see `iterate_rows`."""
    return list(iterate_rows(path, task, text_column=text_column, label_column=label_column))


def iterate_rows(
    path: str | Path,
    task: Task,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
) -> Iterator[Row]:
    """Yield the labelled rows of a file, one in memory at a time.

    Args:
        path: JSON Lines, JSON (a list of objects), CSV, TSV, Parquet or `text;label` text, also
            gzipped; `-` is standard input.
        task: Gives the labels; a value may be a label's name or its id.
        text_column: The column of the texts; guessed from `TEXT_COLUMNS` when not given. In an
            alpaca file it is `input`, or `instruction` where the first row has no input.
        label_column: The column of the labels; guessed from `LABEL_COLUMNS` when not given.

    Raises:
        CallError: The file is not there or its format is not known.
        DataError: Lists every problem: a label that is none of the task's, a missing column, an
            empty text, a broken line; or the file is empty or not UTF-8. No row after the first
            problem is given.
    """
    choice = ColumnChoice(text_column, label_column)
    yield from labelled_rows(open_source(path), task, choice)


def read_texts(
    path: str | Path,
    *,
    task: Task | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> Iterator[TextRow]:
    """Yield the texts of a file lazily, with their labels where there are any.

    Takes the formats of `iterate_rows`; plain text is one text a line, unless `task` is given and
    each of the first lines ends in a semicolon and one of its labels. Standard input (`-`) is
    JSON Lines when it opens with `{`, otherwise one text a line.

    Args:
        path: The file, or `-` for standard input.
        task: Turns a gold value (name or id) into the label; without it the value is given as
            text. An empty value or the id -1 means that a row has no label.
        text_column: The column of the texts; guessed when not given.
        label_column: The column of the gold labels; guessed when not given, `""` for none.

    Raises:
        CallError: The file is not there or its format is not known.
        DataError: As for `iterate_rows`, but a label may be missing.
    """
    choice = ColumnChoice(text_column, label_column)
    source = open_source(path, split_labels=_has_labels(path, task))
    yield from text_rows(source, task, choice)


def labelled_rows(source: Source, task: Task, choice: ColumnChoice) -> Iterator[Row]:
    """Check the records of a source and yield them as labelled rows; see `iterate_rows`.

    Raises:
        DataError: As for `iterate_rows`.
    """
    for line, text, label in _checked_rows(source, task, choice, label_needed=True):
        if label is not None:
            yield Row(text, label, line)


def text_rows(source: Source, task: Task | None, choice: ColumnChoice) -> Iterator[TextRow]:
    """Check the records of a source and yield their texts; see `read_texts`.

    Raises:
        DataError: As for `read_texts`.
    """
    yield from _checked_rows(source, task, choice, label_needed=False)


def is_no_label(value: object) -> bool:
    """Say whether a value stands for "not labelled"; test sets of the hub have the id -1."""
    return value is None or value == "" or (value == -1 and not isinstance(value, bool))


@dataclass
class _Problems:
    """What is wrong with a source: the first few places, and how many there are."""

    source: Source
    task: Task | None
    count: int = 0
    shown: list[str] = field(default_factory=list)
    unknown_labels: Counter[str] = field(default_factory=Counter)

    def add(self, line: int, reason: str) -> None:
        self.count += 1
        if len(self.shown) < _PROBLEMS_SHOWN:
            self.shown.append(f"{self.source.place_of(line)}: {reason}")

    def add_label(self, line: int, value: object) -> None:
        name = _short(value)
        self.add(line, f"unknown label {name}")
        # A wrong column may hold a different value in every row.
        if name in self.unknown_labels or len(self.unknown_labels) < _LABELS_COUNTED:
            self.unknown_labels[name] += 1

    def raise_if_any(self) -> None:
        if not self.count:
            return
        rest = self.count - len(self.shown)
        lines = [*self.shown, *([f"... and {rest:,} more"] if rest else []), *self._label_lines()]
        count = "1 problem" if self.count == 1 else f"{self.count:,} problems"
        raise DataError(
            f"{self.source.name} has {count}; mend or remove these rows:\n  " + "\n  ".join(lines)
        )

    def _label_lines(self) -> Iterator[str]:
        if not self.unknown_labels or self.task is None:
            return
        # Beyond that it is a wrong column, and not labels that the task lacks.
        few = len(self.unknown_labels) <= _LABELS_SHOWN
        common = self.unknown_labels.most_common(None if few else _PROBLEMS_SHOWN)
        counts = ", ".join(f"{name} ({count:,})" for name, count in common)
        more = ", ..." if len(self.unknown_labels) > len(common) else ""
        known = ", ".join(f"{number} {name}" for number, name in enumerate(self.task.labels))
        yield f"unknown labels and their rows: {counts}{more}; task {self.task.name!r} has {known}"


def _checked_rows(
    source: Source, task: Task | None, choice: ColumnChoice, *, label_needed: bool
) -> Iterator[TextRow]:
    """Yield the rows until one is wrong; then check the rest and raise."""
    problems = _Problems(source, task)
    columns: Columns | None = None
    empty = True
    for record in source.records:
        empty = False
        if isinstance(record, BrokenRecord):
            problems.add(record.line, record.reason)
            continue
        if columns is None:
            place = source.place_of(record.line)
            columns = choose_columns(record, choice, place, label_needed=label_needed)
        elif columns.label is None and choice.label is None:
            columns = replace(columns, label=label_column_of(record))
        row = _checked_row(record, columns, problems, label_needed=label_needed)
        if row is not None and not problems.count:
            yield row
    problems.raise_if_any()
    if empty:
        raise DataError(f"{source.name} holds no rows; check that it is the right one.")


def _checked_row(
    record: Record, columns: Columns, problems: _Problems, *, label_needed: bool
) -> TextRow | None:
    text = record.fields.get(columns.text)
    reason = _text_problem(text, columns, record.fields)
    if reason is not None or not isinstance(text, str):
        problems.add(record.line, reason or "no text")
        return None
    value = record.fields.get(columns.label) if columns.label else None
    if is_no_label(value):
        if not label_needed:
            return TextRow(record.line, text, None)
        if value is None or value == "":
            problems.add(record.line, f"no label in the column {columns.label!r}")
            return None
    label = _checked_label(record.line, value, problems)
    return None if label is None else TextRow(record.line, text, label)


def _checked_label(line: int, value: object, problems: _Problems) -> str | None:
    if problems.task is None:
        return str(value)
    label = problems.task.label_of(value)
    if label is None:
        problems.add_label(line, value)
    elif not isinstance(value, str) and label != str(value) in problems.task.labels:
        said = f"{value} is a label and the id of {label!r}"
        problems.add(line, f'{said}; write labels as text: "{value}"')
        return None
    return label


def _text_problem(text: object, columns: Columns, fields: Mapping[str, object]) -> str | None:
    if columns.text not in fields:
        return f"no column {columns.text!r}"
    if text is None or (isinstance(text, str) and not text.strip()):
        return "the text is empty"
    if not isinstance(text, str):
        return f"the text is not a string but {_short(text)}"
    if not text.isascii() and not _is_unicode(text):
        return "the text holds half of a surrogate pair, which no UTF-8 file can hold"
    if columns.unused_input and fields.get(columns.unused_input):
        return "an input beside the instruction, which is the text in the first row"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_labels(path: str | Path, task: Task | None) -> bool:
    """Say whether plain text is `text;label`: its first lines all end in a label of the task."""
    if task is None or str(path) == STANDARD_STREAM:
        return False
    if not str(path).lower().removesuffix(".gz").endswith(".txt"):
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


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHORT else shown[: _SHORT - 3] + "..."
