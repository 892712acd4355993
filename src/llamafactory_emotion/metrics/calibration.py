"""How far the probabilities of a predictions file can be trusted.

`evaluate` hands over each row's probabilities and gold label; they are gathered into sums and fixed
histograms, so memory does not grow with the rows. The label with the highest probability is the
*top label*, and its probability the *confidence*. All figures here judge the top label, which is
the answer itself unless the answer was generated differently (`disagreements` counts those). Among
equal probabilities the answer comes first, then the labels in the task's order, in every figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.metrics.counts import Interval, wilson_interval
from llamafactory_emotion.task import Task

RELIABILITY_BINS = 15
# Probabilities are often written rounded; six of them rounded to three places stay within this.
SUM_TOLERANCE = 0.005
_CURVE_POINTS = 100
_VALUES_AT_ONCE = 1 << 18
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose confidence is in (`low`, `high`]; a calibrated model has accuracy = confidence.

    `confidence` and `accuracy` are means over the bin's `n` rows, and 0 where it has none.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class RiskPoint:
    """With rows below `threshold` left to a human: the share answered, and of these the wrong."""

    threshold: float
    coverage: float
    risk: float


@dataclass(frozen=True)
class Abstention:
    """The figures of the rows answered with a confidence of `threshold` or more.

    `accuracy` and `accuracy_ci` (Wilson 95 %) are None when there are none.
    """

    threshold: float
    answered: int
    coverage: float
    accuracy: float | None
    accuracy_ci: Interval | None


@dataclass(frozen=True)
class Calibration:
    """Figures of the probabilities of one file.

    Attributes:
        n: The rows that have probabilities.
        log_loss: Mean negative logarithm of the gold label's probability (natural; a probability
            below 2.2e-16 counts as that). 0 is perfect, lower is better.
        brier_score: Mean over rows of the squared error summed over all labels: 0 is perfect,
            2 the worst. scikit-learn's `brier_score_loss` with `scale_by_half=False`.
        expected_calibration_error: Mean gap between confidence and accuracy in 15 bins of equal
            width, weighted by rows (Naeini et al., AAAI 2015). 0 is perfect.
        top_1_accuracy: The share of rows whose top label is the gold label.
        top_2_accuracy: The share whose gold label is among the two highest probabilities.
        disagreements: Rows whose answer is not the top label.
        risk_coverage: From full coverage down; at most 101 points.
        abstention: The figures at the threshold asked for, or None.
    """

    n: int
    log_loss: float
    brier_score: float
    expected_calibration_error: float
    top_1_accuracy: float
    top_2_accuracy: float
    disagreements: int
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[RiskPoint, ...]
    abstention: Abstention | None


def probability_values(probabilities: object, task: Task) -> list[float] | str:
    """Return a row's probabilities in the order of the task's labels, or say what is wrong.

    The phrase completes "3 rows ...", for `BrokenRows`.
    """
    if not isinstance(probabilities, Mapping):
        return 'have "probabilities" that are not an object of label to number'
    try:
        values = [probabilities[label] for label in task.labels]
    except KeyError:
        values = []
    if len(values) != len(probabilities) or not values:
        named = {task.label_of(name): value for name, value in probabilities.items()}
        if len(probabilities) != len(task.labels) or named.keys() != set(task.labels):
            return f"have probabilities for other labels than those of the task {task.name!r}"
        values = [named[label] for label in task.labels]
    if not {type(value) for value in values} <= {float, int}:
        return "have a probability that is not a number"
    # Written so that NaN, which compares false with everything, fails too.
    if not all(0 <= value <= 1 + SUM_TOLERANCE for value in values):
        return "have a probability that is not between 0 and 1"
    if abs(sum(values) - 1) > SUM_TOLERANCE:
        return "have probabilities that do not sum to 1"
    return values


class Calibrator:
    """Gather probabilities row by row; `threshold` is the confidence below which to abstain."""

    def __init__(self, *, threshold: float | None = None) -> None:
        self._threshold = threshold
        # Three lists: a tuple a row would keep the garbage collector busy.
        self._values: list[list[float]] = []
        self._gold: list[int] = []
        self._predicted: list[int] = []
        self._n = self._top_1 = self._top_2 = self._disagreements = 0
        self._log_loss = self._brier = 0.0
        self._answered = self._answered_right = 0
        self._bins = np.zeros((3, RELIABILITY_BINS))
        # Lower edges: even from 0 to 0.99, ever finer toward 1. Language models are sure of most
        # answers, so an even grid would put most rows in its last bin.
        even, fine = np.linspace(0.0, 0.99, 990, endpoint=False), 1 - np.logspace(-2, -12, 500)
        self._edges = np.concatenate([even, fine])
        self._curve = np.zeros((2, len(self._edges)), dtype=np.int64)

    def add(self, values: list[float], gold: int, predicted: int) -> None:
        """Take one row: its probabilities, the gold label's index and the answer's."""
        self._values.append(values)
        self._gold.append(gold)
        self._predicted.append(predicted)
        if len(self._gold) * len(values) >= _VALUES_AT_ONCE:
            self._gather()

    def _gather(self) -> None:
        values = np.array(self._values, dtype=np.float64)
        gold, predicted = np.array(self._gold), np.array(self._predicted)
        self._values, self._gold, self._predicted = [], [], []
        rows = np.arange(len(gold))
        # Written rounded, the answer's probability may equal another's.
        answer = np.where(predicted < values.shape[1], predicted, 0)
        tops = (predicted == answer) & (values[rows, answer] == values.max(axis=1))
        top = np.where(tops, answer, values.argmax(axis=1))
        confidence, right = values[rows, top], top == gold
        self._n += len(gold)
        self._top_1 += int(right.sum())
        self._disagreements += int((top != predicted).sum())
        self._log_loss -= float(np.log(np.clip(values[rows, gold], _SMALLEST, 1.0)).sum())
        others = values.copy()
        others[rows, top] = -1
        self._top_2 += int((right | (others.argmax(axis=1) == gold)).sum())
        values[rows, gold] -= 1
        self._brier += float((values**2).sum())
        self._add_to_histograms(confidence, right)
        if self._threshold is not None:
            answered = confidence >= self._threshold
            self._answered += int(answered.sum())
            self._answered_right += int((answered & right).sum())

    def _add_to_histograms(self, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> None:
        index = np.ceil(confidence * RELIABILITY_BINS).astype(int) - 1
        index = np.clip(index, 0, RELIABILITY_BINS - 1)
        for row, weights in enumerate((np.ones_like(confidence), confidence, right.astype(float))):
            self._bins[row] += np.bincount(index, weights=weights, minlength=RELIABILITY_BINS)
        index = np.searchsorted(self._edges, confidence, side="right") - 1
        for row, chosen in enumerate((index, index[right])):
            self._curve[row] += np.bincount(chosen, minlength=len(self._edges))

    def finish(self) -> Calibration | None:
        """Return the figures of all rows taken; None when there were none."""
        if self._gold:
            self._gather()
        if not self._n:
            return None
        rows, confidence, right = self._bins
        means = self._bins / np.maximum(rows, 1)
        return Calibration(
            n=self._n,
            log_loss=self._log_loss / self._n,
            brier_score=self._brier / self._n,
            expected_calibration_error=float(np.abs(confidence - right).sum()) / self._n,
            top_1_accuracy=self._top_1 / self._n,
            top_2_accuracy=self._top_2 / self._n,
            disagreements=self._disagreements,
            reliability=tuple(
                ReliabilityBin(
                    k / RELIABILITY_BINS,
                    (k + 1) / RELIABILITY_BINS,
                    n=int(rows[k]),
                    confidence=float(means[1, k]),
                    accuracy=float(means[2, k]),
                )
                for k in range(RELIABILITY_BINS)
            ),
            risk_coverage=self._risk_coverage(),
            abstention=self._abstention(),
        )

    def _risk_coverage(self) -> tuple[RiskPoint, ...]:
        """Read the curve off the histogram: one point for each percent of coverage it can tell."""
        answered, right = np.cumsum(self._curve[:, ::-1], axis=1)[:, ::-1].tolist()
        points: list[RiskPoint] = []
        for edge, rows, hits in zip(self._edges.tolist(), answered, right, strict=True):
            coverage = rows / self._n
            is_new = not points or points[-1].coverage - coverage >= 1 / _CURVE_POINTS
            if rows and is_new:
                points.append(RiskPoint(edge, coverage, 1 - hits / rows))
        return tuple(points)

    def _abstention(self) -> Abstention | None:
        if self._threshold is None:
            return None
        answered, right = self._answered, self._answered_right
        return Abstention(
            self._threshold,
            answered,
            coverage=answered / self._n,
            accuracy=right / answered if answered else None,
            accuracy_ci=wilson_interval(right, answered) if answered else None,
        )
