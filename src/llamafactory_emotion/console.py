"""What every command shares at the terminal: errors as one sentence, text that cannot act.

Stands between the commands and the user; knows nothing of what a command does.
"""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

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
        terminate; 0 when the reader of a pipe went away; 1 where a path cannot be used.
    """
    try:
        with _termination_as_interrupt():
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
        # The reader (say, `head`) has what it wanted. Point stdout at nothing, or Python would
        # complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug or error.filename is None:
            raise
        place, reason = printable(str(error.filename)), error.strerror
        print(f"error: {place} cannot be used ({reason}); check path and rights.", file=sys.stderr)
        return EmotionError.exit_code
    return code


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
