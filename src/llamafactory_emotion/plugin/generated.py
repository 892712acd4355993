"""Accuracy, macro-F1 and invalid share of answers that a run has just generated.

`run_metrics` hands in the texts that LLaMA-Factory writes to `generated_predictions.jsonl` a moment
later. They are judged by `judging` and counted by `metrics`, as `evaluate` does with that file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import AnswerJudge
from llamafactory_emotion.metrics.counts import label_metrics
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.task import EMOTION, Task

# Free text is no label, and the confusion matrix of 1,000 labels takes 8 MB.
_MOST_LABELS = 1_000


def task_of_gold(gold: Iterable[str]) -> Task:
    """Return the task whose labels a run's gold answers are.

    That is `EMOTION` where all of them are its labels, whichever of them occur. Otherwise the
    labels are the distinct gold answers, without aliases: with several tasks in one run, those of
    all of them.

    Raises:
        DataError: The gold answers are no label set: fewer than two or over a thousand different
            ones, ones that cannot be told apart, or a line break in one.
    """
    labels = {answer.strip().casefold(): answer.strip() for answer in gold}
    # The names alone: `label_of` takes the answer "3" for an id as well.
    if all(EMOTION.label_of(answer) == name for name, answer in labels.items()):
        return EMOTION
    if len(labels) > _MOST_LABELS:
        raise DataError(f"{len(labels):,} different gold answers are no label set.")
    return replace(EMOTION, name="gold answers", labels=tuple(sorted(labels.values())), aliases={})


def generated_figures(predicted: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Compute the figures of generated answers under the match rule of `task_of_gold`.

    They equal `evaluate` with the run's task on the same rows if every label of the task occurs as
    gold, and for `EMOTION` always. `evaluate` averages the F1 of a label without gold rows in as 0;
    of another task than `EMOTION` such a label is unknown here, so macro-F1 is the mean over the
    labels that occur, and an answer that names another one is invalid.

    Args:
        predicted: The answers as decoded.
        gold: The gold answers of the same rows, none of them blank.

    Returns:
        `accuracy` and `f1_macro` (higher is better) and `invalid`, the share of answers that name
        no label or several; all between 0 and 1.

    Raises:
        DataError: As `task_of_gold`.
    """
    task = task_of_gold(gold)
    rows = (
        Prediction(line, answer, label, None, None, None, None)
        for line, (answer, label) in enumerate(zip(predicted, gold, strict=True), start=1)
    )
    judged = AnswerJudge(task, match=task.match).judge(rows, BrokenRows("the run"))
    indices = np.array([(one.gold, one.predicted[0]) for one in judged], dtype=np.int64)
    labels = len(task.labels)
    figures = label_metrics(indices[:, 0], indices[:, 1], labels=labels)
    return {**figures, "invalid": float(np.mean(indices[:, 1] == labels))}
