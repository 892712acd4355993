"""What every command shares at the terminal: its start, its errors, its tables.

An error that a user can cause ends a command with one sentence and an exit code, never with a
traceback; text from files is printed so that it cannot act on the terminal.
"""

import contextlib
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import EDQUOT, EIO, ENOSPC
from typing import TextIO

from llamafactory_emotion.errors import CallError, EmotionError
from llamafactory_emotion.options import Call, T, help_text, needs_words, read_options

INTERRUPTED = 130


def run_command(
    command: str,
    options: type[T],
    work: Callable[[T, Call], int],
    argv: Sequence[str] | None,
    *,
    about: str,
    notes: str = "",
) -> int:
    """Read a command's options, do its work, and return the exit code.

    Args:
        command: Name of the command.
        options: Dataclass of its keys.
        work: Takes the options and the call as it was; returns the exit code.
        argv: The words of the call, or None for those of this process.
        about: What the command does, for `--help`.
        notes: What its help says last.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & {*words} or words == ["help"] or (not words and needs_words(options)):
        text = help_text(command, options, about, notes)
        return run_work(lambda: _show(text, 0 if words else CallError.exit_code))
    asked = [word for word in words if word not in ("--debug", "debug=true")]
    return run_work(lambda: work(*read_options(asked, options)), debug=asked != words)


def _show(text: str, code: int) -> int:
    print(text)
    return code


def run_work(work: Callable[[], int], *, debug: bool = False) -> int:
    """Do a command's work and turn what a user can cause into a sentence and an exit code.

    Args:
        work: Does the work and returns the exit code.
        debug: Show the traceback of an expected error too.

    Returns:
        What `work` returned; 1 or 2 for an `EmotionError`; 130 after Ctrl-C or a request to
        terminate; 0 when the reader of a pipe went away; 1 where a path cannot be used or the
        disk is full.
    """
    # Its advice on kernels for processors with avx512_bf16 comes as soon as peft imports it.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    _make_streams_ready()
    try:
        with _termination_as_interrupt():
            code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (say, `head`) has what it wanted.
        _drop_unwritten_output()
        return 0
    except (EmotionError, OSError, RecursionError, UnicodeEncodeError) as error:
        if debug:
            traceback.print_exc()
        elif isinstance(error, OSError) and error.strerror is None:
            raise
        if isinstance(error, OSError):
            _drop_unwritten_output()
        print(f"error: {printable(_sentence(error))}", file=sys.stderr)
        is_call = isinstance(error, UnicodeEncodeError)
        return CallError.exit_code if is_call else getattr(error, "exit_code", 1)
    return code


def _make_streams_ready() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us (`>&-`, pythonw)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character gets its escape.
            stream.reconfigure(errors="backslashreplace")


def _sentence(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "a file or a value is nested too deeply to be read."
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!r} cannot be written as UTF-8; rename it."
    if not isinstance(error, OSError):
        return str(error)
    if error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror}); check path and rights."
    remedy = "; is the disk full?" if error.errno in (ENOSPC, EDQUOT, EIO) else "."
    return f"the system refuses to go on ({error.strerror}){remedy}"


def _drop_unwritten_output() -> None:
    """Close stdout where it takes no more, or Python would complain again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            sys.stdout.close()


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let a request to terminate end the work as Ctrl-C does: with temporary files removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def printable(text: str) -> str:
    """Return `text` with an escape for every character that would act on a terminal.

    Line breaks and tabs stay; every other control or format character becomes its escape.
    """
    return "".join(
        one if one in "\n\t" or one.isprintable() else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def tell(line: str) -> None:
    """Print a line about what a command does beside the results on standard output."""
    print(printable(line), file=sys.stderr)


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
    """Print blocks; what would act on the terminal, or its encoding lacks, becomes its escape."""
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="backslashreplace")
    out.write("\n\n".join(_plain(block) for block in blocks) + "\n")


def _plain(block: Block) -> str:
    is_table = isinstance(block, Table)
    rows = [block.columns, *block.rows] if isinstance(block, Table) else block.lines
    grid = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(_cells, column)) for column in zip(*grid, strict=True)]
    lines = [printable(block.title)]
    for row in grid:
        gaps = [" " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            gap + cell if is_table and column > 0 else cell + gap
            for column, (cell, gap) in enumerate(zip(row, gaps, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def _cells(text: str) -> int:
    """Count the terminal cells a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(character) else 1 + (east_asian_width(character) in "WF")
        for character in text
    )
