"""Set up transformers' trainer: loss, metrics, batches, early stopping.

Stands between `model` and the command. Everything a trainer does by itself is left to it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from torch.nn import functional
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.metrics.counts import label_metrics
from llamafactory_emotion.task import Task
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.model import HeadModel

Features = Sequence[dict[str, Any]]
Loss = Callable[..., torch.Tensor]


def build_trainer(
    head: HeadModel,
    arguments: HeadArguments,
    training: TrainingArguments,
    *,
    train: Any,
    validation: Any,
    weights: Sequence[float] | None,
) -> Trainer:
    """Build the trainer of a classification head.

    Args:
        head: The model and its tokenizer.
        arguments: Our keys.
        training: transformers' keys.
        train: Encoded rows.
        validation: Encoded rows; may be empty.
        weights: The weight of each label in the loss, or None.
    """
    patience = arguments.early_stopping_patience
    return Trainer(
        model=head.model,
        args=training,
        processing_class=head.tokenizer,
        data_collator=DataCollatorWithPadding(
            head.tokenizer, pad_to_multiple_of=8 if training.fp16 or training.bf16 else None
        ),
        train_dataset=train,
        eval_dataset=validation or None,
        compute_loss_func=label_loss(weights, smoothing=training.label_smoothing_factor),
        compute_metrics=label_metrics_of,
        preprocess_logits_for_metrics=_logits_alone,
        callbacks=[] if patience is None else [EarlyStoppingCallback(patience)],
    )


def label_loss(weights: Sequence[float] | None, *, smoothing: float) -> Loss:
    """Give the loss: cross-entropy with label smoothing and a weight for each label.

    It is summed and divided by the rows of the whole step, so that it does not depend on how a
    step is cut into batches. Balanced weights average 1 over the training rows, which keeps the
    learning rate's meaning.
    """

    def loss(
        outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        logits = (outputs["logits"] if isinstance(outputs, dict) else outputs[0]).float()
        given = None if weights is None else torch.tensor(weights, device=logits.device)
        total = functional.cross_entropy(
            logits, labels, weight=given, label_smoothing=smoothing, reduction="sum"
        )
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return loss


def balanced_weights(rows: Sequence[Row], task: Task) -> list[float]:
    """Weigh labels by the inverse of their share: rows / (labels with rows x rows of the label).

    scikit-learn's `class_weight="balanced"`. A label without rows keeps the weight 1.
    """
    labels = [row.label for row in rows]
    counts = [labels.count(label) for label in task.labels]
    there = sum(count > 0 for count in counts)
    return [len(rows) / (there * count) if count else 1.0 for count in counts]


def label_metrics_of(evaluated: EvalPrediction) -> dict[str, float]:
    """Give accuracy and macro-F1 of an evaluation, by the arithmetic of every report."""
    logits = np.asarray(evaluated.predictions)
    gold = np.asarray(evaluated.label_ids)
    return label_metrics(gold, logits.argmax(axis=-1), labels=logits.shape[-1])


def _logits_alone(logits: Any, _labels: Any) -> Any:
    """Drop what some models give beside the logits, such as hidden states."""
    return logits[0] if isinstance(logits, tuple) else logits


def check_finite(trainer: Trainer, model: torch.nn.Module) -> None:
    """Refuse a trained model whose weights are numbers no more; every process must call it.

    Raises:
        ModelError: One is infinite or no number, in any of the processes.
    """
    trained = (weights for weights in model.parameters() if weights.requires_grad)
    finite = torch.tensor(float(all(map(_is_finite, trained))), device=trainer.args.device)
    if trainer.accelerator.reduce(finite).item() < trainer.accelerator.num_processes:
        raise ModelError(
            "the trained weights are no finite numbers any more, so the model is not saved; lower "
            "learning_rate, or train in bf16 instead of fp16, and begin anew with overwrite=true."
        )


def _is_finite(weights: torch.Tensor) -> bool:
    """Look at the smallest and largest alone: a mask of a large matrix would fill the memory."""
    own = weights.to_local() if isinstance(weights, DTensor) else weights
    return own.numel() == 0 or bool(torch.stack(torch.aminmax(own.detach())).isfinite().all())


def predict_logits(trainer: Trainer, features: Features) -> "np.ndarray[Any, np.dtype[Any]]":
    """Give the logits of encoded rows, in their order, on all processes.

    Rows go in order of their length, so that a batch holds little padding.
    """
    order = sorted(range(len(features)), key=lambda place: -len(features[place]["input_ids"]))
    strategy = trainer.args.train_sampling_strategy
    # Grouped by length, the trainer would evaluate in an order of its own and not say in which.
    trainer.args.train_sampling_strategy = "random"
    rows: Any = [features[place] for place in order]
    try:
        predicted = trainer.predict(rows)
    finally:
        trainer.args.train_sampling_strategy = strategy
    logits = np.asarray(predicted.predictions, dtype=np.float64)
    restored = np.empty_like(logits)
    restored[order] = logits
    return restored
