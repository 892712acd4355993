"""Keep runs apart: what a run depends on, where it writes, and from where a stopped one goes on.

A run that replaces another trains in `.training` inside its output folder; what is in the folder
stays until the new run is whole. Any other run trains in its output folder itself.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState, TrainingArguments

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import check_apart, check_output_folder, real_path, write_json
from llamafactory_emotion.predictions.sidecar import check_same_run, sidecar_path
from llamafactory_emotion.scoring.loading import find_checkpoints, fingerprint
from llamafactory_emotion.task import Task
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.data import Splits, data_files

FILE_NAME = "train_head.json"
PREDICTIONS = "test_predictions.jsonl"
WORKING = ".training"
# What a run's weights do not depend on: paths, and rows known by their digest.
_PASSED_OVER = (
    *("train", "validation", "test", "task", "labels", "dataset_dir", "text_column"),
    *("label_column", "encoding", "sheet", "cache_dir", "hf_hub_token", "trust_remote_code"),
    "overwrite",
)
_TRAINING = (
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim"),
    *("num_train_epochs", "max_steps", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "world_size", "weight_decay", "max_grad_norm"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "label_smoothing_factor"),
    *("train_sampling_strategy", "group_by_length", "seed", "data_seed", "fp16", "bf16"),
)


def run_settings(
    arguments: HeadArguments, training: TrainingArguments, task: Task, splits: Splits
) -> dict[str, Any]:
    """Return what a run's weights depend on, ready to be written as JSON."""
    settings = {
        **{key: value for key, value in asdict(arguments).items() if key not in _PASSED_OVER},
        **{key: getattr(training, key) for key in _TRAINING if hasattr(training, key)},
        "task": task.name,
        "model_fingerprint": fingerprint(arguments.model_name_or_path),
        "task_fingerprint": task.fingerprint,
        "train_rows": _digest(splits.train),
        "validation_rows": _digest(splits.validation),
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def _digest(rows: Sequence[Row]) -> str:
    digest = sha256()
    for row in rows:
        digest.update(f"{row.label}\x1f{row.text}\x1e".encode())
    return digest.hexdigest()[:16]


def choose_folder(
    arguments: HeadArguments, folder: Path, checkpoint: Path | None, recipe: Path | None
) -> Path:
    """Return the folder to train in: `folder`, or `.training` inside to replace what it holds."""
    check_output_folder(folder, overwrite=True)
    named = (arguments.model_name_or_path, arguments.task, arguments.labels, recipe)
    read = [path for path in named if path and Path(path).exists()]
    check_apart([folder], [*read, *(path for _, path in data_files(arguments))])
    unfinished = folder / WORKING
    run = None if checkpoint is None else real_path(checkpoint).parent
    if run == real_path(unfinished):
        return unfinished
    if run == real_path(folder) or not folder.is_dir() or not any(folder.iterdir()):
        return folder
    if not arguments.overwrite:
        raise CallError(
            f"output_dir={folder} holds files; name another folder, go on with "
            "resume_from_checkpoint=true, or allow overwriting with overwrite=true."
        )
    return unfinished


def find_checkpoint(training: TrainingArguments) -> Path | None:
    """Return the checkpoint to go on from, or None to begin."""
    wanted = training.resume_from_checkpoint
    if wanted is None:
        return None
    folder = Path(str(training.output_dir))
    checkpoint: Path | None = Path(wanted)
    if str(wanted).lower() == "true":
        checkpoint = last_checkpoint(folder / WORKING) or last_checkpoint(folder)
    if checkpoint is None or not _is_whole(checkpoint):
        raise CallError(
            f"resume_from_checkpoint={wanted}: {checkpoint or folder} holds no checkpoint of a "
            "run; leave the key out to begin anew."
        )
    return checkpoint


def last_checkpoint(folder: Path) -> Path | None:
    """Return the whole checkpoint of the most steps, or None."""
    return next(filter(_is_whole, reversed(find_checkpoints(folder).values())), None)


def _is_whole(checkpoint: Path) -> bool:
    return (checkpoint / "trainer_state.json").is_file()  # which is written last


def check_resumed(checkpoint: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that was written with other settings."""
    record = checkpoint.parent / FILE_NAME
    try:
        before = dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CallError(
            f"{record} is not there or cannot be read, so what the run was begun with is not "
            "known; begin anew in another output_dir."
        ) from error
    # A record that lacks a setting tells nothing of it.
    check_same_run(record.parent, {**dict.fromkeys(settings), **before}, settings)


def remove_run(folder: Path) -> None:
    """Remove what a run has left in a folder; files of any other name stay."""
    for checkpoint in find_checkpoints(folder).values():
        shutil.rmtree(checkpoint)
    predictions = folder / PREDICTIONS
    written = [folder / "adapter_config.json", folder / "config.json", predictions]
    for path in [*folder.glob("*.safetensors"), *written, sidecar_path(predictions)]:
        path.unlink(missing_ok=True)


class BeginRun(TrainerCallback):
    """Write a run's record when its first step can be made: a wrong setting leaves nothing."""

    def __init__(self, settings: Mapping[str, Any], *, resumes: bool) -> None:
        self.done = False
        self._settings, self._resumes = settings, resumes

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **parts: Any
    ) -> None:
        """Begin the run."""
        if state.max_steps < 1 or not len(parts["train_dataloader"]):
            raise CallError(
                "no step would be made: give num_train_epochs or max_steps, and with "
                "dataloader_drop_last a per_device_train_batch_size that the rows can fill."
            )
        if state.is_world_process_zero:
            working = Path(str(args.output_dir))
            working.mkdir(parents=True, exist_ok=True)
            if not self._resumes:
                remove_run(working)  # an unfinished one, which this one replaces too
            record = json.dumps(self._settings, ensure_ascii=False, indent=2)
            write_json(working / FILE_NAME, record, overwrite=True)
        self.done = True
