"""Calls of LLaMA-Factory as `doctor` reads and judges them."""

from pathlib import Path

from llamafactory_emotion.doctor.__main__ import DoctorOptions, examine
from llamafactory_emotion.doctor.finding import Finding
from llamafactory_emotion.options import Call, read_call


def read(recipe: Path, *words: str) -> Call:
    """Read a recipe and what a command adds to it."""
    return read_call([str(recipe), *words], DoctorOptions)


def judge(recipe: Path, *words: str) -> dict[str, list[Finding]]:
    """Examine a recipe, with what a command adds to it, for a recent GPU of 80 GiB."""
    call = read(recipe, *words)
    return examine(call.others, recipe=call.recipe, assume_gpu=80)
