"""Texts and labels out of the files people have, every row checked.

A file is read row by row. Once a row is wrong no further one is yielded, the rest is still checked,
and one `DataError` lists what is wrong with the whole file.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_emotion.data.columns import (
    ColumnChoice,
    Columns,
    RowError,
    choose_columns,
    guess_label,
    text_of,
    with_turns,
)
from llamafactory_emotion.data.records import (
    LABEL,
    BrokenRecord,
    Record,
    Source,
    open_source,
)
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.task import Task
from llamafactory_emotion.text import HALF_PAIR, shorten

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


@dataclass
class FileNotes:
    """What the reader of a file found that is worth telling.

    Attributes:
        columns: The columns that it took; None before the first row is read.
        skipped: Rows left out because they are empty.
        tidied: (Value, label) to its rows, for texts that are not written as their label is.
    """

    columns: Columns | None = None
    skipped: int = 0
    tidied: Counter[tuple[str, str]] = field(default_factory=Counter)


class UnknownLabelsError(DataError):
    """A file has labels that are none of the task's."""


def read_rows(path: str | Path, task: Task, **options: Any) -> list[Row]:
    """Read and check a whole file; see `iterate_rows`."""
    return list(iterate_rows(path, task, **options))


def read_ids(
    path: str | Path, *, encoding: str | None = None, sheet: str | None = None
) -> dict[int, str]:
    """Return line to id, of a file with a column `custom_id` or `id`."""
    ids: dict[int, str] = {}
    for record in open_source(path, encoding=encoding, sheet=sheet).records:
        if isinstance(record, Record):
            identity = record.fields.get("custom_id", record.fields.get("id"))
            if isinstance(identity, float) and identity.is_integer():  # as pandas writes it
                identity = int(identity)
            if identity not in (None, ""):
                ids[record.line] = str(identity)
    return ids


def iterate_rows(
    path: str | Path,
    task: Task | None,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    skip_empty: bool | None = None,
    notes: FileNotes | None = None,
) -> Iterator[Row]:
    """Yield the labelled rows of a file, one in memory at a time.

    Args:
        path: A file of any format that `records.open_source` knows.
        task: A value may be a label's name or its id; without a task any value is a label.
        text_column: The column of the texts, or several with commas, which are joined; guessed from
            `TEXT_COLUMNS` when not given. In an alpaca file it is `input`, or `instruction` where
            the first row has no input; in a conversation, the last turn of the user.
        label_column: The column of the labels; guessed from `LABEL_COLUMNS` when not given. In a
            conversation it is the last turn of the assistant.
        encoding: Of a text file.
        sheet: Of a workbook.
        skip_empty: Leave out rows without a text or a label instead of refusing the file; None
            where the caller cannot.
        notes: Is filled with what the reader finds.

    Raises:
        CallError: The file is not there or its format is not known.
        DataError: Lists every problem: a label that is none of the task's, a missing column, an
            empty text, a broken line, a second text that would be lost; or the file is empty or
            its encoding is not certain.
    """
    source = open_source(path, encoding=encoding, sheet=sheet)
    choice = ColumnChoice(text_column, label_column)
    yield from labelled_rows(source, task, choice, skip_empty=skip_empty, notes=notes)


def read_texts(  # noqa: PLR0913 - what a call may say of a file
    path: str | Path,
    *,
    task: Task | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    label_may_lack: bool = False,
    skip_empty: bool | None = None,
    notes: FileNotes | None = None,
) -> Iterator[TextRow]:
    """Yield the texts of a file lazily, with their labels where there are any.

    Like `iterate_rows`, but a row may have no label (an empty value or the id -1), and without a
    task any value is one. Plain text is one text a line, unless `task` is given and each of the
    first lines ends in a semicolon and one of its labels. Standard input is JSON Lines when it
    opens with `{`. `label_column` is `NO_COLUMN` for none; with `label_may_lack` a file
    without that column has no labels.
    """
    split_labels = _has_labels(path, task, encoding)
    source = open_source(path, encoding=encoding, sheet=sheet, split_labels=split_labels)
    choice = ColumnChoice(text_column, label_column, label_may_lack=label_may_lack)
    yield from text_rows(source, task, choice, skip_empty=skip_empty, notes=notes)


def labelled_rows(
    source: Source,
    task: Task | None,
    choice: ColumnChoice,
    *,
    skip_empty: bool | None = None,
    notes: FileNotes | None = None,
) -> Iterator[Row]:
    """Check the records of a source and yield them as labelled rows; see `iterate_rows`."""
    problems = _Problems(notes or FileNotes(), skip_empty)
    for line, text, label in _checked_rows(source, task, choice, problems, label_needed=True):
        yield Row(text, label or "", line)


def text_rows(
    source: Source,
    task: Task | None,
    choice: ColumnChoice,
    *,
    skip_empty: bool | None = None,
    notes: FileNotes | None = None,
) -> Iterator[TextRow]:
    """Check the records of a source and yield their texts; see `read_texts`."""
    problems = _Problems(notes or FileNotes(), skip_empty)
    yield from _checked_rows(source, task, choice, problems, label_needed=False)


def is_no_label(value: object, task: Task | None) -> bool:
    """Whether a value means "not labelled"; test sets of the hub have the id -1."""
    if value is None or value == "":
        return True
    is_unknown = task is None or task.label_of(value) is None
    return value == -1 and not isinstance(value, bool) and is_unknown


def _has_labels(path: str | Path, task: Task | None, encoding: str | None) -> bool:
    """Whether plain text is `text;label`: its first lines all end in a label of the task."""
    is_text = str(path).lower().removesuffix(".gz").endswith(".txt")
    if task is None or not is_text or str(path) == STANDARD_STREAM:
        return False
    head = list(islice(open_source(path, encoding=encoding).records, _LINES_JUDGED))
    values = [record.fields[LABEL] if isinstance(record, Record) else None for record in head]
    odd = [number for number, value in enumerate(values) if not task.label_of(value)]
    if odd and len(odd) < len(values) / 2:
        raise DataError(
            f"{path}:{head[odd[0]].line}: most of the first lines end in a semicolon and a label "
            f"of the task {task.name!r}, and this one does not; mend it, or name the file .csv "
            "with a header if these are no labels."
        )
    return bool(values) and not odd


@dataclass
class _Problems:
    """The first problems of a source, how many there are, and the labels that are unknown."""

    notes: FileNotes
    skip_empty: bool | None = None
    count: int = 0
    empty: int = 0
    shown: list[str] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, error: RowError) -> None:
        if error.is_empty and self.skip_empty:
            self.notes.skipped += 1
            return
        self.count += 1
        self.empty += error.is_empty
        if len(self.shown) < _PROBLEMS_SHOWN:
            self.shown.append(f"{where}: {error}")
        label = error.label
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
                f"{task.described} has {known}"
            )
            for alias in (one for one in task.aliases if repr(one) in self.labels):
                label = task.aliases[alias]
                lines.append(f"an alias counts in answers alone: write {label!r} for {alias!r}")
        if self.empty and self.skip_empty is not None:
            lines.append(f"empty rows: {self.empty:,}; skip_empty=true leaves them out")
        count = "1 problem" if self.count == 1 else f"{self.count:,} problems"
        listed = "\n  ".join(lines)
        kind = UnknownLabelsError if self.labels else DataError
        raise kind(f"{name} has {count}; mend or remove these rows:\n  {listed}")


def _checked_rows(
    source: Source,
    task: Task | None,
    choice: ColumnChoice,
    problems: _Problems,
    *,
    label_needed: bool,
) -> Iterator[TextRow]:
    """Yield the rows until one is wrong; then check the rest and raise."""
    notes = problems.notes
    columns: Columns | None = None
    row: TextRow | None = None
    for record in source.records:
        where = partial(source.place_of, record.line)
        try:
            fields, columns = _fields(record, columns, choice, where, label_needed=label_needed)
            notes.columns = notes.columns or columns
            row, value = _checked_row(record.line, fields, columns, task, label_needed=label_needed)
        except RowError as error:
            problems.add(where(), error)
            continue
        if value != row.label and type(value) is str and row.label is not None:
            notes.tidied[value, row.label] += 1
        if not problems.count:
            yield row
    if problems.count:
        problems.raise_for(source.name, task)
    if row is None:
        raise DataError(f"{source.name} holds no rows; check that it is the right one.")


def _fields(
    record: Record | BrokenRecord,
    columns: Columns | None,
    choice: ColumnChoice,
    where: Callable[[], str],
    *,
    label_needed: bool,
) -> tuple[Mapping[str, Any], Columns]:
    """Return what a record holds, and the columns to read, which the first record decides."""
    if isinstance(record, BrokenRecord):
        raise RowError(record.reason, is_empty=record.is_empty)
    if columns is None:
        columns = choose_columns(record, choice, where(), label_needed=label_needed)
    fields = with_turns(record.fields, columns.conversation)
    if columns.label is None and choice.label is None:
        columns = replace(columns, label=guess_label(fields, columns.conversation, where()))
    return fields, columns


def _checked_row(
    line: int,
    fields: Mapping[str, Any],
    columns: Columns,
    task: Task | None,
    *,
    label_needed: bool,
) -> tuple[TextRow, object]:
    """Return a row, and the value that is its label."""
    text = text_of(fields, columns)
    if HALF_PAIR.search(text):
        raise RowError("the text holds half of a surrogate pair, which no UTF-8 file can hold")
    if columns.conversation and task is not None:  # as `prepare` and `predict` will put it there
        text = text.removeprefix(f"{task.instruction}\n")
    value = fields.get(columns.label) if columns.label else None
    if is_no_label(value, task) and not label_needed:
        return TextRow(line, text, None), None
    if value is None or value == "":
        raise RowError(f"no label in the column {columns.label!r}", is_empty=True)
    return TextRow(line, text, str(value) if task is None else _checked_label(value, task)), value


def _checked_label(value: object, task: Task) -> str:
    label = task.label_of(value)
    if label is None:
        shown = shorten(repr(value))
        raise RowError(f"unknown label {shown}", label=shown)
    return label
