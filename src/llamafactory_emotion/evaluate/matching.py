"""Find the rows that two files of predictions share.

Rows belong together where they ask the same: by the whole prompt, else by the text in it. Ids and
positions decide between repeats, and alone only where a file has no prompts. That takes 50 bytes a
row and file.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.evaluate.lookup import TextFinder, join_key
from llamafactory_emotion.task import Task

# Files that share less of the shorter one's rows are not predictions of the same data.
_SMALLEST_OVERLAP = 0.5
# Texts found in prompts are the rows' own where nearly as many differ as prompts do.
_OWN_TEXTS = 0.9
_ABSENT = 0
_BITS = (1 << 64) - 1
_MIX = np.uint64(0x9E3779B97F4A7C15)

Indices = NDArray[np.int64]
Keys = NDArray[np.uint64]


@dataclass
class Answers:
    """The rows of one file, as comparisons need them; an observer that gathers them."""

    file: str
    finder: TextFinder
    keeps_texts: bool = False
    lines: "array[int]" = field(default_factory=lambda: array("q"))
    gold: "array[int]" = field(default_factory=lambda: array("q"))  # indices of labels
    predicted: "array[int]" = field(default_factory=lambda: array("q"))  # invalid is the last
    # Digests; 0 where a row has none.
    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    prompts: "array[int]" = field(default_factory=lambda: array("Q"))
    texts: "array[int]" = field(default_factory=lambda: array("Q"))
    kept: list[str | None] = field(default_factory=list)  # the texts, where they are to be kept
    broken: int = 0  # rows of the file that were left out

    def __call__(self, judged: Judged) -> None:
        """Take one row."""
        row, text = judged.row, self.finder.find(judged.row)
        self.lines.append(row.line)
        self.gold.append(judged.gold)
        self.predicted.append(judged.predicted[0])
        self.ids.append(_digest(row.id))
        self.prompts.append(_digest(row.prompt))
        # A classifier's prompt is the text alone.
        alone = row.prompt if text is None else text
        self.texts.append(_digest(alone and join_key(alone)))
        if self.keeps_texts:
            self.kept.append(text)

    @property
    def has_ids(self) -> bool:
        """Whether every row has an id of its own."""
        ids = np.asarray(self.ids)
        return bool(ids.all()) and len(np.unique(ids)) == len(ids)

    @property
    def has_texts(self) -> bool:
        """Whether every row's text is known, and is not the same piece of every prompt."""
        texts, prompts = (len(np.unique(np.asarray(one))) for one in (self.texts, self.prompts))
        return bool(np.all(self.texts)) and texts >= _OWN_TEXTS * prompts


def _digest(content: str | None) -> int:
    # Python's own hash: 64 bits, keyed anew by every process, and never written down.
    return _ABSENT if content is None else hash(content) & _BITS or 1


class RowMatch(NamedTuple):
    """Indices of the rows that two files share, in the order of the first.

    `uncertain` rows repeat another's prompt and gold label, and both files answer such repeats
    differently: which answers belong together is not known.
    """

    matched_by: str
    first: Indices
    second: Indices
    uncertain: int = 0


def match_rows(first: Answers, second: Answers, task: Task) -> RowMatch:
    """Find the rows that two files share, repeats as often as both have them.

    By the prompt where every row of both files has one, or by the text in it where that finds
    more (under another template, say). Only where a file has neither: by id where every row of
    both has one of its own, else by position, which needs as many rows in both.

    Raises:
        DataError: The files share less than half of the shorter one's rows, or the prompts or
            gold labels of matched rows differ (the first such row is named).
    """
    match = _by_content(first, second) or _by_id(first, second) or _by_position(first, second)
    shared, fewer = len(match.first), min(len(first.gold), len(second.gold))
    if shared < max(1, _SMALLEST_OVERLAP * fewer):
        said = (
            f"{first.file} and {second.file}, matched by {match.matched_by}, share only "
            f"{shared:,} of {fewer:,} rows; compare predictions of the same data."
        )
        if match.matched_by in ("prompt", "text"):
            said += (
                " If that is what they are, under other instructions or templates, name the data "
                "with source=."
            )
        raise DataError(said)
    for what, differing in _differences(first, second, match):
        if len(differing):
            k = int(differing[0])
            left, right = int(match.first[k]), int(match.second[k])
            gold = [
                f"{task.labels[one.gold[row]]!r} at " if what == "gold label" else ""
                for one, row in ((first, left), (second, right))
            ]
            raise DataError(
                f"{first.file} and {second.file}, matched by {match.matched_by}, disagree about "
                f"the {what} of {len(differing):,} rows, first {gold[0]}"
                f"{first.file}:{first.lines[left]} against {gold[1]}"
                f"{second.file}:{second.lines[right]}; compare predictions of the same data."
            )
    return match


def _differences(first: Answers, second: Answers, match: RowMatch) -> Iterator[tuple[str, Indices]]:
    """Yield where matched rows differ, first in what they ask (where both files tell it)."""

    def both(name: str) -> tuple[Keys, Keys]:
        left, right = (np.asarray(getattr(one, name)) for one in (first, second))
        return left[match.first], right[match.second]

    differing, same = np.zeros((2, len(match.first)), dtype=bool)
    for left, right in (both("prompts"), both("texts")):
        known = (left != _ABSENT) & (right != _ABSENT)
        differing |= known & (left != right)
        same |= known & (left == right)
    yield "prompt", np.flatnonzero(differing & ~same)
    left, right = both("gold")
    yield "gold label", np.flatnonzero(left != right)


def _by_content(first: Answers, second: Answers) -> RowMatch | None:
    """Match by prompts, or by texts where these pair more; None where a file has neither."""
    gold = np.asarray(first.gold), np.asarray(second.gold)
    ids = np.asarray(first.ids), np.asarray(second.ids)
    contents = []
    if np.all(first.prompts) and np.all(second.prompts):
        contents.append(("prompt", (np.asarray(first.prompts), np.asarray(second.prompts))))
    if first.has_texts and second.has_texts:
        contents.append(("text", (np.asarray(first.texts), np.asarray(second.texts))))
    best = None
    for name, content in contents:
        with_gold = _mixed(content, gold)
        levels = [with_gold, content]
        by_id = first.has_ids and second.has_ids
        if by_id:
            levels.insert(0, _mixed(with_gold, ids))
        left, right = _pair_up(levels)
        if best is None or len(left) > len(best.first):
            unsure = ids[0][left] != ids[1][right] if by_id else np.ones(len(left), dtype=bool)
            rights = [
                (np.asarray(one.predicted) == np.asarray(one.gold))[rows][unsure]
                for one, rows in ((first, left), (second, right))
            ]
            uncertain = _uncertain(with_gold[0][left][unsure], *rights)
            best = RowMatch(name, left, right, uncertain)
        if len(best.first) == min(map(len, content)):
            break
    return best


def _mixed(keys: tuple[Keys, Keys], more: tuple[NDArray[Any], NDArray[Any]]) -> tuple[Keys, Keys]:
    """Mix a second column into both files' keys."""
    left, right = (
        key * _MIX + column.astype(np.uint64) for key, column in zip(keys, more, strict=True)
    )
    return left, right


def _uncertain(keys: Keys, right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> int:
    """Count the rows whose repeats both files answer now right, now wrong."""
    _, group, rows = np.unique(keys, return_inverse=True, return_counts=True)
    hits = (np.bincount(group, weights=one, minlength=len(rows)) for one in (right, other_right))
    mixed = [(some > 0) & (some < rows) for some in hits]
    return int(rows[mixed[0] & mixed[1]].sum())


def _pair_up(levels: Iterable[tuple[Keys, Keys]]) -> tuple[Indices, Indices]:
    """Pair rows of equal keys, each row once; a level pairs what those before it left over."""
    pairs: list[tuple[Indices, Indices]] = []
    for keys in levels:
        left, right = (
            np.setdiff1d(np.arange(len(one)), np.concatenate([[], *(pair[k] for pair in pairs)]))
            for k, one in enumerate(keys)
        )
        of_left, of_right = _equal_keys(keys[0][left], keys[1][right])
        pairs.append((left[of_left], right[of_right]))
    first, second = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    order = np.argsort(first)
    return first[order], second[order]


def _equal_keys(first: Keys, second: Keys) -> tuple[Indices, Indices]:
    """Pair equal keys; the n-th of a repeated one with the n-th of the other."""
    orders = [np.argsort(keys, kind="stable") for keys in (first, second)]
    (left, left_start, left_count), (right, right_start, right_count) = (
        np.unique(keys[order], return_index=True, return_counts=True)
        for keys, order in zip((first, second), orders, strict=True)
    )
    _, of_left, of_right = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    counts = np.minimum(left_count[of_left], right_count[of_right])
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return (
        orders[0][np.repeat(left_start[of_left], counts) + nth],
        orders[1][np.repeat(right_start[of_right], counts) + nth],
    )


def _by_id(first: Answers, second: Answers) -> RowMatch | None:
    """Match by id; None where a row has none of its own."""
    if not (first.has_ids and second.has_ids):
        return None
    return RowMatch("id", *_pair_up([(np.asarray(first.ids), np.asarray(second.ids))]))


def _by_position(first: Answers, second: Answers) -> RowMatch:
    rows, other_rows = (len(one.gold) + one.broken for one in (first, second))
    if rows != other_rows or first.broken or second.broken:
        raise DataError(
            f"{first.file} ({rows:,} rows) and {second.file} ({other_rows:,} rows) cannot be "
            "matched: their rows have no prompts and no ids, and they are not equally long or "
            "have broken rows; predict the same data with both, or name the data with source=."
        )
    return RowMatch("position", np.arange(rows), np.arange(rows))
