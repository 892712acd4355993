"""Two files compared: against statsmodels and scipy, against a plain bootstrap, and by hand."""

from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as judge_mcnemar
from statsmodels.stats.multitest import multipletests

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.comparison import (
    Answers,
    compare_answers,
    compare_files,
    holm,
    match_rows,
    mcnemar,
)
from llamafactory_emotion.task import EMOTION


def answers(gold, predicted, *, ids=None, prompts=None, file="a", lines=None, broken=0):
    missing = [None] * len(gold)
    return Answers(
        file,
        lines=array("q", lines or range(1, len(gold) + 1)),
        gold=array("q", gold),
        predicted=array("q", predicted),
        ids=ids or missing,
        prompts=prompts or missing,
        broken=broken,
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

    pair = compare_answers(gold, first, second, labels=2, names=("a", "b"), seed=0)

    assert (pair.n, pair.first_right, pair.second_right) == (6, 1, 1)
    assert pair.accuracy_difference == 0
    assert pair.p_value == 1
    # First: F1 6/7 and 2/4; second: 4/5 and 4/6... from 2TP / (answered + support).
    first_f1 = (6 / 7 + 2 / 4) / 2
    second_f1 = (4 / 5 + 4 / 6) / 2
    assert pair.f1_macro_difference == pytest.approx(first_f1 - second_f1)


def test_the_paired_bootstrap_agrees_with_resampling_rows():
    generator = np.random.default_rng(0)
    gold = generator.integers(0, 3, 400)
    first = np.where(generator.random(400) < 0.8, gold, generator.integers(0, 4, 400))
    second = np.where(generator.random(400) < 0.7, gold, generator.integers(0, 4, 400))
    accuracies, f1s = [], []
    for _ in range(300):
        k = generator.integers(0, 400, 400)
        accuracies.append((first[k] == gold[k]).mean() - (second[k] == gold[k]).mean())
        options = {"labels": [0, 1, 2], "average": "macro", "zero_division": 0}
        f1s.append(f1_score(gold[k], first[k], **options) - f1_score(gold[k], second[k], **options))

    pair = compare_answers(gold, first, second, labels=3, names=("a", "b"), seed=5)

    for ours, theirs in (
        (pair.accuracy_difference_ci, accuracies),
        (pair.f1_macro_difference_ci, f1s),
    ):
        assert ours == pytest.approx(tuple(np.quantile(theirs, [0.025, 0.975])), abs=0.018)
    again = compare_answers(gold, first, second, labels=3, names=("a", "b"), seed=5)
    assert again == pair


@pytest.mark.parametrize(
    ("labels", "accuracy_ci", "f1_ci"),
    [
        (3, (-0.15, 0.116666667), (-0.057849857, 0.156912005)),
        (150, (-0.15, 0.116666667), (-0.001156997, 0.00313824)),
    ],
)
def test_the_intervals_of_a_seed_stay_what_they_were(labels, accuracy_ci, f1_ci):
    gold = np.arange(60) % 3
    first, second = np.where(np.arange(60) % 7, gold, labels), np.where(np.arange(60) % 5, gold, 0)

    pair = compare_answers(gold, first, second, labels=labels, names=("a", "b"), seed=0)

    assert pair.accuracy_difference_ci == pytest.approx(accuracy_ci)
    assert pair.f1_macro_difference_ci == pytest.approx(f1_ci, abs=1e-8)


P = [b"p", b"q", b"r"]


@pytest.mark.parametrize(
    ("first", "second", "matched_by", "indices"),
    [
        ({"ids": ["x", "y", "z"]}, {"ids": ["z", "x", "y"]}, "id", [1, 2, 0]),
        ({"prompts": P}, {"prompts": P[::-1], "ids": ["1", "2", "3"]}, "prompt", [2, 1, 0]),
        # The same prompts under other ids: the ids only number the rows.
        (
            {"prompts": P, "ids": ["0", "1", "2"]},
            {"prompts": P[::-1], "ids": ["0", "1", "2"]},
            "prompt",
            [2, 1, 0],
        ),
        # Another template makes other prompts.
        (
            {"prompts": P, "ids": ["0", "1", "2"]},
            {"prompts": [b"P", b"Q", b"R"], "ids": ["2", "1", "0"]},
            "id",
            [2, 1, 0],
        ),
        ({"prompts": [b"p", b"p", b"q"]}, {"prompts": [b"p", b"p", b"q"]}, "position", [0, 1, 2]),
        ({"prompts": P}, {"prompts": [b"P", b"Q", b"r"]}, "position", [0, 1, 2]),
        ({}, {"prompts": P}, "position", [0, 1, 2]),
    ],
)
def test_rows_are_matched_by_id_else_prompt_else_position(first, second, matched_by, indices):
    gold = [0, 0, 0]

    match = match_rows(answers(gold, gold, **first), answers(gold, gold, **second), EMOTION)

    assert (match.matched_by, match.second.tolist()) == (matched_by, indices)


def test_the_rows_that_one_file_lacks_are_counted():
    first = answers([0, 1, 2], [0, 1, 2], ids=["x", "y", "z"])
    second = answers([2, 0, 1, 1], [0, 0, 1, 1], ids=["z", "x", "y", "w"], file="b")

    (pair,) = compare_files([first, second], EMOTION, seed=0)

    assert (pair.n, pair.only_in_first, pair.only_in_second) == (3, 0, 1)
    assert (pair.first_right, pair.second_right) == (1, 0)


def test_a_row_left_out_does_not_shift_the_rows_after_it():
    first = answers([0, 2], [0, 2], lines=[1, 3], broken=1)
    second = answers([0, 1], [0, 1], lines=[1, 2], broken=1, file="b")

    match = match_rows(first, second, EMOTION)

    assert (match.first.tolist(), match.second.tolist()) == ([0], [0])


@pytest.mark.parametrize(
    ("first", "second", "saying"),
    [
        (
            answers([0, 1, 2], [0, 1, 2]),
            answers([0, 2, 1], [0, 1, 1], file="b", lines=[4, 5, 6]),
            "gold label of 2 rows, first 'joy' at a:2 against 'love' at b:5",
        ),
        (answers([0] * 3, [0] * 3), answers([0] * 2, [0] * 2), "3 rows.*2 rows.*not equally long"),
        (
            answers([0, 2], [0, 2], lines=[1, 4], broken=1),
            answers([0, 2], [0, 2], lines=[1, 3], broken=1, file="b"),
            "^a has blank lines beside broken rows",
        ),
        (
            answers([0], [0], lines=[1], broken=1),
            answers([0], [0], lines=[2], broken=1, file="b"),
            "a and b have no row in common",
        ),
    ],
)
def test_files_that_cannot_be_matched(first, second, saying):
    with pytest.raises(DataError, match=saying):
        match_rows(first, second, EMOTION)


def test_beyond_two_files_every_pair_is_corrected():
    gold = [0] * 40
    files = [answers(gold, [0] * k + [1] * (40 - k), file=str(k)) for k in (40, 30, 20)]

    pairs = compare_files(files, EMOTION, seed=0)

    assert [(pair.first, pair.second) for pair in pairs] == [
        ("40", "30"),
        ("40", "20"),
        ("30", "20"),
    ]
    raw = [pair.p_value for pair in pairs]
    assert raw == pytest.approx([2 / 2**10, 2 / 2**20, 2 / 2**10])
    expected = multipletests(raw, method="holm")[1]
    assert [pair.p_value_holm for pair in pairs] == pytest.approx(list(expected))
