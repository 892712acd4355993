"""The figures of a file, and the examples that are kept of it."""

import pytest
from evaluations import row, write_rows

from llamafactory_emotion.evaluate.evaluation import confused_pairs, evaluate_file
from llamafactory_emotion.metrics.counts import confusion_of, metrics_of
from llamafactory_emotion.task import EMOTION


def test_all_answers_invalid_is_a_result(predictions, figures):
    found = figures(predictions(row("joy", ""), row("fear", "who knows")))

    assert (found["accuracy"], found["invalid"], found["f1_macro"]) == (0, 2, 0)
    assert found["reasons"] == {"empty": 1, "no_label": 1}


def test_ids_for_answers_beside_names_are_told(predictions, figures, capsys):
    said = "label ids          the answers are ids, and the gold labels names: give the gold"
    assert figures(predictions(row("joy", "1"), row("fear", " 4</s>")))["accuracy"] == 0
    assert said in capsys.readouterr().out
    assert figures(predictions(row("joy", "1"), row("fear", "5 of us")))["invalid"] == 2
    assert said not in capsys.readouterr().out


def test_an_empty_file_and_one_without_a_readable_row(predictions, fails):
    fails(predictions(), code=1, saying="is empty")
    fails(predictions("x", "y"), "--skip-broken", code=1, saying="2 are not JSON")


def test_probabilities_give_calibration(predictions, figures):
    even = dict.fromkeys(("love", "anger", "fear", "surprise"), 0.025)
    path = predictions(
        row("joy", "joy", id=1, probabilities={"sadness": 0.1, "joy": 0.8, **even}),
        row("joy", "sadness", id=2, probabilities={"sadness": 0.6, "joy": 0.3, **even}),
    )

    found = figures(path, "threshold=0.7")

    assert found["n"] == found["n_probabilities"] == 2
    assert found["top_2_accuracy"] == 1
    assert found["expected_calibration_error"] == pytest.approx(0.4)
    assert found["abstention"]["accuracy"] == 1
    assert found["abstention"]["coverage"] == 0.5
    assert found["risk_coverage"][0] == {"threshold": 0, "coverage": 1, "risk": 0.5}


def test_examples_to_read_are_bounded_and_the_most_confident_come_first(tmp_path):
    rows = []
    for k in range(1000):
        confidence = 0.5 + k * 0.0004
        probabilities = dict.fromkeys(EMOTION.labels, (1 - confidence) / 5) | {"love": confidence}
        rows.append(row("joy", "love", prompt="x" * 3000, probabilities=probabilities))
        rows.append(row("joy", "?", prompt="x" * 3000))

    evaluation = evaluate_file(write_rows(tmp_path / "p.jsonl", *rows), EMOTION)

    assert [one.line for one in evaluation.confident_errors] == list(range(1999, 1599, -2))
    assert [one.line for one in evaluation.invalid_answers] == list(range(2, 402, 2))
    first = evaluation.confident_errors[0]
    assert (first.gold, first.predicted, len(first.text)) == ("joy", "love", 2000)
    assert first.confidence == pytest.approx(0.8996)
    assert (evaluation.calibration.n, evaluation.metrics.n) == (1000, 2000)


def test_without_probabilities_the_first_errors_of_the_file_are_kept(tmp_path):
    path = write_rows(tmp_path / "p.jsonl", *[row("joy", "love")] * 300)

    errors = evaluate_file(path, EMOTION).confident_errors

    assert [one.line for one in errors] == list(range(1, 201))


def test_an_example_shows_the_text_without_its_prompt(tmp_path):
    asked = f"{EMOTION.instruction}\n{'we won' * 400}\nAnswer:"
    rows = [row("joy", "love", prompt=asked), row("joy", "love", prompt="x"), row("joy", "love")]
    rows[2] |= {"prompt": None, "text": "its own"}

    errors = evaluate_file(write_rows(tmp_path / "p.jsonl", *rows), EMOTION).confident_errors

    assert [one.text[:7] for one in errors] == ["we wonw", "x", "its own"]
    assert len(errors[0].text) == 2000


def test_confused_pairs_are_sorted_and_shares_are_of_all_errors():
    gold, predicted = [0] * 9 + [1] * 9 + [2] * 2, [0] * 5 + [1] * 3 + [3] + [0] * 4 + [1] * 5
    confusion = confusion_of(gold, predicted + [2] * 2, labels=3)

    pairs = confused_pairs(metrics_of(("a", "b", "c"), confusion))

    assert [(pair.gold, pair.predicted, pair.count) for pair in pairs] == [
        ("b", "a", 4),
        ("a", "b", 3),
    ]
    assert pairs[0].share == 0.5
