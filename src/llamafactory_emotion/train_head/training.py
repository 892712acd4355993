"""Train a head with transformers' trainer, save the run, and predict its test rows."""

import copy
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from httpx import HTTPError
from huggingface_hub.errors import LocalTokenNotFoundError
from safetensors import SafetensorError
from scipy.special import softmax
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
from llamafactory_emotion.errors import CallError, EmotionError, ModelError
from llamafactory_emotion.metrics.counts import label_metrics
from llamafactory_emotion.predictions.sidecar import write_sidecar
from llamafactory_emotion.predictions.writing import PredictionsWriter, numbers_by_label
from llamafactory_emotion.scoring.models import hardware, versions
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import tell
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.data import Splits, encode
from llamafactory_emotion.train_head.model import HeadModel
from llamafactory_emotion.train_head.record import (
    PREDICTIONS,
    WORKING,
    BeginRun,
    last_checkpoint,
    remove_run,
)

Loss = Callable[..., torch.Tensor]


def build_trainer(
    head: HeadModel,
    arguments: HeadArguments,
    training: TrainingArguments,
    task: Task,
    splits: Splits,
) -> Trainer:
    """Tokenise the rows and build the trainer: loss, metrics, batches, early stopping."""
    train, cut = encode(splits.train, task, head.tokenizer, longest=head.longest)
    validation, _ = encode(splits.validation, task, head.tokenizer, longest=head.longest)
    weighted = arguments.class_weights == "balanced"
    weights = balanced_weights(splits.train, task) if weighted else None
    patience = arguments.early_stopping_patience
    padding = 8 if training.fp16 or training.bf16 else None
    with _as_one_sentence(Path(str(training.output_dir))):
        trainer = Trainer(
            model=head.model,
            args=training,
            processing_class=head.tokenizer,
            data_collator=DataCollatorWithPadding(head.tokenizer, pad_to_multiple_of=padding),
            train_dataset=train,
            eval_dataset=validation or None,
            compute_loss_func=label_loss(weights, smoothing=training.label_smoothing_factor),
            compute_metrics=_label_metrics_of,
            # Some models return hidden states beside the logits.
            preprocess_logits_for_metrics=lambda out, _: out[0] if isinstance(out, tuple) else out,
            callbacks=[] if patience is None else [EarlyStoppingCallback(patience)],
        )
    if trainer.is_world_process_zero():
        counts = f"{len(train):,} rows to train, {len(validation):,} to validate"
        tell(f"{counts}; {cut:,} texts cut at {head.longest} tokens")
        absent = sorted(set(task.labels) - {row.label for row in splits.train})
        if absent:
            tell(f"no row to train is labelled {', '.join(absent)}")
    return trainer


def label_loss(weights: Sequence[float] | None, *, smoothing: float) -> Loss:
    """Return the loss: cross-entropy with label smoothing and a weight for each label.

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
    """Weigh labels by the inverse of their share, as scikit-learn; one without rows weighs 1."""
    counts = Counter(row.label for row in rows)
    whole = len(rows) / len(counts)
    return [whole / counts[label] if counts[label] else 1.0 for label in task.labels]


def _label_metrics_of(evaluated: EvalPrediction) -> dict[str, float]:
    logits = np.asarray(evaluated.predictions)
    gold = np.asarray(evaluated.label_ids)
    return label_metrics(gold, logits.argmax(axis=-1), labels=logits.shape[-1])


def train(
    trainer: Trainer,
    head: HeadModel,
    folder: Path,
    settings: Mapping[str, Any],
    checkpoint: Path | None,
) -> float:
    """Train, save the run in `folder`, and return the seconds that the training took."""
    begin = BeginRun(settings, resumes=checkpoint is not None)
    trainer.add_callback(begin)
    trainer.accelerator.wait_for_everyone()  # until all have looked at what the folder holds
    started = time.monotonic()
    try:
        with _as_one_sentence(folder, begin, checkpoint):
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            seconds = time.monotonic() - started
            _check_finite(trainer, head.model)
            _save(trainer, head, folder)
    finally:
        # An unfinished run with a whole checkpoint is kept: it can be resumed.
        if trainer.is_world_process_zero() and last_checkpoint(folder / WORKING) is None:
            shutil.rmtree(folder / WORKING, ignore_errors=True)
    if trainer.is_world_process_zero():
        tell(
            f"{folder}: {head.trained_parameters:,} of {head.all_parameters:,} parameters trained "
            f"in {trainer.state.global_step:,} steps and {seconds:,.0f} s"
        )
    return seconds


# What transformers and torch raise for settings.
_REFUSALS = (ArithmeticError, ImportError, RuntimeError, TypeError, ValueError)


@contextmanager
def _as_one_sentence(
    folder: Path, begin: BeginRun | None = None, checkpoint: Path | None = None
) -> Iterator[None]:
    """Turn what stops a training into one sentence; before its first step, that is a setting."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        less = "halve per_device_train_batch_size and double gradient_accumulation_steps"
        raise ModelError(f"memory ran out; {less}, or lower cutoff_len.") from error
    except (HTTPError, ConnectionError, LocalTokenNotFoundError) as error:
        raise EmotionError(
            f"the hub cannot be written ({_reason(error)}); remove push_to_hub, or log in."
        ) from error
    except (*_REFUSALS, OSError, SafetensorError) as error:
        reason, begun = _reason(error), begin is not None and begin.done
        if checkpoint is not None and not begun:
            raise ModelError(
                f"{checkpoint} cannot be read ({reason}); remove it to go on from the one before."
            ) from error
        # On a full disk `torch.save` raises a RuntimeError of its C++ writer, without a class.
        if isinstance(error, SafetensorError) or "inline_container" in reason:
            raise EmotionError(
                f"{folder} cannot be written ({reason}); make room or name another output_dir."
            ) from error
        if begun or isinstance(error, OSError):
            raise
        raise CallError(f"training cannot begin with these settings: {reason}.") from error


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return " ".join(str(strerror or error).split()).rstrip(".")


def _check_finite(trainer: Trainer, model: torch.nn.Module) -> None:
    """Raise if a trained weight is NaN or infinite in any process (collective call)."""
    trained = [one.detach() for one in model.parameters() if one.requires_grad]
    # Under FSDP each process looks at its own part.
    own = [one.to_local() if isinstance(one, DTensor) else one for one in trained]
    sums = torch.stack([one.sum(dtype=torch.float32) for one in own])
    finite = sums.isfinite().all().float().to(trainer.args.device)
    if trainer.accelerator.reduce(finite).item() < trainer.accelerator.num_processes:
        raise ModelError(
            "the trained weights are no finite numbers any more, so the model is not saved; lower "
            "learning_rate, or train in bf16 instead of fp16, and begin anew with overwrite=true."
        )


def _save(trainer: Trainer, head: HeadModel, folder: Path) -> None:
    """Write model or adapter, configuration and tokenizer (collective call).

    What a run that replaces another has written to `.training` is moved from there.
    """
    backend = getattr(head.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # The last call's truncation would be saved, and be in force for everyone else.
        backend.no_truncation()
        backend.no_padding()
    head.tokenizer.model_max_length = head.longest
    written = Path(str(trainer.args.output_dir))
    if trainer.is_world_process_zero() and hasattr(head.model, "peft_config"):
        _save_config(head.model.get_base_model(), written)
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return
    # The trainer pickles its arguments; they hold paths of this machine and nothing a model needs.
    (written / "training_args.bin").unlink(missing_ok=True)
    if trainer.state.best_model_checkpoint:
        best = folder / Path(trainer.state.best_model_checkpoint).name
        trainer.state.best_model_checkpoint = str(best)
    trainer.save_state()
    if written == folder:
        return
    remove_run(folder)
    # A folder without config.json is no model, so it comes last.
    for path in sorted(written.iterdir(), key=lambda path: path.name == "config.json"):
        target = folder / path.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        path.replace(target)


def _save_config(base: Any, folder: Path) -> None:
    """Write the base's configuration, which names the labels, beside an adapter."""
    config = copy.deepcopy(base.config)
    config.architectures = [type(base).__name__]
    # Whoever loads an adapter's folder chooses how the base is held.
    for held in ("quantization_config", "_pre_quantization_dtype"):
        vars(config).pop(held, None)
    config.save_pretrained(folder)


def predict_test(
    trainer: Trainer,
    head: HeadModel,
    task: Task,
    rows: Sequence[Row],
    folder: Path,
    known: Mapping[str, Any],
) -> None:
    """Predict the test rows and write them with their sidecar; `known` is what it holds more."""
    features, cut = encode(rows, task, head.tokenizer, longest=head.longest)
    started = time.monotonic()
    probabilities = softmax(_predict_logits(trainer, features), axis=-1)
    if not trainer.is_world_process_zero():
        return
    took = time.monotonic() - started
    path = folder / PREDICTIONS
    lines = [
        {
            "id": number,
            "prompt": row.text,
            "predict": task.labels[int(numbers.argmax())],
            "label": row.label,
            "probabilities": numbers_by_label(task.labels, numbers),
        }
        for number, (row, numbers) in enumerate(zip(rows, probabilities, strict=True))
    ]
    with PredictionsWriter(path, overwrite=True) as writer:
        writer.write(lines)
    adapter = str(folder) if hasattr(head.model, "peft_config") else None
    sidecar = {
        "model": str(folder) if adapter is None else head.name,
        "adapter": adapter,
        "base_model": head.name,
        "task": task.as_mapping(),
        "task_fingerprint": task.fingerprint,
        "readout": "classification head",
        "dtype": str(head.model.dtype).removeprefix("torch."),
        "cutoff_len": head.longest,
        "seed": trainer.args.seed,
        "trained_parameters": head.trained_parameters,
        "model_parameters": head.all_parameters,
        "versions": versions(),
        "hardware": hardware(head.model),
        "processes": trainer.args.world_size,
        **known,
        "seconds": round(took, 3),
        "rows_per_second": round(len(lines) / took, 3),
        "truncated": cut,
        "rows": len(lines),
        "complete_rows": len(lines),
    }
    write_sidecar(path, sidecar)
    tell(f"{path}: {len(lines):,} rows; python -m llamafactory_emotion.evaluate {path}")


def _predict_logits(
    trainer: Trainer, features: Sequence[dict[str, Any]]
) -> "np.ndarray[Any, np.dtype[Any]]":
    """Compute the logits of encoded rows, in their order (collective call)."""
    # Long rows first, and rows of like length in a batch: little padding.
    order = sorted(range(len(features)), key=lambda row: -len(features[row]["input_ids"]))
    # Grouped by length, the trainer would evaluate in an order of its own and not say in which.
    arguments: Any = trainer.args
    arguments.train_sampling_strategy = "random"
    arguments.group_by_length = False  # as transformers 4 calls it
    rows: Any = [features[row] for row in order]
    try:
        predicted = trainer.predict(rows)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            "memory ran out; halve per_device_eval_batch_size, or lower cutoff_len."
        ) from error
    return np.asarray(predicted.predictions, dtype=np.float64)[np.argsort(order)]
