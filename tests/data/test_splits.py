"""Dropping rows and drawing a validation split, on tables worked out by hand."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data.audit import normalised
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.data.splits import (
    draw_split,
    drop_rows,
    largest_remainder,
)
from llamafactory_emotion.errors import CallError, DataError


def rows(*pairs):
    return [Row(text, label, line) for line, (text, label) in enumerate(pairs, start=1)]


MIXED = rows(("a", "joy"), ("b", "joy"), ("a", "love"), ("c", "fear"), ("b", "joy"), ("d", "joy"))
SAMPLE = rows(*((f"text {n}", ("joy", "joy", "love")[n % 3]) for n in range(60)))


@pytest.mark.parametrize(
    ("drop", "lines", "dropped"),
    [
        ((), [1, 2, 3, 4, 5, 6], {}),
        (("conflicts",), [2, 4, 5, 6], {"conflicts": 2}),
        (("repeats",), [1, 2, 4, 6], {"repeats": 2}),
        (("leaks",), [1, 2, 3, 5, 6], {"leaks": 1}),
        (("leaks", "repeats", "conflicts"), [2, 6], {"conflicts": 2, "repeats": 1, "leaks": 1}),
    ],
)
def test_each_word_drops_what_it_says(drop, lines, dropped):
    kept, counts = drop_rows(MIXED, drop, {"c", "nowhere"})
    assert [row.line for row in kept] == lines
    assert list(counts.items()) == list(dropped.items())


def test_repeats_on_one_line_of_json_are_repeats():
    assert len(drop_rows([Row("a", "joy", 1), Row("a", "joy", 1)], ["repeats"], ())[0]) == 1


@pytest.mark.parametrize(
    ("size", "count", "drawn"),
    [*((n, 200, n) for n in (0, 1, 50)), (0.25, 200, 50), (0.0, 200, 0),
     (None, 200, 20), (None, 20_500, 2000)],
)  # fmt: skip
def test_a_size_is_a_count_or_a_share_and_a_tenth_by_default(size, count, drawn):
    texts = rows(*((f"text {n}", "joy") for n in range(count)))
    assert len(draw_split(texts, size, seed=1)[1]) == drawn


@pytest.mark.parametrize("size", [1.5, float("inf")])
def test_a_size_that_makes_no_sense_is_a_wrong_call(size):
    with pytest.raises(CallError, match=f"validation_size={size} is neither a number of rows nor"):
        draw_split(SAMPLE, size, seed=1)


@pytest.mark.parametrize(
    ("counts", "size", "quotas"),
    [
        ({"a": 50, "b": 30, "c": 20}, 10, {"a": 5, "b": 3, "c": 2}),
        ({"a": 5, "b": 3, "c": 2}, 5, {"a": 3, "b": 1, "c": 1}),  # 2.5, 1.5, 1.0: a before b
        ({"b": 2, "a": 2, "c": 2}, 1, {"b": 0, "a": 1, "c": 0}),
        ({"a": 97, "b": 3}, 10, {"a": 10, "b": 0}),
        ({"a": 1, "b": 1, "c": 4}, 3, {"a": 0, "b": 0, "c": 3}),  # 0.5, 0.5, 2: a row stays
        ({"a": 2, "b": 2, "c": 3}, 4, {"a": 1, "b": 1, "c": 2}),
    ],
)
def test_seats_go_by_largest_remainder(counts, size, quotas):
    assert largest_remainder(counts, size, {label: n - 1 for label, n in counts.items()}) == quotas


@given(
    counts=st.dictionaries(st.text(max_size=2), st.integers(1, 10**7), min_size=1, max_size=8),
    share=st.floats(0, 1),
)
def test_seats_add_up_and_leave_a_row_of_every_class(counts, share):
    total = sum(counts.values())
    size = int(share * (total - len(counts)))
    quotas = largest_remainder(counts, size, {label: n - 1 for label, n in counts.items()})
    assert sum(quotas.values()) == size
    assert all(0 <= quotas[label] < counts[label] for label in counts)
    # Only the seats that small classes cannot take go beyond.
    assert all(quotas[label] - counts[label] * size / total < len(counts) for label in counts)


@pytest.mark.parametrize("size", [None, 3, 0.5])
def test_the_only_row_of_a_class_stays_in_train(size):
    texts = rows(*((f"text {n}", f"class {min(n, 12)}") for n in range(30)))
    train, drawn = draw_split(texts, size, seed=1)
    assert {row.label for row in train} == {f"class {n}" for n in range(13)}
    assert len(drawn) == (15 if size == 0.5 else 3)


def test_the_drawn_rows_are_stratified_and_keep_the_order():
    train, drawn = draw_split(SAMPLE, 9, seed=1)
    assert Counter(row.label for row in drawn) == {"joy": 6, "love": 3}
    assert sorted([*train, *drawn], key=lambda row: row.line) == SAMPLE
    for part in (train, drawn):
        assert [row.line for row in part] == sorted(row.line for row in part)


def test_the_same_texts_are_drawn_whatever_their_order():
    shuffled = [*SAMPLE[17::-1], *SAMPLE[18:]]
    first = {row.text for row in draw_split(SAMPLE, 9, seed=1)[1]}
    assert {row.text for row in draw_split(shuffled, 9, seed=1)[1]} == first
    assert {row.text for row in draw_split(SAMPLE, 9, seed=2)[1]} != first


def test_no_drawn_text_stays_in_train():
    texts = [*SAMPLE[:30], *rows(("Text 0", "joy"), ("text  1", "joy"), ("text 2", "love"))]
    train, drawn = draw_split(texts, 25, seed=3)
    assert len(drawn) == 25
    assert not {normalised(row.text) for row in train} & {normalised(row.text) for row in drawn}


def test_a_split_that_cannot_be_drawn_says_why():
    with pytest.raises(CallError, match="fewer of the 60 for training than one a class"):
        draw_split(SAMPLE, 59, seed=1)
    doubled = rows(("a", "joy"), ("a", "joy"), ("b", "love"), ("c", "love"))
    with pytest.raises(DataError, match=r"only 1 can be drawn; .* or remove repeated texts"):
        draw_split(doubled, 2, seed=1)


def test_a_class_whose_texts_all_repeat_stays_in_train():
    twice = rows(*((f"twice {n % 4}", "rare") for n in range(8)))
    train, drawn = draw_split([*SAMPLE, *twice], 0.25, seed=1)
    assert Counter(row.label for row in drawn) == {"joy": 11, "love": 6}
    assert [row for row in train if row.label == "rare"] == twice
