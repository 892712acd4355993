"""Say whether one set of answers is really better than another.

Two files of predictions are compared over the rows they share: the exact McNemar test on the rows
that one gets right and the other wrong, and paired intervals of the differences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from llamafactory_emotion.evaluate.matching import Answers, Indices, match_rows
from llamafactory_emotion.metrics.counts import Interval, confusion_of, per_class_scores
from llamafactory_emotion.task import Task

LEVEL = 0.05  # p-values below it tell two files apart
_Z = 1.959963984540054  # every interval here is a 95 % one


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two sets of answers over the same rows; differences are the first minus the second."""

    first: str
    second: str
    matched_by: str = "same rows"  # or `prompt`, `text`, `id`, `position`
    n: int  # rows that both have; the figures are over these
    only_in_first: int = 0
    only_in_second: int = 0
    uncertain: int = 0  # rows paired in their order, as nothing tells them from their repeats
    first_right: int  # rows that only the first gets right
    second_right: int
    accuracy_difference: float
    accuracy_difference_ci: Interval  # 95 %, Tango's score interval; agrees with `p_value`
    f1_macro_difference: float
    f1_macro_difference_ci: Interval  # 95 %, from each row's influence (delta method)
    p_value: float  # exact, two-sided (McNemar, Psychometrika 12, 1947)
    p_value_holm: float  # corrected for all pairs compared (Holm, 1979)


def compare_files(files: Sequence[Answers], task: Task) -> list[PairedComparison]:
    """Compare every pair of files, in their order, with Holm's correction over all pairs.

    Raises:
        DataError: Two files share too few rows, or disagree about a gold label.
    """
    pairs = []
    for first, second in combinations(files, 2):
        match = match_rows(first, second, task)
        pair = compare_answers(
            np.asarray(first.gold)[match.first],
            np.asarray(first.predicted)[match.first],
            np.asarray(second.predicted)[match.second],
            labels=len(task.labels),
            names=(first.file, second.file),
        )
        found = replace(
            pair,
            matched_by=match.matched_by,
            only_in_first=len(first.gold) - pair.n,
            only_in_second=len(second.gold) - pair.n,
            uncertain=match.uncertain,
        )
        pairs.append(found)
    corrected = holm([pair.p_value for pair in pairs])
    return [replace(pair, p_value_holm=p) for pair, p in zip(pairs, corrected, strict=True)]


def compare_answers(
    gold: Indices, first: Indices, second: Indices, *, labels: int, names: tuple[str, str]
) -> PairedComparison:
    """Compare two sets of answers to the same rows.

    Args:
        gold: Label indices.
        first: Answers as label indices; the number of labels where invalid.
        second: The same of the other set.
        labels: The number of labels.
        names: What the two sets are called.
    """
    n = len(gold)
    only_first = int(((first == gold) & (second != gold)).sum())
    only_second = int(((first != gold) & (second == gold)).sum())
    p_value = mcnemar(only_first, only_second)
    f1_difference, f1_interval = _f1_difference(gold, first, second, labels=labels)
    return PairedComparison(
        first=names[0],
        second=names[1],
        n=n,
        first_right=only_first,
        second_right=only_second,
        accuracy_difference=(only_first - only_second) / n,
        accuracy_difference_ci=accuracy_difference_interval(only_first, only_second, n),
        f1_macro_difference=f1_difference,
        f1_macro_difference_ci=f1_interval,
        p_value=p_value,
        p_value_holm=p_value,
    )


def accuracy_difference_interval(only_first: int, only_second: int, n: int) -> Interval:
    """Compute the 95 % score interval of a paired difference (Tango, Stat. Med. 17, 1998).

    The exact test is the more careful of the two: where it does not tell the sides apart, an
    interval that just leaves 0 out is widened to end there.
    """
    from scipy.optimize import brentq

    estimate = (only_first - only_second) / n

    def beyond(difference: float) -> float:
        """How far the score statistic of a difference is beyond the normal quantile."""
        linear = (2 * n - only_first + only_second) * difference - only_first - only_second
        constant = -only_second * difference * (1 - difference)
        share = (math.sqrt(max(0.0, linear**2 - 8 * n * constant)) - linear) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        gap = only_first - only_second - n * difference
        return gap**2 - _Z**2 * max(0.0, variance)

    def bound(end: float) -> float:
        if estimate == end or beyond(end) <= 0:
            return end
        # Beside the estimate: the statistic is 0 / 0 at it where no row tells the sides apart.
        return float(brentq(beyond, estimate + (end - estimate) * 1e-9, end, xtol=1e-12))

    low, high = bound(-1.0), bound(1.0)
    if mcnemar(only_first, only_second) >= LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def _f1_difference(
    gold: Indices, first: Indices, second: Indices, *, labels: int
) -> tuple[float, Interval]:
    """Compute the difference of the macro-F1s and its 95 % interval by the delta method.

    Every row moves a macro-F1 by a known amount (its influence); the variance is that of the
    differences of influences. It is taken as if one more row had been right in only the first,
    and one in only the second, so that equal answers do not look like certainty.
    """
    n = len(gold)
    f1, moves, swings = [], [], []
    for predicted in (first, second):
        confusion = confusion_of(gold, predicted, labels=labels)
        *_, scores = per_class_scores(confusion)
        # F1 = 2 hits / (answered + support); the invalid column has no score to move.
        parts = np.maximum(confusion[:, :-1].sum(axis=0) + confusion.sum(axis=1), 1)
        of_row = 2 * (gold == predicted) - scores[gold]
        answered = np.append(scores / parts, 0.0)[predicted]
        f1.append(float(scores.mean()))
        moves.append((of_row / parts[gold] - answered) / labels)
        swings.append(2 / parts[gold] / labels)
    difference = f1[0] - f1[1]
    spread = float(((moves[0] - moves[1]) ** 2).sum()) * n / max(n - 1, 1)
    half = _Z * math.sqrt(spread + float((swings[0] ** 2 + swings[1] ** 2).mean()))
    return difference, (max(-1.0, difference - half), min(1.0, difference + half))


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
