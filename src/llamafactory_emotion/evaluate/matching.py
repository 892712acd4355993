"""Find the rows that two files of predictions share.

Rows belong together where they ask the same: by the whole prompt, else by the text in it. Ids and
positions decide between repeats, and alone only where a file has no prompts. To be matched, a file
is held in about 80 bytes a row, and as many again while two are paired.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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

Indices = NDArray[np.int64]


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

    @cached_property
    def table(self) -> Any:
        """The rows as a pandas table of `ids`, `prompts`, `texts`, `gold` and `right`."""
        from pandas import DataFrame

        digests = {"ids": self.ids, "prompts": self.prompts, "texts": self.texts}
        # pandas joins by numpy's own types alone, and the arrays have those of C.
        table = DataFrame({name: np.array(one).astype(np.uint64) for name, one in digests.items()})
        gold, predicted = (np.array(one).astype(np.int64) for one in (self.gold, self.predicted))
        return table.assign(gold=gold, right=predicted == gold)

    def tells(self, column: str) -> bool:
        """Whether a column has a value in every row by which rows can be found.

        Ids must differ, and texts may not be the same piece of every prompt.
        """
        values = self.table[column]
        if not values.all():
            return False
        if column == "texts":
            return bool(values.nunique() >= _OWN_TEXTS * self.table.prompts.nunique())
        return column == "prompts" or bool(values.is_unique)


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
    left, right = (
        one.table.loc[rows].reset_index(drop=True)
        for one, rows in ((first, match.first), (second, match.second))
    )
    contents = ["prompts", "texts"]
    known = (left[contents] != _ABSENT) & (right[contents] != _ABSENT)
    same = left[contents] == right[contents]
    asks_otherwise = (known & ~same).any(axis=1) & ~(known & same).any(axis=1)
    yield "prompt", np.flatnonzero(asks_otherwise)
    yield "gold label", np.flatnonzero(left.gold != right.gold)


def _by_content(first: Answers, second: Answers) -> RowMatch | None:
    """Match by prompts, or by texts where these pair more; None where a file has neither."""
    best = None
    by_id = first.tells("ids") and second.tells("ids")
    for column in ("prompts", "texts"):
        if not (first.tells(column) and second.tells(column)):
            continue
        levels = [[column, "gold"], [column]]
        if by_id:
            levels.insert(0, [column, "gold", "ids"])
        left, right = _pair_up(first, second, levels)
        if best is None or len(left) > len(best.first):
            uncertain = _uncertain(first, second, (left, right), column, by_id=by_id)
            best = RowMatch(column.removesuffix("s"), left, right, uncertain)
        if len(best.first) == min(len(first.gold), len(second.gold)):
            break
    return best


def _pair_up(
    first: Answers, second: Answers, levels: Sequence[list[str]]
) -> tuple[Indices, Indices]:
    """Pair rows equal in some columns, the n-th of repeats with the n-th, each row once.

    A level is a list of columns; it pairs what those before it left over.
    """
    left, right = first.table, second.table
    pairs: list[NDArray[np.int64]] = []
    for columns in levels:
        one, other = (
            rows[columns].assign(nth=rows.groupby(columns).cumcount(), row=rows.index)
            for rows in (left, right)
        )
        found = one.merge(other, on=[*columns, "nth"])
        left, right = left.drop(found.row_x), right.drop(found.row_y)
        pairs.append(found[["row_x", "row_y"]].to_numpy())
    rows = np.concatenate(pairs)
    rows = rows[rows[:, 0].argsort()]
    return rows[:, 0], rows[:, 1]


def _uncertain(
    first: Answers, second: Answers, rows: tuple[Indices, Indices], column: str, *, by_id: bool
) -> int:
    """Count the rows whose repeats both files answer now right, now wrong."""
    pairs = first.table.loc[rows[0]].reset_index(drop=True)
    others = second.table.loc[rows[1]].reset_index(drop=True)
    pairs["other_right"] = others.right
    if by_id:  # equal ids leave no doubt
        pairs = pairs[pairs.ids != others.ids]
    shares = pairs.groupby([column, "gold"])[["right", "other_right"]].transform("mean")
    return int(((shares > 0) & (shares < 1)).all(axis=1).sum())


def _by_id(first: Answers, second: Answers) -> RowMatch | None:
    """Match by id; None where a row has none of its own."""
    if not (first.tells("ids") and second.tells("ids")):
        return None
    return RowMatch("id", *_pair_up(first, second, [["ids"]]))


def _by_position(first: Answers, second: Answers) -> RowMatch:
    rows, other_rows = (len(one.gold) + one.broken for one in (first, second))
    if rows != other_rows or first.broken or second.broken:
        raise DataError(
            f"{first.file} ({rows:,} rows) and {second.file} ({other_rows:,} rows) cannot be "
            "matched: their rows have no prompts and no ids, and they are not equally long or "
            "have broken rows; predict the same data with both, or name the data with source=."
        )
    return RowMatch("position", np.arange(rows), np.arange(rows))
