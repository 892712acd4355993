"""Figures against tables worked out by hand, and against scikit-learn, scipy and statsmodels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as judge
from statsmodels.stats.proportion import proportion_confint

from llamafactory_emotion.metrics.counts import (
    ClassMetrics,
    averages,
    confusion_of,
    f1_macro_interval,
    label_metrics,
    metrics_of,
    wilson_interval,
)


def test_a_table_worked_out_by_hand():
    # gold sadness: 4 right, 1 joy, 1 invalid; gold joy: 2 right, 2 love; gold love: never.
    table = np.array([[4, 1, 0, 1], [0, 2, 2, 0], [0, 0, 0, 0]])

    figures = metrics_of(("sadness", "joy", "love"), table)

    assert (figures.n, figures.accuracy) == (10, 0.6)
    assert (figures.invalid, figures.invalid_rate) == (1, 0.1)
    assert (figures.majority_label, figures.majority_baseline) == ("sadness", 0.6)
    assert figures.without_gold == ("love",)
    assert figures.per_class == {
        "sadness": ClassMetrics(1, pytest.approx(4 / 6), pytest.approx(0.8), 6),
        "joy": ClassMetrics(pytest.approx(2 / 3), 0.5, pytest.approx(4 / 7), 4),
        "love": ClassMetrics(0, 0, 0, 0),
    }
    assert figures.f1_macro == pytest.approx((0.8 + 4 / 7 + 0) / 3)
    assert figures.f1_weighted == pytest.approx(0.6 * 0.8 + 0.4 * 4 / 7)
    assert figures.balanced_accuracy == pytest.approx((4 / 6 + 2 / 4) / 2)


answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=80)


@given(answers)
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of classes that are not there
def test_every_figure_equals_scikit_learn_and_training_has_the_same(rows):
    gold, predicted = (np.array(column) for column in zip(*rows, strict=True))
    labels = range(4)
    figures = metrics_of(("a", "b", "c", "d"), confusion_of(gold, predicted, labels=4))

    options = {"labels": list(labels), "zero_division": 0}
    theirs = judge.precision_recall_fscore_support(gold, predicted, **options)
    ours = [(c.precision, c.recall, c.f1, c.support) for c in figures.per_class.values()]
    np.testing.assert_allclose(ours, np.transpose(theirs), atol=1e-12)
    expected = {
        "accuracy": judge.accuracy_score(gold, predicted),
        "balanced_accuracy": judge.balanced_accuracy_score(gold, predicted),
        "f1_macro": judge.f1_score(gold, predicted, average="macro", **options),
        "f1_weighted": judge.f1_score(gold, predicted, average="weighted", **options),
    }
    assert {key: getattr(figures, key) for key in expected} == pytest.approx(expected, abs=1e-12)
    table = judge.confusion_matrix(gold, predicted, labels=[*labels, 4])[:4]
    assert figures.confusion == tuple(map(tuple, table.tolist()))
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


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        # Close to the plain delta method with a thousand rows: 0.8424 +- 1.96 * 0.0114.
        ([[400, 80, 20], [60, 430, 10]], (0.8188, 0.86345)),
        ([[0, 2, 0], [2, 0, 0]], (0.0, 0.4899)),
        ([[3, 0, 0], [0, 3, 0]], (0.6097, 1.0)),
        ([[1, 0, 0], [0, 3, 0]], None),
        ([[0, 0, 0], [0, 3, 0]], None),
    ],
)
def test_the_interval_of_macro_f1(counts, interval):
    found = f1_macro_interval(np.array(counts))
    assert found == (interval and pytest.approx(interval, abs=5e-5))


@given(st.integers(2, 12) | st.just(150), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_interval_of_macro_f1_holds_it(labels, rows, seed):
    shares = np.random.default_rng(seed).dirichlet(np.full(labels + 1, 0.5), size=labels)
    counts = np.stack([np.random.default_rng(seed).multinomial(rows, one) for one in shares])
    low, high = f1_macro_interval(counts)
    assert 0 <= low <= float(averages(counts)["f1_macro"]) <= high <= 1


def test_the_interval_reaches_the_true_macro_f1_of_many_labels_with_two_rows():
    """F1 of two rows is biased, and a thousand labels do not average it out."""
    labels, generator = 300, np.random.default_rng(0)
    shares = np.full((labels, labels + 1), 0.4 / labels)
    shares[np.arange(labels), np.arange(labels)] += 0.6
    true = float(averages((shares * 1e9).astype(np.int64))["f1_macro"])

    found = [
        f1_macro_interval(np.stack([generator.multinomial(2, one / one.sum()) for one in shares]))
        for _ in range(20)
    ]

    assert sum(low <= true <= high for low, high in found) >= 18
