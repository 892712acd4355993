"""What a machine has: GPUs, processors, memory, packages. Stands below every check."""

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from packaging.requirements import Requirement

GIB = 1 << 30
# Compute capability from which a GPU has bfloat16 and FlashAttention-2, and FlashAttention-3.
AMPERE, HOPPER = (8, 0), (9, 0)


@dataclass(frozen=True)
class FlashAttention:
    """What LLaMA-Factory's `flash_attn` asks for by a short name.

    Attributes:
        name: Its name in sentences.
        module: The module that must import.
        capability: The CUDA compute capability from which GPUs run it.
        remedy: How it is installed.
    """

    name: str
    module: str
    capability: tuple[int, int]
    remedy: str


FLASH_ATTENTION: Mapping[str, FlashAttention] = MappingProxyType(
    {
        "fa2": FlashAttention(
            "FlashAttention-2", "flash_attn", AMPERE, "pip install 'llamafactory-emotion[fa2]'"
        ),
        "fa3": FlashAttention(
            "FlashAttention-3",
            "flash_attn_interface",
            HOPPER,
            "build flash-attn-3 from flash-attention's folder hopper",
        ),
    }
)


@dataclass(frozen=True)
class Gpu:
    """A graphics processor: its name, memory in GiB and CUDA compute capability."""

    name: str
    memory_gib: float
    capability: tuple[int, int] = AMPERE

    @property
    def is_ampere(self) -> bool:
        """Whether it computes in bfloat16 and runs FlashAttention-2."""
        return self.capability >= AMPERE


@dataclass(frozen=True)
class Machine:
    """The machine a recipe is judged for.

    Attributes:
        gpus: Its GPUs.
        cpus: Its processor cores.
        assumed: Whether it is another one than this.
    """

    gpus: tuple[Gpu, ...]
    cpus: int
    assumed: bool = False

    @property
    def has_gpu(self) -> bool:
        """Whether there is a GPU."""
        return bool(self.gpus)


def this_machine() -> Machine:
    """Give what this machine has, as torch sees it."""
    import torch

    properties = [
        torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())
    ]
    return Machine(
        tuple(Gpu(one.name, one.total_memory / GIB, (one.major, one.minor)) for one in properties),
        os.cpu_count() or 1,
    )


def assumed_machine(memory_gib: float) -> Machine:
    """Give a machine with one recent GPU of that much memory."""
    gpu = Gpu(f"an assumed GPU with {memory_gib:g} GiB", memory_gib, HOPPER)
    return Machine((gpu,), os.cpu_count() or 1, assumed=True)


def version_of(package: str) -> str | None:
    """Give the installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def own_requirement(package: str) -> Requirement | None:
    """Return the versions of a package that our own metadata allows, or None without metadata."""
    try:
        lines = importlib.metadata.requires("llamafactory-emotion") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((one for one in map(Requirement, lines) if one.name == package), None)


@cache
def import_failure(module: str) -> str | None:
    """Import a module in a process of its own; give why it fails, or None.

    A package built for another torch or CUDA may not only raise but crash.
    """
    if importlib.util.find_spec(module) is None:
        return "it is not installed"
    run = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if run.returncode == 0:
        return None
    lines = [line.strip() for line in run.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"it ends Python with {run.returncode}"
