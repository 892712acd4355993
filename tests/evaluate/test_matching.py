"""The rows that two files share: by what they ask, and by ids or positions only beside that."""

import numpy as np
import pytest
from evaluations import judged, prediction

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.comparison import compare_files
from llamafactory_emotion.evaluate.lookup import TextFinder
from llamafactory_emotion.evaluate.matching import Answers, match_rows
from llamafactory_emotion.task import EMOTION

ASK = EMOTION.instruction


def answers(gold, predicted=None, *, prompts=None, texts=None, ids=None, lines=None, **more):
    """Gather rows as the command does."""
    gathered = Answers(more.pop("file", "a"), TextFinder(EMOTION), **more)
    for k, (label, answer) in enumerate(zip(gold, predicted or gold, strict=True)):
        prompt, text, own_id = (one and one[k] for one in (prompts, texts, ids))
        line = lines[k] if lines else k + 1
        row = prediction(line, prompt=prompt, text=text, id=own_id)
        gathered(judged(row, label, answer))
    return gathered


def taken(rows, order):
    return None if rows is None else [rows[k] for k in order]


def two_files(prompts, *, ids=None, order=None, n=600):
    """Make 600 rows of two labels: the second file has twelve more right, and another order."""
    gold = [k % 2 for k in range(n)]
    first = [2 if k % 5 == 0 else label for k, label in enumerate(gold)]
    fixed = {k for k in range(n) if k % 5 == 0 and k % 50 == 0}
    second = [label if k in fixed else first[k] for k, label in enumerate(gold)]
    order = list(range(n)) if order is None else order
    return (
        answers(gold, first, prompts=prompts, ids=ids),
        answers(
            *(taken(rows, order) for rows in (gold, second)),
            prompts=taken(prompts, order),
            ids=taken(ids, order),
            file="b",
        ),
    )


SHUFFLED = np.random.default_rng(0).permutation(600).tolist()
PROMPTS = [f"text {k}" for k in range(600)]


@pytest.mark.parametrize(
    ("prompts", "ids"),
    [
        ([*PROMPTS[:599], PROMPTS[0]], None),  # one prompt repeats
        ([*PROMPTS[:599], PROMPTS[1]], [str(k) for k in range(600)]),
        ([f"text {k // 4}" for k in range(600)], [f"x{k}" for k in range(600)]),
        (["the same"] * 600, [f"x{k}" for k in range(600)]),
        (None, [f"x{k}" for k in range(600)]),
    ],
)
def test_another_order_changes_no_figure(prompts, ids):
    (straight,) = compare_files(two_files(prompts, ids=ids), EMOTION)
    (pair,) = compare_files(two_files(prompts, ids=ids, order=SHUFFLED), EMOTION)

    assert (pair.n, pair.first_right, pair.second_right) == (600, 0, 12)
    assert (pair.p_value, pair.uncertain) == (straight.p_value, 0)
    assert pair.p_value == pytest.approx(2 / 2**12)


def test_ids_that_only_number_the_rows_of_a_file_do_not_match_them():
    first, second = two_files(PROMPTS, order=SHUFFLED)
    numbered = [
        answers(list(one.gold), list(one.predicted), prompts=prompts, ids=[*map(str, range(600))])
        for one, prompts in ((first, PROMPTS), (second, taken(PROMPTS, SHUFFLED)))
    ]

    (pair,) = compare_files(numbered, EMOTION)

    assert (pair.matched_by, pair.first_right, pair.second_right) == ("prompt", 0, 12)


def test_repeats_that_nothing_tells_apart_are_counted():
    (twins,) = compare_files(two_files([*PROMPTS[:599], PROMPTS[1]]), EMOTION)
    (same,) = compare_files(two_files(["the same"] * 600, order=SHUFFLED), EMOTION)

    assert (twins.n, twins.uncertain) == (600, 0)  # both files answer the two alike
    assert (same.n, same.uncertain) == (600, 600)


@pytest.mark.parametrize(
    ("first", "second", "matched_by", "pairs"),
    [
        # Repeats as often as both have them.
        (
            {"prompts": ["p", "p", "q", "p"]},
            {"prompts": ["q", "p", "p"]},
            "prompt",
            [(0, 1), (1, 2), (2, 0)],
        ),
        # First those of the same gold label.
        (
            {"gold": [0, 1, 0], "prompts": ["p", "p", "q"]},
            {"gold": [1, 0], "prompts": ["p", "p"]},
            "prompt",
            [(0, 1), (1, 0)],
        ),
        # Other templates around the same texts.
        (
            {"prompts": [f"<|user|>\n{ASK}\n{k}<|assistant|>\n" for k in "xyz"]},
            {"prompts": [f"{ASK}\n{k}\nAnswer:" for k in "zyx"]},
            "text",
            [(0, 2), (1, 1), (2, 0)],
        ),
        (
            {"prompts": [f"{ASK}\n{k}\nAnswer:" for k in "xyz"]},
            {"texts": ["z", "x", "y"]},
            "text",
            [(0, 1), (1, 2), (2, 0)],
        ),
        ({"ids": ["x", "y", "z"]}, {"ids": ["z", "x", "y"]}, "id", [(0, 1), (1, 2), (2, 0)]),
        # A file without prompts.
        ({}, {"prompts": ["p", "q", "r"]}, "position", [(0, 0), (1, 1), (2, 2)]),
        (
            {"prompts": ["p", None, "r"]},
            {"prompts": ["p", "q", "r"]},
            "position",
            [(0, 0), (1, 1), (2, 2)],
        ),
    ],
)
def test_rows_are_matched_by_prompt_else_text_else_id_else_position(
    first, second, matched_by, pairs
):
    one, other = (
        answers(**{"gold": [0] * len(next(iter(columns.values()), "xyz"))} | columns)
        for columns in (first, second)
    )

    match = match_rows(one, other, EMOTION)

    assert match.matched_by == matched_by
    assert list(zip(match.first.tolist(), match.second.tolist(), strict=True)) == pairs


@pytest.mark.parametrize(
    ("first", "second", "saying"),
    [
        (
            answers([0, 1, 2]),
            answers([0, 2, 1], [0, 1, 1], file="b", lines=[4, 5, 6]),
            "gold label of 2 rows, first 'joy' at a:2 against 'love' at b:5",
        ),
        (
            answers([0, 1, 1], prompts=["p", "q", "q"]),
            answers([0, 2, 1], prompts=["p", "q", "q"], file="b"),
            "gold label of 1 rows, first 'joy' at a:3 against 'love' at b:2",
        ),
        (answers([0] * 3), answers([0] * 2), "3 rows.*2 rows.*not equally long"),
        (
            answers([0] * 600, ids=[*map(str, range(600))]),
            answers([0] * 600, ids=[*map(str, range(599, 1199))], file="b"),
            "matched by id, share only 1 of 600 rows; compare predictions of the same data.$",
        ),
        (
            answers([0] * 3, prompts=["p", "q", "r"], ids=["1", "2", "3"]),
            answers([0] * 3, prompts=["P", "Q", "r"], ids=["1", "2", "3"], file="b"),
            "matched by prompt, share only 1 of 3 rows.*source=",
        ),
        # What follows the instruction is no text of its own: the text comes before.
        (
            answers([0] * 3, prompts=[f"[{k}] {ASK}" for k in "xyz"]),
            answers([0] * 3, prompts=[f"{k}. {ASK}" for k in "zyx"], file="b"),
            "matched by prompt, share only 0 of 3 rows",
        ),
        (
            answers([0] * 3, prompts=["p", None, "r"]),
            answers([0] * 3, prompts=["p", "q", "s"], file="b"),
            "matched by position, disagree about the prompt of 1 rows, first a:3 against b:3",
        ),
        (answers([0], broken=1), answers([0, 0], file="b"), "or have broken rows"),
    ],
)
def test_files_that_cannot_be_matched(first, second, saying):
    with pytest.raises(DataError, match=saying):
        match_rows(first, second, EMOTION)
