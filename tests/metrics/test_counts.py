"""Figures against tables worked out by hand, and against scikit-learn, scipy and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as judge
from statsmodels.stats.proportion import proportion_confint

from llamafactory_emotion.metrics.counts import (
    averages,
    bootstrap_interval,
    bootstrap_intervals,
    confusion_of,
    label_metrics,
    metrics_of,
    wilson_interval,
)

LABELS = ("sadness", "joy", "love")
# gold sadness: 4 right, 1 joy, 1 invalid; gold joy: 2 right, 2 love; gold love: never.
BY_HAND = np.array([[4, 1, 0, 1], [0, 2, 2, 0], [0, 0, 0, 0]])


def test_a_table_worked_out_by_hand():
    figures = metrics_of(LABELS, BY_HAND)

    assert figures.n == 10
    assert figures.accuracy == 0.6
    assert figures.invalid == 1
    assert figures.invalid_rate == 0.1
    assert figures.majority_label == "sadness"
    assert figures.majority_baseline == 0.6
    assert figures.without_gold == ("love",)
    assert figures.per_class["sadness"].precision == 1
    assert figures.per_class["sadness"].recall == pytest.approx(4 / 6)
    assert figures.per_class["sadness"].f1 == pytest.approx(0.8)
    assert figures.per_class["joy"].precision == pytest.approx(2 / 3)
    assert figures.per_class["joy"].f1 == pytest.approx(4 / 7)
    assert figures.per_class["love"].precision == 0
    assert figures.per_class["love"].support == 0
    assert figures.f1_macro == pytest.approx((0.8 + 4 / 7 + 0) / 3)
    assert figures.f1_weighted == pytest.approx(0.6 * 0.8 + 0.4 * 4 / 7)
    assert figures.balanced_accuracy == pytest.approx((4 / 6 + 2 / 4) / 2)


def test_all_invalid_is_an_accuracy_of_zero():
    figures = metrics_of(("a", "b"), np.array([[0, 0, 3], [0, 0, 2]]))

    assert (figures.accuracy, figures.f1_macro, figures.invalid_rate) == (0, 0, 1)
    assert figures.accuracy_ci[0] == 0
    assert figures.accuracy_ci[1] > 0.4


answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=80)


@given(answers)
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of classes that are not there
def test_every_figure_equals_scikit_learn(rows):
    gold, predicted = (np.array(column) for column in zip(*rows, strict=True))
    labels = range(4)
    figures = metrics_of(("a", "b", "c", "d"), confusion_of(gold, predicted, labels=4))

    options = {"labels": list(labels), "zero_division": 0}
    precision, recall, f1, support = judge.precision_recall_fscore_support(
        gold, predicted, **options
    )
    close = pytest.approx
    ours = list(figures.per_class.values())
    assert [one.precision for one in ours] == close(list(precision), abs=1e-12)
    assert [one.recall for one in ours] == close(list(recall), abs=1e-12)
    assert [one.f1 for one in ours] == close(list(f1), abs=1e-12)
    assert [one.support for one in ours] == list(support)
    assert figures.accuracy == close(judge.accuracy_score(gold, predicted), abs=1e-12)
    assert figures.balanced_accuracy == close(
        judge.balanced_accuracy_score(gold, predicted), abs=1e-12
    )
    for average in ("macro", "weighted"):
        expected = judge.f1_score(gold, predicted, average=average, **options)
        assert getattr(figures, f"f1_{average}") == close(expected, abs=1e-12)
    expected = judge.confusion_matrix(gold, predicted, labels=[*labels, 4])[:4]
    assert figures.confusion == tuple(map(tuple, expected.tolist()))


@given(answers)
@settings(max_examples=50, deadline=None)
def test_training_has_the_same_arithmetic(rows):
    gold, predicted = (np.array(column) for column in zip(*rows, strict=True))
    figures = metrics_of(("a", "b", "c", "d"), confusion_of(gold, predicted, labels=4))

    during_training = label_metrics(gold, predicted, labels=4)

    assert during_training == {"accuracy": figures.accuracy, "f1_macro": figures.f1_macro}


@pytest.mark.parametrize("outside", [-1, -100, 3, 1000])
def test_an_index_outside_the_labels_is_invalid(outside):
    counts = confusion_of(np.array([0, 2]), np.array([outside, 2]), labels=3)

    assert counts.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("correct", "n"), [(0, 1), (1, 1), (0, 7), (7, 7), (1852, 2000), (926_200, 1_000_000)]
)
def test_wilson_equals_statsmodels(correct, n):
    expected = proportion_confint(correct, n, method="wilson")

    assert wilson_interval(correct, n) == pytest.approx(expected, abs=1e-12)


def test_wilson_of_the_published_figure():
    low, high = wilson_interval(1852, 2000)

    assert (round(low, 3), round(high, 3)) == (0.914, 0.937)


def test_bootstrap_interval_agrees_with_theory_and_is_drawn_the_same_way_twice():
    counts = np.array([[400, 80, 20], [60, 430, 10]])

    low, high = bootstrap_interval(counts, "accuracy", seed=1)

    half = 1.96 * math.sqrt(0.83 * 0.17 / 1000)
    assert low == pytest.approx(0.83 - half, abs=0.003)
    assert high == pytest.approx(0.83 + half, abs=0.003)
    assert bootstrap_interval(counts, "accuracy", seed=1) == (low, high)
    assert bootstrap_interval(counts, "f1_macro", seed=2) != bootstrap_interval(
        counts, "f1_macro", seed=1
    )


def test_bootstrap_intervals_of_a_figure_of_ones_own():
    counts = np.array([830, 170])

    intervals = bootstrap_intervals(
        counts,
        lambda drawn: {"share": drawn[:, 0] / 1000, "rows": drawn.sum(axis=1)},
        seed=1,
        width=2,
    )

    half = 1.96 * math.sqrt(0.83 * 0.17 / 1000)
    assert intervals["share"] == pytest.approx((0.83 - half, 0.83 + half), abs=0.003)
    assert intervals["rows"] == (1000, 1000)


def test_the_size_of_a_block_does_not_change_what_is_drawn():
    counts = np.array([60, 30, 10])

    whole, in_blocks = (
        bootstrap_intervals(counts, lambda drawn: {"first": drawn[:, 0]}, seed=3, width=width)
        for width in (3, 100_000)
    )

    assert whole == in_blocks


def test_bootstrap_interval_holds_the_figure_for_many_labels():
    counts = np.eye(150, 151, dtype=int) * 10
    counts[:, -1] = 2

    low, high = bootstrap_interval(counts, "f1_macro", seed=0)

    assert low < float(averages(counts)["f1_macro"]) < high
