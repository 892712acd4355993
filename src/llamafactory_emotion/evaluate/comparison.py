"""Say whether one set of answers is really better than another.

Two files of predictions over the same rows are compared pairwise: the exact McNemar test on the
rows that one gets right and the other wrong, and bootstrap intervals of the differences. Published
figures, whose answers nobody has, are compared unpaired. Both stand on `metrics`.

Matching rows takes memory in proportion to the rows: about 100 bytes a row and file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.matching import Answers, match_rows
from llamafactory_emotion.metrics.counts import (
    Counts,
    Interval,
    Metrics,
    averages,
    bootstrap_intervals,
    wilson_interval,
)
from llamafactory_emotion.task import EMOTION, Task

# The table of the seed work, whose n is not told: its test set has 2,000 rows, but no n from 100
# to 3,564 gives all five figures, so they are no single runs over it.
PUBLISHED = (
    ("BERT-base", 0.9063),
    ("BERT-large", 0.9086),
    ("RoBERTa-base", 0.9125),
    ("RoBERTa-large", 0.9189),
    ("Llama-3-8B", 0.9262),
)
PUBLISHED_ROWS = 2000


@dataclass(frozen=True)
class PairedComparison:
    """Two sets of answers over the same rows; differences are the first minus the second.

    Attributes:
        first: Name of the first file.
        second: Name of the second file.
        matched_by: `id`, `prompt`, `position` or `same rows`.
        n: Rows that both have; the figures below are over these.
        only_in_first: Rows of the first file that the second lacks.
        only_in_second: The other way round.
        first_right: Rows that only the first gets right.
        second_right: Rows that only the second gets right.
        accuracy_difference: Positive when the first is better.
        accuracy_difference_ci: Its paired 95 % bootstrap interval.
        f1_macro_difference: Positive when the first is better.
        f1_macro_difference_ci: Its paired 95 % bootstrap interval.
        p_value: Exact two-sided McNemar test (McNemar, Psychometrika 12, 1947).
        p_value_holm: The same, corrected for all pairs compared (Holm, 1979).
    """

    first: str
    second: str
    matched_by: str
    n: int
    only_in_first: int
    only_in_second: int
    first_right: int
    second_right: int
    accuracy_difference: float
    accuracy_difference_ci: Interval
    f1_macro_difference: float
    f1_macro_difference_ci: Interval
    p_value: float
    p_value_holm: float


@dataclass(frozen=True)
class PublishedComparison:
    """A file against a published accuracy; the difference is the file minus the published one.

    Attributes:
        file: Name of the file.
        published: Name of the published system.
        published_accuracy: As printed.
        published_accuracy_ci: Wilson 95 % interval at `published_n`.
        published_n: Assumed, as the number of its rows is not published.
        accuracy_difference: Positive when the file is better.
        accuracy_difference_ci: Newcombe's 95 % interval for independent proportions.
        p_value: Two-sided test of two independent proportions (pooled z test).
        p_value_holm: The same, corrected for all published rows compared.
    """

    file: str
    published: str
    published_accuracy: float
    published_accuracy_ci: Interval
    published_n: int
    accuracy_difference: float
    accuracy_difference_ci: Interval
    p_value: float
    p_value_holm: float


def compare_files(files: Sequence[Answers], task: Task, *, seed: int) -> list[PairedComparison]:
    """Compare every pair of files, in their order, with Holm's correction over all pairs.

    Raises:
        DataError: Two files share no rows, or disagree about a gold label.
    """
    pairs = []
    for k, first in enumerate(files):
        for second in files[k + 1 :]:
            match = match_rows(first, second, task)
            one = compare_answers(
                first.gold[match.first],
                first.predicted[match.first],
                second.predicted[match.second],
                labels=len(task.labels),
                names=(first.source, second.source),
                seed=seed,
            )
            pairs.append(
                replace(
                    one,
                    matched_by=match.matched_by,
                    only_in_first=len(first.gold) - one.n,
                    only_in_second=len(second.gold) - one.n,
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
    only_first = int(((first == gold) & (second != gold)).sum())
    only_second = int(((first != gold) & (second == gold)).sum())
    figures, intervals = _differences(gold, first, second, labels=labels, seed=seed)
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
        accuracy_difference=figures["accuracy"],
        accuracy_difference_ci=intervals["accuracy"],
        f1_macro_difference=figures["f1_macro"],
        f1_macro_difference_ci=intervals["f1_macro"],
        p_value=p_value,
        p_value_holm=p_value,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Give the two-sided exact McNemar p-value from the counts of rows that only one gets right."""
    from scipy.stats import binomtest

    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number with Holm's step-down method; the order is kept."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, p_values[k] * (len(p_values) - rank)))
        corrected[k] = highest
    return corrected


def _differences(
    gold: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    labels: int,
    seed: int,
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Give the differences of accuracy and macro-F1, and their paired bootstrap intervals."""
    width = labels + 1
    # Rows are resampled as cells of the joint table of gold label and both answers.
    joint = (gold * width + first) * width + second
    cells, counts = np.unique(joint, return_counts=True)
    in_first, in_second = cells // width, cells // (width * width) * width + cells % width

    def differences(tables: Counts) -> dict[str, NDArray[np.float64]]:
        left = averages(_marginal(tables, in_first, labels))
        right = averages(_marginal(tables, in_second, labels))
        return {key: left[key] - right[key] for key in ("accuracy", "f1_macro")}

    observed = {key: float(value[0]) for key, value in differences(counts[np.newaxis]).items()}
    widest = max(len(cells), labels * width)
    return observed, bootstrap_intervals(counts, differences, seed=seed, width=widest)


def _marginal(tables: Counts, places: NDArray[np.int64], labels: int) -> Counts:
    """Sum tables of joint cells into confusion matrices: shape (tables, labels, labels + 1)."""
    order = np.argsort(places, kind="stable")
    filled, starts = np.unique(places[order], return_index=True)
    matrices = np.zeros((len(tables), labels * (labels + 1)), dtype=np.int64)
    matrices[:, filled] = np.add.reduceat(tables[:, order], starts, axis=1)
    return matrices.reshape(len(tables), labels, labels + 1)


def compare_published(name: str, metrics: Metrics, task: Task) -> list[PublishedComparison]:
    """Compare a file's accuracy with the published ones of the seed work, unpaired.

    Raises:
        DataError: The task has other labels than those the figures were published for.
    """
    if set(task.labels) != set(EMOTION.labels):
        raise DataError(
            f"--published knows figures of the task {EMOTION.name!r} only, not of {task.name!r}."
        )
    found = [_against_published(name, metrics, system, figure) for system, figure in PUBLISHED]
    corrected = holm([one.p_value for one in found])
    return [replace(one, p_value_holm=p) for one, p in zip(found, corrected, strict=True)]


def _against_published(
    name: str, metrics: Metrics, system: str, published: float
) -> PublishedComparison:
    ours, n = metrics.accuracy, metrics.n
    low, high = metrics.accuracy_ci
    their_low, their_high = wilson_interval(published * PUBLISHED_ROWS, PUBLISHED_ROWS)
    pooled = (ours * n + published * PUBLISHED_ROWS) / (n + PUBLISHED_ROWS)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / PUBLISHED_ROWS))
    difference = ours - published
    p_value = math.erfc(abs(difference) / error / math.sqrt(2))
    return PublishedComparison(
        file=name,
        published=system,
        published_accuracy=published,
        published_accuracy_ci=(their_low, their_high),
        published_n=PUBLISHED_ROWS,
        accuracy_difference=difference,
        # Newcombe, Statistics in Medicine 17, 1998, method 10.
        accuracy_difference_ci=(
            difference - math.hypot(ours - low, their_high - published),
            difference + math.hypot(high - ours, published - their_low),
        ),
        p_value=p_value,
        p_value_holm=p_value,
    )
