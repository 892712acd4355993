"""Texts and labels out of the files people have, every row checked.

A file is read row by row. Once a row is wrong no further one is yielded, the rest is still checked,
and one `DataError` lists what is wrong with the whole file.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_emotion.data.columns import (
    INSTRUCTION,
    Columns,
    Reading,
    RowError,
    asked_text,
    choose_columns,
    guess_label,
    is_blank,
    text_of,
    with_turns,
)
from llamafactory_emotion.data.records import LABEL, BrokenRecord, Record, Source, open_source
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.task import ClassName, Task
from llamafactory_emotion.text import HALF_PAIR, FirstFew, shorten

_PROBLEMS_SHOWN = 10
_LABELS_SHOWN = 100
_LABELS_COUNTED = 1000
_LINES_JUDGED = 100
# The repr of a label that `labels=` takes as it is.
_PLAIN = re.compile(r"'[^'\",\\…]+'|[\w.-]+")


class Row(NamedTuple):
    """A text and its label, which is empty where it has none.

    `line` counts from 1 (lines of a text file, rows of a table). `instruction` is asked before the
    text, where rows are read as LLaMA-Factory asks them. `kept` are the columns to keep.
    """

    text: str
    label: str
    line: int
    instruction: str = ""
    kept: Mapping[str, Any] | None = None


@dataclass
class FileNotes:
    """What the reader of a file found that is worth telling.

    Attributes:
        columns: The columns that it took; None before the first row is read.
        skipped: Rows left out because they are empty.
        tidied: (Value, label) to its rows, for values that are not written as their label is.
        instruction: What the first row asks itself, in a column `instruction` beside its text.
    """

    columns: Columns | None = None
    skipped: int = 0
    tidied: Counter[tuple[object, str]] = field(default_factory=Counter)
    instruction: str = ""


class UnknownLabelsError(DataError):
    """A file has labels that are none of the task's."""


def read_rows(path: str | Path, task: Task, **reading: Any) -> list[Row]:
    """Read and check a whole file; see `iterate_rows`."""
    return list(iterate_rows(path, task, **reading))


def iterate_rows(
    path: str | Path, task: Task | None, *, notes: FileNotes | None = None, **reading: Any
) -> Iterator[Row]:
    """Yield the labelled rows of a file, one in memory at a time.

    Args:
        path: A file of any format that `records.open_source` knows.
        task: A value may be a label's name or its id; without a task any value is a label.
        notes: Is filled with what the reader finds.
        reading: The attributes of `columns.Reading`.

    Raises:
        CallError: The file is not there or its format is not known.
        DataError: Lists every problem: a label that is none of the task's, a missing column, an
            empty text, a broken line, a second text that would be lost; or the file is empty or
            its encoding is not certain.
    """
    how = Reading(**reading)
    source = open_source(path, encoding=how.encoding, sheet=how.sheet)
    return checked_rows(source, task, how, notes=notes)


def read_texts(
    path: str | Path,
    *,
    task: Task | None = None,
    notes: FileNotes | None = None,
    **reading: Any,
) -> Iterator[Row]:
    """Yield the texts of a file lazily, with their labels where there are any.

    Like `iterate_rows`, but a row may have no label (an empty value or the id -1). Plain text is
    one text a line, unless `task` is given and each of the first lines ends in a semicolon and one
    of its labels. Standard input is JSON Lines when it opens with `{`.
    """
    how = Reading(**reading)
    split_labels = has_labels(path, task, how.encoding)
    source = open_source(path, encoding=how.encoding, sheet=how.sheet, split_labels=split_labels)
    return checked_rows(source, task, how, notes=notes, labelled=False)


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


def checked_rows(
    source: Source,
    task: Task | None,
    reading: Reading,
    *,
    labelled: bool = True,
    notes: FileNotes | None = None,
) -> Iterator[Row]:
    """Yield the rows of a source until one is wrong; then check the rest and raise.

    With `labelled`, every row must have a label; the rest is as in `iterate_rows`.
    """
    notes = notes or FileNotes()
    gold = GoldReader(task) if task is not None and reading.asked else None
    reader = _RowReader(source, task, reading, labelled, notes, gold)
    problems = _Problems()
    row: Row | None = None
    for record in source.records:
        try:
            row = reader.read(record)
        except RowError as error:
            if error.is_empty and reading.skip_empty:
                notes.skipped += 1
            else:
                problems.add(source.place_of(record.line), error)
            continue
        if not problems.shown.count:
            yield row
    if problems.shown.count:
        raise problems.as_error(
            source.name,
            task,
            may_skip=reading.skip_empty is not None,
            accepted=row is not None and bool(row.label),
        )
    if row is None:
        raise DataError(f"{source.name} holds no rows; check that it is the right one.")
    reader.check_seen()


def is_no_label(value: object, task: Task | None) -> bool:
    """Whether a value means "not labelled"; test sets of the hub have the id -1."""
    is_unlabelled = value == -1 and (task is None or task.label_of(value) is None)
    return is_blank(value) or is_unlabelled


def has_labels(path: str | Path, task: Task | None, encoding: str | None) -> bool:
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

    shown: FirstFew[str] = field(default_factory=FirstFew)
    empty: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, error: RowError) -> None:
        self.shown.add(f"{where}: {error}")
        self.empty += error.is_empty
        # A wrong column may hold a different value in every row.
        if error.label and (error.label in self.labels or len(self.labels) < _LABELS_COUNTED):
            self.labels[error.label] += 1

    def as_error(
        self, name: str, task: Task | None, *, may_skip: bool, accepted: bool
    ) -> DataError:
        lines, count = [*self.shown.first], self.shown.count
        if rest := count - len(lines):
            lines.append(f"... and {rest:,} more")
        if self.labels and task is not None:
            few = len(self.labels) <= _LABELS_SHOWN
            common = self.labels.most_common(None if few else _PROBLEMS_SHOWN)
            counts = ", ".join(f"{label} ({rows:,})" for label, rows in common)
            known = ", ".join(f"{number} {label}" for number, label in enumerate(task.labels))
            lines.append(
                f"unknown labels and their rows: {counts}{'' if few else ', ...'}; "
                f"{task.described} has {known}"
            )
            lines += [
                f"an alias counts in answers alone: write {label!r} for {alias!r}"
                for alias, label in task.aliases.items()
                if repr(alias) in self.labels
            ]
            if task.origin and not accepted and (offered := self._offer()):
                lines.append(f'if these are the labels, write labels="{offered}"')
        if self.empty and may_skip:
            lines.append(f"empty rows: {self.empty:,}; skip_empty=true leaves them out")
        said = "1 problem" if count == 1 else f"{count:,} problems"
        listed = "\n  ".join(lines)
        kind = UnknownLabelsError if self.labels else DataError
        return kind(f"{name} has {said}; mend or remove these rows:\n  {listed}")

    def _offer(self) -> str:
        """Return the unknown labels as `labels=` takes them; empty where they are not all there."""
        whole = self.labels.total() == self.shown.count and 1 < len(self.labels) <= _LABELS_SHOWN
        plain = all(_PLAIN.fullmatch(label) for label in self.labels)
        return (
            ", ".join(sorted(label.strip("'") for label in self.labels)) if whole and plain else ""
        )


@dataclass
class _RowReader:
    """Makes rows of the records of a source; the first one decides which columns are read."""

    source: Source
    task: Task | None
    reading: Reading
    labelled: bool
    notes: FileNotes
    gold: GoldReader | None
    columns: Columns | None = None
    seen: set[str] = field(default_factory=set)  # the columns that a row has had

    def read(self, record: Record | BrokenRecord) -> Row:
        """Return a row, or raise a RowError."""
        if isinstance(record, BrokenRecord):
            raise RowError(record.reason, is_empty=record.is_empty)
        fields, columns = self._fields(record)
        instruction, text = self._text(fields, columns)
        kept = {name: _plain(record.fields.get(name)) for name in columns.kept} or None
        value = fields.get(columns.label) if columns.label else None
        value = value if self.reading.asked else _alone(value)
        if not self.labelled and is_no_label(value, self.task):
            return Row(text, "", record.line, instruction, kept)
        if is_blank(value):
            raise RowError(f"no label in the column {columns.label!r}", is_empty=True)
        label = self._label(value)
        if type(value) is not ClassName and value != label:
            self.notes.tidied[value, label] += 1
        return Row(text, label, record.line, instruction, kept)

    def check_seen(self) -> None:
        """Raise where no row has a named column: LLaMA-Factory passes over it, and it is lost."""
        named = (self.reading.instruction_column, self.reading.text_column)
        missing = sorted({*filter(None, named)} - self.seen) if self.reading.asked else []
        if missing:
            raise DataError(
                f"{self.source.name}: no row has the column {', '.join(missing)} that "
                "dataset_info.json names, so the texts lack it; name the right one."
            )

    def _fields(self, record: Record) -> tuple[Mapping[str, Any], Columns]:
        """Return what a record holds, and the columns to read."""
        where = partial(self.source.place_of, record.line)
        if self.columns is None:
            chosen = choose_columns(record, self.reading, where(), labelled=self.labelled)
            self.columns = replace(chosen, sheets=self.source.sheets)
            self.notes.columns = self.columns
            self.notes.instruction = self._own_instruction(record.fields, self.columns)
        fields = with_turns(record.fields, self.columns.conversation)
        if not fields.keys() <= self.seen:
            self.seen.update(fields)
            if self.columns.label is None and self.reading.label_column is None:
                label = guess_label(fields, self.columns.conversation, where())
                self.columns = self.notes.columns = replace(self.columns, label=label)
        return fields, self.columns

    def _text(self, fields: Mapping[str, Any], columns: Columns) -> tuple[str, str]:
        """Return the instruction, where it is a row's own, and the text."""
        asked = self.reading.asked
        instruction, text = asked_text(fields, columns) if asked else ("", text_of(fields, columns))
        if self.reading.own_instruction:
            instruction = self._own_instruction(fields, columns)
        if HALF_PAIR.search(instruction + text):
            raise RowError("the text holds half of a surrogate pair, which no UTF-8 file can hold")
        if self.source.is_delimited and any(
            self._runs_on(fields, columns, column) for column in columns.texts
        ):
            raise RowError(
                "a quotation mark opens a text that runs on into the next row; double the mark or "
                "remove it"
            )
        if columns.conversation and self.task is not None and not asked:
            # As `prepare` will put it there.
            text = text.removeprefix(f"{self.task.instruction}\n")
        return instruction, text

    def _runs_on(self, fields: Mapping[str, Any], columns: Columns, column: str) -> bool:
        """Whether the first line of a text ends as a row does, or its last begins as one."""
        text, label, names = fields.get(column), columns.label, list(fields)
        if self.task is None or label is None or label not in fields:
            return False
        if not isinstance(text, str) or "\n" not in text:
            return False
        text_at = names.index(column)
        if names.index(label) > text_at:
            line, there = text.split("\n", 1)[0], names[text_at:]
        else:
            line, there = text.rsplit("\n", 1)[1], names[: text_at + 1]
        rows = (line.rstrip("\r").split(delimiter) for delimiter in ",;\t")
        # With a space behind the delimiter it is prose: `Love, Mom`.
        rows = (row for row in rows if len(row) == len(there) and row == [*map(str.strip, row)])
        # A number there may be the rest of another: `it costs 3,5`.
        words = [cell for row in rows if not (cell := row[there.index(label)]).isdecimal()]
        return any(map(self.task.label_of, words))

    def _own_instruction(self, fields: Mapping[str, Any], columns: Columns) -> str:
        own = fields.get(INSTRUCTION)
        return own if isinstance(own, str) and INSTRUCTION not in columns.texts else ""

    def _label(self, value: object) -> str:
        if self.task is not None:
            label = self.task.label_of(value)
        else:  # several labels are none
            label = None if isinstance(value, list | Mapping) else str(value)
        if label is None and self.gold is not None and self.gold.read(value) is not None:
            label = str(value)  # the evaluator reads what was trained
        if label is None:
            shown = shorten(repr(value))
            raise RowError(f"unknown label {shown}", label=shown)
        return label


def _alone(value: object) -> object:
    """Return the one name in a list, as Prodigy, doccano and Argilla write a label, else the value.

    An empty list is no label. An id in a list may be one of another numbering.
    """
    if value == []:
        return None
    is_name = isinstance(value, list) and not value[1:] and isinstance(value[0], str)
    return value[0] if is_name else value  # type: ignore[index]


def _plain(value: object) -> object:
    """Return a value as JSON can hold it; dates and their like become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if is_blank(value):
        return None
    is_finite = isinstance(value, float) and isfinite(value)
    return value if isinstance(value, str | int) or is_finite else str(value)
