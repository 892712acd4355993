"""Leave the record of a run with our template in what it saves: see `run_record`.

A callback writes it into every checkpoint and the output folder, and into that of a prediction run
as well, so that whoever judges the predictions knows their task. `llamafactory-cli export` gets a
model that writes the record beside its weights. A record that cannot be written is a warning.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llamafactory.extras.logging import get_logger
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from llamafactory_emotion.data.dataset_folder import read_dataset_info, task_of_entry
from llamafactory_emotion.errors import EmotionError
from llamafactory_emotion.files import real_path
from llamafactory_emotion.run_record import (
    RunRecord,
    merged,
    merged_tasks,
    read_record,
    write_record,
)
from llamafactory_emotion.scoring.models import versions
from llamafactory_emotion.task import Task

_TUNER, _LOADER = "llamafactory.train.tuner", "load_model"
_LOGGER = get_logger("llamafactory.emotion")


class RecordOfTheRun(TrainerCallback):
    """Write a run's record into its checkpoints and its output folder.

    Args:
        callbacks: LLaMA-Factory's own of the run, one of which holds the run's arguments.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        reporter = next((one for one in callbacks if hasattr(one, "data_args")), None)
        self._data: Any = getattr(reporter, "data_args", None)
        self._model: Any = getattr(reporter, "model_args", None)

    def only_task(self) -> Task | None:
        """Return the task of the run's data sets; None where it is not known or they have more."""
        names = [*(getattr(self._data, key, None) or () for key in ("dataset", "eval_dataset"))]
        try:
            tasks = self._record([name for part in names for name in part]).tasks
        except Exception:  # which is told when the record is written
            return None
        return tasks[0] if len(tasks) == 1 else None

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Write it into the checkpoint that was just saved."""
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        self._write(folder, state, self._of_training)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Write it into the output folder."""
        self._write(Path(args.output_dir), state, self._of_training)

    def on_predict(self, args: Any, state: Any, *_others: Any, **_: Any) -> None:
        """Write that of a prediction run, unless its folder is the model's and has one."""
        folder = Path(args.output_dir)
        own = {real_path(one) for one in _folders(self._model)}
        if not args.do_train and real_path(folder) not in own:
            self._write(folder, state, self._of_prediction)

    def _write(self, folder: Path, state: Any, record: Callable[[], RunRecord]) -> None:
        if state.is_world_process_zero:
            with_warning(lambda: write_record(folder, record()))

    def _of_training(self) -> RunRecord:
        return self._record(self._data.dataset)

    def _of_prediction(self) -> RunRecord:
        return self._record(self._data.eval_dataset or self._data.dataset)

    def _record(self, names: Sequence[str] | None) -> RunRecord:
        if self._data is None:
            raise EmotionError("none of LLaMA-Factory's callbacks has the run's arguments")
        tasks = merged_tasks(tasks_of(names or (), self._data.dataset_dir))
        if not tasks:  # what the model was trained for before is the best guess
            tasks = getattr(merged(_records(self._model)), "tasks", ())
        return RunRecord(tasks, self._data.template, tuple(names or ()), _versions())


def tasks_of(names: Sequence[str], folder: object) -> Iterator[Task]:
    """Yield the tasks that data sets ask, as far as `dataset_info.json` in a folder says them."""
    if not isinstance(folder, str) or not Path(folder).is_dir():  # on a hub
        return
    entries = read_dataset_info(Path(folder)).entries
    for name in names:
        try:
            task = task_of_entry(entries, name, Path(folder)) if name in entries else None
        except EmotionError as error:
            _LOGGER.warning_rank0_once(f"the record of the run lacks a task: {error}")
            continue
        if task is not None:
            yield task


def _folders(model: Any) -> list[str]:
    """List where a run's adapters come from, or its model where it has none."""
    adapters = getattr(model, "adapter_name_or_path", None)
    return list(adapters or [str(getattr(model, "model_name_or_path", ""))])


def _records(model: Any) -> Iterator[RunRecord]:
    for folder in _folders(model):
        record = read_record(folder)
        if record is not None:
            yield record


def _versions() -> Mapping[str, str]:
    return {**versions(), "llamafactory": version("llamafactory")}


def with_warning(work: Callable[[], object]) -> None:
    """Do what a run can go on without; one line in the log says what went wrong."""
    try:
        work()
    except Exception as error:  # whatever it is, the run is worth more
        _LOGGER.warning_rank0(f"no record of the run: {type(error).__name__}: {error}")


def offer_record() -> None:
    """Let `llamafactory-cli export` write the record of what it exports.

    Called when the run's template is prepared, before its model is loaded.
    """
    tuner: Any = sys.modules.get(_TUNER)
    loader = getattr(tuner, _LOADER, None)
    if loader is not None and not isinstance(loader, _LoaderOfExports):
        setattr(tuner, _LOADER, _LoaderOfExports(loader))


class _LoaderOfExports:
    """Load a model for an export, and let it save its record with its weights."""

    def __init__(self, loader: Callable[..., Any]) -> None:
        self._loader = loader

    def __call__(self, tokenizer: Any, model_args: Any, *others: Any, **options: Any) -> Any:
        model = self._loader(tokenizer, model_args, *others, **options)
        save = model.save_pretrained

        def save_with_record(save_directory: str, *others: Any, **options: Any) -> Any:
            saved = save(save_directory, *others, **options)
            with_warning(lambda: _copy_record(model_args, save_directory))
            return saved

        model.save_pretrained = save_with_record
        return model


def _copy_record(model_args: Any, folder: str) -> None:
    record = merged(_records(model_args))
    if record is not None:
        write_record(folder, record)
