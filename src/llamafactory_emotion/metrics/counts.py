"""The one arithmetic of label answers: a confusion matrix in, figures out.

Training, the host's prediction results and `evaluate` all take their accuracy and F1 from here.

A confusion matrix has one row for each gold label, one column for each predicted label and a last
column for *invalid* answers: those that name no label, or several. An invalid answer is wrong: it
lowers accuracy and the recall of its gold label, and it is no label's false positive. Every figure
equals scikit-learn's, with invalid as an extra predicted class that is not among the `labels`
averaged and `zero_division=0`.

A label of the task without gold rows counts in macro-F1 with an F1 of 0, as in scikit-learn's
`f1_score(labels=..., average="macro", zero_division=0)`: leaving it out would raise the figure of
a file that was never asked about it. It is left out of balanced accuracy, as scikit-learn does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Interval = tuple[float, float]

# The 97.5 % quantile of the normal distribution: every interval here is a 95 % one.
_Z = 1.959963984540054


@dataclass(frozen=True)
class ClassMetrics:
    """Figures of one label; all but support lie between 0 and 1, and higher is better."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Metrics:
    """Figures of one confusion matrix.

    Attributes:
        labels: The task's labels, in the order of rows and columns of `confusion`.
        n: The rows counted.
        accuracy: The share answered with the gold label; `accuracy_ci` is its Wilson 95 % interval.
        balanced_accuracy: Mean recall over the labels that have gold rows.
        f1_macro: Mean F1 over all labels of the task; `f1_macro_ci` is its 95 % interval, None
            where a label has fewer than two gold rows (see `f1_macro_interval`).
        f1_weighted: Mean F1 weighted by support.
        invalid: Answers that name no label, or several; `invalid_rate` is their share of `n`.
        majority_baseline: The accuracy of always answering `majority_label`, the label with the
            most gold rows.
        without_gold: Labels of the task that no row has as gold.
    """

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    n: int
    accuracy: float
    accuracy_ci: Interval
    balanced_accuracy: float
    f1_macro: float
    f1_macro_ci: Interval | None
    f1_weighted: float
    invalid: int
    invalid_rate: float
    majority_baseline: float
    majority_label: str
    per_class: Mapping[str, ClassMetrics]
    without_gold: tuple[str, ...]


def metrics_of(labels: Sequence[str], confusion: Counts) -> Metrics:
    """Compute all figures of a confusion matrix, which counts one row or more."""
    counts = np.asarray(confusion, dtype=np.int64)
    figures = averages(counts)
    scores = zip(*(column.tolist() for column in per_class_scores(counts)), strict=True)
    support = counts.sum(axis=1)
    n, correct, invalid = (int(part.sum()) for part in (counts, counts.diagonal(), counts[:, -1]))
    return Metrics(
        labels=tuple(labels),
        confusion=tuple(map(tuple, counts.tolist())),
        n=n,
        accuracy=correct / n,
        accuracy_ci=wilson_interval(correct, n),
        balanced_accuracy=float(figures["balanced_accuracy"]),
        f1_macro=float(figures["f1_macro"]),
        f1_macro_ci=f1_macro_interval(counts),
        f1_weighted=float(figures["f1_weighted"]),
        invalid=invalid,
        invalid_rate=invalid / n,
        majority_baseline=int(support.max()) / n,
        majority_label=labels[int(support.argmax())],
        per_class={
            label: ClassMetrics(precision, recall, f1, support=rows)
            for label, (precision, recall, f1), rows in zip(
                labels, scores, support.tolist(), strict=True
            )
        },
        without_gold=tuple(label for k, label in enumerate(labels) if not support[k]),
    )


def label_metrics(
    gold: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], *, labels: int
) -> dict[str, float]:
    """Compute `accuracy` and `f1_macro` (higher is better) from label indices.

    A predicted index outside 0 to `labels` - 1 is invalid, thus wrong.
    """
    figures = averages(confusion_of(gold, predicted, labels=labels))
    return {key: float(figures[key]) for key in ("accuracy", "f1_macro")}


def confusion_of(
    gold: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], *, labels: int
) -> Counts:
    """Count label indices into a matrix of shape (labels, labels + 1), the last column invalid."""
    gold = np.asarray(gold, dtype=np.int64)
    predicted = np.asarray(predicted, dtype=np.int64)
    column = np.where((predicted >= 0) & (predicted < labels), predicted, labels)
    cells = np.bincount(gold * (labels + 1) + column, minlength=labels * (labels + 1))
    return cells.reshape(labels, labels + 1).astype(np.int64)


def per_class_scores(
    confusion: Counts,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute precision, recall and F1 of each label; 0 where a denominator is 0.

    Takes matrices of shape (..., labels, labels + 1); the figures have the shape (..., labels).
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    answered = confusion[..., :-1].sum(axis=-2)
    support = confusion.sum(axis=-1)
    f1 = _ratio(2 * hits, answered + support)
    return _ratio(hits, answered), _ratio(hits, support), f1


def averages(confusion: Counts) -> dict[str, NDArray[np.float64]]:
    """Compute `accuracy`, `balanced_accuracy`, `f1_macro` and `f1_weighted`.

    Takes one matrix or many, of shape (..., labels, labels + 1); each figure has the shape (...).
    """
    _, recall, f1 = per_class_scores(confusion)
    support = confusion.sum(axis=-1)
    n = support.sum(axis=-1)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    return {
        "accuracy": _ratio(hits, n),
        "balanced_accuracy": _ratio(recall.sum(axis=-1), (support > 0).sum(axis=-1)),
        "f1_macro": f1.mean(axis=-1),
        "f1_weighted": _ratio((f1 * support).sum(axis=-1), n),
    }


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    result = np.zeros(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)))
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def wilson_interval(correct: float, n: float) -> Interval:
    """Compute the 95 % score interval of a proportion (Wilson, JASA 22, 1927; no correction)."""
    share = correct / n
    widening = _Z**2 / n
    center = (share + widening / 2) / (1 + widening)
    half = _Z / (1 + widening) * math.sqrt(share * (1 - share) / n + widening / (4 * n))
    # At 0 and n the interval ends there exactly; rounding would leave 1e-17 beside it.
    return (
        0.0 if correct == 0 else max(0.0, center - half),
        1.0 if correct == n else min(1.0, center + half),
    )


def f1_macro_interval(confusion: Counts) -> Interval | None:
    """Compute a 95 % interval of macro-F1; None where a label has fewer than two gold rows.

    The variance is the delta method's (Takahashi et al., Applied Intelligence 52, 2022), taken
    within labels, because a test set has the rows of each label that it has, and corrected for the
    rows each is estimated from. The interval is Wilson's of a proportion with that variance, and
    reaches further by the bias of F1 on the side where the true value is: it contains the estimate,
    stays between 0 and 1, and covers with 1,000 labels of two rows too
    (benchmarks/interval_coverage.py).
    """
    support = confusion.sum(axis=1)
    if support.min() < 2:
        return None
    hits = np.diagonal(confusion)
    sums = support + confusion[:, :-1].sum(axis=0)
    labels = len(support)
    # One more row with gold i and answer j changes the mean F1 by this much.
    slope = 2 * hits / sums**2
    change = -(slope[:, None] + np.append(slope, 0.0)[None, :])
    change[np.arange(labels), np.arange(labels)] += 2 / sums
    change /= labels
    share = confusion / support[:, None]
    within = (share * change**2).sum(axis=1) - (share * change).sum(axis=1) ** 2
    variance = float((support**2 / (support - 1) * within).sum())
    f1 = float((2 * hits / sums).mean())
    n = int(support.sum())
    effective = f1 * (1 - f1) / variance if variance > 0 and f1 > 0 else n
    low, high = wilson_interval(f1 * effective, effective)
    # Of few rows F1 is biased, which many labels do not average out: the second-order term.
    spread = share * (1 - share) * (support**2 / (support - 1))[:, None]
    of_hits = np.diagonal(spread)
    of_others = spread[:, :-1].sum(axis=0) - of_hits
    bends = hits * of_others - (sums - hits) * of_hits
    bias = float((2 * bends / sums**3).mean())
    return max(0.0, low - max(bias, 0.0)), min(1.0, high - min(bias, 0.0))
