"""`python -m llamafactory_emotion.train_head`: train a classifier with a head of its own.

It reads recipe, rows and model, trains with transformers' trainer, and writes a folder that
transformers and `predict` read. The keys are ours and those of `TrainingArguments`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from llamafactory_emotion.options import Call
from llamafactory_emotion.terminal import run_command
from llamafactory_emotion.train_head.arguments import HeadArguments, read_training_arguments


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
    from llamafactory_emotion.train_head import record

    training = read_training_arguments(call)
    folder = Path(str(training.output_dir))
    checkpoint = record.find_checkpoint(training)
    working = record.choose_folder(arguments, folder, checkpoint, call.recipe)
    training.output_dir = str(working)
    training.hub_model_id = training.hub_model_id or folder.absolute().name

    from transformers import set_seed

    from llamafactory_emotion.task_choice import choose_task
    from llamafactory_emotion.train_head.data import read_splits, sources_of
    from llamafactory_emotion.train_head.model import load_model
    from llamafactory_emotion.train_head.training import build_trainer, predict_test, train

    task = choose_task(arguments.task, arguments.labels, sources_of(arguments))
    splits = read_splits(arguments, task)
    settings = record.run_settings(arguments, training, task, splits)
    if checkpoint is not None:
        record.check_resumed(checkpoint, settings)
    set_seed(training.seed)  # a new head is drawn at random when the model is loaded
    head = load_model(arguments, training, task)
    trainer = build_trainer(head, arguments, training, task, splits)
    seconds = train(trainer, head, folder, settings, checkpoint)
    if splits.test:
        recipe = None if call.recipe is None else str(call.recipe)
        known = {"recipe": recipe, "train_seconds": round(seconds, 3)}
        predict_test(trainer, head, task, splits.test, folder, known)
    return 0


if __name__ == "__main__":
    sys.exit(main())
