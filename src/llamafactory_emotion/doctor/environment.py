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
from packaging.version import Version

from llamafactory_emotion import autoload
from llamafactory_emotion.doctor.context import GIB, Context, Finding, error, note, warning
from llamafactory_emotion.files import nearest_there
from llamafactory_emotion.plugin import host

_PREDICTION_NEEDS = {"jieba": "jieba", "nltk": "nltk", "rouge_chinese": "rouge-chinese"}
_LITTLE_SPACE = 5 * GIB


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def required_by(distribution: str, extra: str = "") -> dict[str, Requirement]:
    """Return what a distribution and an extra of it require, by package; empty without it."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    required = map(Requirement, lines)
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
    missing = [one for one in required.values() if version_of(one.name) is None]
    for requirement in missing:
        yield error(
            f"{requirement.name} is not installed: LLaMA-Factory takes "
            f"{requirement.specifier or 'any version'}",
            f"pip install '{requirement}'",
        )
    refused = None if missing or version_of("llamafactory") is None else host.refused_version()
    if refused is not None:
        named = (one for one in required.values() if refused.startswith(one.name))
        yield error(
            f"LLaMA-Factory does not start: {refused}",
            " ".join(["pip install", *(f"'{one}'" for one in named)]),
        )
    for package, requirement in required.items():
        found = version_of(package)
        if found and is_outside(found, requirement) and package not in str(refused):
            yield warning(
                f"{package} {found} is outside {requirement.specifier}, which LLaMA-Factory asks "
                "pip for; it starts with it",
                f"pip install '{requirement}'",
            )


def check_torch(_: Context) -> Iterator[Finding]:
    """Torch and its two companions, which must be of one release."""
    torch, audio, vision = map(version_of, ("torch", "torchaudio", "torchvision"))
    if torch is None:
        yield error("torch is not installed", "pip install 'torch<2.12'")
        return
    yield note(f"torch {torch}, torchvision {vision}, torchaudio {audio}")
    remedy = (
        "pip install 'torch<2.12' 'torchvision' 'torchaudio' in one command: torchaudio ends with "
        "2.11 and refuses any newer torch"
    )
    if audio is not None and Version(audio).release[:2] != Version(torch).release[:2]:
        yield error(f"torchaudio {audio} does not go with torch {torch}", remedy)
    # torchvision 0.26 goes with torch 2.11, and so on: a fixed distance.
    if vision is not None and Version(vision).release[1] != Version(torch).release[1] + 15:
        yield error(f"torchvision {vision} does not go with torch {torch}", remedy)
    if audio is not None and (failure := import_failure("torchaudio")):
        yield error(f"torchaudio does not import: {failure}", remedy)


def check_gpu(context: Context) -> Iterator[Finding]:
    """The GPUs."""
    if not context.machine.gpus:
        yield note("torch sees no GPU: everything runs on the CPU")
    for gpu in context.machine.gpus:
        yield note(f"{gpu.name}, {gpu.memory_gib:.0f} GiB")


def check_flash_attn(context: Context) -> Iterator[Finding]:
    """flash-attn, really imported: a build for another torch is there and does not load."""
    version, failure = version_of("flash_attn"), import_failure("flash_attn")
    if failure and version:
        yield error(
            f"flash-attn {version} does not import: {failure}",
            "pip uninstall flash-attn, then pip install 'llamafactory-emotion[fa2]' (it is built "
            "for the torch that is installed)",
        )
    elif failure and context.machine.gpus:
        yield note("flash-attn is not installed", "pip install 'flash-attn>=2.6'")


def check_deepspeed(_: Context) -> Iterator[Finding]:
    """deepspeed, where it is installed."""
    version = version_of("deepspeed")
    if version is None:
        return
    ours = required_by("llamafactory-emotion", extra="deepspeed")
    taken = ours.get("deepspeed", Requirement("deepspeed"))
    if is_outside(version, taken):
        yield warning(
            f"deepspeed {version} is outside {taken.specifier}, LLaMA-Factory's range",
            f"pip install '{taken.name}{taken.specifier}'",
        )
    if failure := import_failure("deepspeed"):
        yield error(
            f"deepspeed does not import: {failure}", f"pip install '{taken.name}{taken.specifier}'"
        )


def check_bitsandbytes(_: Context) -> Iterator[Finding]:
    """bitsandbytes, where it is installed."""
    if version_of("bitsandbytes") and (failure := import_failure("bitsandbytes")):
        yield error(
            f"bitsandbytes does not import: {failure}", "pip install --upgrade bitsandbytes"
        )


def check_prediction_packages(_: Context) -> Iterator[Finding]:
    """What LLaMA-Factory's predict step imports and does not install."""
    needs = _PREDICTION_NEEDS.items()
    missing = [package for module, package in needs if importlib.util.find_spec(module) is None]
    if missing:
        yield error(
            f"LLaMA-Factory's predict step needs {', '.join(missing)}",
            f"pip install {' '.join(missing)}",
        )


def check_hook(context: Context) -> Iterator[Finding]:
    """The start-up hook, and whether it is active."""
    file = Path(sysconfig.get_path("purelib")) / "llamafactory_emotion.pth"
    if os.environ.get(autoload.SWITCH) == "0":
        yield warning(
            f"{autoload.SWITCH}=0 turns the start-up hook off: LLaMA-Factory does not know the "
            "template",
            f"unset {autoload.SWITCH}, or call llamafactory_emotion.register() yourself",
        )
    elif not file.is_file():
        yield error(
            f"{file} is not there, so LLaMA-Factory does not know the template",
            "install the package with pip into the environment that runs llamafactory-cli",
        )
    else:
        yield note(f"{file}: {file.read_text(encoding='utf-8').strip()}")
    if context.switched_on("USE_V1"):
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
