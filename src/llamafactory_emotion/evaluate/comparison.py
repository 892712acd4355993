"""Say whether one set of answers is really better than another.

Two files of predictions are compared over the rows they share: the exact McNemar test on the rows
that one gets right and the other wrong, and paired bootstrap intervals of the differences. Rows are
matched by id, else by prompt, else by position; that takes about 100 bytes a row and file.
"""

from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.evaluate.lookup import TextFinder
from llamafactory_emotion.metrics.counts import Counts, Interval, averages, bootstrap_intervals
from llamafactory_emotion.task import Task

_DIGEST_BYTES = 12


@dataclass
class Answers:
    """The rows of one file, as comparisons need them; an observer that gathers them."""

    file: str
    finder: TextFinder | None = None  # finds the texts to keep; None keeps none
    lines: "array[int]" = field(default_factory=lambda: array("q"))
    gold: "array[int]" = field(default_factory=lambda: array("q"))  # indices of labels
    predicted: "array[int]" = field(default_factory=lambda: array("q"))  # invalid is the last
    ids: list[str | None] = field(default_factory=list)
    prompts: list[bytes | None] = field(default_factory=list)  # digests
    texts: list[str | None] = field(default_factory=list)
    broken: int = 0  # rows of the file that were left out

    def __call__(self, judged: Judged) -> None:
        """Take one row."""
        row = judged.row
        self.lines.append(row.line)
        self.gold.append(judged.gold)
        self.predicted.append(judged.predicted[0])
        self.ids.append(row.id)
        asked = row.prompt if row.prompt is not None else row.text
        content = None if asked is None else asked.encode("utf-8", "surrogatepass")
        self.prompts.append(content and blake2b(content, digest_size=_DIGEST_BYTES).digest())
        if self.finder is not None:
            self.texts.append(self.finder.find(row))


class RowMatch(NamedTuple):
    """Indices of the rows that two files share, in the order of the first."""

    matched_by: str
    first: NDArray[np.int64]
    second: NDArray[np.int64]


@dataclass(frozen=True)
class PairedComparison:
    """Two sets of answers over the same rows; differences are the first minus the second."""

    first: str
    second: str
    matched_by: str  # `id`, `prompt`, `position` or `same rows`
    n: int  # rows that both have; the figures are over these
    only_in_first: int
    only_in_second: int
    first_right: int  # rows that only the first gets right
    second_right: int
    accuracy_difference: float
    accuracy_difference_ci: Interval  # paired bootstrap, 95 %
    f1_macro_difference: float
    f1_macro_difference_ci: Interval
    p_value: float  # exact, two-sided (McNemar, Psychometrika 12, 1947)
    p_value_holm: float  # corrected for all pairs compared (Holm, 1979)


def compare_files(files: Sequence[Answers], task: Task, *, seed: int) -> list[PairedComparison]:
    """Compare every pair of files, in their order, with Holm's correction over all pairs.

    Raises:
        DataError: Two files share no rows, or disagree about a gold label.
    """
    pairs = []
    for k, first in enumerate(files):
        for second in files[k + 1 :]:
            match = match_rows(first, second, task)
            pair = compare_answers(
                np.asarray(first.gold)[match.first],
                np.asarray(first.predicted)[match.first],
                np.asarray(second.predicted)[match.second],
                labels=len(task.labels),
                names=(first.file, second.file),
                seed=seed,
            )
            pairs.append(
                replace(
                    pair,
                    matched_by=match.matched_by,
                    only_in_first=len(first.gold) - pair.n,
                    only_in_second=len(second.gold) - pair.n,
                )
            )
    corrected = holm([pair.p_value for pair in pairs])
    return [replace(pair, p_value_holm=p) for pair, p in zip(pairs, corrected, strict=True)]


def compare_answers(
    gold: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    labels: int,
    names: tuple[str, str],
    seed: int,
) -> PairedComparison:
    """Compare two sets of answers to the same rows.

    Args:
        gold: Label indices.
        first: Answers as label indices; the number of labels where invalid.
        second: The same of the other set.
        labels: The number of labels.
        names: What the two sets are called.
        seed: Draws the resamples.
    """
    from scipy.sparse import csr_array

    width = labels + 1
    # Rows are resampled as cells of the joint table of gold label and both answers; two sparse
    # matrices of 0 and 1 add such cells up to each file's own confusion matrix.
    cells, counts = np.unique((gold * width + first) * width + second, return_counts=True)
    shape = (len(cells), labels * width)
    ones, rows = np.ones_like(cells), np.arange(len(cells))
    to_first = csr_array((ones, (rows, cells // width)), shape=shape)
    to_second = csr_array((ones, (rows, cells // width**2 * width + cells % width)), shape=shape)

    def differences(tables: Counts) -> dict[str, NDArray[np.float64]]:
        left = averages((tables @ to_first).reshape(-1, labels, width))
        right = averages((tables @ to_second).reshape(-1, labels, width))
        return {key: left[key] - right[key] for key in ("accuracy", "f1_macro")}

    observed = differences(counts[np.newaxis])
    intervals = bootstrap_intervals(counts, differences, seed=seed, width=max(shape))
    only_first = int(((first == gold) & (second != gold)).sum())
    only_second = int(((first != gold) & (second == gold)).sum())
    p_value = mcnemar(only_first, only_second)
    return PairedComparison(
        first=names[0],
        second=names[1],
        matched_by="same rows",
        n=len(gold),
        only_in_first=0,
        only_in_second=0,
        first_right=only_first,
        second_right=only_second,
        accuracy_difference=float(observed["accuracy"][0]),
        accuracy_difference_ci=intervals["accuracy"],
        f1_macro_difference=float(observed["f1_macro"][0]),
        f1_macro_difference_ci=intervals["f1_macro"],
        p_value=p_value,
        p_value_holm=p_value,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact McNemar p-value from the rows that only one gets right."""
    from scipy.stats import binomtest

    rows = only_first + only_second
    return float(binomtest(only_first, rows, 0.5).pvalue) if rows else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number with Holm's step-down method; the order is kept."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[k] * (len(p_values) - rank)))
        corrected[k] = highest
    return corrected


def match_rows(first: Answers, second: Answers, task: Task) -> RowMatch:
    """Find the rows that two files share.

    By id where all rows of both files have one, unless the files hold the same prompts under other
    ids; else by prompt where no prompt repeats and the files share at least half of the shorter
    one's; else by position, which needs as many rows in both.

    Raises:
        DataError: No rows are shared, or the gold labels of a matched row differ (the first such
            row is named).
    """
    fewer = min(len(first.gold), len(second.gold))
    by_id = _by_key("id", first.ids, second.ids, at_least=1)
    by_prompt = _by_key("prompt", first.prompts, second.prompts, at_least=(fewer + 1) // 2)
    if by_id is not None and by_prompt is not None:
        indices = zip(by_id.first, by_id.second, strict=True)
        if any(first.prompts[k] != second.prompts[m] for k, m in indices):
            by_id = None  # the same texts in another order: ids that only number the rows
    match = by_id or by_prompt or _by_position(first, second)
    if not len(match.first):
        raise DataError(f"{first.file} and {second.file} have no row in common.")
    gold, other = np.asarray(first.gold)[match.first], np.asarray(second.gold)[match.second]
    differing = np.flatnonzero(gold != other)
    if len(differing):
        k = int(differing[0])
        raise DataError(
            f"{first.file} and {second.file}, matched by {match.matched_by}, disagree about the "
            f"gold label of {len(differing):,} rows, first {task.labels[gold[k]]!r} at "
            f"{first.file}:{first.lines[match.first[k]]} against {task.labels[other[k]]!r} at "
            f"{second.file}:{second.lines[match.second[k]]}; "
            "compare predictions of the same data."
        )
    return match


def _by_key(
    name: str, first: Sequence[Hashable], second: Sequence[Hashable], *, at_least: int
) -> RowMatch | None:
    """Match by keys; None where a row has none, a key repeats, or too few are shared."""
    index = {key: k for k, key in enumerate(second)}
    if None in index or None in first:
        return None
    if len(index) < len(second) or len(set(first)) < len(first):
        return None
    pairs = [(k, index[key]) for k, key in enumerate(first) if key in index]
    if len(pairs) < at_least:
        return None
    indices = np.array(pairs, dtype=np.int64)
    return RowMatch(name, indices[:, 0], indices[:, 1])


def _by_position(first: Answers, second: Answers) -> RowMatch:
    rows, other_rows = (len(one.gold) + one.broken for one in (first, second))
    if rows != other_rows:
        raise DataError(
            f"{first.file} ({rows:,} rows) and {second.file} ({other_rows:,} rows) cannot be "
            "matched: they share no ids, their prompts differ or repeat, and they are not "
            "equally long; predict the same data with both."
        )
    if not (first.broken or second.broken):
        return RowMatch("position", np.arange(rows), np.arange(rows))
    # A row that was left out must not shift those after it, and a blank line is no row.
    for one in (first, second):
        if one.lines[-1] > rows:
            raise DataError(
                f"{one.file} has blank lines beside broken rows, so its rows cannot be "
                "matched by position; remove the blank lines."
            )
    _, left, right = np.intersect1d(
        np.asarray(first.lines), np.asarray(second.lines), return_indices=True
    )
    return RowMatch("position", left, right)
