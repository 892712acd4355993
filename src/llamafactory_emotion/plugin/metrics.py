"""Accuracy, macro-F1 and invalid share in LLaMA-Factory's own results, for our template.

LLaMA-Factory's `compute_accuracy` averages over the answer's tokens and its end token, which every
model gets right: 99 % shown where 90 % of the labels are right (hiyouga/LLaMA-Factory issue 8187).
Its supervised workflow passes all that belongs to a run to
`CustomSeq2SeqTrainer(data_collator=..., tokenizer=..., compute_metrics=...)`. `offer_metrics`
replaces that one name of the workflow's module; the replacement creates the same trainer, with our
metric and the record of the run where the collator has our template. Nothing is kept between runs,
so they may follow one another in a process, or run in threads.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llamafactory.extras.logging import get_logger
from numpy.typing import NDArray
from transformers import TrainerCallback

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import AnswerJudge
from llamafactory_emotion.metrics.counts import label_metrics
from llamafactory_emotion.plugin.record import RecordOfTheRun
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, EMOTION, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
_WORKFLOW, _TRAINER = "llamafactory.train.sft.workflow", "CustomSeq2SeqTrainer"
# A child of LLaMA-Factory's logger: its terminal and its web page show what is written here.
_LOGGER = get_logger("llamafactory.emotion")
# Free text is no label, and the confusion matrix of 1,000 labels takes 8 MB.
_MOST_LABELS = 1_000
_FIGURES = ("accuracy", "f1_macro", "invalid")

TokenIds = tuple[int, ...]


def offer_metrics(template: type) -> None:
    """Let supervised runs whose template is an instance of `template` count whole labels.

    Called inside a run, when its template is prepared and before its trainer is created. In a
    process that trains nothing the workflow's module is not loaded, and nothing is replaced.
    """
    workflow: Any = sys.modules.get(_WORKFLOW)
    if workflow is None:
        return
    trainer = getattr(workflow, _TRAINER, None)
    if trainer is None:
        _LOGGER.warning_rank0_once(f"no accuracy of labels: {_WORKFLOW} has no {_TRAINER}")
    elif not isinstance(trainer, _TrainerOfTheRun):
        setattr(workflow, _TRAINER, _TrainerOfTheRun(trainer, template))


class _TrainerOfTheRun:
    """Create LLaMA-Factory's trainer, with our metric and record where it has our template."""

    def __init__(self, trainer: Callable[..., Any], template: type) -> None:
        self._trainer = trainer
        self._template = template

    def __call__(self, *args: Any, **run: Any) -> Any:
        ours = self._ours(run)
        trainer = self._trainer(*args, **run | ours)
        if "compute_metrics" in ours:
            ours["callbacks"][-1].log = getattr(trainer, "log", None)
        return trainer

    def _ours(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments to replace."""
        theirs, tokenizer = run.get("compute_metrics"), run.get("tokenizer")
        template = getattr(run.get("data_collator"), "template", None)
        if template is None or tokenizer is None:
            _LOGGER.warning_rank0_once(f"no accuracy of labels: {_TRAINER} has other arguments")
            return {}
        if not isinstance(template, self._template):
            return {}
        given = tuple(run.get("callbacks") or ())
        record = RecordOfTheRun(given)
        callbacks = [*given, record]
        if theirs is None:
            return {"callbacks": callbacks}
        generates = getattr(run.get("args"), "predict_with_generate", False)
        task = record.only_task() or EMOTION
        ours = (
            GeneratedMetrics(theirs, tokenizer, task)
            if generates
            else _answer_metrics(tokenizer, task)
        )
        return {"compute_metrics": ours, "callbacks": [*callbacks, _MetricsOfTheRun(ours)]}


def _answer_metrics(tokenizer: "PreTrainedTokenizerBase", task: Task) -> "AnswerMetrics":
    labels = [ANSWER_PREFIX + task.word_of(label) for label in task.labels]
    return AnswerMetrics(
        end_id=tokenizer.eos_token_id,
        labels=[tuple(tokenizer.encode(one, add_special_tokens=False)) for one in labels],
        cue=tokenizer.encode(ANSWER_CUE.strip(), add_special_tokens=False),
    )


class _MetricsOfTheRun(TrainerCallback):
    """Do for our metric what transformers' trainer leaves undone.

    It gathers more rows than a set has, and hands what a prediction run computes to no logger.
    """

    def __init__(self, metrics: "AnswerMetrics | GeneratedMetrics") -> None:
        self.metrics = metrics
        self.log: Callable[[dict[str, float]], None] | None = None

    def on_prediction_step(self, *_run: Any, eval_dataloader: Any = None, **_others: Any) -> None:
        """Look at the set that is being evaluated."""
        rows: Any = getattr(eval_dataloader, "dataset", None)
        self.metrics.rows = len(rows) if hasattr(rows, "__len__") else None

    def on_predict(
        self,
        args: Any,
        state: Any,  # noqa: ARG002
        control: Any,  # noqa: ARG002
        metrics: Mapping[str, float],
        **_others: Any,
    ) -> None:
        """Report our figures of a prediction run where the recipe names a logger."""
        ours = {name: value for name, value in metrics.items() if name.endswith(_FIGURES)}
        if self.log is not None and ours and args.report_to:
            self.log(ours)


class _Answer(NamedTuple):
    """The tokens of a gold label, those predicted for its positions, and whether an end follows."""

    gold: TokenIds
    predicted: TokenIds
    ends: bool


class AnswerMetrics:
    """Accuracy and macro-F1 over an evaluation set, fed batch by batch or all at once.

    Replaces `ComputeAccuracy`. A row counts as right when the model, reading the prompt, predicts
    the label's tokens one after the other; what comes after them does not matter, unless the label
    begins another one: then the end token must come. Packed rows, padding on either side and labels
    of several tokens are told apart by the positions of the labels' tokens.

    Accuracy is that of greedy answers. Macro-F1 is too where every label is one token. Where labels
    have several, a wrong answer is one of the other labels only if each of its tokens was predicted
    after the gold label's tokens, and invalid otherwise; a line in the log says so.

    Args:
        end_id: The token that ends an answer.
        labels: The token ids of each label of the task. Where a row has another gold label, the
            labels are those that occur as gold.
        cue: The token ids right before an answer; they part it from the prompt where the prompt
            bears loss too (`train_on_prompt`).

    Attributes:
        rows: How many rows the set has, or None. Several processes fill the last batch up with rows
            from the beginning; what comes after so many rows is left out.
    """

    def __init__(self, *, end_id: int, labels: Sequence[TokenIds], cue: Sequence[int] = ()) -> None:
        self._end_id = end_id
        self._known = tuple(labels)
        self._cue = tuple(cue)
        self.rows: int | None = None
        self._answers: list[_Answer] = []
        self._seen = 0

    def __call__(self, evaluated: Any, *, compute_result: bool = True) -> dict[str, float] | None:
        """Take a batch; return the figures so far when asked to, and begin anew.

        Args:
            evaluated: `predictions`, the most likely next token at each position, and `label_ids`,
                both of shape (rows, positions); `IGNORED` bears no loss.
            compute_result: False while more batches follow (`batch_eval_metrics`).

        Returns:
            `accuracy` and `f1_macro`, between 0 and 1, higher is better, NaN where no label was
            seen; None when more follows.
        """
        predictions, labels = _as_array(evaluated.predictions), _as_array(evaluated.label_ids)
        left = None if self.rows is None else max(0, self.rows - self._seen)
        for predicted, gold in zip(predictions[:left], labels[:left], strict=True):
            self._answers.extend(self._answers_of(predicted, gold))
        self._seen += len(labels)
        if not compute_result:
            return None
        answers, self._answers, self._seen = self._answers, [], 0
        return self._figures(answers)

    def _answers_of(
        self, predicted: NDArray[np.integer[Any]], gold: NDArray[np.integer[Any]]
    ) -> Iterator[_Answer]:
        """Yield every answer in one row of a batch."""
        # The token at a position is predicted at the one before.
        positions = np.flatnonzero(gold[1:] != IGNORED) + 1
        is_end = gold[positions[:-1]] == self._end_id
        for run in np.split(positions, np.flatnonzero((np.diff(positions) > 1) | is_end) + 1):
            kept = [one for one in self._after_cue(run, gold) if gold[one] != self._end_id]
            if kept:
                yield _Answer(
                    gold=tuple(int(gold[one]) for one in kept),
                    predicted=tuple(int(predicted[one - 1]) for one in kept),
                    # At the end token's position; a row that was cut has none there.
                    ends=run[-1] == kept[-1] or predicted[run[-1] - 1] == self._end_id,
                )

    def _after_cue(self, run: NDArray[np.intp], gold: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
        length = len(self._cue)
        for start in range(len(run) - length, -1, -1):
            if length and tuple(gold[run[start : start + length]]) == self._cue:
                return run[start + length :]
        return run

    def _figures(self, answers: Sequence[_Answer]) -> dict[str, float]:
        if not answers:
            return {"accuracy": float("nan"), "f1_macro": float("nan")}
        gold = {answer.gold for answer in answers}
        labels = self._known if gold <= set(self._known) else tuple(sorted(gold))
        if any(len(label) > 1 for label in labels):
            _LOGGER.warning_rank0(
                "labels of several tokens: accuracy is exact, macro-F1 counts an answer that is "
                "wrong at its first token as invalid; `evaluate` gives it exactly"
            )
        numbers = {label: number for number, label in enumerate(labels)}
        begun = {one for one in labels for other in labels if one == other[: len(one)] != other}
        predicted = [
            answer.predicted if answer.ends or answer.predicted not in begun else ()
            for answer in answers
        ]
        return label_metrics(
            np.array([numbers[answer.gold] for answer in answers], dtype=np.int64),
            np.array([numbers.get(label, -1) for label in predicted], dtype=np.int64),
            labels=len(labels),
        )


def _as_array(values: Any) -> NDArray[np.integer[Any]]:
    """Return a batch as a NumPy array; `batch_eval_metrics` hands in tensors of the device."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


class GeneratedMetrics:
    """LLaMA-Factory's BLEU and ROUGE, and beside them accuracy, macro-F1 and invalid share.

    Answers and gold labels are decoded as LLaMA-Factory writes them to
    `generated_predictions.jsonl` a moment later. Rows without a gold label are not counted. Where
    no figure can be computed, one line in the log says why.

    Args:
        similarity: LLaMA-Factory's `ComputeSimilarity`; it sees every batch as it comes.
        tokenizer: Decodes.
        task: What the run's data asks, as far as it is known.

    Attributes:
        rows: How many rows the set has, or None (streaming); see `AnswerMetrics`.
    """

    def __init__(
        self,
        similarity: Callable[..., dict[str, float] | None],
        tokenizer: "PreTrainedTokenizerBase",
        task: Task = EMOTION,
    ) -> None:
        self.rows: int | None = None
        self._similarity = similarity
        self._tokenizer = tokenizer
        self._task = task
        self._answers: list[tuple[str, str]] = []

    def __call__(self, evaluated: Any, *, compute_result: bool = True) -> dict[str, float] | None:
        """Take a batch, or the whole set; return all figures when asked to, and begin anew.

        Args:
            evaluated: `predictions`, the generated tokens, and `label_ids`, both of shape
                (rows, positions), padded with `IGNORED` or the padding token.
            compute_result: False while more batches follow (`batch_eval_metrics`).
        """
        figures = self._similarity(evaluated, compute_result=compute_result)
        predicted, gold = map(self._decoded, (evaluated.predictions, evaluated.label_ids))
        self._answers += zip(predicted, gold, strict=True)
        if not compute_result:
            return figures
        answers, self._answers = self._answers[: self.rows], []
        return {**(figures or {}), **_figures_of_labelled(answers, self._task)}

    def _decoded(self, values: Any) -> list[str]:
        ids = _as_array(values)
        ids = np.where(ids == IGNORED, self._tokenizer.pad_token_id, ids)
        return self._tokenizer.batch_decode(ids, skip_special_tokens=True)


def _figures_of_labelled(answers: Sequence[tuple[str, str]], task: Task) -> dict[str, float]:
    labelled = [(predicted, gold) for predicted, gold in answers if gold.strip()]
    if without := len(answers) - len(labelled):
        told = "accuracy of the others" if labelled else "no accuracy"
        _LOGGER.warning_rank0(f"{without:,} of {len(answers):,} rows have no gold label: {told}")
    if not labelled:
        return {}
    try:
        return generated_figures([one for one, _ in labelled], [gold for _, gold in labelled], task)
    except DataError as error:
        # The answers are not written yet, and must not be lost.
        _LOGGER.warning_rank0(f"no accuracy of labels: {error}")
        return {}


def generated_figures(
    predicted: Sequence[str], gold: Sequence[str], task: Task = EMOTION
) -> dict[str, float]:
    """Compute the figures of generated answers under the match rule of `task_of_gold`.

    They equal `evaluate` on the same rows where the gold answers are of the given task. Of a task
    that is not known a label without gold rows is not either, so macro-F1 is the mean over the
    labels that occur, and an answer that names another one is invalid.

    Args:
        predicted: The answers as decoded.
        gold: The gold answers of the same rows, none of them blank.
        task: The one they are of, as far as that is known.

    Returns:
        `accuracy` and `f1_macro` (higher is better) and `invalid`, the share of answers that name
        no label or several; all between 0 and 1.

    Raises:
        DataError: As `task_of_gold`.
    """
    task = task_of_gold(gold, task)
    rows = (
        Prediction(line, answer, label, None, None, None, None)
        for line, (answer, label) in enumerate(zip(predicted, gold, strict=True), start=1)
    )
    judged = AnswerJudge(task, match=task.match).judge(rows, BrokenRows("the run"))
    indices = np.array([(one.gold, one.predicted[0]) for one in judged], dtype=np.int64)
    labels = len(task.labels)
    figures = label_metrics(indices[:, 0], indices[:, 1], labels=labels)
    return {**figures, "invalid": float(np.mean(indices[:, 1] == labels))}


def task_of_gold(gold: Iterable[str], task: Task = EMOTION) -> Task:
    """Return the task whose labels a run's gold answers are.

    That is `task` where all of them are its labels, whichever of them occur. Otherwise the labels
    are the distinct gold answers, without aliases: with several tasks in one run, those of
    all of them.

    Raises:
        DataError: The gold answers are no label set: fewer than two or over a thousand different
            ones, ones that cannot be told apart, or a line break in one.
    """
    labels = {answer.strip().casefold(): answer.strip() for answer in gold}
    # The names alone: `label_of` takes the answer "3" for an id as well.
    if not any(task.label_of(one) is None or task.is_id(one) for one in labels.values()):
        return task
    if len(labels) > _MOST_LABELS:
        raise DataError(f"{len(labels):,} different gold answers are no label set.")
    return replace(EMOTION, name="gold answers", labels=tuple(sorted(labels.values())), aliases={})
