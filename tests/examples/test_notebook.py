"""examples/quickstart.ipynb: clean as committed, its commands there, and it runs."""

import ast
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from programs import PROGRAMS, ROOT

from llamafactory_emotion.__main__ import COMMANDS
from llamafactory_emotion.init.__main__ import workspace_files

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


@pytest.fixture(scope="module")
def commands(cells) -> list[list[str]]:
    lines = [line for cell in code_of(cells) for line in cell.splitlines()]
    return [shlex.split(line[1:]) for line in lines if line.startswith("!")]


def code_of(cells: list[dict[str, Any]]) -> list[str]:
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_it_is_a_notebook_without_outputs(cells):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))

    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_every_command_in_it_is_one_of_ours_or_the_hosts(commands):
    assert len(commands) == 7
    for words in commands:
        if words[0] == "pip":
            continue
        if words[:2] == ["python", "examples/smollm2.py"]:
            assert words[2] == "--output"
        elif words[0] == "python":
            assert words[1] == "-m"
            assert words[2].removeprefix("llamafactory_emotion.") in COMMANDS
        else:
            assert words[:2] == ["llamafactory-cli", "train"]


def test_every_file_that_it_reads_is_written_by_init_or_by_a_command_before(commands):
    there = {place.as_posix() for place in workspace_files()}
    named = [word for words in commands for word in words if re.match(r"(data|examples)/", word)]

    assert named
    assert set(named) <= there


def test_its_program_is_python(cells):
    programs = [cell for cell in code_of(cells) if not cell.startswith(("!", "%"))]

    assert len(programs) == 1
    assert "EmotionClassifier.from_pretrained" in ast.unparse(ast.parse(programs[0]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")
def test_it_runs_from_the_first_cell_to_the_last(smollm2_package, tmp_path: Path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}

    nbclient.NotebookClient(notebook, timeout=1800, resources=place).execute()

    texts = ["".join(map(str, cell.get("outputs", []))) for cell in notebook.cells]
    assert any("accuracy" in text and "95 % interval" in text for text in texts)
    last = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
    ranked = ast.literal_eval(last)
    assert len(ranked) == 6
    assert sum(one["score"] for one in ranked) == pytest.approx(1, abs=1e-6)
