"""Dropping rows and drawing a validation split, on tables worked out by hand."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data.audit import normalised
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.data.splits import (
    ValidationSize,
    draw_validation,
    drop_rows,
    largest_remainder,
    parse_drops,
    parse_validation_size,
)
from llamafactory_emotion.errors import CallError, DataError


def rows(*pairs: tuple[str, str]) -> list[Row]:
    return [Row(text, label, line) for line, (text, label) in enumerate(pairs, start=1)]


MIXED = rows(("a", "joy"), ("b", "joy"), ("a", "love"), ("c", "fear"), ("b", "joy"), ("d", "joy"))


@pytest.mark.parametrize(
    ("drops", "lines", "dropped"),
    [
        ((), [1, 2, 3, 4, 5, 6], {}),
        (("conflicts",), [2, 4, 5, 6], {"conflicts": 2}),
        (("repeats",), [1, 2, 4, 6], {"repeats": 2}),
        (("leaks",), [1, 2, 3, 5, 6], {"leaks": 1}),
        (("leaks", "repeats", "conflicts"), [2, 6], {"conflicts": 2, "repeats": 1, "leaks": 1}),
    ],
)
def test_each_word_drops_what_it_says(
    drops: tuple[str, ...], lines: list[int], dropped: dict[str, int]
) -> None:
    kept, counts = drop_rows(MIXED, drops, {"c", "nowhere"})
    assert [row.line for row in kept] == lines
    assert counts == dropped


def test_drops_are_a_list_of_known_words() -> None:
    assert parse_drops("leaks, conflicts") == ("conflicts", "leaks")
    with pytest.raises(CallError, match="'leak', '': choose from conflicts, repeats, leaks"):
        parse_drops("leak,,repeats")


@pytest.mark.parametrize(
    ("text", "of_1000"), [("0", 0), ("200", 200), ("0.25", 250), ("0.0", 0), ("1", 1)]
)
def test_a_size_is_a_count_or_a_share(text: str, of_1000: int) -> None:
    assert parse_validation_size(text).rows(1000) == of_1000


@pytest.mark.parametrize("text", ["-1", "1.0", "1.5", "nan", "many", "", "²"])
def test_a_size_that_makes_no_sense_is_a_wrong_call(text: str) -> None:
    with pytest.raises(CallError, match="neither a number of rows nor a share"):
        parse_validation_size(text)


@pytest.mark.parametrize(("total", "size"), [(5, 0), (105, 10), (16_000, 1600), (90_000, 2000)])
def test_the_default_size_is_a_tenth_up_to_2000(total: int, size: int) -> None:
    assert ValidationSize().rows(total) == size


@pytest.mark.parametrize(
    ("counts", "size", "quotas"),
    [
        ({"a": 50, "b": 30, "c": 20}, 10, {"a": 5, "b": 3, "c": 2}),
        ({"a": 5, "b": 3, "c": 2}, 5, {"a": 3, "b": 1, "c": 1}),  # 2.5, 1.5, 1.0: a before b
        ({"b": 1, "a": 1, "c": 1}, 1, {"b": 0, "a": 1, "c": 0}),
        ({"a": 97, "b": 3}, 10, {"a": 10, "b": 0}),
    ],
)
def test_seats_go_by_largest_remainder(
    counts: dict[str, int], size: int, quotas: dict[str, int]
) -> None:
    assert largest_remainder(counts, size) == quotas


@given(
    counts=st.dictionaries(st.text(max_size=2), st.integers(1, 10**7), min_size=1, max_size=8),
    share=st.floats(0, 1),
)
def test_seats_add_up_and_are_within_one_of_the_share(counts: dict[str, int], share: float) -> None:
    total = sum(counts.values())
    size = int(share * total)
    quotas = largest_remainder(counts, size)
    assert sum(quotas.values()) == size
    assert all(abs(quotas[label] - counts[label] * size / total) < 1 for label in counts)


def sample(count: int = 60) -> list[Row]:
    labels = ("joy", "joy", "love")
    return rows(*((f"text {n}", labels[n % 3]) for n in range(count)))


def test_the_drawn_rows_are_stratified_and_keep_the_order() -> None:
    train, drawn = draw_validation(sample(), 9, seed=1)
    assert Counter(row.label for row in drawn) == {"joy": 6, "love": 3}
    assert sorted([*train, *drawn], key=lambda row: row.line) == sample()
    for part in (train, drawn):
        assert [row.line for row in part] == sorted(row.line for row in part)


def test_the_same_texts_are_drawn_whatever_their_order() -> None:
    shuffled = [*sample()[17::-1], *sample()[18:]]
    first = {row.text for row in draw_validation(sample(), 9, seed=1)[1]}
    assert {row.text for row in draw_validation(shuffled, 9, seed=1)[1]} == first
    assert {row.text for row in draw_validation(sample(), 9, seed=2)[1]} != first


def test_no_drawn_text_stays_in_train() -> None:
    texts = [*sample(30), *rows(("Text 0", "joy"), ("text  1", "joy"), ("text 2", "love"))]
    train, drawn = draw_validation(texts, 25, seed=3)
    assert len(drawn) == 25
    assert not {normalised(row.text) for row in train} & {normalised(row.text) for row in drawn}


def test_size_zero_draws_nothing() -> None:
    assert draw_validation(sample(), 0, seed=1) == (sample(), [])


def test_a_split_that_cannot_be_drawn_says_why() -> None:
    with pytest.raises(CallError, match="leaves none of the 60 for training"):
        draw_validation(sample(), 60, seed=1)
    doubled = rows(("a", "joy"), ("a", "joy"), ("b", "love"), ("c", "love"))
    with pytest.raises(DataError, match="needs 1 of the class 'joy', but only 0 texts"):
        draw_validation(doubled, 2, seed=1)
