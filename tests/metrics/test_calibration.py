"""Probability figures against tables worked out by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as judge

from llamafactory_emotion.metrics.calibration import Calibrator, probability_values
from llamafactory_emotion.task import EMOTION, Task

TASK = Task(name="tiny", labels=("a", "b", "c"), instruction="Which?")


def calibrate(values, gold, predicted=None, threshold=None):
    calibrator = Calibrator(threshold=threshold)
    for k, (row, label) in enumerate(zip(values, gold, strict=True)):
        answer = int(np.argmax(row)) if predicted is None else predicted[k]
        calibrator.add(list(row), label, answer)
    return calibrator.finish()


def test_a_table_worked_out_by_hand():
    values = [[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.2, 0.2, 0.6]]
    gold = [0, 1, 1, 0]

    figures = calibrate(values, gold, threshold=0.6)

    assert figures.n == 4
    assert figures.top_1_accuracy == 0.5
    assert figures.top_2_accuracy == 1  # of two equals the first label comes first
    expected = -(math.log(0.9) + math.log(0.3) + math.log(0.5) + math.log(0.2)) / 4
    assert figures.log_loss == pytest.approx(expected)
    brier = (0.02 + (0.36 + 0.49 + 0.01) + (0.04 + 0.25 + 0.09) + (0.64 + 0.04 + 0.36)) / 4
    assert figures.brier_score == pytest.approx(brier)
    # Bins of 1/15: 0.9 alone (right); 0.6 twice (both wrong); 0.5 alone (right).
    assert figures.expected_calibration_error == pytest.approx((0.1 + 1.2 + 0.5) / 4)
    assert [part.n for part in figures.reliability if part.n] == [1, 2, 1]
    abstention = figures.abstention
    assert (abstention.answered, abstention.coverage) == (3, 0.75)
    assert abstention.accuracy == pytest.approx(1 / 3)
    assert [(p.coverage, round(p.risk, 9)) for p in figures.risk_coverage] == [
        (1.0, 0.5),
        (0.75, round(2 / 3, 9)),
        (0.25, 0.0),
    ]


def test_a_confidence_on_an_edge_falls_into_the_lower_bin():
    figures = calibrate([[1.0, 0.0], [0.6, 0.4], [0, 1]], [0, 0, 1])

    assert {k: part.n for k, part in enumerate(figures.reliability) if part.n} == {8: 1, 14: 2}


@pytest.mark.parametrize(
    ("row", "gold", "predicted", "top_1", "top_2"),
    [
        ([1 / 3, 1 / 3, 1 / 3], 0, None, 1, 1),
        ([1 / 3, 1 / 3, 1 / 3], 2, None, 0, 0),
        ([1 / 3, 1 / 3, 1 / 3], 1, None, 0, 1),
        ([1 / 3, 1 / 3, 1 / 3], 2, 2, 1, 1),  # written rounded: the answer is a top label
        ([0.2, 0.4, 0.4], 2, 2, 1, 1),
        ([0.5, 0.25, 0.25], 1, 0, 0, 1),
        ([0.6, 0.4, 0.0], 0, 1, 1, 1),  # another answer
        ([1.0, 0.0, 0.0], 0, 3, 1, 1),  # an invalid one
    ],
)
def test_among_equals_the_answer_comes_first_then_the_order_of_labels(
    row, gold, predicted, top_1, top_2
):
    answers = None if predicted is None else [predicted]

    figures = calibrate([row], [gold], predicted=answers)

    assert (figures.top_1_accuracy, figures.top_2_accuracy) == (top_1, top_2)
    assert figures.disagreements == (predicted in (1, 3))


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=3, max_size=3), *[st.integers(0, 2)] * 2),
        min_size=1,
    )
)
def test_ties_never_make_two_labels_worse_than_one(rows):
    values, gold, predicted = zip(*rows, strict=True)

    figures = calibrate(values, gold, predicted=predicted)

    assert figures.top_1_accuracy <= figures.top_2_accuracy


@pytest.mark.parametrize("rows", [50, 5000])
def test_figures_equal_scikit_learn(rows):
    generator = np.random.default_rng(rows)
    values = generator.dirichlet([0.3, 0.5, 0.2, 0.4], size=rows)
    values[:5] = np.eye(4)[[0, 1, 2, 3, 0]]  # equals among 0: scikit-learn takes the last
    values[:5] += np.array([3e-18, 2e-18, 1e-18, 0])
    gold = generator.integers(0, 4, rows)

    figures = calibrate(values, gold.tolist())

    labels = [0, 1, 2, 3]
    confidence, right = values.max(axis=1), values.argmax(axis=1) == gold
    bins = [(confidence > k / 15) & (confidence <= (k + 1) / 15) for k in range(15)]
    gaps = [abs((confidence[one] - right[one]).sum()) / rows for one in bins]
    expected = {
        "log_loss": judge.log_loss(gold, values, labels=labels),
        "brier_score": judge.brier_score_loss(gold, values, labels=labels),
        "top_2_accuracy": judge.top_k_accuracy_score(gold, values, k=2, labels=labels),
        "top_1_accuracy": judge.accuracy_score(gold, values.argmax(axis=1)),
        "expected_calibration_error": sum(gaps),  # scikit-learn has none
    }
    assert {key: getattr(figures, key) for key in expected} == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0.34, 1.0), min_size=1, max_size=200), st.randoms())
@settings(max_examples=50)
def test_the_risk_coverage_curve_is_what_thresholds_give(confidences, random):
    values = [[c, (1 - c) / 2, (1 - c) / 2] for c in confidences]
    gold = [random.randrange(3) for _ in confidences]
    figures = calibrate(values, gold)

    assert figures.risk_coverage[0].coverage == 1
    assert len(figures.risk_coverage) <= 101
    for point in figures.risk_coverage:
        kept = [
            int(np.argmax(row)) == label
            for row, label in zip(values, gold, strict=True)
            if max(row) >= point.threshold
        ]
        assert point.coverage == pytest.approx(len(kept) / len(gold))
        assert point.risk == pytest.approx(1 - sum(kept) / len(kept))


@pytest.mark.parametrize(
    ("probabilities", "problem"),
    [
        ([0.1, 0.9], "not an object"),
        ("a", "not an object"),
        ({"a": 0.5, "b": 0.5}, "other labels"),
        ({"a": 0.5, "b": 0.25, "c": 0.25, "d": 0}, "other labels"),
        ({"a": 0.5, "b": 0.25, "d": 0.25}, "other labels"),
        ({}, "other labels"),
        ({"a": "1", "b": 0, "c": 0}, "not a number"),
        ({"a": None, "b": 0, "c": 1}, "not a number"),
        ({"a": True, "b": 0, "c": 0}, "not a number"),
        ({"a": math.nan, "b": 0, "c": 1}, "not between 0 and 1"),
        ({"a": math.inf, "b": 0, "c": 1}, "not between 0 and 1"),
        ({"a": -0.1, "b": 0.1, "c": 1}, "not between 0 and 1"),
        ({"a": 10**400, "b": 0, "c": 0}, "not between 0 and 1"),
        ({"a": 0.5, "b": 0.25, "c": 0.2}, "do not sum to 1"),
        ({"a": 0, "b": 0, "c": 0}, "do not sum to 1"),
    ],
)
def test_bad_probabilities_are_named(probabilities, problem):
    assert problem in probability_values(probabilities, TASK)


def test_good_probabilities_come_in_the_order_of_the_labels():
    assert probability_values({"c": 0.2, "a": 0.5, "b": 0.3}, TASK) == [0.5, 0.3, 0.2]
    assert probability_values({" C": 0.2, "A": 0.5, "b ": 0.3}, TASK) == [0.5, 0.3, 0.2]
    assert probability_values({"a": 0.333, "b": 0.333, "c": 0.333}, TASK) == [0.333] * 3
    by_id = {str(k): 1 if k == 2 else 0 for k in range(6)}
    assert probability_values(by_id, EMOTION) == [0, 0, 1, 0, 0, 0]
