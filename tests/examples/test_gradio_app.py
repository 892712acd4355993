"""examples/gradio_app.py: its function and its page; a browser opens it in tests/e2e."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from head_models import write_base

from llamafactory_emotion.task import EMOTION

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
TEXT = "i feel so happy that you came"


@pytest.fixture(scope="module")
def app() -> Any:
    spec = importlib.util.spec_from_file_location("gradio_app", ROOT / "examples/gradio_app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_function_gives_the_models_probabilities(app, classifier_folder: Path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(classifier_folder)
    model = AutoModelForSequenceClassification.from_pretrained(classifier_folder)
    with torch.no_grad():
        wanted = model(**tokenizer(TEXT, return_tensors="pt")).logits.softmax(-1)[0].tolist()

    classify = app.classifier_of(str(classifier_folder))

    found = classify(TEXT)
    assert found == pytest.approx(dict(zip(model.config.id2label.values(), wanted, strict=True)))
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert app.bars(classify(" \n")) == '<div class="bars"></div>'


def test_the_page_is_about_the_folder(app, tmp_path):
    assert app.examples_of(str(tmp_path), ["billing", "login"]) == []
    assert app.examples_of(str(tmp_path), reversed(EMOTION.labels)) == app.EXAMPLES
    card = "---\nwidget:\n- text: where is my parcel\n- src: a.png\n---\n# x\n"
    (tmp_path / "README.md").write_text(card)
    assert app.examples_of(str(tmp_path), EMOTION.labels) == ["where is my parcel"]


def test_the_names_of_labels_are_text(app):
    drawn = app.bars({"<script>x</script>": 0.75, '" onload="x': 0.25})

    assert "<script" not in drawn
    names = ["&lt;script&gt;x&lt;/script&gt;", "&quot; onload=&quot;x"]
    assert re.findall(r'aria-label="([^"]*)"', drawn) == names
    assert "75.0%" in drawn


def test_a_folder_that_is_no_classifier_is_not_shown(app, tmp_path, capsys):
    language_model = write_base(tmp_path / "language_model", "llama")
    for words, said in (
        ([], "folder"),
        ([str(tmp_path / "nowhere")], "cannot be read"),
        ([str(language_model)], "is no sequence classifier; make one"),
    ):
        with pytest.raises(SystemExit) as stopped:
            app.main(words)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
