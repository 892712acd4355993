"""Match the rows of two files of predictions: by id, else by prompt, else by position.

Used by `comparison`. What it keeps of a row is its indices, its id and a digest of its prompt.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.task import Task

_DIGEST_BYTES = 12


@dataclass(frozen=True)
class Answers:
    """The rows of one file, as comparison needs them.

    Attributes:
        source: The file's name.
        lines: Line numbers in the file.
        gold: Indices of gold labels.
        predicted: Indices of the labels answered; the number of labels where invalid.
        ids: The rows' ids; None unless every row has one.
        prompts: Digests of the prompts; None unless every row has one.
        broken: Rows of the file that were left out.
    """

    source: str
    lines: NDArray[np.int64]
    gold: NDArray[np.int64]
    predicted: NDArray[np.int64]
    ids: Sequence[str] | None
    prompts: Sequence[bytes] | None
    broken: int = 0


@dataclass(frozen=True)
class RowMatch:
    """Positions of the rows that two files share, in the order of the first."""

    matched_by: str
    first: NDArray[np.int64]
    second: NDArray[np.int64]


class AnswersRecorder:
    """Gathers judged rows into `Answers`; an observer of `one_file.evaluate_rows`."""

    def __init__(self, source: str) -> None:
        """Start empty for a file of that name."""
        self._source = source
        self._lines, self._gold, self._predicted = array("q"), array("q"), array("q")
        self._ids: list[str | None] = []
        self._prompts: list[bytes | None] = []

    def __call__(self, judged: Judged) -> None:
        """Take one row."""
        row = judged.row
        self._lines.append(row.line)
        self._gold.append(judged.gold)
        self._predicted.append(judged.predicted[0])
        self._ids.append(row.id)
        asked = row.prompt if row.prompt is not None else row.text
        self._prompts.append(None if asked is None else _digest(asked))

    def answers(self, *, broken: int = 0) -> Answers:
        """Give what was gathered; `broken` rows of the file were left out."""
        ids = [one for one in self._ids if one is not None]
        prompts = [one for one in self._prompts if one is not None]
        n = len(self._lines)
        return Answers(
            self._source,
            np.array(self._lines, dtype=np.int64),
            np.array(self._gold, dtype=np.int64),
            np.array(self._predicted, dtype=np.int64),
            ids if len(ids) == n else None,
            prompts if len(prompts) == n else None,
            broken,
        )


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def match_rows(first: Answers, second: Answers, task: Task) -> RowMatch:
    """Find the rows that two files share.

    By id where all rows of both files have one, unless the files hold the same prompts under other
    ids; else by prompt where no prompt repeats and the
    files share at least half of the shorter one's; else by position, which needs as many rows
    in both.

    Raises:
        DataError: No rows are shared, or the gold labels of a matched row differ (the first such
            row is named).
    """
    fewer = min(len(first.gold), len(second.gold))
    by_id = _by_key(first.ids, second.ids, "id", at_least=1)
    by_prompt = _by_key(first.prompts, second.prompts, "prompt", at_least=(fewer + 1) // 2)
    if by_id is not None and by_prompt is not None and not _same_prompts(first, second, by_id):
        by_id = None  # the same texts stand in another order, and ids are only their places
    match = by_id or by_prompt or _by_position(first, second)
    _check_gold(first, second, match, task)
    return match


def _same_prompts(first: Answers, second: Answers, match: RowMatch) -> bool:
    assert first.prompts is not None  # noqa: S101 - they were matched by prompt
    assert second.prompts is not None  # noqa: S101
    pairs = zip(match.first, match.second, strict=True)
    return all(first.prompts[k] == second.prompts[m] for k, m in pairs)


def _by_key(
    first: Sequence[str | bytes] | None,
    second: Sequence[str | bytes] | None,
    name: str,
    *,
    at_least: int,
) -> RowMatch | None:
    if first is None or second is None:
        return None
    places = {key: place for place, key in enumerate(second)}
    if len(places) < len(second) or len(set(first)) < len(first):
        return None
    pairs = [(k, places[key]) for k, key in enumerate(first) if key in places]
    if len(pairs) < at_least:
        return None
    positions = np.array(pairs, dtype=np.int64)
    return RowMatch(name, positions[:, 0], positions[:, 1])


def _by_position(first: Answers, second: Answers) -> RowMatch:
    rows, other_rows = (len(one.gold) + one.broken for one in (first, second))
    if rows != other_rows:
        raise DataError(
            f"{first.source} ({rows:,} rows) and {second.source} ({other_rows:,} rows) cannot be "
            "matched: they share no ids, their prompts differ or repeat, and they are not "
            "equally long; predict the same data with both."
        )
    if first.broken or second.broken:
        # A row that was left out must not shift those after it, and a blank line is no row.
        for one in (first, second):
            if one.lines[-1] > rows:
                raise DataError(
                    f"{one.source} has blank lines beside broken rows, so its rows cannot be "
                    "matched by their places; remove the blank lines."
                )
        _, left, right = np.intersect1d(first.lines, second.lines, return_indices=True)
        return RowMatch("position", left, right)
    positions = np.arange(rows)
    return RowMatch("position", positions, positions)


def _check_gold(first: Answers, second: Answers, match: RowMatch, task: Task) -> None:
    if not len(match.first):
        raise DataError(f"{first.source} and {second.source} have no row in common.")
    gold, other = first.gold[match.first], second.gold[match.second]
    differing = np.flatnonzero(gold != other)
    if not len(differing):
        return
    k = int(differing[0])
    raise DataError(
        f"{first.source} and {second.source}, matched by {match.matched_by}, disagree about the "
        f"gold label of {len(differing):,} rows, first {task.labels[gold[k]]!r} at "
        f"{first.source}:{first.lines[match.first[k]]} against {task.labels[other[k]]!r} at "
        f"{second.source}:{second.lines[match.second[k]]}; "
        "compare predictions of the same data."
    )
