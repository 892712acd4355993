"""Read the records of a data file one after another, whatever its format.

A record is column to value; what the columns mean is `reading`'s business. What cannot be read
comes as a `BrokenRecord`, so that `reading` can list everything that is wrong with a file.
"""

import contextlib
import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import STANDARD_STREAM, open_binary
from llamafactory_emotion.task import ClassName

TEXT, LABEL = "text", "label"
# The largest that fits a C long on every system; the csv module's own limit is 128 KiB a field.
_LARGEST_FIELD = 2**31 - 1
_JSON_SPACE = re.compile(r"[ \t\r\n]*")
_BATCH_ROWS = 4096

ClassNames = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `line` is the line it starts on, or the row's number in a Parquet file."""

    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """A line where no record could be read, and why."""

    line: int
    reason: str


Records = Iterator[Record | BrokenRecord]
Lines = Iterator[tuple[int, str]]


@dataclass(frozen=True)
class Source:
    """Records that can be gone through once, their name, and what messages call one of a line."""

    name: str
    records: Records
    place_of: Callable[[int], str]


def open_source(path: str | Path, *, split_labels: bool = True) -> Source:
    """Return the records of a file with its name; see `read_records`."""
    records = read_records(path, split_labels=split_labels)
    return Source(str(path), records, partial(_where, path))


def read_records(
    path: str | Path, *, split_labels: bool = True, name_labels: bool = True
) -> Records:
    """Yield the records of a file or of standard input (`-`: JSON Lines or plain text).

    The format is known by the suffix (`.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`, `.txt`, each
    also with `.gz`). Everything is streamed but a JSON list, which is held as text while its
    objects are read one by one.

    Args:
        path: The file.
        split_labels: Read a line of plain text as `text;label`, split at the last semicolon;
            otherwise the whole line is the text.
        name_labels: Replace label ids by their names, where a Parquet file has these.

    Raises:
        CallError: The file is not there or its suffix is not known.
        DataError: The file is not UTF-8, or a Parquet or gzip file is broken.
    """
    if str(path) == STANDARD_STREAM:
        return _stream_records(_lines(path), split_labels=split_labels)
    suffix = _suffix(path)
    if suffix == ".parquet":
        return _parquet_records(path, name_labels=name_labels)
    if suffix == ".txt":
        return _text_records(_lines(path), split_labels=split_labels)
    if suffix in _READERS:
        return _READERS[suffix](_lines(path))
    with open_binary(path):  # says so when the file is not there or is a directory
        known = ", ".join([*_READERS, ".parquet", ".txt"])
        raise CallError(f"{path} has no known suffix; name it {known} (or one of these and .gz).")


def count_records(path: str | Path) -> int:
    """Count a file's records, broken ones too; Parquet and JSON Lines are not decoded for it.

    Raises:
        CallError: The file is not there or its suffix is not known.
        DataError: It cannot be read.
    """
    suffix = _suffix(path)
    if suffix == ".parquet":
        with _opened_parquet(path) as file:
            return int(file.metadata.num_rows)
    is_json = _READERS.get(suffix) is _json_records
    if not is_json or _peek(_lines(path))[0].lstrip().startswith("["):
        return sum(1 for _ in read_records(path))
    with open_binary(path) as binary:
        return sum(1 for line in binary if line.strip())


def _where(path: str | Path, line: int) -> str:
    return f"{path}: row {line}" if _suffix(path) == ".parquet" else f"{path}:{line}"


def _suffix(path: str | Path) -> str:
    return Path(str(path).lower().removesuffix(".gz")).suffix


def _lines(path: str | Path) -> Lines:
    r"""Yield number and text of every line; only `\n` ends one, as JSON Lines has it."""
    with open_binary(path) as binary:
        for number, raw in enumerate(binary, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = raw[error.start]
                raise DataError(
                    f"{path}:{number}: not UTF-8 text (byte 0x{byte:02x}); save it as UTF-8."
                ) from error


def _peek(lines: Lines) -> tuple[str, Lines]:
    """Return the first line that is not blank, and all lines."""
    head = []
    for number, line in lines:
        head.append((number, line))
        if line.strip():
            return line, itertools.chain(head, lines)
    return "", iter(head)


def _stream_records(lines: Lines, *, split_labels: bool) -> Records:
    """Read a stream without a name: JSON when the first text in it opens an object or a list."""
    first, lines = _peek(lines)
    opening = "".join(first.split())
    # A text may begin with a bracket too.
    if opening.startswith(("{", "[{")) or opening == "[":
        return _json_records(lines)
    return _text_records(lines, split_labels=split_labels)


def _json_records(lines: Lines) -> Records:
    """Read a JSON list of objects, or JSON Lines: both are found under either suffix."""
    first, lines = _peek(lines)
    if first.lstrip().startswith("["):
        return _json_list("".join(line for _, line in lines))
    return _json_lines(lines)


def _json_lines(lines: Lines) -> Records:
    for number, line in lines:
        if line.strip():
            try:
                yield _object_record(number, json.loads(line))
            except ValueError as error:
                yield BrokenRecord(number, _json_reason(error))


def _json_list(text: str) -> Records:
    """Yield the objects of a list with the line each one starts on; a fault ends the list."""
    decode = json.JSONDecoder().raw_decode
    position = text.index("[")
    line = 1 + text.count("\n", 0, position)
    mark = "["
    while text.startswith(mark, position):
        start = _skip_space(text, position + 1)
        if mark == "[" and text.startswith("]", start):
            position = start
            break
        line += text.count("\n", position, start)
        try:
            value, end = decode(text, start)
        except ValueError as error:
            yield BrokenRecord(getattr(error, "lineno", line), _json_reason(error))
            return
        yield _object_record(line, value)
        position, mark = _skip_space(text, end), ","
        line += text.count("\n", start, position)
    if text[position:].rstrip() != "]":
        yield BrokenRecord(line, "broken JSON: a comma or the closing ] is missing")


def _skip_space(text: str, position: int) -> int:
    match = _JSON_SPACE.match(text, position)
    return match.end() if match else position


def _json_reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at column {error.colno}: {error.msg}"
    return f"broken JSON: {error}"


def _object_record(line: int, value: object) -> Record | BrokenRecord:
    if isinstance(value, dict):
        return Record(line, value)
    return BrokenRecord(line, f"a JSON object is needed, not {type(value).__name__}")


def _comma_table(lines: Lines) -> Records:
    """Read a CSV file, with semicolons or tabs as some spreadsheets write it.

    The delimiter is the one that finds the most columns in the header. (`csv.Sniffer` prefers a
    comma wherever there is one, and takes a sign inside a header's only column for the delimiter.)
    """
    header, lines = _peek(lines)
    # `max` returns the first of equals, so a header of one column is read with a comma.
    delimiter = max(",;\t", key=lambda delimiter: _count_columns(header, delimiter))
    return _table(lines, delimiter=delimiter)


def _count_columns(header: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([header], delimiter=delimiter, strict=True), []))
    except csv.Error:
        return 0


def _table(lines: Lines, *, delimiter: str) -> Records:
    csv.field_size_limit(_LARGEST_FIELD)
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield BrokenRecord(line, f"broken table row ({error}); check its quotes")
            continue
        if values is None:
            return
        if not values:
            continue
        if not header:
            header = [name.strip() for name in values]
            if len(set(header)) < len(header):
                yield BrokenRecord(line, "a column stands twice in the header")
                return
        elif len(values) == len(header):
            yield Record(line, dict(zip(header, values, strict=True)))
        else:
            reason = f"{len(values)} fields where the header has {len(header)}"
            yield BrokenRecord(line, f"{reason}; quote what holds commas")


def _text_records(lines: Lines, *, split_labels: bool) -> Records:
    """Read one text a line; blank lines at the end are nothing, others are empty texts."""
    blank: list[int] = []
    for number, raw in lines:
        line = raw.removesuffix("\n").removesuffix("\r")
        if "\r" in line:
            yield BrokenRecord(number, r"a line end is \r alone; save the file with \n or \r\n")
            continue
        if not line.strip():
            blank.append(number)
            continue
        yield from (BrokenRecord(blank_line, "the line is empty") for blank_line in blank)
        blank.clear()
        if not split_labels:
            yield Record(number, {TEXT: line})
        elif ";" in line:
            yield Record(number, dict(zip((TEXT, LABEL), line.rsplit(";", 1), strict=True)))
        else:
            yield BrokenRecord(number, "no semicolon between a text and its label")


_READERS: Mapping[str, Callable[[Lines], Records]] = {
    ".jsonl": _json_records,
    ".ndjson": _json_records,
    ".json": _json_records,
    ".csv": _comma_table,
    ".tsv": partial(_table, delimiter="\t"),
}


def _parquet_records(path: str | Path, *, name_labels: bool) -> Records:
    with _opened_parquet(path) as file:
        names = _class_names(file) if name_labels else {}
        batches = file.iter_batches(batch_size=_BATCH_ROWS)
        rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
        for number, fields in enumerate(rows, start=1):
            yield Record(number, with_class_names(fields, names))


def parquet_class_names(path: str | Path) -> ClassNames:
    """Return the names of label ids by column; empty where the file has none."""
    with _opened_parquet(path) as file:
        return _class_names(file)


def _class_names(file: Any) -> ClassNames:
    # Few files have names, and importing `datasets` takes a second.
    if b"huggingface" not in (file.schema_arrow.metadata or {}):
        return {}
    from datasets import Features

    return class_names(Features.from_arrow_schema(file.schema_arrow))


def class_names(features: Mapping[str, Any]) -> ClassNames:
    """Return the names of label ids by column, from the features of a data set."""
    return {column: one.names for column, one in features.items() if getattr(one, "names", None)}


def with_class_names(fields: Mapping[str, Any], names: ClassNames) -> dict[str, Any]:
    """Return a row with its label ids replaced by their names; an id without a name stays.

    Ids mean what the data set says, not what the task's order happens to be.
    """
    named = dict(fields)
    for column, known in names.items():
        value = named.get(column)
        if isinstance(value, int) and 0 <= value < len(known):
            named[column] = ClassName(known[value])
    return named


@contextlib.contextmanager
def _opened_parquet(path: str | Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    with open_binary(path) as binary:
        try:
            yield parquet.ParquetFile(binary)
        except (pyarrow.ArrowException, ValueError, TypeError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{path} is not a readable Parquet file ({reason}); write it again."
            ) from error
