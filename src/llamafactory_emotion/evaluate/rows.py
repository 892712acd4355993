"""Check predictions against the data they came from, and errors against the training data.

`SourceJoin` stands between the reader and the judge: it hands on every row with the gold label of
the source and counts what does not fit. `TrainLookup` watches judged rows and tells which errors
the training data explains. Both keep the data they compare with, so they grow with its rows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import Judged, gold_label
from llamafactory_emotion.evaluate.texts import SAMPLE, TextFinder, join_key
from llamafactory_emotion.metrics.counts import Metrics, metrics_of
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.task import LabelledRow, Task

LISTED = 10
_TEXT_SHOWN = 80


@dataclass(frozen=True)
class Listed:
    """Rows of one kind: how many, and the first ten as (line, what is to be said)."""

    count: int
    first: tuple[tuple[int, str], ...]


class _List:
    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, str]] = []

    def add(self, line: int, said: str) -> None:
        self.count += 1
        if len(self.first) < LISTED:
            self.first.append((line, said))

    def listed(self) -> Listed:
        return Listed(self.count, tuple(self.first))


@dataclass(frozen=True)
class RowCheck:
    """Predictions against their source.

    Attributes:
        source: The source's name.
        source_rows: Its rows.
        matched: Rows found in both; these are the ones judged.
        missing: Source rows without a prediction (lines of the source).
        extra: Predictions whose text is not in the source; left out (lines of the predictions).
        repeated: Predictions beyond as many as the source has of that text; left out.
        other_gold: Predictions whose own gold label differs; judged by the source's.
    """

    source: str
    source_rows: int
    matched: int
    missing: Listed
    extra: Listed
    repeated: Listed
    other_gold: Listed


class SourceJoin:
    """Joins predictions with their source by text; the state of one pass."""

    def __init__(
        self, rows: Sequence[LabelledRow], task: Task, *, name: str, finder: TextFinder
    ) -> None:
        """Join with the rows of the data file called `name`; teach `finder` where texts stand."""
        self._rows = rows
        self._task = task
        self._name = name
        self._finder = finder
        # Text to label to the places not yet taken, the first one last.
        self._places: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        for place in reversed(range(len(rows))):
            row = rows[place]
            self._places[join_key(row.text)].setdefault(row.label, []).append(place)
        self._seen = bytearray(len(rows))
        self._extra, self._repeated, self._other_gold = _List(), _List(), _List()

    def correct(
        self, predictions: Iterable[Prediction], broken: BrokenRows
    ) -> Iterator[Prediction]:
        """Hand on every row found in the source, once, with the gold label of the source.

        Raises:
            DataError: None of the predictions stands in the source.
        """
        stream = iter(predictions)
        sample = list(islice(stream, SAMPLE))
        self._finder.learn(sample, [row.text for row in self._rows], self._places)
        for prediction in chain(sample, stream):
            text = self._finder.find(prediction)
            if text is None:
                broken.add("hold no text that can be told from the prompt", prediction.line)
                continue
            place = self._take(prediction, text)
            if place is not None:
                yield self._with_gold(prediction, self._rows[place])
        if not any(self._seen):
            raise DataError(
                f"No row of {broken.source} stands in {self._name}: its prompts hold neither the "
                f"instruction of the task {self._task.name!r} nor texts of that file; name the "
                "file that was predicted, or give --task."
            )

    def _take(self, prediction: Prediction, text: str) -> int | None:
        """Give the source row that a prediction belongs to; each can be taken once."""
        places = self._places.get(join_key(text))
        if places is None:
            self._extra.add(prediction.line, _shown(text))
            return None
        own = gold_label(self._task, prediction.label) or ""
        free = places.get(own) or next(filter(None, places.values()), None)
        if free is None:
            self._repeated.add(prediction.line, _shown(text))
            return None
        place = free.pop()
        self._seen[place] = 1
        return place

    def _with_gold(self, prediction: Prediction, row: LabelledRow) -> Prediction:
        differs = gold_label(self._task, prediction.label) != row.label
        if prediction.label is not None and differs:
            own = str(prediction.label).strip()
            said = f"{own!r} in the predictions, {row.label!r} in the source: {_shown(row.text)}"
            self._other_gold.add(prediction.line, said)
        return prediction._replace(label=row.label)

    def result(self) -> RowCheck:
        """Give what was found; call it after the pass."""
        missing = _List()
        for row, seen in zip(self._rows, self._seen, strict=True):
            if not seen:
                missing.add(row.line, _shown(row.text))
        return RowCheck(
            source=self._name,
            source_rows=len(self._rows),
            matched=sum(self._seen),
            missing=missing.listed(),
            extra=self._extra.listed(),
            repeated=self._repeated.listed(),
            other_gold=self._other_gold.listed(),
        )


def _shown(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else text[: _TEXT_SHOWN - 3] + "..."


@dataclass(frozen=True)
class ConfusedPair:
    """Rows of one gold label that were answered with another; `share` is of all errors."""

    gold: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class TrainExplanation:
    """What the training data says about the rows and their errors.

    Attributes:
        train: The training file's name.
        rows_in_train: Judged rows whose text stands in train.
        rows_other_label: Those of them that stand there with another label.
        errors: Wrong and invalid answers.
        errors_in_train: Errors whose text stands in train.
        errors_other_label: Errors whose text stands in train with another label.
        errors_as_trained: Errors that give a label the text has in train.
        rows_without_text: Rows whose text could not be told; they count as clean.
        examples: The first of `errors_other_label`.
        clean: The figures over the rows that do not stand in train; None when all do.
    """

    train: str
    rows_in_train: int
    rows_other_label: int
    errors: int
    errors_in_train: int
    errors_other_label: int
    errors_as_trained: int
    rows_without_text: int
    examples: Listed
    clean: Metrics | None


class TrainLookup:
    """Looks judged rows up in the training data; an observer of `one_file.evaluate_rows`."""

    def __init__(
        self, rows: Iterable[LabelledRow], task: Task, *, name: str, finder: TextFinder
    ) -> None:
        """Look up in the rows of the training file called `name`."""
        self._task = task
        self._finder = finder
        self._name = name
        self._labels: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            self._labels[join_key(row.text)].add(row.label)
        self._counts: Counter[str] = Counter()
        self._examples = _List()
        self._clean = np.zeros((len(task.labels), len(task.labels) + 1), dtype=np.int64)

    def __call__(self, judged: Judged) -> None:
        """Take one row."""
        text = self._finder.find(judged.row)
        predicted = judged.predicted[0]
        is_error = predicted != judged.gold
        self._counts["rows"] += 1
        self._counts["errors"] += is_error
        self._counts["without_text"] += text is None
        trained = self._labels.get(join_key(text)) if text is not None else None
        if trained is None:
            self._clean[judged.gold, predicted] += 1
            return
        gold = self._task.labels[judged.gold]
        others = trained - {gold}
        self._counts["in_train"] += 1
        self._counts["other_label"] += bool(others)
        if not is_error:
            return
        self._counts["errors_in_train"] += 1
        self._counts["errors_other_label"] += bool(others)
        answered = (*self._task.labels, None)[predicted]
        self._counts["errors_as_trained"] += answered in others
        if others:
            said = f"{gold!r}, in train {', '.join(sorted(others))}: {_shown(text or '')}"
            self._examples.add(judged.row.line, said)

    def result(self, *, seed: int) -> TrainExplanation:
        """Give what was found; call it after the pass.

        Raises:
            DataError: No row's text could be told from its prompt.
        """
        counts = self._counts
        if counts["without_text"] == counts["rows"]:
            raise DataError(no_text_sentence("--train", self._task))
        has_clean = bool(self._clean.any())
        return TrainExplanation(
            train=self._name,
            rows_in_train=counts["in_train"],
            rows_other_label=counts["other_label"],
            errors=counts["errors"],
            errors_in_train=counts["errors_in_train"],
            errors_other_label=counts["errors_other_label"],
            errors_as_trained=counts["errors_as_trained"],
            rows_without_text=counts["without_text"],
            examples=self._examples.listed(),
            clean=metrics_of(self._task.labels, self._clean, seed=seed) if has_clean else None,
        )


def no_text_sentence(flag: str, task: Task) -> str:
    """Say that texts are needed and cannot be told, and what to do."""
    return (
        f"{flag} needs the texts that were classified, but the predictions have no key 'text' and "
        f"prompts without the instruction of the task {task.name!r}; name the predicted file with "
        "--source, or the right task with --task."
    )


def confused_pairs(metrics: Metrics) -> tuple[ConfusedPair, ...]:
    """Give the pairs of labels that are confused, the most frequent first."""
    errors = sum(map(sum, metrics.confusion)) - sum(
        row[k] for k, row in enumerate(metrics.confusion)
    )
    pairs = [
        ConfusedPair(gold, predicted, count, count / errors)
        for gold, row in zip(metrics.labels, metrics.confusion, strict=True)
        for predicted, count in zip(metrics.labels, row[:-1], strict=True)
        if count and predicted != gold
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.count))
