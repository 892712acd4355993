"""Accuracy, macro-F1 and invalid share in LLaMA-Factory's own results.

For runs with the template `emotion`. LLaMA-Factory's supervised workflow passes all that belongs to
a run to its trainer:
`CustomSeq2SeqTrainer(data_collator=..., tokenizer=..., compute_metrics=...)`. `offer_metrics`
replaces that one name of the workflow's module. The replacement creates the same trainer, and where
the collator has our template it hands in our metric. Nothing is kept between runs, so they may
follow one another in a process, or run in threads.
"""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from llamafactory.extras.logging import get_logger
from transformers import TrainerCallback

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.plugin.generated import generated_figures
from llamafactory_emotion.plugin.training_metric import IGNORED, AnswerMetrics, as_array
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, EMOTION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WORKFLOW, _TRAINER = "llamafactory.train.sft.workflow", "CustomSeq2SeqTrainer"
# Below LLaMA-Factory's own logger: its terminal and its web page show what is written here.
_LOGGER = get_logger("llamafactory.emotion")


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
    """Create LLaMA-Factory's trainer, with our metric where the run has our template."""

    def __init__(self, trainer: Callable[..., Any], template: type) -> None:
        self._trainer = trainer
        self._template = template

    def __call__(self, *args: Any, **run: Any) -> Any:
        return self._trainer(*args, **run | self._ours(run))

    def _ours(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments to replace: none where no metric is asked for."""
        theirs, tokenizer = run.get("compute_metrics"), run.get("tokenizer")
        template = getattr(run.get("data_collator"), "template", None)
        if theirs is None:
            return {}
        if template is None or tokenizer is None:
            _LOGGER.warning_rank0_once(f"no accuracy of labels: {_TRAINER} has other arguments")
            return {}
        if not isinstance(template, self._template):
            return {}
        generates = getattr(run.get("args"), "predict_with_generate", False)
        ours = GeneratedMetrics(theirs, tokenizer) if generates else answer_metrics(tokenizer)
        callbacks = [*(run.get("callbacks") or ()), _RowsOfTheSet(ours)]
        return {"compute_metrics": ours, "callbacks": callbacks}


def answer_metrics(tokenizer: "PreTrainedTokenizerBase") -> AnswerMetrics:
    """Return the metric that replaces `ComputeAccuracy`: whole labels, without generating."""
    labels = [ANSWER_PREFIX + label for label in EMOTION.labels]
    return AnswerMetrics(
        end_id=tokenizer.eos_token_id,
        labels=[tuple(tokenizer.encode(one, add_special_tokens=False)) for one in labels],
        cue=tokenizer.encode(ANSWER_CUE.strip(), add_special_tokens=False),
    )


class GeneratedMetrics:
    """LLaMA-Factory's BLEU and ROUGE, and beside them accuracy, macro-F1 and invalid share.

    Answers and gold labels are decoded as LLaMA-Factory writes them to
    `generated_predictions.jsonl`. Rows without a gold label are not counted. Where no figure can be
    computed, one line in the log says why.

    Args:
        similarity: LLaMA-Factory's `ComputeSimilarity`; it sees every batch as it comes.
        tokenizer: Decodes.

    Attributes:
        rows: How many rows the set has, or None (streaming). Several processes fill the last batch
            up with rows from the beginning; they come last and are not counted.
    """

    def __init__(
        self,
        similarity: Callable[..., dict[str, float] | None],
        tokenizer: "PreTrainedTokenizerBase",
    ) -> None:
        self.rows: int | None = None
        self._similarity = similarity
        self._tokenizer = tokenizer
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
        return {**(figures or {}), **_figures(answers)}

    def _decoded(self, values: Any) -> list[str]:
        ids = as_array(values)
        ids = np.where(ids == IGNORED, self._tokenizer.pad_token_id, ids)
        return self._tokenizer.batch_decode(ids, skip_special_tokens=True)


def _figures(answers: list[tuple[str, str]]) -> dict[str, float]:
    labelled = [(predicted, gold) for predicted, gold in answers if gold.strip()]
    without = len(answers) - len(labelled)
    if without:
        told = "no accuracy" if not labelled else "accuracy of the others"
        _LOGGER.warning_rank0(f"{without:,} of {len(answers):,} rows have no gold label: {told}")
    if not labelled:
        return {}
    try:
        return generated_figures(*zip(*labelled, strict=True))
    except DataError as error:
        # The answers are not written yet, and must not be lost.
        _LOGGER.warning_rank0(f"no accuracy of labels: {error}")
        return {}


class _RowsOfTheSet(TrainerCallback):
    """Tell the metric how many rows a set has: transformers' trainer gathers more than these."""

    def __init__(self, metrics: AnswerMetrics | GeneratedMetrics) -> None:
        self.metrics = metrics

    def on_prediction_step(self, *_run: Any, eval_dataloader: Any = None, **_others: Any) -> None:
        """Look at the set that is being evaluated."""
        rows: Any = getattr(eval_dataloader, "dataset", None)
        self.metrics.rows = len(rows) if hasattr(rows, "__len__") else None
