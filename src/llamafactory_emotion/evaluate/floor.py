"""What is the language model worth? The same rows, answered by a tf-idf linear SVM.

The SVM is fitted on the training texts in about a second and answers the very rows that were
judged, so that the difference has a paired test. Texts and answers are held in memory.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.comparison import Answers, PairedComparison, compare_answers
from llamafactory_emotion.evaluate.lookup import DataFile, texts_needed
from llamafactory_emotion.metrics.counts import Metrics, confusion_of, metrics_of
from llamafactory_emotion.task import Task
from llamafactory_emotion.text import WITHOUT_SPACES

NAME = "tf-idf SVM"
_ENOUGH_ROWS = 1000
_SAMPLED_TEXTS = 200


@dataclass(frozen=True)
class Floor:
    """The SVM's figures and how the file compares with it."""

    train: str
    train_rows: int
    seconds: float  # of the processor, for fitting and answering, without imports
    metrics: Metrics  # the SVM's, over the same rows
    comparison: PairedComparison  # the file (first) against the SVM (second)


def floor_of(answers: Answers, train: DataFile, task: Task, *, seed: int) -> Floor:
    """Fit the SVM on training rows, let it answer a file's texts, and compare.

    Raises:
        DataError: A text is not known, or the training rows have fewer than two labels or no words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    texts = [text for text in answers.texts if text is not None]
    if len(texts) < len(answers.texts):
        raise texts_needed("floor", task)
    # Processor time: it does not depend on what else the machine is doing.
    start = time.process_time()
    train_texts = [row.text for row in train.rows]
    train_labels = [task.labels.index(row.label) for row in train.rows]
    if len(set(train_labels)) < 2:
        raise DataError(f"{train.name} has rows of one label only; the floor needs two or more.")
    # Settings were chosen on a validation part of the emotion training data.
    spaced = _has_spaces(train_texts)
    features = TfidfVectorizer(
        analyzer="word" if spaced else "char",
        ngram_range=(1, 2) if spaced else (1, 3),
        min_df=2 if len(train_texts) >= _ENOUGH_ROWS else 1,
        sublinear_tf=True,
    )
    svm = make_pipeline(features, LinearSVC(C=0.5, class_weight="balanced", random_state=0))
    try:
        svm.fit(train_texts, train_labels)
    except ValueError as error:
        raise DataError(f"{train.name}: no SVM can be fitted on its texts ({error}).") from error
    by_svm = np.asarray(svm.predict(texts), dtype=np.int64)
    seconds = time.process_time() - start

    gold, predicted = np.asarray(answers.gold), np.asarray(answers.predicted)
    labels, names = len(task.labels), (answers.file, NAME)
    confusion = confusion_of(gold, by_svm, labels=labels)
    return Floor(
        train=train.name,
        train_rows=len(train.rows),
        seconds=seconds,
        metrics=metrics_of(task.labels, confusion),
        comparison=compare_answers(gold, predicted, by_svm, labels=labels, names=names, seed=seed),
    )


def _has_spaces(texts: Sequence[str]) -> bool:
    """Whether at most half the letters of the first texts are of a script without spaces."""
    sample = "".join(texts[:_SAMPLED_TEXTS])
    return len(re.findall(f"[{WITHOUT_SPACES}]", sample)) * 2 <= sum(map(str.isalpha, sample))
