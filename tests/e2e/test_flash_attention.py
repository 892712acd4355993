"""The recipes' `flash_attn: fa2` without a GPU: the real code around the kernel, which is replaced.

tests/support/flash_attn_on_cpu computes flash-attn's functions with torch, so that what
transformers and LLaMA-Factory do around them is executed: masks, packed lengths, arguments. The
kernel itself, half precision and speed are not.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from programs import ROOT, llamafactory, run_in_fork, run_program
from stand_ins import rows_of, write_rows

from llamafactory_emotion.task import EMOTION

STAND_IN = ROOT / "tests" / "support" / "flash_attn_on_cpu"
DATA = (f"dataset_dir={ROOT / 'data'}", "max_samples=48", "logging_steps=1")
FIGURES = ("loss", "grad_norm", "train_loss", "eval_loss")


def with_stand_in(folder: Path, *in_front: Path) -> dict[str, str]:
    """Return what puts the stand-in into a run, to record its calls in `folder`."""
    paths = [*in_front, STAND_IN, os.environ.get("PYTHONPATH", "")]
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


@pytest.mark.slow
def test_transformers_5_6_0_stops_at_the_first_step(tiny_base: Path, tmp_path: Path):
    """The release that our requirement keeps out."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target",
         tmp_path / "transformers", "transformers==5.6.0"],
        check=True,
    )  # fmt: skip
    environment = with_stand_in(tmp_path, tmp_path / "transformers")

    said = r"(?s)s_aux\.to\(.*AttributeError: 'NoneType' object has no attribute 'to'"
    with pytest.raises(AssertionError, match=said):
        llamafactory(
            "train", ROOT / "examples" / "emotion_lora.yaml", f"model_name_or_path={tiny_base}",
            *DATA, "dataset=emotion_demo_test", "max_steps=1", "fp16=false",
            f"output_dir={tmp_path / 'out'}", cwd=tmp_path, **environment,
        )  # fmt: skip


@pytest.fixture(scope="module")
def stand_in():
    """The stand-in under another name: `flash_attn` itself must not seem to be installed."""
    spec = importlib.util.spec_from_file_location("stand_in", STAND_IN / "flash_attn/__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("queries", "options", "seen"),
    [
        (3, {}, ["111", "111", "111"]),
        (3, {"causal": True}, ["100", "110", "111"]),
        (2, {"causal": True}, ["110", "111"]),
        (1, {"causal": True}, ["111"]),
        (3, {"causal": True, "window_size": (1, 1)}, ["100", "110", "011"]),
        (3, {"window_size": (0, 1)}, ["110", "011", "001"]),
    ],
    ids=str,
)
def test_the_stand_in_sees_the_keys_that_flash_attn_sees(stand_in, queries, options, seen):
    # Equal scores, so that the values' shares are the mask; two query heads on one key head.
    query, key, value = torch.zeros(1, queries, 2, 3), torch.ones(1, 3, 1, 3), torch.eye(3)

    found = stand_in.flash_attn_func(query, key, value[None, :, None], **options)

    shares = [[float(one) / row.count("1") for one in row] for row in seen]
    assert found[0, :, 0].tolist() == [pytest.approx(row) for row in shares]
    assert torch.equal(found[0, :, 0], found[0, :, 1])


def test_the_stand_in_scales_and_caps_scores(stand_in):
    query, key, value = torch.ones(1, 1, 1, 1), torch.tensor([4.0, 0.0]), torch.tensor([1.0, 0.0])

    found = stand_in.flash_attn_func(
        query, key.view(1, 2, 1, 1), value.view(1, 2, 1, 1), softmax_scale=0.5, softcap=3.0
    )

    assert found.item() == pytest.approx(1 / (1 + math.exp(-3 * math.tanh(2 / 3))))
