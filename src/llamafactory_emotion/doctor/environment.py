"""Is what is installed able to run at all, whatever the recipe says?"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

from llamafactory_emotion import autoload
from llamafactory_emotion.doctor.context import GIB, Context, Finding, error, note, warning
from llamafactory_emotion.doctor.loading import is_enabled
from llamafactory_emotion.files import nearest_there
from llamafactory_emotion.plugin import host

# Compiled for one torch and one CUDA; installed by these extras.
_COMPILED = {"flash_attn": "fa2", "deepspeed": "deepspeed", "bitsandbytes": "bnb"}
_LITTLE_SPACE = 5 * GIB


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def required_by(distribution: str, extra: str = "") -> dict[str, Requirement]:
    """Return what a distribution and an extra of it require, by package; empty without it."""
    lines = importlib.metadata.requires(distribution) if version_of(distribution) else ()
    required = map(Requirement, lines or ())
    return {
        one.name: one for one in required if not one.marker or one.marker.evaluate({"extra": extra})
    }


def is_outside(version: str | None, requirement: Requirement) -> bool:
    """Whether a package is missing or of a version that a requirement excludes."""
    return version is None or not requirement.specifier.contains(version, prereleases=True)


@cache
def import_failure(module: str) -> str | None:
    """Import a module in a process of its own; return why it fails, or None.

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


def check_python(_: Context) -> Iterator[Finding]:
    """Python itself."""
    yield note(f"Python {sys.version.split()[0]} at {sys.executable}")


def check_llamafactory(_: Context) -> Iterator[Finding]:
    """LLaMA-Factory, of a version that is tested."""
    version = version_of("llamafactory")
    if version is None:
        yield error("LLaMA-Factory is not installed", "pip install llamafactory-emotion")
        return
    tested = required_by("llamafactory-emotion").get("llamafactory")
    if tested is not None and is_outside(version, tested):
        yield warning(
            f"LLaMA-Factory {version} is outside {tested.specifier}, which is tested",
            f"pip install '{tested}'",
        )
    else:
        yield note(f"LLaMA-Factory {version}")


def check_versions(_: Context) -> Iterator[Finding]:
    """Versions that LLaMA-Factory asks of others: it stops where its start-up check refuses one."""
    required = required_by("llamafactory")
    # Ours name what LLaMA-Factory's predict step imports and does not install.
    needed = {**required_by("llamafactory-emotion"), **required}.values()
    others = (one for one in needed if one.name not in ("torch", "llamafactory"))
    missing = [one for one in others if version_of(one.name) is None]
    for requirement in missing:
        yield error(
            f"{requirement.name} is not installed, of {requirement.specifier or 'any version'}",
            f"pip install '{requirement}'",
        )
    refused = None if missing or version_of("llamafactory") is None else host.refused_version()
    if refused is not None:
        named = (one for one in required.values() if refused.startswith(one.name))
        yield error(
            f"LLaMA-Factory does not start: {refused}",
            " ".join(["pip install", *(f"'{one}'" for one in named)]),
        )


def check_torch(_: Context) -> Iterator[Finding]:
    """Torch, and torchaudio, which imports under few releases of it."""
    torch, audio, vision = map(version_of, ("torch", "torchaudio", "torchvision"))
    if torch is None:
        yield error("torch is not installed", "pip install 'torch<2.12'")
        return
    yield note(f"torch {torch}, torchvision {vision}, torchaudio {audio}")
    if audio is not None and (failure := import_failure("torchaudio")):
        yield error(
            f"torchaudio does not import: {failure}",
            "pip install 'torch<2.12' torchvision torchaudio in one command: torchaudio ends with "
            "2.11 and refuses any newer torch",
        )


def check_gpu(context: Context) -> Iterator[Finding]:
    """The GPUs."""
    if not context.machine.gpus:
        yield note("torch sees no GPU: everything runs on the CPU")
    for gpu in context.machine.gpus:
        yield note(f"{gpu.name}, {gpu.memory_gib:.0f} GiB")


def check_compiled(_: Context) -> Iterator[Finding]:
    """Packages that are built for one torch and CUDA, really imported where they are installed."""
    for package, extra in _COMPILED.items():
        version = version_of(package)
        if version is not None and (failure := import_failure(package)):
            yield error(
                f"{package} {version} does not import: {failure}",
                f"pip uninstall {package}, then pip install 'llamafactory-emotion[{extra}]' (it is "
                "built for the torch that is installed)",
            )


def check_hook(_: Context) -> Iterator[Finding]:
    """The start-up hook, and whether it is active."""
    file = Path(sysconfig.get_path("purelib")) / "llamafactory_emotion.pth"
    if autoload.is_switched_off():
        yield warning(
            f"{autoload.SWITCH}={os.environ[autoload.SWITCH]} turns the start-up hook off: "
            "LLaMA-Factory does not know the template",
            f"unset {autoload.SWITCH}, or call llamafactory_emotion.register() yourself",
        )
    elif not file.is_file():
        yield error(
            f"{file} is not there, so LLaMA-Factory does not know the template",
            "install the package with pip into the environment that runs llamafactory-cli",
        )
    else:
        yield note(f"{file}: {file.read_text(encoding='utf-8').strip()}")
    if is_enabled("USE_V1"):
        yield error(
            "USE_V1=1: the plug-in does not reach LLaMA-Factory's v1 engine", "unset USE_V1"
        )


def check_launcher(_: Context) -> Iterator[Finding]:
    """The programs that LLaMA-Factory starts by name."""
    for program in ("llamafactory-cli", "torchrun"):
        if shutil.which(program) is None:
            yield warning(
                f"{program} is not on the path; several GPUs are started through torchrun",
                f"put {Path(sys.executable).parent} on the path, or activate the environment",
            )


def check_output(context: Context) -> Iterator[Finding]:
    """Output folder not writable."""
    named = context.values.get("export_dir") or context.values.get("output_dir")
    if not named:
        return
    output = Path(str(named)).absolute()
    there = nearest_there(output)
    if not there.is_dir():
        yield error(f"{there} is a file and cannot hold {output}", "name another folder")
    elif not os.access(there, os.W_OK):
        yield error(f"{there} cannot be written", "change its rights or name another")


def check_disk(context: Context) -> Iterator[Finding]:
    """Space for checkpoints and downloads."""
    there = nearest_there(Path(str(context.values.get("output_dir") or ".")))
    free = shutil.disk_usage(there).free
    if free < _LITTLE_SPACE:
        yield warning(
            f"{there} has {free / GIB:.1f} GiB left",
            "free some, or name another output_dir; an 8B checkpoint takes 16 GiB, a LoRA's 0.1",
        )
