"""Is what is installed able to run at all? Checks of the environment, whatever the recipe says."""

import ast
import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from llamafactory_emotion import autoload
from llamafactory_emotion.doctor.context import Context
from llamafactory_emotion.doctor.finding import Finding, error, note, warning
from llamafactory_emotion.doctor.machine import GIB, import_failure, version_of
from llamafactory_emotion.files import nearest_there

_SUPPORTED = Requirement("llamafactory>=0.9.4,<0.10")
_DEEPSPEED = Requirement("deepspeed>=0.10.0,<=0.18.4")
_PREDICTION_NEEDS = {"jieba": "jieba", "nltk": "nltk", "rouge_chinese": "rouge-chinese"}
_LITTLE_SPACE = 5 * GIB


def check_python(_: Context) -> Iterator[Finding]:
    """Python itself."""
    yield note("python", f"Python {sys.version.split()[0]} at {sys.executable}")


def check_llamafactory(_: Context) -> Iterator[Finding]:
    """LLaMA-Factory, and the ranges it asks of others."""
    version = version_of("llamafactory")
    if version is None:
        yield error(
            "llamafactory", "LLaMA-Factory is not installed", "pip install llamafactory-emotion"
        )
        return
    if Version(version) not in _SUPPORTED.specifier:
        yield warning(
            "llamafactory",
            f"LLaMA-Factory {version} is outside {_SUPPORTED.specifier}, which is tested",
            f"pip install '{_SUPPORTED}'",
        )
    else:
        yield note("llamafactory", f"LLaMA-Factory {version}")
    for requirement in _requirements_of_the_host():
        found = version_of(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            yield error(
                "versions",
                f"{requirement.name} {found or 'is not installed'}: LLaMA-Factory takes "
                f"{requirement.specifier}",
                f"pip install '{requirement}'",
            )


def _requirements_of_the_host() -> Iterator[Requirement]:
    """Read the versions that LLaMA-Factory checks when it starts, from its source."""
    spec = importlib.util.find_spec("llamafactory")
    if spec is None or spec.origin is None:
        return
    source = Path(spec.origin).parent / "extras" / "misc.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    checks = [node for node in tree.body if getattr(node, "name", "") == "check_dependencies"]
    for node in ast.walk(checks[0]) if checks else []:
        is_call = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check_version"
        if is_call and isinstance(node.args[0], ast.Constant):  # type: ignore[attr-defined]
            yield Requirement(str(node.args[0].value))  # type: ignore[attr-defined]


def check_torch(_: Context) -> Iterator[Finding]:
    """Torch and its two companions, which must be of one release."""
    torch, audio, vision = map(version_of, ("torch", "torchaudio", "torchvision"))
    if torch is None:
        yield error("torch", "torch is not installed", "pip install 'torch<2.12'")
        return
    yield note("torch", f"torch {torch}, torchvision {vision}, torchaudio {audio}")
    remedy = (
        "pip install 'torch<2.12' 'torchvision' 'torchaudio' in one command: torchaudio ends with "
        "2.11 and refuses any newer torch"
    )
    if audio is not None and Version(audio).release[:2] != Version(torch).release[:2]:
        yield error("torch", f"torchaudio {audio} does not go with torch {torch}", remedy)
    # torchvision 0.26 goes with torch 2.11, and so on: a fixed distance.
    if vision is not None and Version(vision).release[1] != Version(torch).release[1] + 15:
        yield error("torch", f"torchvision {vision} does not go with torch {torch}", remedy)
    failure = import_failure("torchaudio") if audio is not None else None
    if failure:
        yield error("torch", f"torchaudio does not import: {failure}", remedy)


def check_gpu(context: Context) -> Iterator[Finding]:
    """The GPUs."""
    if context.machine.assumed:
        return
    if not context.machine.has_gpu:
        yield note("gpu", "torch sees no GPU: everything runs on the CPU")
    for gpu in context.machine.gpus:
        yield note("gpu", f"{gpu.name}, {gpu.memory_gib:.0f} GiB")


def check_flash_attention(context: Context) -> Iterator[Finding]:
    """flash-attn, really imported: a build for another torch is there and does not load."""
    failure = import_failure("flash_attn")
    if failure and version_of("flash_attn"):
        yield error(
            "flash-attn",
            f"flash-attn {version_of('flash_attn')} does not import: {failure}",
            "pip uninstall flash-attn, then pip install 'llamafactory-emotion[fa2]' (it is built "
            "for the torch that is installed)",
        )
    elif failure and context.machine.has_gpu and not context.machine.assumed:
        yield note("flash-attn", "flash-attn is not installed", "pip install 'flash-attn>=2.6'")


def check_deepspeed(_: Context) -> Iterator[Finding]:
    """deepspeed, where it is installed."""
    version = version_of("deepspeed")
    if version is None:
        return
    if Version(version) not in _DEEPSPEED.specifier:
        yield warning(
            "deepspeed",
            f"deepspeed {version} is outside {_DEEPSPEED.specifier}, LLaMA-Factory's range",
            f"pip install '{_DEEPSPEED}'",
        )
    if failure := import_failure("deepspeed"):
        yield error(
            "deepspeed", f"deepspeed does not import: {failure}", f"pip install '{_DEEPSPEED}'"
        )


def check_bitsandbytes(_: Context) -> Iterator[Finding]:
    """bitsandbytes, where it is installed."""
    if version_of("bitsandbytes") and (failure := import_failure("bitsandbytes")):
        yield error(
            "bitsandbytes",
            f"bitsandbytes does not import: {failure}",
            "pip install --upgrade bitsandbytes",
        )


def check_prediction_packages(_: Context) -> Iterator[Finding]:
    """What LLaMA-Factory's predict step imports and does not install."""
    missing = [
        package
        for module, package in _PREDICTION_NEEDS.items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        yield error(
            "prediction-packages",
            f"LLaMA-Factory's predict step needs {', '.join(missing)}",
            f"pip install {' '.join(missing)}",
        )


def check_hook(context: Context) -> Iterator[Finding]:
    """The start-up hook, and whether it is active."""
    place = Path(sysconfig.get_path("purelib")) / "llamafactory_emotion.pth"
    if context.variables.get(autoload.SWITCH) == "0":
        yield warning(
            "hook",
            f"{autoload.SWITCH}=0 turns the start-up hook off: LLaMA-Factory does not know the "
            "template",
            f"unset {autoload.SWITCH}, or call llamafactory_emotion.register() yourself",
        )
    elif not place.is_file():
        yield error(
            "hook",
            f"{place} is not there, so LLaMA-Factory does not know the template",
            "install the package with pip into the environment that runs llamafactory-cli",
        )
    else:
        yield note("hook", f"{place}: {place.read_text(encoding='utf-8').strip()}")
    if context.switched_on("USE_V1"):
        yield error(
            "hook", "USE_V1=1: the plug-in does not reach LLaMA-Factory's v1 engine", "unset USE_V1"
        )


def check_launcher(_: Context) -> Iterator[Finding]:
    """The programs that LLaMA-Factory starts by name."""
    for program in ("llamafactory-cli", "torchrun"):
        if shutil.which(program) is None:
            yield warning(
                "launcher",
                f"{program} is not on the path; several GPUs are started through torchrun",
                f"put {Path(sys.executable).parent} on the path, or activate the environment",
            )


def check_output_dir(context: Context) -> Iterator[Finding]:
    """A place for the output that cannot be written: found out after the training otherwise."""
    named = context.values.get("export_dir") or context.values.get("output_dir")
    if not named:
        return
    output = Path(str(named)).absolute()
    place = nearest_there(output)
    if not place.is_dir():
        yield error("output", f"{place} is a file and cannot hold {output}", "name another folder")
    elif not os.access(place, os.W_OK):
        yield error("output", f"{place} cannot be written", "change its rights or name another")


def check_disk(context: Context) -> Iterator[Finding]:
    """Space for checkpoints and downloads."""
    place = nearest_there(Path(str(context.values.get("output_dir") or ".")))
    free = shutil.disk_usage(place).free
    if free < _LITTLE_SPACE:
        yield warning(
            "disk",
            f"{place} has {free / GIB:.1f} GiB left",
            "free some, or name another output_dir; an 8B checkpoint takes 16 GiB, a LoRA's 0.1",
        )


ENVIRONMENT: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    check_python,
    check_llamafactory,
    check_torch,
    check_gpu,
    check_flash_attention,
    check_deepspeed,
    check_bitsandbytes,
    check_prediction_packages,
    check_hook,
    check_launcher,
    check_output_dir,
    check_disk,
)
