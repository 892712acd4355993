"""Read texts and labels from the formats people have, and check every row.

Stands between the files (`records`) and everything that trains, scores or audits. A file is read
row by row; once a row is wrong, no further row is given, the rest is still checked, and one
`DataError` lists what is wrong with the whole file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from llamafactory_emotion.data.records import (
    LABEL,
    BrokenRecord,
    Record,
    Records,
    place,
    read_records,
)
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.task import Task

# Tried in this order, in any case, when no column is named.
TEXT_COLUMNS = ("text", "sentence", "content", "tweet", "utterance", "review", "document", "input")
LABEL_COLUMNS = ("label", "emotion", "sentiment", "category", "class", "target", "output")
NO_COLUMN = ""
_INPUT, _INSTRUCTION = "input", "instruction"
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
    choice = _Choice(text_column, label_column, label_needed=True)
    for line, text, label in _checked_rows(read_records(path), _Problems(path, task), choice):
        if label is not None:
            yield Row(text, label, line)


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
    choice = _Choice(text_column, label_column, label_needed=False)
    records = read_records(path, split_labels=_has_labels(path, task))
    yield from _checked_rows(records, _Problems(path, task), choice)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which columns the caller named, and whether a label must be there."""

    text: str | None
    label: str | None
    label_needed: bool


@dataclass(frozen=True, slots=True)
class _Columns:
    text: str
    label: str | None
    unused_input: str | None = None  # must stay empty: the text would lose it


@dataclass
class _Problems:
    """What is wrong with a file: the first few places, and how many there are."""

    path: str | Path
    task: Task | None
    count: int = 0
    shown: list[str] = field(default_factory=list)
    unknown_labels: Counter[str] = field(default_factory=Counter)

    def add(self, line: int, reason: str) -> None:
        self.count += 1
        if len(self.shown) < _PROBLEMS_SHOWN:
            self.shown.append(f"{place(self.path, line)}: {reason}")

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
            f"{self.path} has {count}; mend or remove these rows:\n  " + "\n  ".join(lines)
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


def _checked_rows(records: Records, problems: _Problems, choice: _Choice) -> Iterator[TextRow]:
    """Yield the rows until one is wrong; then check the rest and raise."""
    columns: _Columns | None = None
    empty = True
    for record in records:
        empty = False
        if isinstance(record, BrokenRecord):
            problems.add(record.line, record.reason)
            continue
        if columns is None:
            columns = _chosen_columns(record, choice, problems.path)
        row = _checked_row(record, columns, problems, label_needed=choice.label_needed)
        if row is not None and not problems.count:
            yield row
    problems.raise_if_any()
    if empty:
        raise DataError(f"{problems.path} holds no rows; check that it is the right file.")


def _checked_row(
    record: Record, columns: _Columns, problems: _Problems, *, label_needed: bool
) -> TextRow | None:
    text = record.fields.get(columns.text)
    reason = _text_problem(text, columns, record.fields)
    if reason is not None or not isinstance(text, str):
        problems.add(record.line, reason or "no text")
        return None
    value = record.fields.get(columns.label) if columns.label else None
    if _is_no_label(value):
        if not label_needed:
            return TextRow(record.line, text, None)
        if value is None or value == "":
            problems.add(record.line, f"no label in the column {columns.label!r}")
            return None
    if problems.task is None:
        return TextRow(record.line, text, str(value))
    label = problems.task.label_of(value)
    if label is None:
        problems.add_label(record.line, value)
        return None
    return TextRow(record.line, text, label)


def _text_problem(text: object, columns: _Columns, fields: Mapping[str, object]) -> str | None:
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


def _is_no_label(value: object) -> bool:
    """Say whether a value stands for "not labelled"; test sets of the hub have the id -1."""
    return value is None or value == "" or (value == -1 and not isinstance(value, bool))


def _chosen_columns(record: Record, choice: _Choice, path: str | Path) -> _Columns:
    """Choose the columns by the first record.

    Raises:
        DataError: A named column is not there, or none looks like what is needed.
    """
    fields = record.fields
    there = f"the columns are {', '.join(map(str, fields)) or 'none'}"
    for named in filter(None, (choice.text, choice.label)):
        if named not in fields:
            raise DataError(f"{place(path, record.line)}: no column {named!r}; {there}.")
    text = choice.text or _first_of(TEXT_COLUMNS, fields)
    label = choice.label if choice.label is not None else _first_of(LABEL_COLUMNS, fields)
    unused_input = None
    instruction = _first_of((_INSTRUCTION,), fields)
    alpaca = choice.text is None and (text is None or text.casefold() == _INPUT)
    if alpaca and instruction and not (text and fields[text]):
        text, unused_input = instruction, text
    missing = [] if text else ["text (--text-column)"]
    missing += ["label (--label-column)"] if choice.label_needed and not label else []
    if text is None or missing:
        raise DataError(
            f"{place(path, record.line)}: no column that looks like the {' or the '.join(missing)};"
            f" {there}. Name it."
        )
    return _Columns(text, label or None, unused_input)


def _first_of(names: tuple[str, ...], fields: Mapping[str, object]) -> str | None:
    by_name = {str(column).strip().casefold(): column for column in fields}
    return next((by_name[name] for name in names if name in by_name), None)


def _has_labels(path: str | Path, task: Task | None) -> bool:
    """Say whether plain text is `text;label`: its first lines all end in a label of the task."""
    if task is None or str(path) == STANDARD_STREAM:
        return False
    if not str(path).lower().removesuffix(".gz").endswith(".txt"):
        return False
    head = islice(read_records(path), _LINES_JUDGED)
    values = [record.fields[LABEL] if isinstance(record, Record) else None for record in head]
    return bool(values) and all(task.label_of(value) for value in values)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHORT else shown[: _SHORT - 3] + "..."
