"""Say what a run was: versions, hardware, model, settings, for the sidecar of its predictions.

Stands beside `saving`.
"""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from llamafactory_emotion import __version__
from llamafactory_emotion.heads.model import HeadModel
from llamafactory_emotion.task import Task

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy")


def run_description(
    trainer: Trainer, head: HeadModel, task: Task, recipe: Path | None
) -> dict[str, Any]:
    """Give what is known of a run beside its figures."""
    adapted = hasattr(head.model, "peft_config")
    folder = str(trainer.args.output_dir)
    return {
        "model": head.name if adapted else folder,
        "adapter": folder if adapted else None,
        "base_model": head.name,
        "task": task.name,
        "task_fingerprint": task.fingerprint,
        "readout": "classification head",
        "dtype": str(head.model.dtype).removeprefix("torch."),
        "cutoff_len": head.longest,
        "seed": trainer.args.seed,
        "recipe": None if recipe is None else str(recipe),
        "trained_parameters": head.trained_parameters,
        "model_parameters": head.all_parameters,
        "versions": _versions(),
        "hardware": _hardware(trainer.args.device.type),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "llamafactory_emotion": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hardware(device: str) -> str:
    if device == "cuda":
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
