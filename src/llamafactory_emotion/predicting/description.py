"""Say what a run was: versions, hardware, model, settings, for the sidecar of its predictions.

Stands below `predict`.
"""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llamafactory_emotion import __version__
from llamafactory_emotion.predicting.options import PredictOptions
from llamafactory_emotion.scoring.scores import Scorer

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy")
_RESULTS_DEPEND_ON = (
    "template",
    "cutoff_len",
    "normalize",
    "calibrate",
    "few_shot",
    "shots",
    "seed",
    "generate",
    "quantization_bit",
    "tokens_per_batch",
    "chunk_rows",
    "max_samples",
)


def run_settings(scorer: Scorer, options: PredictOptions) -> dict[str, Any]:
    """Give what a run's rows depend on; a resumed run must have the same."""
    return {
        "model": scorer.loaded.base,
        "adapter": scorer.loaded.adapter,
        "task": scorer.task.name,
        "task_fingerprint": scorer.task.fingerprint,
        "dtype": str(scorer.loaded.model.dtype).removeprefix("torch."),
        **{key: getattr(options, key) for key in _RESULTS_DEPEND_ON},
    }


def run_description(scorer: Scorer, options: PredictOptions, recipe: Path | None) -> dict[str, Any]:
    """Give all that is known of a run when it begins."""
    return {
        **run_settings(scorer, options),
        "recipe": None if recipe is None else str(recipe),
        "trained_parameters": scorer.loaded.adapter_parameters,
        "model_parameters": sum(p.numel() for p in scorer.loaded.model.parameters()),
        "shared_prefix_tokens": scorer.shared_prefix_tokens,
        "readout": scorer.readout,
        "versions": _versions(),
        "hardware": _hardware(scorer.device.type),
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
    import torch

    if device == "cuda":
        count = torch.cuda.device_count()
        name = torch.cuda.get_device_name(0)
        return name if count == 1 else f"{count} x {name}"
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
