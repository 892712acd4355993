"""Which columns of a source hold its texts and its labels.

Stands between `records` and `reading`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llamafactory_emotion.data.records import Record
from llamafactory_emotion.errors import DataError

# Tried in this order, in any case, when no column is named.
TEXT_COLUMNS = ("text", "sentence", "content", "tweet", "utterance", "review", "document", "input")
LABEL_COLUMNS = ("label", "emotion", "sentiment", "category", "class", "target", "output")
NO_COLUMN = ""
_INPUT, _INSTRUCTION = "input", "instruction"


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """The columns that a caller names; what is None is guessed from the first record.

    Attributes:
        text: The column of the texts.
        label: The column of the labels; `NO_COLUMN` for none.
        instruction: The column that holds the texts where the first record's `text` is empty, as
            in alpaca records without an input.
    """

    text: str | None = None
    label: str | None = None
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a source; `unused_input` must stay empty, as the text would lose it."""

    text: str
    label: str | None
    unused_input: str | None = None


def choose_columns(
    record: Record, choice: ColumnChoice, place: str, *, label_needed: bool
) -> Columns:
    """Choose the columns by the first record.

    Raises:
        DataError: A named column is not there, or none looks like what is needed.
    """
    fields = record.fields
    named = (choice.text, choice.label, choice.instruction)
    require_columns(record, filter(None, named), place)
    text = choice.text or _first_of(TEXT_COLUMNS, fields)
    label = choice.label if choice.label is not None else label_column_of(record)
    instruction = choice.instruction
    if choice.text is None and (text is None or text.casefold() == _INPUT):
        instruction = instruction or _first_of((_INSTRUCTION,), fields)
    unused_input = None
    if instruction and not (text and fields[text]):
        text, unused_input = instruction, text
    missing = [] if text else ["text (--text-column)"]
    missing += ["label (--label-column)"] if label_needed and not label else []
    if text is None or missing:
        raise DataError(
            f"{place}: no column that looks like the {' or the '.join(missing)}; {_there(record)}. "
            "Name it."
        )
    return Columns(text, label or None, unused_input)


def label_column_of(record: Record) -> str | None:
    """Give the column that looks like the labels', where a record has one."""
    return _first_of(LABEL_COLUMNS, record.fields)


def require_columns(record: Record, columns: Iterable[str], place: str) -> None:
    """Refuse a record that lacks a named column.

    Raises:
        DataError: Names the column, the record's place and the columns there are.
    """
    for column in columns:
        if column not in record.fields:
            raise DataError(f"{place}: no column {column!r}; {_there(record)}. Name one of these.")


def _there(record: Record) -> str:
    return f"the columns are {', '.join(map(str, record.fields)) or 'none'}"


def _first_of(names: tuple[str, ...], fields: Mapping[str, object]) -> str | None:
    by_name = {str(column).strip().casefold(): column for column in fields}
    return next((by_name[name] for name in names if name in by_name), None)
