"""The recipes' `flash_attn: fa2` without a GPU: the real code around the kernel, which is replaced.

tests/support/flash_attn_on_cpu computes flash-attn's functions with torch, so that what
transformers and LLaMA-Factory do around them is executed: masks, packed lengths, arguments. The
kernel itself, half precision and speed are not.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from old_hosts import needs_transformers_5
from programs import ROOT, llamafactory, run_in_fork, run_program
from stand_ins import rows_of, write_rows

from llamafactory_emotion.task import EMOTION

STAND_IN = ROOT / "tests" / "support" / "flash_attn_on_cpu"
DATA = (f"dataset_dir={ROOT / 'data'}", "max_samples=48", "logging_steps=1")
pytestmark = needs_transformers_5
FIGURES = ("loss", "grad_norm", "train_loss", "eval_loss")


def with_stand_in(folder: Path) -> dict[str, str]:
    """Return what puts the stand-in into a run, to record its calls in `folder`."""
    paths = [STAND_IN, os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(map(str, filter(None, paths))),
        "FLASH_ATTN_CALLS": str(folder / "calls.txt"),
    }


def calls(folder: Path) -> Counter[tuple[str, int]]:
    """Return how often the stand-in was called, by kind and number of sequences."""
    lines = (folder / "calls.txt").read_text(encoding="utf-8").splitlines()
    return Counter((kind, int(sequences)) for kind, sequences in map(str.split, lines))


def figures(output: Path) -> list[float]:
    """Return the losses that a run logged, in their order."""
    history = json.loads((output / "trainer_state.json").read_text("utf-8"))["log_history"]
    return [entry[name] for entry in history for name in FIGURES if name in entry]


def train(recipe: str, base: Path, folder: Path, *overrides: str) -> tuple[list[float], ...]:
    """Train as a recipe says and again with torch's attention; return what both logged."""
    command = (
        "train", ROOT / "examples" / f"{recipe}.yaml", f"model_name_or_path={base}", *DATA,
        *overrides,
    )  # fmt: skip
    llamafactory(*command, f"output_dir={folder / 'fa2'}", cwd=folder, **with_stand_in(folder))
    llamafactory(*command, f"output_dir={folder / 'sdpa'}", "flash_attn=sdpa", cwd=folder)
    return figures(folder / "fa2"), figures(folder / "sdpa")


def test_the_headline_recipe_learns_the_same_with_fa2(tiny_base: Path, tmp_path: Path):
    fa2, sdpa = train(
        "emotion_lora", tiny_base, tmp_path, "dataset=emotion_demo_test", "max_steps=3",
        "fp16=false",
    )  # fmt: skip

    assert len(fa2) == 7
    assert fa2 == pytest.approx(sdpa, abs=1e-4)
    # Five rows of different length: their mask becomes lengths.
    assert calls(tmp_path)["varlen", 5] > 0


def test_the_packed_recipe_learns_the_same_with_fa2(tiny_base: Path, tmp_path: Path):
    fa2, sdpa = train(
        "emotion_lora_packed", tiny_base, tmp_path, "dataset=emotion_demo_train",
        "eval_dataset=emotion_demo_test", "num_train_epochs=1", "bf16=false",
    )  # fmt: skip

    assert len(fa2) == 8
    assert fa2 == pytest.approx(sdpa, abs=1e-4)
    # Packs keep their rows apart, in evaluation too.
    assert all(kind == "varlen" and sequences > 5 for kind, sequences in calls(tmp_path))


def test_scores_are_the_same_with_fa2(tiny_base: Path, tmp_path: Path):
    write_rows(rows_of(EMOTION), tmp_path / "texts.jsonl")
    command = (
        "python", "-m", "llamafactory_emotion.predict", f"model_name_or_path={tiny_base}",
        "input=texts.jsonl", "log_likelihoods=true",
    )  # fmt: skip
    fa2 = ("flash_attn=fa2", "output=fa2.jsonl")
    run_program(*command, *fa2, cwd=tmp_path, **with_stand_in(tmp_path))
    run_in_fork(*command, "flash_attn=sdpa", "output=sdpa.jsonl", cwd=tmp_path)

    found, expected = (
        [json.loads(line)["log_likelihoods"] for line in file.read_text("utf-8").splitlines()]
        for file in (tmp_path / "fa2.jsonl", tmp_path / "sdpa.jsonl")
    )
    assert len(found) == 60
    assert found == [pytest.approx(row, abs=1e-4) for row in expected]
    # The instruction is computed once; batches of texts attend to it and to themselves.
    assert {kind for kind, _ in calls(tmp_path)} == {"fixed", "cached"}
    assert max(texts for kind, texts in calls(tmp_path) if kind == "cached") > 5
