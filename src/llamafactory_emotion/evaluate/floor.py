"""What is the language model worth? The same rows, answered by a tf-idf linear SVM.

The floor is fitted on the training texts in about a second and answers the very rows that were
judged, so that the difference has a paired test. Texts and answers are held in memory.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.comparison import PairedComparison, compare_answers
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.evaluate.rows import no_text_sentence
from llamafactory_emotion.evaluate.texts import TextFinder
from llamafactory_emotion.metrics.counts import Metrics, confusion_of, metrics_of
from llamafactory_emotion.task import LabelledRow, Task

NAME = "tf-idf SVM"
_ENOUGH_ROWS = 1000
# Letters of scripts that put no spaces between words: Chinese, Japanese kana, Thai to Khmer.
_WITHOUT_SPACES = (("\u3040", "\u30ff"), ("\u3400", "\u9fff"), ("\u0e00", "\u0fff"))
_SAMPLED_TEXTS = 200


@dataclass(frozen=True)
class Floor:
    """The SVM's figures and how the file compares with it.

    Attributes:
        train: Name of the training file.
        train_rows: Its rows.
        seconds: Processor seconds that fitting and answering took, imports left out.
        metrics: The SVM's figures over the same rows.
        comparison: The file (first) against the SVM (second).
    """

    train: str
    train_rows: int
    seconds: float
    metrics: Metrics
    comparison: PairedComparison


class FloorRecorder:
    """Gathers texts and answers of judged rows; an observer of `one_file.evaluate_rows`."""

    def __init__(self, task: Task, *, finder: TextFinder) -> None:
        """Start empty."""
        self._task = task
        self._finder = finder
        self._texts: list[str] = []
        self._gold: list[int] = []
        self._predicted: list[int] = []

    def __call__(self, judged: Judged) -> None:
        """Take one row.

        Raises:
            DataError: The row's text cannot be told from its prompt.
        """
        text = self._finder.find(judged.row)
        if text is None:
            raise DataError(no_text_sentence("--floor", self._task))
        self._texts.append(text)
        self._gold.append(judged.gold)
        self._predicted.append(judged.predicted[0])

    def result(self, train: Sequence[LabelledRow], *, source: str, name: str, seed: int) -> Floor:
        """Fit the SVM on `train`, the rows of the file `name`, and compare `source` with it.

        Raises:
            DataError: The training rows have fewer than two labels, or no words.
        """
        labels = len(self._task.labels)
        gold = np.array(self._gold, dtype=np.int64)
        answers, seconds = _fit_and_answer(train, self._texts, self._task, name=name)
        return Floor(
            train=name,
            train_rows=len(train),
            seconds=seconds,
            metrics=metrics_of(
                self._task.labels, confusion_of(gold, answers, labels=labels), seed=seed
            ),
            comparison=compare_answers(
                gold,
                np.array(self._predicted, dtype=np.int64),
                answers,
                labels=labels,
                names=(source, NAME),
                seed=seed,
            ),
        )


def _fit_and_answer(
    train: Sequence[LabelledRow], texts: Sequence[str], task: Task, *, name: str
) -> tuple[NDArray[np.int64], float]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    # Processor time: it does not depend on what else the machine is doing.
    start = time.process_time()
    index = {label: k for k, label in enumerate(task.labels)}
    gold = [index[row.label] for row in train]
    if len(set(gold)) < 2:
        raise DataError(f"{name} has rows of one label only; the floor needs two or more.")
    # Settings were chosen on a validation part of the emotion training data.
    classifier = LinearSVC(C=0.5, class_weight="balanced", random_state=0)
    pipeline = make_pipeline(
        TfidfVectorizer(**_words_or_characters([row.text for row in train])), classifier
    )
    try:
        pipeline.fit([row.text for row in train], gold)
    except ValueError as error:
        raise DataError(f"{name}: no SVM can be fitted on its texts ({error}).") from error
    answers: NDArray[np.int64] = np.asarray(pipeline.predict(list(texts)), dtype=np.int64)
    return answers, time.process_time() - start


def _words_or_characters(texts: Sequence[str]) -> dict[str, Any]:
    """Give the settings of the features: words and their pairs, or runs of characters."""
    settings = {"min_df": 2 if len(texts) >= _ENOUGH_ROWS else 1, "sublinear_tf": True}
    if _without_spaces(texts):
        return settings | {"analyzer": "char", "ngram_range": (1, 3)}
    return settings | {"analyzer": "word", "ngram_range": (1, 2)}


def _without_spaces(texts: Sequence[str]) -> bool:
    """Say whether most letters of the first texts are of a script without spaces."""
    letters = [c for c in "".join(texts[:_SAMPLED_TEXTS]) if c.isalpha()]
    found = sum(any(low <= c <= high for low, high in _WITHOUT_SPACES) for c in letters)
    return found * 2 > len(letters)


def floor_sentence(floor: Floor) -> str:
    """Say in one sentence what the language model is worth."""
    comparison = floor.comparison
    points = 100 * comparison.accuracy_difference
    accuracy = floor.metrics.accuracy + comparison.accuracy_difference
    beats = "beats" if points > 0 else "loses to"
    svm = f"a {floor.seconds:.1f}-second SVM"
    tested = f"p = {comparison.p_value:.2g}"
    low, high = (100 * bound for bound in comparison.accuracy_difference_ci)
    if low <= 0 <= high:
        return (
            f"{accuracy:.4f} is not told from {svm} ({floor.metrics.accuracy:.4f}): "
            f"{points:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, {tested})."
        )
    low, high = sorted((abs(low), abs(high)))
    return (
        f"{accuracy:.4f} {beats} {svm} by {abs(points):.1f} points "
        f"(95 % interval {low:.1f} to {high:.1f}, {tested})."
    )
