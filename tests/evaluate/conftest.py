"""Fixtures of the command's tests: files of predictions, and the figures found in them."""

import json

import pytest
from evaluations import write_rows

from llamafactory_emotion.evaluate.__main__ import main


@pytest.fixture
def predictions(tmp_path):
    """Write rows (text is a line of its own) as a file of predictions; return its path."""

    def write(*rows, name="predictions.jsonl"):
        return write_rows(tmp_path / name, *rows)

    return write


@pytest.fixture
def figures(tmp_path):
    """Run the command and return what it wrote as JSON."""

    def run(*arguments):
        out = tmp_path / "figures.json"
        assert main([*arguments, f"json={out}", "overwrite=true"]) == 0
        return json.loads(out.read_text(encoding="utf-8"))

    return run


@pytest.fixture
def fails(capsys):
    """Run the command; expect an exit code and one sentence, which is returned."""

    def run(*arguments, code, saying):
        assert main(list(arguments)) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert saying in captured.err
        return captured.err

    return run
