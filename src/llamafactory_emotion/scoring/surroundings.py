"""Say what a run ran on: versions and hardware, for the sidecar of its predictions."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llamafactory_emotion import __version__

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


def hardware(device: str) -> str:
    """Name the GPUs, or the processor and the threads that torch uses of it.

    Args:
        device: The type of a torch device: `cpu`, `cuda`.
    """
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
