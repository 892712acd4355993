"""examples/quickstart.ipynb: clean as committed, its commands there, and it runs."""

import ast
import json
import os
import re
import shlex
from pathlib import Path

import pytest
from programs import PROGRAMS, ROOT

from llamafactory_emotion.__main__ import COMMANDS
from llamafactory_emotion.init.__main__ import workspace_files

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
FEW = 60
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
LINES = [line.rstrip() for cell in CODE for line in cell["source"]]
COMMANDS_RUN = [shlex.split(line[1:]) for line in LINES if line.startswith("!")]


def test_its_commands_and_files_are_there_and_its_outputs_are_not():
    assert [cell for cell in CODE if cell["outputs"] or cell["execution_count"]] == []
    assert len(COMMANDS_RUN) == 8
    for words in COMMANDS_RUN:
        ours = words[:2] == ["python", "-m"] and words[2].partition(".")[2] in COMMANDS
        other = (
            ["pip", "install"],
            ["python", "examples/smollm2.py"],
            ["llamafactory-cli", "train"],
        )
        assert ours or words[:2] in other, words
    named = {one for words in COMMANDS_RUN for one in words if re.match(r"(data|examples)/", one)}
    assert named
    assert named <= {path.as_posix() for path in workspace_files()}
    (program,) = ("".join(one["source"]) for one in CODE if one["source"][0][0] not in "!%")
    assert "EmotionClassifier.from_pretrained" in ast.unparse(ast.parse(program))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")
def test_it_runs_from_the_first_cell_to_the_last(smollm2_package, tmp_path: Path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    content = NOTEBOOK.read_text(encoding="utf-8")
    for command in ("max_samples=1200", "eval_dataset=emotion_demo_test"):
        assert content.count(command) == 1
        # All rows take five minutes; the README's demo, tested too, has them all.
        content = content.replace(command, f"{command} max_samples={FEW}")
    notebook = nbformat.reads(content, as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}

    nbclient.NotebookClient(notebook, timeout=1800, resources=resources).execute()

    texts = ["".join(map(str, cell.get("outputs", []))) for cell in notebook.cells]
    assert any("accuracy" in text and "95 % interval" in text for text in texts)
    last = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
    ranked = ast.literal_eval(last)
    assert len(ranked) == 6
    assert sum(one["score"] for one in ranked) == pytest.approx(1, abs=1e-6)
