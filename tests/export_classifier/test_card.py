"""The model card, as the hub and as people read it."""

import json

import pytest
from calls import write_lines
from exports import export_to
from huggingface_hub import ModelCard
from random_models import tokenizer_of

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.__main__ import main as evaluate
from llamafactory_emotion.export_classifier.card import model_card, read_evaluation
from llamafactory_emotion.export_classifier.prompt import bake_prompt
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.task import EMOTION

FIGURES = {
    "file": "/home/somebody/test.jsonl",
    "task": "emotion",
    "match": "flexible",
    "n": 2000,
    "invalid": 1,
    "invalid_rate": 0.0005,
    "accuracy": 0.9,
    "accuracy_ci": [0.886, 0.912],
    "f1_macro": 0.85,
    "f1_macro_ci": [0.83, 0.87],
    "majority_label": "joy",
    "majority_baseline": 0.3475,
    "broken": 0,
}


def evaluation(folder, content):
    path = folder / "evaluation.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_hub_reads_the_evaluation_off_the_card(base, tmp_path):
    path = evaluation(tmp_path, FIGURES)
    folder = export_to(tmp_path / "head", base, f"evaluation={path}")
    data = ModelCard.load(folder / "README.md").data
    accuracy, f1 = data.eval_results
    text = (folder / "README.md").read_text()

    assert (data.model_name, data.pipeline_tag) == ("head", "text-classification")
    assert data.base_model is None, "a path means nothing to others"
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.9)
    assert (f1.metric_type, f1.metric_value, f1.dataset_name) == ("f1", 0.85, "test.jsonl")
    assert "Accuracy 0.9000 (95 % interval 0.8860 to 0.9120)" in text
    assert "derived from the base model and" in text
    assert "somebody" not in text


@pytest.mark.parametrize(
    ("base", "named"),
    [("acme/small", True), ("./acme", False), ("/models/acme", False), ("a/b/c", False)],
)
def test_a_base_on_the_hub_is_named(tmp_path, monkeypatch, base, named):
    monkeypatch.chdir(tmp_path)
    encoder = PromptEncoder(tokenizer_of(), EMOTION)
    text = model_card("head", base, encoder, bake_prompt(encoder), None, "Checked.")
    card = ModelCard(text)
    assert (card.data.base_model == base, card.data.eval_results) == (named, None)
    assert (f"derived from {base} and" in text) is named
    assert "None was given (`evaluation=FILE`)." in text


def test_the_card_takes_what_evaluate_writes(tmp_path):
    rows = [{"predict": "joy", "label": "joy"}, {"predict": "joy", "label": "fear"}]
    path = write_lines(tmp_path / "p.jsonl", rows)
    assert evaluate([str(path), f"json={tmp_path / 'e.json'}"]) == 0
    figures = read_evaluation(str(tmp_path / "e.json"), EMOTION)
    assert (figures.accuracy, figures.n, figures.data) == (0.5, 2, "p.jsonl")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (FIGURES | {"task": "sentiment"}, "is an evaluation of the task 'sentiment'"),
        (FIGURES | {"n": "many"}, r"\(n: Input should be a valid integer"),
        (FIGURES | {"accuracy_ci": [0.5], "broken": None}, "accuracy_ci: .*; broken: "),
        ({"files": []}, "compares several files"),
        ("{", "Invalid JSON"),
    ],
)
def test_an_evaluation_of_something_else_is_refused(tmp_path, content, reason):
    with pytest.raises(DataError, match=reason):
        read_evaluation(str(evaluation(tmp_path, content)), EMOTION)
