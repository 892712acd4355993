"""Write what a run leaves: a folder that transformers reads, and the test predictions.

Stands above `training`. The folder appears whole: files are written beside their place and moved,
`config.json`, without which a folder is no model, last.
"""

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from transformers import Trainer

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.predictions.sidecar import write_sidecar
from llamafactory_emotion.predictions.writing import PredictionsWriter, numbers_by_label
from llamafactory_emotion.task import Task
from llamafactory_emotion.train_head.model import HeadModel

_CONFIG = "config.json"


def save_model(trainer: Trainer, head: HeadModel) -> None:
    """Write model or adapter, configuration and tokenizer; every process must call it.

    An adapter's folder holds the base's configuration with the task's labels beside
    `adapter_config.json`, so that its head can be built before it is filled.
    """
    folder = Path(str(trainer.args.output_dir))
    staging = folder / ".saving"
    try:
        if trainer.is_world_process_zero():
            shutil.rmtree(staging, ignore_errors=True)
        trainer.accelerator.wait_for_everyone()
        trainer.save_model(str(staging))
        if trainer.is_world_process_zero():
            _save_beside(staging, head)
            _move(staging, folder)
            trainer.save_state()
    finally:
        if trainer.is_world_process_zero():
            shutil.rmtree(staging, ignore_errors=True)


def _save_beside(staging: Path, head: HeadModel) -> None:
    model = head.model.get_base_model() if hasattr(head.model, "peft_config") else head.model
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    if hasattr(config, "quantization_config"):
        # Whoever loads an adapter's folder chooses how the base is held.
        del config.quantization_config
    config.save_pretrained(staging)
    backend = getattr(head.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # The last call's truncation would be saved, and be in force for everyone else.
        backend.no_truncation()
        backend.no_padding()
    head.tokenizer.model_max_length = head.longest
    head.tokenizer.save_pretrained(staging)
    # The trainer pickles its arguments; they hold paths of this machine and nothing a model needs.
    (staging / "training_args.bin").unlink(missing_ok=True)


def _move(staging: Path, folder: Path) -> None:
    for stale in [*folder.glob("*.safetensors"), folder / "adapter_config.json", folder / _CONFIG]:
        stale.unlink(missing_ok=True)
    for place in sorted(staging.iterdir(), key=lambda place: place.name == _CONFIG):
        place.replace(folder / place.name)


def write_test_predictions(
    path: Path,
    rows: Sequence[Row],
    logits: "np.ndarray[Any, np.dtype[Any]]",
    task: Task,
    sidecar: Mapping[str, Any],
) -> None:
    """Write a predictions file and its sidecar; `evaluate` reads them.

    Raises:
        EmotionError: A file cannot be written.
    """
    probabilities = softmax(logits, axis=-1)
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
    write_sidecar(path, {**sidecar, "rows": len(lines), "complete_rows": len(lines)})
