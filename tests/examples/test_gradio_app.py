"""The page for an exported classifier: its function, and what a browser makes of it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from head_models import write_base

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
TEXT = "i feel so happy that you came"


@pytest.fixture(scope="module")
def app() -> Any:
    spec = importlib.util.spec_from_file_location("gradio_app", ROOT / "examples/gradio_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_needs_nothing_of_ours():
    source = (ROOT / "examples" / "gradio_app.py").read_text(encoding="utf-8")

    assert "llamafactory" not in source
    assert "127.0.0.1" in source


def test_the_function_gives_the_models_probabilities(app, classifier_folder: Path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(classifier_folder)
    model = AutoModelForSequenceClassification.from_pretrained(classifier_folder)
    with torch.no_grad():
        wanted = model(**tokenizer(TEXT, return_tensors="pt")).logits.softmax(-1)[0].tolist()

    found = app.classifier_of(str(classifier_folder))(TEXT)

    assert found == pytest.approx(dict(zip(model.config.id2label.values(), wanted, strict=True)))
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_an_empty_text_gets_no_bars(app, classifier_folder: Path):
    probabilities = app.classifier_of(str(classifier_folder))(" \n")

    assert probabilities == {}
    assert app.bars(probabilities) == '<div class="bars"></div>'


def test_the_names_of_labels_are_text(app):
    drawn = app.bars({"<script>x</script>": 0.75, '" onload="x': 0.25})

    assert "<script" not in drawn
    assert re.findall(r'aria-label="([^"]*)"', drawn) == [
        "&lt;script&gt;x&lt;/script&gt;",
        "&quot; onload=&quot;x",
    ]
    assert "75.0%" in drawn


def test_the_page_is_built_for_a_folder(classifier_folder: Path):
    """In a process of its own: gradio leaves an event loop open behind a page."""
    code = f"""
import sys
sys.path.insert(0, "examples")
import gradio_app
page = gradio_app.build({str(classifier_folder)!r})
print([page.fns[0].api_name, page.fns[0].fn({TEXT!r}).count('role="meter"')])
"""

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "['classify', 6]"


def test_a_call_without_a_folder_says_so(app, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gradio_app.py"])
    with pytest.raises(SystemExit):
        app.main()
    assert "folder" in capsys.readouterr().err


def test_a_folder_that_is_no_classifier_is_not_shown(app, tmp_path, capsys):
    for folder, said in (
        (tmp_path / "nowhere", "cannot be read"),
        (write_base(tmp_path / "language_model", "llama"), "is no sequence classifier; make one"),
    ):
        with pytest.raises(SystemExit) as stopped:
            app.main([str(folder)])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
