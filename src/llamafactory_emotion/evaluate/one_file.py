"""Judge a file of predictions in one pass: rows in, one `Evaluation` out.

Stands between `judging` (which turns answers into label indices), `metrics` (which turns counts
into figures) and the reports. What it keeps does not grow with the file: counts,
histograms, and a bounded number of examples to read.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.comparison import PublishedComparison
from llamafactory_emotion.evaluate.floor import Floor
from llamafactory_emotion.evaluate.judging import AnswerJudge, Judged, Observer
from llamafactory_emotion.evaluate.rows import RowCheck, TrainExplanation
from llamafactory_emotion.metrics.calibration import Calibration, Calibrator
from llamafactory_emotion.metrics.counts import Counts, Metrics, metrics_of
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.predictions.sidecar import Sidecar
from llamafactory_emotion.task import Task

EXAMPLES_KEPT = 200
_TEXT_KEPT = 2000


@dataclass(frozen=True)
class Example:
    """A wrong or invalid answer to read; long texts are cut at 2,000 characters.

    Attributes:
        line: The line of the predictions file.
        id: The row's `id`, or None.
        prompt: What the model was asked, or None.
        predict: The answer as generated.
        gold: The gold label.
        predicted: The label answered; None where the answer is invalid.
        reason: Why it is invalid, or None.
        confidence: The highest of the row's probabilities; None without probabilities.
    """

    line: int
    id: str | None
    prompt: str | None
    predict: str
    gold: str
    predicted: str | None
    reason: str | None
    confidence: float | None


@dataclass(frozen=True)
class Evaluation:
    """All that is known of one file of predictions; what every report is made from.

    Attributes:
        source: The file's name.
        task: The task it was judged by.
        match: The match rule that counts.
        metrics: The figures under that rule.
        reasons: Why answers are invalid: reason to count.
        by_rule: Under `--match all`, every match rule to its figures; else empty.
        calibration: Figures of the probabilities; None where no row has any.
        confident_errors: Wrong but valid answers, the most confident first where there are
            probabilities, else the first in the file; at most 200.
        invalid_answers: Invalid answers, the first in the file; at most 200.
        broken: Rows left out because they could not be used.
        broken_kinds: What was wrong with them: phrase to count.
        broken_note: The same as a sentence that names the first places.
        sidecar: What stands beside the file, or None.
        row_check: The file against its source, where one was named.
        train_explanation: The errors against the training data, where it was named.
        floor: The file against an SVM, where training data was named for one.
        published: The file against published figures, where asked for.
        unfinished: Whether the run that wrote the file had not ended.
    """

    source: str
    task: Task
    match: str
    metrics: Metrics
    reasons: Mapping[str, int]
    by_rule: Mapping[str, Metrics]
    calibration: Calibration | None
    confident_errors: tuple[Example, ...]
    invalid_answers: tuple[Example, ...]
    broken: int
    broken_kinds: Mapping[str, int]
    broken_note: str
    sidecar: Sidecar | None
    row_check: RowCheck | None = None
    train_explanation: TrainExplanation | None = None
    floor: Floor | None = None
    published: tuple[PublishedComparison, ...] = ()
    unfinished: bool = False


class _Tally:
    """Counts judged rows; the state of one pass."""

    def __init__(self, task: Task, rules: tuple[str, ...], threshold: float | None) -> None:
        self._task = task
        self._width = len(task.labels) + 1
        self._cells = [[0] * (len(task.labels) * self._width) for _ in rules]
        self._reasons: Counter[str] = Counter()
        self._errors: list[tuple[float, int, Example]] = []
        self._invalid: list[Example] = []
        self.calibrator = Calibrator(threshold=threshold)

    def add_all(self, judged: Iterable[Judged], observers: Sequence[Observer]) -> None:
        """Count every row and show it to the observers."""
        width, cells, invalid = self._width, self._cells, self._width - 1
        first = cells[0]
        single = len(cells) == 1
        for one in judged:
            gold, predicted = one.gold, one.predicted[0]
            first[gold * width + predicted] += 1
            if not single:
                for counts, column in zip(cells[1:], one.predicted[1:], strict=True):
                    counts[gold * width + column] += 1
            if one.probabilities is not None:
                self.calibrator.add(one.probabilities, gold, predicted)
            if predicted == invalid:
                self._reasons[one.reason or ""] += 1
                if len(self._invalid) < EXAMPLES_KEPT:
                    self._invalid.append(_example(one, self._task))
            elif predicted != gold:
                self._add_error(one)
            for observe in observers:
                observe(one)

    def _add_error(self, one: Judged) -> None:
        confidence = max(one.probabilities) if one.probabilities else -1.0
        errors = self._errors
        full = len(errors) == EXAMPLES_KEPT
        if full and confidence <= errors[0][0]:
            return
        # The line breaks ties (earlier first), so examples themselves are never compared.
        entry = (confidence, -one.row.line, _example(one, self._task))
        if full:
            heapq.heapreplace(errors, entry)
        else:
            heapq.heappush(errors, entry)

    def matrix(self, rule: int) -> Counts:
        """Give the confusion matrix of one rule."""
        return np.array(self._cells[rule], dtype=np.int64).reshape(-1, self._width)

    def reasons(self) -> dict[str, int]:
        """Give the reasons of invalid answers, the most frequent first."""
        return dict(self._reasons.most_common())

    def errors(self) -> tuple[Example, ...]:
        """Give the examples of wrong answers, the most confident first."""
        return tuple(entry[2] for entry in sorted(self._errors, key=lambda e: (-e[0], -e[1])))

    def invalid(self) -> tuple[Example, ...]:
        """Give the examples of invalid answers, in the order of the file."""
        return tuple(self._invalid)


def evaluate_rows(
    rows: Iterable[Prediction],
    broken: BrokenRows,
    task: Task,
    *,
    match: str | None = None,
    threshold: float | None = None,
    seed: int = 0,
    sidecar: Sidecar | None = None,
    observers: Sequence[Observer] = (),
) -> Evaluation:
    """Judge all rows of a file in one pass.

    Args:
        rows: As `read_predictions` yields them.
        broken: Where that reader counts the rows that cannot be used.
        task: Its labels are the classes.
        match: `strict`, `flexible`, `contains`, `all`, or None for the task's own rule.
        threshold: The confidence below which the model may abstain.
        seed: Draws the resamples of the bootstrap interval.
        sidecar: Passed on into the result.
        observers: Called with every judged row, for what has to see rows one by one.

    Raises:
        DataError: Rows are broken and not to be skipped, or no row can be used. All answers
            invalid is no error: it is an accuracy of 0.
    """
    judge = AnswerJudge(task, match=match or task.match)
    tally = _Tally(task, judge.rules, threshold)
    tally.add_all(judge.judge(rows, broken), observers)
    broken.check()
    first = tally.matrix(0)
    if not first.any():
        raise DataError(_no_rows(broken))
    by_rule = {
        rule: metrics_of(task.labels, tally.matrix(position), seed=seed)
        for position, rule in enumerate(judge.rules)
    }
    return Evaluation(
        source=broken.source,
        task=task,
        match=judge.rules[0],
        metrics=by_rule[judge.rules[0]],
        reasons=tally.reasons(),
        by_rule=by_rule if len(by_rule) > 1 else {},
        calibration=tally.calibrator.finish(),
        confident_errors=tally.errors(),
        invalid_answers=tally.invalid(),
        broken=broken.total,
        broken_kinds=dict(broken.counts),
        broken_note=broken.describe(),
        sidecar=sidecar,
    )


def _no_rows(broken: BrokenRows) -> str:
    if broken.total:
        return f"{broken.source} has no row that can be used: {broken.describe()}."
    return f"{broken.source} is empty; a predictions file has one JSON object a line."


def _example(one: Judged, task: Task) -> Example:
    row = one.row
    valid = one.predicted[0] < len(task.labels)
    asked = row.text if row.text is not None else row.prompt
    return Example(
        line=row.line,
        id=row.id,
        prompt=asked[:_TEXT_KEPT] if asked is not None else None,
        predict=row.predict[:_TEXT_KEPT],
        gold=task.labels[one.gold],
        predicted=task.labels[one.predicted[0]] if valid else None,
        reason=one.reason,
        confidence=max(one.probabilities) if one.probabilities else None,
    )
