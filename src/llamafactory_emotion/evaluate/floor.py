"""What is the language model worth? The same rows, answered by a tf-idf linear SVM.

The SVM is fitted on the training texts in about a second and answers the very rows that were
judged, so that the difference has a paired test. Texts and answers are held in memory.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.comparison import Answers, PairedComparison, compare_answers
from llamafactory_emotion.evaluate.lookup import DataFile, texts_needed
from llamafactory_emotion.metrics.counts import Metrics, confusion_of, metrics_of
from llamafactory_emotion.parsing.whole_words import WITHOUT_SPACES
from llamafactory_emotion.task import Task

NAME = "tf-idf SVM"
_ENOUGH_ROWS = 1000
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


def floor_of(answers: Answers, train: DataFile, task: Task, *, seed: int) -> Floor:
    """Fit the SVM on training rows, let it answer a file's texts, and compare.

    Raises:
        DataError: A text is not known, or the training rows have fewer than two labels or no words.
    """
    texts = [text for text in answers.texts if text is not None]
    if len(texts) < len(answers.texts):
        raise texts_needed("floor", task)
    labels = len(task.labels)
    gold, predicted = np.asarray(answers.gold), np.asarray(answers.predicted)
    by_svm, seconds = _fit_and_answer(train, texts, task)
    return Floor(
        train=train.name,
        train_rows=len(train.rows),
        seconds=seconds,
        metrics=metrics_of(task.labels, confusion_of(gold, by_svm, labels=labels), seed=seed),
        comparison=compare_answers(
            gold, predicted, by_svm, labels=labels, names=(answers.file, NAME), seed=seed
        ),
    )


def _fit_and_answer(
    train: DataFile, texts: Sequence[str], task: Task
) -> tuple[NDArray[np.int64], float]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    # Processor time: it does not depend on what else the machine is doing.
    start = time.process_time()
    train_texts = [row.text for row in train.rows]
    gold = [task.labels.index(row.label) for row in train.rows]
    if len(set(gold)) < 2:
        raise DataError(f"{train.name} has rows of one label only; the floor needs two or more.")
    by_character = _has_no_spaces(train_texts)
    # Settings were chosen on a validation part of the emotion training data.
    features = TfidfVectorizer(
        analyzer="char" if by_character else "word",
        ngram_range=(1, 3) if by_character else (1, 2),
        min_df=2 if len(train_texts) >= _ENOUGH_ROWS else 1,
        sublinear_tf=True,
    )
    svm = LinearSVC(C=0.5, class_weight="balanced", random_state=0)
    pipeline = make_pipeline(features, svm)
    try:
        pipeline.fit(train_texts, gold)
    except ValueError as error:
        raise DataError(f"{train.name}: no SVM can be fitted on its texts ({error}).") from error
    answers: NDArray[np.int64] = np.asarray(pipeline.predict(list(texts)), dtype=np.int64)
    return answers, time.process_time() - start


def _has_no_spaces(texts: Sequence[str]) -> bool:
    """Whether most letters of the first texts are of a script without spaces."""
    sample = "".join(texts[:_SAMPLED_TEXTS])
    return len(re.findall(f"[{WITHOUT_SPACES}]", sample)) * 2 > sum(map(str.isalpha, sample))
