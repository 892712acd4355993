"""Two files compared: against statsmodels and scipy, by simulation, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as judge_mcnemar
from statsmodels.stats.multitest import multipletests

from llamafactory_emotion.evaluate.comparison import (
    accuracy_difference_interval,
    compare_answers,
    holm,
    mcnemar,
)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_equals_statsmodels(b, c):
    expected = 1.0 if b + c == 0 else judge_mcnemar([[5, b], [c, 7]], exact=True).pvalue

    assert mcnemar(b, c) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_holm_equals_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]

    assert holm(p_values) == pytest.approx(list(expected), abs=1e-12)


def test_a_pair_worked_out_by_hand():
    gold = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([0, 0, 0, 1, 2, 0])
    second = np.array([0, 1, 0, 1, 1, 2])

    pair = compare_answers(gold, first, second, labels=2, names=("a", "b"))

    assert (pair.n, pair.first_right, pair.second_right) == (6, 1, 1)
    assert pair.accuracy_difference == 0
    assert pair.p_value == 1
    # First: F1 6/7 and 2/4; second: 4/5 and 4/6... from 2TP / (answered + support).
    first_f1 = (6 / 7 + 2 / 4) / 2
    second_f1 = (4 / 5 + 4 / 6) / 2
    assert pair.f1_macro_difference == pytest.approx(first_f1 - second_f1)


@pytest.mark.parametrize(
    ("only_first", "only_second", "n", "interval"),
    [
        # As the R package contingencytables of Fagerland, Lydersen and Laake has it, but for the
        # end that the exact test (p = 0.0525) moves from -0.0054 to 0.
        (6, 16, 161, (-0.1240, 0.0)),
        # No row tells them apart: z^2 / (n + z^2) either way, by hand.
        (0, 0, 100, (-0.03699, 0.03699)),
        (0, 0, 1, (-0.79346, 0.79346)),
        (5, 0, 125, (0.0, 0.0902)),  # p = 0.0625
        # All rows: the lower end solves n (1 - d)^2 = z^2 (1 - d^2).
        (10, 0, 10, (0.44493, 1.0)),
    ],
)
def test_the_interval_of_the_accuracies(only_first, only_second, n, interval):
    low, high = accuracy_difference_interval(only_first, only_second, n)
    mirrored = accuracy_difference_interval(only_second, only_first, n)

    assert (low, high) == pytest.approx(interval, abs=6e-4)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 3000))
@settings(deadline=None)
def test_the_interval_agrees_with_the_exact_test(only_first, only_second, others):
    n = max(1, only_first + only_second + others)

    low, high = accuracy_difference_interval(only_first, only_second, n)

    assert -1 <= low <= (only_first - only_second) / n <= high <= 1
    assert low < high
    assert (low > 0 or high < 0) == (mcnemar(only_first, only_second) < 0.05)


def drawn(generator, gold, labels, shares):
    """Draw two sets of answers; half of the rows are hard or easy for both."""
    right, wrong = generator.random((2, len(gold))), generator.integers(0, labels + 1, len(gold))
    right[1] = np.where(generator.random(len(gold)) < 0.5, right[0], right[1])
    return [np.where(one < share, gold, wrong) for one, share in zip(right, shares, strict=True)]


@pytest.mark.parametrize(
    ("labels", "rows"), [(6, 2000), (6, 60), (150, 450)], ids=["2000", "60", "three of each of 150"]
)
def test_the_interval_of_the_macro_f1s_covers_as_it_says(labels, rows):
    generator = np.random.default_rng(0)
    gold = np.arange(rows) % labels
    pairs = [
        compare_answers(
            gold, *drawn(generator, gold, labels, (0.9, 0.85)), labels=labels, names=("a", "b")
        )
        for _ in range(400)
    ]
    true = np.mean([pair.f1_macro_difference for pair in pairs])

    inside = [low <= true <= high for low, high in (one.f1_macro_difference_ci for one in pairs)]

    assert 0.92 <= np.mean(inside) <= 0.985


def test_equal_answers_are_no_certainty():
    gold = np.arange(60) % 3

    pair = compare_answers(gold, gold, gold, labels=150, names=("a", "b"))

    assert pair.f1_macro_difference == 0
    low, high = pair.f1_macro_difference_ci
    assert -0.01 < low < 0 < high < 0.01
    assert low == -high
