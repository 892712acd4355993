"""Rows of tables in text: comma-separated, or tab-separated as they are or quoted."""

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator

from llamafactory_emotion.data.lines import Lines

MAC_LINE_END = r"a line end is \r alone; save the file with \n or \r\n"
# The largest that fits a C long on every system; the csv module's own limit is 128 KiB a field.
_LARGEST_FIELD = 2**31 - 1
# A quoted field of a tab-separated row, or one as it is.
_TAB_FIELD = re.compile(r'"((?:[^"]|"")*+)"(?=\t|\Z)|[^\t]*')
_OPEN_QUOTE = re.compile(r'(?:\A|\t)"(?:[^"]|"")*+\Z')
_NEEDS_QUOTES = re.compile(r'[\t\r\n"]')
_QUOTED_LINES = 100

# The line that a row starts on, and its cells or why it cannot be read.
Cells = Iterator[tuple[int, list[str] | str]]


def delimited_rows(header: str, lines: Lines, delimiter: str | None = None) -> Cells:
    """Yield the rows of a table whose header is known; by default that tells the delimiter."""
    # It is the one that finds the most columns; a comma among equals. (`csv.Sniffer` prefers a
    # comma wherever there is one, and takes a sign inside a header's only column for it.)
    delimiter = delimiter or max(",;\t", key=lambda sign: _count_columns(header, sign))
    # Who quotes the header quotes every text.
    is_plain = delimiter == "\t" and not header.startswith('"')
    return _tab_rows(lines) if is_plain else _quoted_rows(lines, delimiter)


def _count_columns(header: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([header], delimiter=delimiter, strict=True), []))
    except csv.Error:
        return 0


def _quoted_rows(lines: Lines, delimiter: str) -> Cells:
    csv.field_size_limit(_LARGEST_FIELD)
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            is_mac = "new-line character" in str(error)
            yield line, MAC_LINE_END if is_mac else f"broken table row ({error}); check its quotes"
            continue
        if values is None:
            return
        yield line, values


def _tab_rows(lines: Lines) -> Cells:
    """Read tab-separated rows: quoted as writers of tables do, or with texts as they are.

    Table writers quote a field that holds a tab, a quotation mark or a line end. Other programs
    quote nothing, so a mark at the beginning of a text must not join its row with the next: lines
    are joined only where they are no rows by themselves.
    """
    ahead: deque[tuple[int, str]] = deque()
    width = 0

    def is_row(line: str) -> bool:
        return len(_tab_cells(line)) == width

    for number, line in _refilled(ahead, lines):
        cells = _tab_cells(line)
        width = width or len(cells)
        if not _OPEN_QUOTE.search(line):
            is_mac = "\r" in line[:-2] and '"' not in line
            yield number, MAC_LINE_END if is_mac else cells
            continue
        ahead.extend(itertools.islice(lines, _QUOTED_LINES - len(ahead)))
        if len(cells) == width and (not ahead or is_row(ahead[0][1])):
            yield number, cells
            continue
        more = _lines_to_closing_quote(line, ahead)
        following = [text for _, text in itertools.islice(ahead, more)]
        if more and is_row(line + "".join(following)) and not any(map(is_row, following[:-1])):
            for _ in following:
                ahead.popleft()
            yield number, _tab_cells(line + "".join(following))
        elif len(cells) == width:
            yield number, cells
        else:
            yield number, "a quotation mark opens here and none closes it; double it or remove it"


def _refilled(ahead: "deque[tuple[int, str]]", lines: Lines) -> Lines:
    """Yield the lines that were read ahead before those still to be read."""
    while True:
        ahead.extend(itertools.islice(lines, 0 if ahead else 1))
        if not ahead:
            return
        yield ahead.popleft()


def _lines_to_closing_quote(line: str, following: Iterable[tuple[int, str]]) -> int:
    """Return how many more lines the quotation mark needs that opens in a line; 0 for never."""
    for count, (_, text) in enumerate(following, start=1):
        line += text
        if '"' in text and not _OPEN_QUOTE.search(line):
            return count
    return 0


def _tab_cells(line: str) -> list[str]:
    line = line.removesuffix("\n").removesuffix("\r")
    if '"' not in line:
        return line.split("\t") if line else []
    cells = []
    position = 0
    while position <= len(line):
        field = _TAB_FIELD.match(line, position)
        assert field is not None  # noqa: S101 - it matches nothing, too
        quoted = field[1]
        # No writer quotes a field that does not need it where it does not quote the header.
        needed = quoted is not None and _NEEDS_QUOTES.search(quoted)
        cells.append(quoted.replace('""', '"') if needed else field[0])
        position = field.end() + 1
    return cells
