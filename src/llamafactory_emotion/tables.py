"""Tables and lists of facts, printed with rich on a terminal and as plain text elsewhere.

What the other modules lay out ends here. Cells are expected to be harmless (`console.printable`).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Table:
    """A titled table; the first column is text, the others are figures aligned to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Facts:
    """A titled list of names with what is to be said of each."""

    title: str
    lines: tuple[tuple[str, str], ...]


Block = Table | Facts


def print_blocks(blocks: Sequence[Block], out: TextIO) -> None:
    """Print blocks with rich where `out` is a terminal, and as plain text where it is not.

    What the encoding of `out` cannot show is shown as an escape.
    """
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="backslashreplace")
    if out.isatty():
        _print_rich(blocks, out)
    else:
        out.write("\n\n".join(_plain(block) for block in blocks) + "\n")


def _plain(block: Block) -> str:
    if isinstance(block, Facts):
        width = max((len(name) for name, _ in block.lines), default=0)
        lines = [f"  {name:<{width}}  {said}" for name, said in block.lines]
        return "\n".join([block.title, *lines])
    grid = [block.columns, *block.rows]
    widths = [max(_cells(row[k]) for row in grid) for k in range(len(block.columns))]
    lines = [
        "  "
        + "  ".join(
            _pad(cell, width, right=k > 0)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid
    ]
    return "\n".join([block.title, *lines])


def _pad(text: str, width: int, *, right: bool) -> str:
    gap = " " * (width - _cells(text))
    return gap + text if right else text + gap


def _cells(text: str) -> int:
    """Give the terminal cells a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(character) else 1 + (east_asian_width(character) in "WF")
        for character in text
    )


def _print_rich(blocks: Sequence[Block], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=out, highlight=False)
    for block in blocks:
        console.print(Text(block.title, style="bold"))
        facts = isinstance(block, Facts)
        table = RichTable(show_header=not facts, box=None, pad_edge=True, header_style="dim")
        columns = ("", "") if isinstance(block, Facts) else block.columns
        for k, column in enumerate(columns):
            table.add_column(Text(column), justify="left" if facts or k == 0 else "right")
        for row in block.lines if isinstance(block, Facts) else block.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        console.print()
