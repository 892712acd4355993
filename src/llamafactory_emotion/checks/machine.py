"""What a machine has: GPUs, processors, memory, packages. Stands below every check."""

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

GIB = 1 << 30
# Compute capability from which a GPU has bfloat16 and FlashAttention-2.
AMPERE = (8, 0)


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
    gpu = Gpu(f"an assumed GPU with {memory_gib:g} GiB", memory_gib)
    return Machine((gpu,), os.cpu_count() or 1, assumed=True)


def version_of(package: str) -> str | None:
    """Give the installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
