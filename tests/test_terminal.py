"""Errors as sentences and exit codes, and text that cannot act on a terminal."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from llamafactory_emotion.errors import CallError, DataError, EmotionError, ModelError
from llamafactory_emotion.options import Options, key
from llamafactory_emotion.terminal import (
    Facts,
    Table,
    print_blocks,
    printable,
    run_command,
    run_work,
)

_RUN = "from llamafactory_emotion.terminal import run_work; import logging, sys; "
# What bitsandbytes does at import, where the processor has avx512_bf16.
_ADVISED = """
logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
run_work(lambda: logger.warning("install this") or logger.error("broken") or 0)
"""


def program(code: str) -> list[str]:
    return [sys.executable, "-c", _RUN + code]


def raising(error: BaseException):
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code"),
    [(EmotionError("w"), 1), (DataError("w"), 1), (ModelError("w"), 1), (CallError("w"), 2)],
)
def test_an_expected_error_is_one_sentence_and_its_exit_code(error, code, capsys):
    assert run_work(raising(error)) == code

    captured = capsys.readouterr()
    assert captured.err == "error: w\n"
    assert captured.out == ""


def test_a_path_that_cannot_be_used_is_one_sentence(tmp_path, capsys):
    too_long = tmp_path / ("x" * 300)

    assert run_work(lambda: too_long.stat().st_size) == 1

    told = capsys.readouterr().err
    assert f"error: {too_long} cannot be used ({os.strerror(errno.ENAMETOOLONG)})" in told
    assert len(told.splitlines()) == 1
    assert run_work(lambda: too_long.stat().st_size, debug=True) == 1
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(ConnectionError):
        run_work(raising(ConnectionError("no path in it")))


def test_advice_on_kernels_does_not_reach_the_terminal():
    done = subprocess.run(program(_ADVISED), capture_output=True, text=True, check=True)
    assert done.stderr == "broken\n"


def test_an_interrupt_is_said_and_has_its_exit_code(capsys):
    assert run_work(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_request_to_terminate_ends_the_work_as_an_interrupt_does():
    def work() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    before = signal.getsignal(signal.SIGTERM)

    assert run_work(work) == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_runs_in_a_thread_too():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run_work(lambda: 0)))
    thread.start()
    thread.join()

    assert codes == [0]


def test_a_reader_that_goes_away_is_no_error():
    words = program("sys.exit(run_work(lambda: print('a line\\n' * 100_000) or 0))")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcödé 悲伤 😊", "plain text, ünïcödé 悲伤 😊"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("bell\x07", "bell\\x07"),
        ("right\u202eleft", "right\\u202eleft"),
        ("lone \ud800", "lone \\ud800"),
    ],
)
def test_characters_that_act_on_a_terminal_are_shown_and_not_sent(text, shown):
    assert printable(text) == shown


@dataclass(frozen=True, kw_only=True)
class Needy(Options):
    name: str = key(about="name it")


@pytest.mark.parametrize(("words", "code"), [([], 2), (["help"], 0), (["name=x", "-h"], 0)])
def test_help_is_shown_when_asked_for_or_nothing_is_given(words, code, capsys):
    assert run_command("show", Needy, lambda *_: 1, words, about="Show it.") == code
    assert capsys.readouterr().out.startswith("usage: python -m llamafactory_emotion.show ")


@pytest.mark.parametrize("debug", [(), ("--debug",), ("debug=true",)])
def test_the_work_gets_the_options_without_debug(debug, capsys):
    seen = []

    def work(options, call):
        seen.append(options.name)
        raise DataError("w")

    assert run_command("show", Needy, work, ["name=x", *debug], about="") == 1
    assert seen == ["x"]
    assert ("Traceback" in capsys.readouterr().err) is bool(debug)


CLOSED = """
import sys
from llamafactory_emotion.terminal import run_work
work = lambda: len(sys.stdin.read()) + sys.stdout.write("") + sys.stderr.write("")
sys.exit(run_work(work))
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_output_that_cannot_be_written_is_one_sentence():
    words = program("sys.exit(run_work(lambda: print('a line') or 0))")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    reason = os.strerror(errno.ENOSPC)
    said = f"error: the system refuses to go on ({reason}); is the disk full?\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_streams_may_be_closed():
    words = ["sh", "-c", f"{sys.executable} -c '{CLOSED}' <&- >&- 2>&-"]
    assert subprocess.run(words, check=False).returncode == 0


def test_a_name_that_is_not_utf8_is_one_sentence(capsys, tmp_path):
    assert run_work(lambda: (tmp_path / "card").write_text("caf\udce9", encoding="utf-8")) == 2
    assert "cannot be written as UTF-8; rename it" in capsys.readouterr().err


def test_a_terminal_that_lacks_a_character_gets_its_escape():
    words = program("run_work(lambda: print('joy \u5927') or 0)")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "joy \\u5927\n"


def test_blocks_are_aligned_by_the_cells_they_take():
    out = io.StringIO()
    facts = Facts("Facts", (("大", "one"), ("ab c", "three")))
    print_blocks([facts, Table("Table", ("", "n"), (("大", "1,000"), ("b", "2")))], out)
    assert out.getvalue() == (
        "Facts\n  大    one\n  ab c  three\n\nTable\n          n\n  大  1,000\n  b       2\n"
    )
