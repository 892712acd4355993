"""What is the language model worth? The same rows, answered by a tf-idf linear SVM.

The SVM is fitted on the training texts in seconds and answers the very rows that were judged, so
that the difference has a paired test. It sees words, or words and characters where
cross-validation on the training rows finds that stronger. Texts and answers are held in memory.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.comparison import PairedComparison, compare_answers
from llamafactory_emotion.evaluate.lookup import DataFile, join_key, texts_needed
from llamafactory_emotion.evaluate.matching import Answers, Indices
from llamafactory_emotion.metrics.counts import Metrics, confusion_of, metrics_of
from llamafactory_emotion.task import Task
from llamafactory_emotion.text import WITHOUT_SPACES

NAME = "tf-idf SVM"
WORDS, BOTH, CHARACTERS = "words", "words and characters", "characters"
_ENOUGH_ROWS = 1000
_SAMPLED_TEXTS = 200
_FOLDS = 3
# The time of a fit grows with rows times labels; the features are chosen on so many at most.
_LARGEST_CHOICE = 120_000


@dataclass(frozen=True)
class Floor:
    """The SVM's figures and how the file compares with it."""

    train: str
    train_rows: int
    rows_in_train: int  # judged rows whose text the SVM was fitted on
    features: str  # what the SVM sees: `WORDS`, `BOTH` or `CHARACTERS`
    seconds: float  # of the processor, for choosing, fitting and answering, without imports
    metrics: Metrics  # the SVM's, over the same rows
    comparison: PairedComparison  # the file (first) against the SVM (second)


def floor_of(answers: Answers, train: DataFile, task: Task) -> Floor:
    """Fit the SVM on training rows, let it answer a file's texts, and compare.

    Raises:
        DataError: A text is not known, or the training rows have fewer than two labels or no words.
    """
    texts = [text for text in answers.kept if text is not None]
    if len(texts) < len(answers.kept):
        raise texts_needed("floor", task)
    # Processor time: it does not depend on what else the machine is doing.
    start = time.process_time()
    train_texts = [row.text for row in train.rows]
    train_labels = np.array([task.labels.index(row.label) for row in train.rows])
    if len(set(train_labels.tolist())) < 2:
        raise DataError(f"{train.name} has rows of one label only; give the floor two or more.")
    try:
        features, vectors, wanted = _vectors(train_texts, train_labels, texts)
    except ValueError as error:
        raise DataError(
            f"{train.name}: no SVM can be fitted on its texts ({error}); leave the floor out."
        ) from error
    by_svm = np.asarray(_svm().fit(vectors, train_labels).predict(wanted), dtype=np.int64)
    seconds = time.process_time() - start

    gold, predicted = np.asarray(answers.gold), np.asarray(answers.predicted)
    labels = len(task.labels)
    known = {join_key(text) for text in train_texts}
    return Floor(
        train=train.name,
        train_rows=len(train.rows),
        rows_in_train=sum(join_key(text) in known for text in texts),
        features=features,
        seconds=seconds,
        metrics=metrics_of(task.labels, confusion_of(gold, by_svm, labels=labels)),
        comparison=compare_answers(
            gold, predicted, by_svm, labels=labels, names=(answers.file, NAME)
        ),
    )


def _svm() -> Any:
    from sklearn.svm import LinearSVC

    # Settings were chosen on a validation part of the emotion training data.
    return LinearSVC(C=0.5, class_weight="balanced", random_state=0)


def _vectors(train: Sequence[str], labels: Indices, texts: Sequence[str]) -> tuple[str, Any, Any]:
    """Choose the features; return their name and the vectors of the training and other texts."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    def vectors(analyzer: str, lengths: tuple[int, int]) -> tuple[Any, Any]:
        vectorizer = TfidfVectorizer(
            analyzer=analyzer,
            ngram_range=lengths,
            min_df=2 if len(train) >= _ENOUGH_ROWS else 1,
            sublinear_tf=True,
        )
        return vectorizer.fit_transform(train), vectorizer.transform(texts)

    if not _has_spaces(train):
        return CHARACTERS, *vectors("char", (1, 3))
    words = vectors("word", (1, 2))
    both = tuple(
        hstack(parts, format="csr") for parts in zip(words, vectors("char_wb", (3, 5)), strict=True)
    )
    if _is_better(both[0], words[0], labels):
        return BOTH, *both
    return WORDS, *words


def _is_better(vectors: Any, simpler: Any, labels: Indices) -> bool:
    """Whether an SVM on `vectors` is right more often, in training rows left out of its fit.

    It is where the gain is more than a standard error: one within chance is no reason for more
    features. (The texts left out have a part in the tf-idf weights, their labels in nothing.)
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    names, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[index] >= _FOLDS)
    rows = np.random.default_rng(0).permutation(rows)[: _LARGEST_CHOICE // len(names)]
    _, index, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    rows = rows[counts[index] >= _FOLDS]
    if len(set(labels[rows].tolist())) < 2:
        return False
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    share, simple_share = (
        float(cross_val_score(_svm(), one[rows], labels[rows], cv=folds).mean())
        for one in (vectors, simpler)
    )
    return share - simple_share > math.sqrt(share * (1 - share) / len(rows))


def _has_spaces(texts: Sequence[str]) -> bool:
    """Whether at most half the letters of the first texts are of a script without spaces."""
    sample = "".join(texts[:_SAMPLED_TEXTS])
    return len(re.findall(f"[{WITHOUT_SPACES}]", sample)) * 2 <= sum(map(str.isalpha, sample))
