"""Cases made after public issues, threads and files; README.md here says what a case is."""

import importlib.util
import json
import shutil
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SLOW = {"doctor", "predict"}  # they load LLaMA-Factory or a model


def cases() -> list:
    found = []
    for path in sorted(FOLDER.glob("*/case.json")):
        content = json.loads(path.read_text("utf-8"))
        modules = {command[0] for command in content.get("commands") or [content["command"]]}
        marks = [pytest.mark.slow] if modules & SLOW else []
        found.append(pytest.param(path.parent, id=path.parent.name, marks=marks))
    return found


@pytest.fixture(scope="module")
def runner():
    loader = SourceFileLoader("field_runner", str(FOLDER / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The recipes that are shipped, and the small one that several cases were made with."""
    folder = tmp_path_factory.mktemp("field") / "examples"
    shutil.copytree(FOLDER.parents[1] / "examples", folder)
    shutil.copy(FOLDER / "emotion_tiny.yaml", folder)
    return folder


@pytest.mark.parametrize("case", cases())
def test_a_case_from_the_field(case, runner, examples, request, monkeypatch):
    if any(mark.name == "slow" for mark in request.node.iter_markers()):
        base = str(request.getfixturevalue("tiny_base"))
        monkeypatch.setenv("FIELD_TINY_BASE", base)
        monkeypatch.setenv("FIELD_TINY_MODEL", base)
    monkeypatch.setenv("FIELD_EXAMPLES", str(examples))

    assert runner.judge(case, sys.executable) == ""
