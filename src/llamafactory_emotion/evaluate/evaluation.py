"""Evaluate a file of predictions in one pass: rows in, one `Evaluation` out.

What is kept does not grow with the file: counts, histograms, and a bounded number of examples to
read. Only other data (`source`, `train`, `floor`) is held in memory.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.floor import Floor, floor_of
from llamafactory_emotion.evaluate.judging import AnswerJudge, Judged, Observer
from llamafactory_emotion.evaluate.lookup import (
    DataFile,
    RowCheck,
    SourceJoin,
    TextFinder,
    TrainExplanation,
    TrainLookup,
)
from llamafactory_emotion.evaluate.matching import Answers
from llamafactory_emotion.metrics.calibration import Calibration, Calibrator
from llamafactory_emotion.metrics.counts import Counts, Metrics, metrics_of
from llamafactory_emotion.parsing.cleaning import clean
from llamafactory_emotion.predictions.formats import BY_KEYS, Columns
from llamafactory_emotion.predictions.reading import (
    BrokenRows,
    Prediction,
    SeenIds,
    as_prediction,
    name_of,
    read_predictions,
)
from llamafactory_emotion.predictions.sidecar import Sidecar, is_unfinished, read_sidecar
from llamafactory_emotion.task import Task

EXAMPLES_KEPT = 200
# The confusion matrix, its intervals and reports grow with the square of the labels.
MOST_LABELS = 2000
_LONGEST_TEXT = 2000
_TABLES = (".csv", ".tsv", ".parquet", ".json")


@dataclass(frozen=True)
class Example:
    """A wrong or invalid answer to read; long texts are cut at 2,000 characters."""

    line: int
    id: str | None
    text: str | None  # what was classified; the whole prompt where it cannot be told
    predict: str  # the answer as generated
    gold: str
    predicted: str | None  # the label answered; None where the answer is invalid
    reason: str | None  # why it is invalid
    confidence: float | None  # the highest of the row's probabilities


@dataclass(frozen=True)
class Evaluation:
    """All that is known of one file of predictions; every report is made from it."""

    file: str
    task: Task
    match: str  # the rule that counts
    metrics: Metrics
    reasons: Mapping[str, int]  # why answers are invalid, the most frequent first
    by_rule: Mapping[str, Metrics]  # under `match=all` the figures of every rule; else empty
    calibration: Calibration | None  # None where no row has probabilities
    # Wrong but valid answers, the most confident first; without probabilities the file's first.
    confident_errors: tuple[Example, ...]
    invalid_answers: tuple[Example, ...]  # the file's first
    broken: int  # rows left out because they could not be used
    broken_kinds: Mapping[str, int]  # what was wrong with them: phrase to count
    broken_note: str  # the same as a sentence that names the first of them
    sidecar: Sidecar | None
    unfinished: bool  # the run that wrote the file had not ended
    answers_ids: bool  # no answer is valid, and the first are label ids where gold labels are names
    row_check: RowCheck | None
    train_explanation: TrainExplanation | None
    floor: Floor | None
    answers: Answers | None  # every row's, where files are to be compared


class _Tally:
    """Counts judged rows and keeps some to be read; an observer."""

    def __init__(self, labels: int, threshold: float | None) -> None:
        self.counts: defaultdict[tuple[int, tuple[int, ...]], int] = defaultdict(int)
        self._labels = labels
        self.reasons: Counter[str] = Counter()
        self.errors: list[tuple[float, int, Judged]] = []
        self.invalid: list[Judged] = []
        self.calibrator = Calibrator(threshold=threshold)

    def __call__(self, judged: Judged) -> None:
        self.counts[judged.gold, judged.predicted] += 1
        predicted = judged.predicted[0]
        if judged.probabilities is not None:
            self.calibrator.add(judged.probabilities, judged.gold, predicted)
        if judged.reason is not None:
            self.reasons[judged.reason] += 1
            if len(self.invalid) < EXAMPLES_KEPT:
                self.invalid.append(judged)
        elif predicted != judged.gold:
            # The line breaks ties, the earlier first, so that rows are never compared.
            entry = (max(judged.probabilities or [0.0]), -judged.row.line, judged)
            add = heapq.heappush if len(self.errors) < EXAMPLES_KEPT else heapq.heappushpop
            add(self.errors, entry)

    def confusion(self, rule: int) -> Counts:
        """Return the confusion matrix of one of the match rules."""
        matrix = np.zeros((self._labels, self._labels + 1), dtype=np.int64)
        for (gold, predicted), count in self.counts.items():
            matrix[gold, predicted[rule]] += count
        return matrix


def evaluate_file(  # noqa: PLR0913 - one for each key of the command that changes a figure
    path: str | Path,
    task: Task,
    *,
    match: str | None = None,
    threshold: float | None = None,
    skip_broken: bool = False,
    source: DataFile | None = None,
    train: DataFile | None = None,
    floor: DataFile | None = None,
    keeps_answers: bool = False,
    observers: Sequence[Observer] = (),
    columns: Columns = BY_KEYS,
    encoding: str | None = None,
) -> Evaluation:
    """Read a file of predictions, judge its rows and compute their figures.

    Args:
        path: The file, or `-` for standard input.
        task: Its labels are the classes.
        match: `strict`, `flexible`, `contains`, `all`, or None for the task's own rule.
        threshold: The confidence below which the model may abstain.
        skip_broken: Leave rows out that cannot be used, and count them.
        source: The data that was predicted; rows are checked and take their gold labels from it.
        train: The training data that may explain errors.
        floor: The training data for a tf-idf SVM that answers the same rows.
        keeps_answers: Hold every row's answer, to compare the file with others.
        observers: Called with every judged row.
        columns: The keys of answers and gold labels, where the call names them.
        encoding: Of a table that is neither UTF-8 nor certain.

    Raises:
        CallError: The file is not there.
        DataError: Rows are broken and not to be skipped, no row can be used, or what was asked
            for needs texts or probabilities that no row has. All answers invalid is no error: it
            is an accuracy of 0.
    """
    if len(task.labels) > MOST_LABELS:
        raise DataError(
            f"the task {task.name!r} has {len(task.labels):,} labels; a confusion matrix of more "
            f"than {MOST_LABELS:,} is too large to evaluate. Name a task= of fewer, groups of the "
            "labels for example."
        )
    file, sidecar = name_of(path), read_sidecar(path)
    finder = TextFinder(task)
    tally = _Tally(len(task.labels), threshold)
    join = SourceJoin(source, task, finder) if source else None
    lookup = TrainLookup(train, task, finder) if train else None
    answers = Answers(file, finder, keeps_texts=bool(floor)) if floor or keeps_answers else None
    watching = [tally, *observers, *(one for one in (lookup, answers) if one is not None)]

    broken = BrokenRows(file, skip=skip_broken)
    rows = _read(path, broken, columns, encoding)
    judge = AnswerJudge(task, match=match or task.match)
    for judged in judge.judge(join.correct(rows, broken) if join else rows, broken):
        for observer in watching:
            observer(judged)
    broken.check(accepted=bool(tally.counts))
    if not tally.counts:
        raise DataError(
            f"{file} has no row that can be used: {broken.describe()}."
            if broken.total
            else f"{file} is empty; a predictions file has one JSON object a line."
        )
    if answers is not None:
        answers.broken = broken.total
    calibration = tally.calibrator.finish()
    if threshold is not None and calibration is None:
        raise DataError(
            f"threshold needs probabilities, and no row of {file} has any; leave it out."
        )

    by_rule = {
        rule: metrics_of(task.labels, tally.confusion(k)) for k, rule in enumerate(judge.rules)
    }
    metrics = by_rule[judge.rules[0]]
    confident = sorted(tally.errors, key=lambda entry: (-entry[0], -entry[1]))
    return Evaluation(
        file=file,
        task=task,
        match=judge.rules[0],
        metrics=metrics,
        reasons=dict(tally.reasons.most_common()),
        by_rule=by_rule if len(by_rule) > 1 else {},
        calibration=calibration,
        confident_errors=tuple(_example(one, task, finder) for *_, one in confident),
        invalid_answers=tuple(_example(one, task, finder) for one in tally.invalid),
        broken=broken.total,
        broken_kinds=dict(broken.counts),
        broken_note=broken.describe(),
        sidecar=sidecar,
        unfinished=is_unfinished(path, sidecar, metrics.n + broken.total),
        answers_ids=metrics.invalid == metrics.n
        and all(task.is_id(clean(one.row.predict)) for one in tally.invalid),
        row_check=join.result() if join else None,
        train_explanation=lookup.result() if lookup else None,
        floor=floor_of(answers, floor, task) if answers and floor else None,
        answers=answers,
    )


def _read(
    path: str | Path, broken: BrokenRows, columns: Columns, encoding: str | None
) -> Iterator[Prediction]:
    """Read predictions from JSON Lines, or from a table with a column for each key."""
    if not str(path).lower().removesuffix(".gz").endswith(_TABLES):
        yield from read_predictions(path, broken, columns)
        return
    from llamafactory_emotion.data.records import BrokenRecord, open_source

    seen = SeenIds()
    for record in open_source(path, encoding=encoding).records:
        if isinstance(record, BrokenRecord):
            broken.add(record.reason, record.line)
            continue
        row = as_prediction(dict(record.fields), record.line, broken, seen, columns)
        if row is not None:
            yield row


def _example(judged: Judged, task: Task, finder: TextFinder) -> Example:
    row = judged.row
    text = finder.find(row) or row.prompt
    return Example(
        line=row.line,
        id=row.id,
        text=None if text is None else text[:_LONGEST_TEXT],
        predict=row.predict[:_LONGEST_TEXT],
        gold=task.labels[judged.gold],
        predicted=(*task.labels, None)[judged.predicted[0]],
        reason=judged.reason,
        confidence=max(judged.probabilities) if judged.probabilities else None,
    )


@dataclass(frozen=True)
class ConfusedPair:
    """Rows of one gold label that were answered with another; `share` is of all errors."""

    gold: str
    predicted: str
    count: int
    share: float


def confused_pairs(metrics: Metrics) -> list[ConfusedPair]:
    """List the pairs of labels that are confused, the most frequent first."""
    errors = metrics.n - sum(row[k] for k, row in enumerate(metrics.confusion))
    pairs = [
        ConfusedPair(gold, predicted, count, count / errors)
        for gold, row in zip(metrics.labels, metrics.confusion, strict=True)
        for predicted, count in zip(metrics.labels, row[:-1], strict=True)
        if count and predicted != gold
    ]
    return sorted(pairs, key=lambda pair: -pair.count)
