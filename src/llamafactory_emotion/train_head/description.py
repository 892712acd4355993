"""Say what a run was: versions, hardware, model, settings, for the sidecar of its predictions.

Stands beside `saving`.
"""

from pathlib import Path
from typing import Any

from transformers import Trainer

from llamafactory_emotion.scoring.models import hardware, versions
from llamafactory_emotion.task import Task
from llamafactory_emotion.train_head.model import HeadModel


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
        "versions": versions(),
        "hardware": hardware(head.model),
        "processes": trainer.args.world_size,
    }
