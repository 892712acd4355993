"""examples/quickstart.ipynb runs."""

import ast
import os
from pathlib import Path

import pytest
from programs import PROGRAMS, ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


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
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}

    nbclient.NotebookClient(notebook, timeout=1800, resources=resources).execute()

    texts = ["".join(map(str, cell.get("outputs", []))) for cell in notebook.cells]
    assert any("accuracy" in text and "95 % interval" in text for text in texts)
    last = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
    ranked = ast.literal_eval(last)
    assert len(ranked) == 6
    assert sum(one["score"] for one in ranked) == pytest.approx(1, abs=1e-6)
