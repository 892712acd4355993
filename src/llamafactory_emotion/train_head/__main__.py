"""`python -m llamafactory_emotion.train_head`: train a classifier with a head of its own.

The command over `heads`: it reads recipe, rows and model, trains with transformers' trainer, and
writes a folder that transformers and `predict` read. The grammar is `predict`'s, the keys are
ours and those of transformers' `TrainingArguments`.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.errors import CallError, EmotionError, ModelError
from llamafactory_emotion.options import Call
from llamafactory_emotion.terminal import run_command
from llamafactory_emotion.train_head.arguments import HeadArguments, read_training_arguments

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

    from llamafactory_emotion.task import Task
    from llamafactory_emotion.train_head.data import Splits
    from llamafactory_emotion.train_head.model import HeadModel
    from llamafactory_emotion.train_head.record import BeginFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write; return the exit code."""
    return run_command(
        "train_head",
        HeadArguments,
        _run,
        argv,
        about="Train a classifier with a head of its own, encoder or decoder; with test= its "
        "predictions are written too.",
        notes="All keys of transformers' TrainingArguments are taken as well: output_dir (needed), "
        "learning_rate,\nnum_train_epochs, label_smoothing_factor, resume_from_checkpoint, ... "
        "Recipes are in examples/head.",
    )


def _run(arguments: HeadArguments, call: Call) -> int:
    from transformers import set_seed

    from llamafactory_emotion.task import load_task
    from llamafactory_emotion.train_head.data import read_splits
    from llamafactory_emotion.train_head.record import check_folder, find_checkpoint, run_settings

    training = read_training_arguments(call)
    task = load_task(arguments.task)
    check_folder(arguments, training)
    splits = read_splits(arguments, task)
    settings = run_settings(arguments, training, task, splits)
    checkpoint = find_checkpoint(training, settings)
    set_seed(training.seed)  # a new head is drawn at random when the model is loaded
    head = _load(arguments, training, task)
    trainer = _trainer(head, arguments, training, task, splits)
    seconds = _train(trainer, head, settings, checkpoint, overwrite=arguments.overwrite)
    if splits.test:
        _predict_test(trainer, head, task, splits, call, seconds)
    return 0


def _load(arguments: HeadArguments, training: "TrainingArguments", task: "Task") -> "HeadModel":
    from llamafactory_emotion.train_head import adapters
    from llamafactory_emotion.train_head.blocks import freeze_blocks
    from llamafactory_emotion.train_head.model import (
        HeadModel,
        load_classifier,
        load_tokenizer,
        longest_input,
        resolve_model,
    )

    name = resolve_model(arguments.source)
    quantization = adapters.quantization(arguments, training)
    tokenizer = load_tokenizer(name, arguments)
    model, new = load_classifier(name, tokenizer, task, arguments, training, quantization)
    longest = longest_input(model, tokenizer, arguments.cutoff_len)
    if arguments.freeze_blocks:
        freeze_blocks(model, arguments.freeze_blocks)
    if arguments.finetuning_type == "lora":
        model = adapters.add_lora(model, new, arguments, training)
    return HeadModel(model, tokenizer, longest, name)


def _trainer(
    head: "HeadModel",
    arguments: HeadArguments,
    training: "TrainingArguments",
    task: "Task",
    splits: "Splits",
) -> "Trainer":
    from llamafactory_emotion.train_head.data import encode
    from llamafactory_emotion.train_head.training import balanced_weights, build_trainer

    train, cut = encode(splits.train, task, head.tokenizer, longest=head.longest)
    validation, _ = encode(splits.validation, task, head.tokenizer, longest=head.longest)
    weighted = arguments.class_weights == "balanced"
    weights = balanced_weights(splits.train, task) if weighted else None
    with _settings_as_call_error():
        trainer = build_trainer(
            head, arguments, training, train=train, validation=validation, weights=weights
        )
    if trainer.is_world_process_zero():
        counts = f"{len(train):,} rows to train, {len(validation):,} to validate"
        print(f"{counts}; {cut:,} texts cut at {head.longest} tokens", file=sys.stderr)
        absent = sorted(set(task.labels) - {row.label for row in splits.train})
        if absent:
            print(f"no row to train is labelled {', '.join(absent)}", file=sys.stderr)
    return trainer


def _train(
    trainer: "Trainer",
    head: "HeadModel",
    settings: Mapping[str, Any],
    checkpoint: str | None,
    *,
    overwrite: bool,
) -> float:
    """Train and save; give the seconds that the training took."""
    from llamafactory_emotion.train_head.record import BeginFolder
    from llamafactory_emotion.train_head.saving import save_model
    from llamafactory_emotion.train_head.training import check_finite

    folder = Path(str(trainer.args.output_dir))
    begin = BeginFolder(folder, settings, overwrite=overwrite)
    trainer.add_callback(begin)
    # All processes have checked the folder before one of them writes to it.
    trainer.accelerator.wait_for_everyone()
    started = time.monotonic()
    with (
        _what_stops_a_training(folder, begin, checkpoint),
        _memory_as_model_error(
            "halve per_device_train_batch_size and double gradient_accumulation_steps"
        ),
    ):
        trainer.train(resume_from_checkpoint=checkpoint)
        seconds = time.monotonic() - started
        check_finite(trainer, head.model)
        save_model(trainer, head)
    if trainer.is_world_process_zero():
        print(
            f"{folder}: {head.trained_parameters:,} of {head.all_parameters:,} parameters trained "
            f"in {trainer.state.global_step:,} steps and {seconds:,.0f} s",
            file=sys.stderr,
        )
    return seconds


@contextmanager
def _what_stops_a_training(
    folder: Path, begin: "BeginFolder", checkpoint: str | None
) -> Iterator[None]:
    """Turn what cannot be read, set up or written into one sentence; let the rest through."""
    from safetensors import SafetensorError

    try:
        with _hub_as_one_sentence():
            yield
    except (*_REFUSALS, OSError, SafetensorError) as error:
        reason = _reason(error)
        if checkpoint is not None and not begin.done:
            raise ModelError(
                f"{checkpoint} cannot be read ({reason}); remove it to go on from the one before."
            ) from error
        if _is_of_the_disk(error):
            raise EmotionError(f"{folder} cannot be written ({reason}).") from error
        if isinstance(error, OSError) or begin.done:
            raise
        raise _wrong_settings(error) from error


def _is_of_the_disk(error: Exception) -> bool:
    from safetensors import SafetensorError

    if isinstance(error, RuntimeError):
        return "inline_container" in str(error)  # what torch.save says of a full disk
    is_of_system = isinstance(error, OSError) and error.errno is not None
    return is_of_system or isinstance(error, SafetensorError)


# What transformers raises for settings when it sets up.
_REFUSALS = (ArithmeticError, ImportError, RuntimeError, TypeError, ValueError)


@contextmanager
def _settings_as_call_error() -> Iterator[None]:
    """Turn what transformers finds wrong with its settings when it sets up into one sentence."""
    try:
        with _hub_as_one_sentence():
            yield
    except _REFUSALS as error:
        raise _wrong_settings(error) from error


def _wrong_settings(error: Exception) -> CallError:
    return CallError(f"training cannot begin with these settings: {_reason(error)}.")


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return " ".join(str(strerror or error).split()).rstrip(".")


@contextmanager
def _hub_as_one_sentence() -> Iterator[None]:
    from httpx import HTTPError
    from huggingface_hub.errors import LocalTokenNotFoundError

    try:
        yield
    except (HTTPError, ConnectionError, LocalTokenNotFoundError) as error:
        raise EmotionError(
            f"the hub cannot be written ({_reason(error)}); remove push_to_hub, or log in."
        ) from error


@contextmanager
def _memory_as_model_error(remedy: str) -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(f"memory ran out; {remedy}, or lower cutoff_len.") from error


def _predict_test(
    trainer: "Trainer",
    head: "HeadModel",
    task: "Task",
    splits: "Splits",
    call: Call,
    seconds: float,
) -> None:
    from llamafactory_emotion.train_head.data import encode
    from llamafactory_emotion.train_head.description import run_description
    from llamafactory_emotion.train_head.record import PREDICTIONS
    from llamafactory_emotion.train_head.saving import write_test_predictions
    from llamafactory_emotion.train_head.training import predict_logits

    features, cut = encode(splits.test, task, head.tokenizer, longest=head.longest)
    started = time.monotonic()
    with _memory_as_model_error("halve per_device_eval_batch_size"):
        logits = predict_logits(trainer, features)
    if not trainer.is_world_process_zero():
        return
    took = time.monotonic() - started
    path = Path(str(trainer.args.output_dir)) / PREDICTIONS
    sidecar = {
        **run_description(trainer, head, task, call.recipe),
        "train_seconds": round(seconds, 3),
        "seconds": round(took, 3),
        "rows_per_second": round(len(features) / took, 3),
        "truncated": cut,
    }
    write_test_predictions(path, splits.test, logits, task, sidecar)
    print(
        f"{path}: {len(features):,} rows; python -m llamafactory_emotion.evaluate {path}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
