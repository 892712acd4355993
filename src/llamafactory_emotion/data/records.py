"""Read the records of a data file one after another, whatever its format.

A record is column to value; what the columns mean is `reading`'s business. What cannot be read
comes as a `BrokenRecord`, so that `reading` can list everything that is wrong with a file.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.delimited import MAC_LINE_END, Cells, delimited_rows
from llamafactory_emotion.data.lines import Lines, read_lines
from llamafactory_emotion.data.tables import (
    WORKBOOKS,
    Numbered,
    arrow_rows,
    is_saved,
    parquet_rows,
    read_sheet,
    saved_rows,
)
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import STANDARD_STREAM, open_binary
from llamafactory_emotion.text import shorten

TEXT, LABEL = "text", "label"
_LINES_JOINED = 10_000
_JSON_SPACE = re.compile(r"[ \t\r\n]*")
_SEVERAL_LINES = (
    "a JSON object over several lines; write each row on a line of its own, or all rows as one list"
)
_JSON = (".jsonl", ".ndjson", ".json")
_ARROW = (".arrow", ".feather")
_SPLIT = re.compile(r"(?<![a-z])(train|test|val|dev)(?:idation|ing)?(?![a-z])")
_SUFFIXES = (*_JSON, ".csv", ".tsv", ".txt", ".parquet", *_ARROW, *WORKBOOKS)


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `line` is the line it starts on, or the row's number where there are no lines."""

    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """A line where no record could be read, and why."""

    line: int
    reason: str
    is_empty: bool = False


Records = Iterator[Record | BrokenRecord]


@dataclass(frozen=True)
class Source:
    """Records that can be gone through once, their name, and what messages call one of a line.

    `is_delimited` where they are rows of CSV or tab-separated text; `sheets` are a workbook's, of
    which the first was taken, where there are several and none was named.
    """

    name: str
    records: Records
    place_of: Callable[[int], str]
    is_delimited: bool = False
    sheets: tuple[str, ...] = ()


def open_source(
    path: str | Path,
    *,
    encoding: str | None = None,
    sheet: str | None = None,
    split_labels: bool = True,
) -> Source:
    """Open a file, a folder of files or of `save_to_disk`, or standard input (`-`).

    Standard input is JSON Lines or plain text. The files of a folder are of one format and are read
    one after another, by name.

    The format is known by the suffix (`.jsonl`, `.json`, `.csv`, `.tsv`, `.txt`, `.parquet`,
    `.arrow`, `.xlsx`, each but the last also with `.gz`). Everything is streamed but a JSON list,
    which is held as text while its objects are read one by one, and a workbook.

    Args:
        path: The file.
        encoding: Of a text file, where it is neither UTF-8 nor certain.
        sheet: Of a workbook; by default the first.
        split_labels: Read a line of plain text as `text;label`, split at the last semicolon;
            otherwise the whole line is the text.

    Raises:
        CallError: The file is not there or its suffix is not known.
        DataError: The file cannot be read as what its suffix says.
    """
    suffix, sheets = _suffix(path), list[str]()
    by_row = True
    if str(path) != STANDARD_STREAM and Path(path).is_dir():
        if not is_saved(Path(path)):
            return _folder_source(Path(path), partial(open_source, encoding=encoding, sheet=sheet))
        records = _row_records(saved_rows(Path(path)))
    elif suffix == ".parquet":
        records = _row_records(parquet_rows(path))
    elif suffix in _ARROW:
        records = _row_records(arrow_rows(path))
    elif suffix in WORKBOOKS:
        rows, sheets = read_sheet(path, sheet)
        records = _table(row for row in enumerate(rows, start=1) if any(row[1]))
    elif suffix in (*_JSON, ".csv", ".tsv", ".txt") or str(path) == STANDARD_STREAM:
        first, lines = _peek(read_lines(path, encoding))
        records, by_row = _text_file_records(suffix, first, lines, split_labels=split_labels)
    else:
        with open_binary(path):  # says so when the file is not there
            known = ", ".join(_SUFFIXES)
            raise CallError(
                f"{path} has no known suffix; name it {known} (or one of these and .gz)."
            )
    between = ": row " if by_row else ":"
    of = " of the first sheet" if suffix in WORKBOOKS and sheet is None else ""
    is_delimited = suffix in (".csv", ".tsv")
    several = tuple(sheets) if sheet is None and sheets[1:] else ()
    return Source(
        str(path), records, lambda line: f"{path}{between}{line}{of}", is_delimited, several
    )


def _folder_source(folder: Path, open_file: Callable[[Path], Source]) -> Source:
    """Chain the data files of a folder; lines are counted on from one to the next."""
    opened: list[tuple[int, Source]] = []  # with the lines before it

    def records() -> Records:
        last = 0
        for path in _data_files(folder):
            source, before = open_file(path), last
            opened.append((before, source))
            for record in source.records:
                last = before + record.line
                yield replace(record, line=last)

    def place_of(line: int) -> str:
        before, source = next(one for one in reversed(opened) if one[0] < line)
        return source.place_of(line - before)

    return Source(str(folder), records(), place_of)


def _data_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold data, by name.

    Raises:
        CallError: There are none, or they are of several formats or splits.
    """
    files = [path for path in sorted(folder.iterdir()) if _suffix(path) in _SUFFIXES]
    files = [path for path in files if path.is_file() and not path.name.startswith((".", "_"))]
    kinds = {_suffix(path) for path in files}
    splits = {match[1] for path in files if (match := _SPLIT.search(path.name.lower()))}
    if len(kinds) == 1 and len(splits) < 2:
        return files
    several = f"files of several {'splits' if len(kinds) == 1 else 'formats'}"
    inside = ", ".join(path.name for path in files[:5] or sorted(folder.iterdir())[:5])
    raise CallError(
        f"{folder} is a directory with {several if files else 'no data file'} "
        f"({inside or 'it is empty'}); name a file in it."
    )


def _text_file_records(
    suffix: str, first: str, lines: Lines, *, split_labels: bool
) -> tuple[Records, bool]:
    """Return the records of lines, and whether they are counted by row instead of by line."""
    opening = "".join(first.split())
    # In standard input, a text may begin with a bracket too.
    if suffix in _JSON or (not suffix and (opening.startswith(("{", "[{")) or opening == "[")):
        if opening == "{":
            number = next(number for number, line in lines if line.strip())
            return iter([BrokenRecord(number, _SEVERAL_LINES)]), False
        if not opening.startswith("["):
            return _json_lines(lines), False
        # In parts: millions of lines take twice the memory of their text.
        parts = iter(
            lambda: "".join(line for _, line in itertools.islice(lines, _LINES_JOINED)), ""
        )
        text = "".join(parts)
        # On one line (as `json.dump` writes it) all rows would have the same number.
        by_row = text.count("\n") < text.count("}")
        return _json_list(text, by_row=by_row), by_row
    if suffix in (".csv", ".tsv"):
        return _table(delimited_rows(first, lines, "\t" if suffix == ".tsv" else None)), False
    return _text_records(lines, split_labels=split_labels), False


def _row_records(rows: Numbered) -> Records:
    return (Record(number, fields) for number, fields in rows)


def _suffix(path: str | Path) -> str:
    return Path(str(path).lower().removesuffix(".gz")).suffix


def _peek(lines: Lines) -> tuple[str, Lines]:
    """Return the first line that is not blank, and all lines."""
    head = []
    for number, line in lines:
        head.append((number, line))
        if line.strip():
            return line, itertools.chain(head, lines)
    return "", iter(head)


def _json_lines(lines: Lines) -> Records:
    for number, line in lines:
        if line.strip():
            try:
                yield _object_record(number, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield BrokenRecord(number, _json_reason(error))


def _json_list(text: str, *, by_row: bool) -> Records:
    """Yield the objects of a list with the line each one starts on; a fault ends the list."""
    decode = json.JSONDecoder().raw_decode
    position = text.index("[")
    line = 1 + text.count("\n", 0, position)
    mark = "["
    for row in itertools.count(1):
        if not text.startswith(mark, position):
            break
        start = _skip_space(text, position + 1)
        if mark == "[" and text.startswith("]", start):
            position = start
            break
        line = row if by_row else line + text.count("\n", position, start)
        try:
            value, end = decode(text, start)
        except (ValueError, RecursionError) as error:
            at = line if by_row else getattr(error, "lineno", line)
            yield BrokenRecord(at, _json_reason(error))
            return
        yield _object_record(line, value)
        position, mark = _skip_space(text, end), ","
        line += text.count("\n", start, position)
    if text[position:].rstrip() != "]":
        yield BrokenRecord(line, "broken JSON: a comma or the closing ] is missing")


def _skip_space(text: str, position: int) -> int:
    match = _JSON_SPACE.match(text, position)
    return match.end() if match else position


def _json_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at column {error.colno}: {error.msg}"
    return f"broken JSON: {error}"


def _object_record(line: int, value: object) -> Record | BrokenRecord:
    if isinstance(value, dict):
        return Record(line, value)
    return BrokenRecord(line, f"a JSON object is needed, not {type(value).__name__}")


def _table(rows: Cells) -> Records:
    """Make records of a table's rows; the first is the header, and blank lines are nothing."""
    header: list[str] = []
    for line, values in rows:
        if isinstance(values, str):
            yield BrokenRecord(line, values)
        elif not values:
            continue
        elif not header:
            header = [name.strip() for name in values]
            while len(header) > 1 and not header[-1]:  # spreadsheets write columns without content
                header.pop()
            if doubled := [name for name, count in Counter(header).items() if count > 1]:
                named = f"{doubled[0]!r} twice" if doubled[0] else "columns without a name"
                yield BrokenRecord(line, f"the header has {named}; rename one")
                return
        elif len(values) < len(header) or any(values[len(header) :]):
            reason = f"{len(values)} fields where the header has {len(header)}"
            first = f"; the header is {shorten(header[0])!r}, and only blank lines may be above it"
            remedy = "; quote what holds a delimiter" + ("" if header[1:] else first)
            yield BrokenRecord(line, reason + remedy)
        else:
            yield Record(line, dict(zip(header, values, strict=False)))


def _text_records(lines: Lines, *, split_labels: bool) -> Records:
    """Read one text a line; blank lines at the end are nothing, others are empty texts."""
    blank: list[int] = []
    for number, raw in lines:
        line = raw.removesuffix("\n").removesuffix("\r")
        if "\r" in line:
            yield BrokenRecord(number, MAC_LINE_END)
            continue
        if not line.strip():
            blank.append(number)
            continue
        yield from (BrokenRecord(number, "the line is empty", is_empty=True) for number in blank)
        blank.clear()
        if not split_labels:
            yield Record(number, {TEXT: line})
        elif ";" in line:
            yield Record(number, dict(zip((TEXT, LABEL), line.rsplit(";", 1), strict=True)))
        else:
            yield BrokenRecord(number, "no semicolon between a text and its label")
