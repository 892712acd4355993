"""Say what a run ran on: versions and hardware, for the sidecar of its predictions."""

import platform
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from llamafactory_emotion import __version__

if TYPE_CHECKING:
    from torch import nn

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """Give the versions of Python, this package and those whose arithmetic counts."""
    found = {"python": platform.python_version(), "llamafactory_emotion": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware(model: "nn.Module") -> str:
    """Name the GPUs that a model lies on, or the processor and the threads torch uses of it."""
    import torch

    gpus = {weight.device for weight in model.parameters() if weight.device.type == "cuda"}
    if gpus:
        names = Counter(torch.cuda.get_device_name(gpu) for gpu in gpus)
        return ", ".join(name if n == 1 else f"{n} x {name}" for name, n in names.items())
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
