"""Calls of LLaMA-Factory as `doctor` reads and judges them, on a machine of a test's choice."""

import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from llamafactory_emotion.doctor import environment, loading, machine
from llamafactory_emotion.doctor.__main__ import DoctorOptions, examine
from llamafactory_emotion.doctor.context import GIB, Finding, Gpu, Level
from llamafactory_emotion.options import Call, read_call

PREDICT = {"do_train": None, "do_predict": True, "predict_with_generate": True, "dataset": None,
           "eval_dataset": "sound", "do_sample": False, "max_new_tokens": 8}  # fmt: skip
NEW_GPU, OLD_GPU = Gpu("a new GPU", 24, (9, 0)), Gpu("an old GPU", 16, (7, 5))


def read(recipe: Path, *words: str) -> Call:
    """Read a recipe and what a command adds to it."""
    return read_call([str(recipe), *words], DoctorOptions)


def judge(recipe: Path, *words: str) -> dict[str, list[Finding]]:
    """Examine a recipe, with what a command adds to it, for a recent GPU of 80 GiB."""
    call = read(recipe, *words)
    return examine(call.others, recipe=call.recipe, assume_gpu=80)


def serious(findings: Iterable[Finding], check: str | None = None) -> list[Finding]:
    """Return errors and warnings, of one check or of all."""
    found = [one for one in findings if one.level is not Level.NOTE]
    return [one for one in found if check in (None, one.check)]


def is_told(findings: Iterable[Finding], check: str, said: str, remedy: str = "") -> bool:
    """Whether an error or a warning of a check says this and that."""
    return any(said in one.sentence and remedy in one.remedy for one in serious(findings, check))


def sentences(findings: Iterable[Finding]) -> str:
    """Return all that is said, a line each."""
    return "\n".join(one.sentence for one in findings)


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: tuple[Gpu, ...], cpus: int) -> None:
    """Let torch see other GPUs, and the system other processors."""
    seen = [
        SimpleNamespace(
            name=gpu.name,
            total_memory=gpu.memory_gib * GIB,
            major=gpu.capability[0],
            minor=gpu.capability[1],
        )
        for gpu in gpus
    ]
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(seen))
    monkeypatch.setattr("torch.cuda.get_device_properties", seen.__getitem__)
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)


def install(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Let packages be of other versions, or missing."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        found = versions[name] if name in versions else real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


def fail_imports(monkeypatch: pytest.MonkeyPatch, **failures: str) -> None:
    """Let these modules fail to import, and all others of a recipe not; none is imported."""
    for room in (environment, machine):
        monkeypatch.setattr(room, "import_failure", failures.get)


def without_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub not answer, at once."""
    problem = "the hub cannot be reached (not asked)"
    monkeypatch.setattr(loading, "hub_problem", lambda *_, **__: problem)
    monkeypatch.setattr(loading, "data_hub_problem", lambda *_: problem)
