"""Keep runs apart: what an output folder was begun with, and where a stopped run goes on.

Stands below `training`. A folder that holds files is used only when that was allowed, and a run is
resumed only with the settings and the rows it was begun with.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llamafactory_emotion.errors import CallError, EmotionError
from llamafactory_emotion.files import check_parents, real_place, write_whole
from llamafactory_emotion.predictions.sidecar import sidecar_path
from llamafactory_emotion.scoring.loading import find_checkpoints, fingerprint
from llamafactory_emotion.task import Task
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.data import Splits, digest

FILE_NAME = "train_head.json"
PREDICTIONS = "test_predictions.jsonl"
# What a run's weights do not depend on: places, and rows known by their digest.
_PASSED_OVER = (
    *("train", "validation", "test", "task", "dataset_dir", "text_column", "label_column"),
    *("cache_dir", "hf_hub_token", "trust_remote_code", "overwrite"),
)
_TRAINING = (
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim"),
    *("num_train_epochs", "max_steps", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "world_size", "weight_decay", "max_grad_norm"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "label_smoothing_factor"),
    *("train_sampling_strategy", "seed", "data_seed", "fp16", "bf16"),
)


def run_settings(
    arguments: HeadArguments, training: TrainingArguments, task: Task, splits: Splits
) -> dict[str, Any]:
    """Give what a run's weights depend on, as it can be written to JSON."""
    ours = {key: value for key, value in asdict(arguments).items() if key not in _PASSED_OVER}
    theirs = {key: getattr(training, key) for key in _TRAINING}
    read = {
        "model_fingerprint": fingerprint(arguments.model_name_or_path),
        "task_fingerprint": task.fingerprint,
        "train_rows": digest(splits.train),
        "validation_rows": digest(splits.validation),
    }
    settings = {**ours, **theirs, "task": task.name, **read}
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def check_folder(arguments: HeadArguments, training: TrainingArguments) -> None:
    """Refuse an `output_dir` that would be written over.

    Raises:
        CallError: It is a file, or holds files and neither overwriting nor resuming was asked for.
    """
    folder = Path(str(training.output_dir))
    if folder.exists() and not folder.is_dir():
        raise CallError(f"output_dir={folder} is a file; name a folder.")
    check_parents(folder)
    model = Path(arguments.model_name_or_path)
    if arguments.overwrite and real_place(model).is_relative_to(real_place(folder)):
        raise CallError(f"output_dir={folder} holds the model that is read; name another folder.")
    if arguments.overwrite or _goes_on_in(folder, training) or not folder.is_dir():
        return
    if any(folder.iterdir()):
        raise CallError(
            f"output_dir={folder} holds files; name another folder, go on with "
            "resume_from_checkpoint=true, or allow overwriting with overwrite=true."
        )


def _goes_on_in(folder: Path, training: TrainingArguments) -> bool:
    """Say whether a run goes on in its own folder, not from a checkpoint of another one."""
    wanted = training.resume_from_checkpoint
    if wanted is None:
        return False
    return str(wanted).lower() == "true" or real_place(wanted).parent == real_place(folder)


def find_checkpoint(training: TrainingArguments, settings: Mapping[str, Any]) -> str | None:
    """Give the checkpoint to go on from, or None to begin.

    Raises:
        CallError: There is none, or it was written with other settings, which are named.
    """
    wanted = training.resume_from_checkpoint
    if wanted is None:
        return None
    folder = Path(str(training.output_dir))
    checkpoint = last_checkpoint(folder) if str(wanted).lower() == "true" else Path(wanted)
    if checkpoint is None or not (checkpoint / "trainer_state.json").is_file():
        raise CallError(
            f"resume_from_checkpoint={wanted}: {checkpoint or folder} holds no checkpoint of a "
            "run; leave the key out to begin anew."
        )
    _check_same_run(checkpoint.parent / FILE_NAME, settings)
    return str(checkpoint)


def last_checkpoint(folder: Path) -> Path | None:
    """Give the whole checkpoint of the most steps in a folder, or None.

    A checkpoint that a full disk or a kill cut short lacks the file that is written last.
    """
    found = find_checkpoints(folder)
    whole = [step for step, place in found.items() if (place / "trainer_state.json").is_file()]
    return found[max(whole)] if whole else None


def _check_same_run(record: Path, settings: Mapping[str, Any]) -> None:
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict):
        raise CallError(
            f"{record} is not there or cannot be read, so what the run was begun with is not "
            "known; begin anew in another output_dir."
        )
    changed = [
        f"{key} was {before.get(key)!r} and is {value!r}"
        for key, value in settings.items()
        if before.get(key) != value
    ]
    if changed:
        raise CallError(
            f"{record.parent} was begun with another recipe ({'; '.join(changed)}); resume with "
            "the same one, or name another output_dir."
        )


class BeginFolder(TrainerCallback):
    """Begins a run's folder when its first step can be made: a wrong setting leaves it empty.

    Args:
        folder: The run's folder.
        settings: What it is begun with.
        overwrite: Whether it may hold files.

    Attributes:
        done: Whether the folder was begun.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        self.done = False
        self._begin = partial(_begin_folder, folder, settings, overwrite=overwrite)

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the trainer's signature
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **parts: Any,
    ) -> None:
        """Begin the folder.

        Raises:
            CallError: No step would be made.
            EmotionError: The folder cannot be written.
        """
        if state.max_steps < 1:
            raise CallError("num_train_epochs=0 trains nothing; give epochs, or max_steps.")
        if not len(parts["train_dataloader"]):
            raise CallError(
                "there are fewer rows to train than a batch holds, and dataloader_drop_last drops "
                "them; lower per_device_train_batch_size."
            )
        if state.is_world_process_zero:
            self._begin()
        self.done = True


def _begin_folder(folder: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make a run's folder and write down what it is begun with.

    With `overwrite`, checkpoints and test predictions of an earlier run go: they must not be taken
    for this one's. Its model stays until there is a new one.

    Raises:
        EmotionError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            for place in find_checkpoints(folder).values():
                shutil.rmtree(place)
            for place in (folder / PREDICTIONS, sidecar_path(folder / PREDICTIONS)):
                place.unlink(missing_ok=True)
    except OSError as error:
        raise EmotionError(f"{folder} cannot be written ({error.strerror}).") from error
    with write_whole(folder / FILE_NAME, overwrite=True) as file:
        json.dump(settings, file, ensure_ascii=False, indent=2)
        file.write("\n")
