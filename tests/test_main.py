"""The dispatcher: it lists, forwards and answers a wrong name; it imports nothing before that."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from llamafactory_emotion.__main__ import COMMANDS, main


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command(flag, capsys):
    assert main([flag]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed and text in printed for name, text in COMMANDS.items())


def test_no_command_shows_the_list(capsys):
    assert main([]) == 2
    assert "error: no command given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("evalaute", "did you mean evaluate?"),
        ("train-haed", "did you mean train_head?"),
        ("zzz", "choose from init, prepare,"),
        ("errors", "choose from init, prepare,"),
        ("__main__", "choose from"),
    ],
)
def test_an_unknown_command_is_a_wrong_call(name, hint, capsys):
    assert main([name]) == 2
    assert f"unknown command {name!r}; {hint}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train_head", "train-head"])
def test_arguments_and_exit_code_pass_through(name, monkeypatch):
    seen: list[list[str]] = []

    def command(argv):
        seen.append(argv)
        return 7

    monkeypatch.setitem(
        sys.modules, "llamafactory_emotion.train_head.__main__", SimpleNamespace(main=command)
    )
    assert main([name, "--seed", "3", ""]) == 7
    assert seen == [["--seed", "3", ""]]


@pytest.mark.parametrize(
    ("argument", "code", "out"), [("--version", 0, "llamafactory-emotion "), ("zzz", 2, "")]
)
def test_it_runs_as_a_module_without_heavy_imports(argument, code, out):
    program = (
        "import runpy, sys; sys.argv = ['x', sys.argv[1]]\n"
        "try: runpy.run_module('llamafactory_emotion', run_name='__main__')\n"
        "finally: assert not {'torch', 'numpy', 'yaml'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(out)
