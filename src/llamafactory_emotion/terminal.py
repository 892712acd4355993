"""What every command shares at the terminal: errors as one sentence, text that cannot act.

Stands between the commands and the user; knows nothing of what a command does.
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
from errno import EDQUOT, EIO, ENOSPC

from llamafactory_emotion.errors import CallError, EmotionError

INTERRUPTED = 130


def run_recipe_command(
    work: Callable[[Sequence[str]], int], argv: Sequence[str] | None, *, usage: str
) -> int:
    """Run a command of LLaMA-Factory's grammar, `[recipe.yaml] key=value ...`.

    Args:
        work: Takes the words of the call and returns the exit code.
        argv: The words, or None for those of this process; `--help` and `--debug` are known.
        usage: Printed for `--help` (0 is returned) and for a call without a word (2).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    asked = [word for word in words if word != "--debug"]
    if words and not {"-h", "--help"} & set(words):
        return run_command(lambda: work(asked), debug=asked != words)
    return run_command(lambda: _show(usage, 0 if words else CallError.exit_code))


def _show(usage: str, code: int) -> int:
    print(usage)
    return code


def run_command(work: Callable[[], int], *, debug: bool = False) -> int:
    """Run a command's work and turn what a user can cause into a sentence and an exit code.

    Args:
        work: Does the work and returns the exit code.
        debug: Show the traceback of an expected error too.

    Returns:
        What `work` returned; 1 or 2 for an `EmotionError`; 130 after Ctrl-C or a request to
        terminate; 0 when the reader of a pipe went away; 1 where a path cannot be used or the
        disk is full.
    """
    _replace_closed_streams()
    # Its advice on kernels for processors with avx512_bf16 comes as soon as peft imports it.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        with _termination_as_interrupt():
            _check_words(sys.argv)
            code = work()
        sys.stdout.flush()
    except EmotionError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (say, `head`) has what it wanted.
        _drop_unwritten_output()
        return 0
    except OSError as error:
        if debug or error.strerror is None:
            raise
        _drop_unwritten_output()
        print(f"error: {printable(_refused_by_system(error))}", file=sys.stderr)
        return EmotionError.exit_code
    return code


def _refused_by_system(error: OSError) -> str:
    if error.filename is None:
        remedy = "; is the disk full?" if error.errno in (ENOSPC, EDQUOT, EIO) else "."
        return f"the system refuses to go on ({error.strerror}){remedy}"
    return f"{error.filename} cannot be used ({error.strerror}); check path and rights."


def _replace_closed_streams() -> None:
    """Open the null device where a standard stream is closed, so that no file takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character gets its escape.
            stream.reconfigure(errors="backslashreplace")


def _check_words(words: Sequence[str]) -> None:
    """Refuse names that no text file could hold, such as recipes, sidecars and cards."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise CallError(f"{word} is not UTF-8; rename it.") from None


def _drop_unwritten_output() -> None:
    """Point stdout at nothing when it takes no more, or Python would complain again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    """Give `text` without characters that would act on a terminal (escapes, bells, overrides).

    Line breaks and tabs stay; every other control or format character becomes its escape.
    """
    return "".join(
        character if character in "\n\t" or character.isprintable() else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
