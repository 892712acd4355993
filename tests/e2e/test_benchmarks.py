"""The benchmarks of recipes run and print what they promise; what they measure is no test."""

import re
from pathlib import Path

import pytest
from e2e.host import ROOT, run_program

pytestmark = pytest.mark.slow
BENCHMARKS = ROOT / "benchmarks"


def test_recipe_speed_counts_rows_and_judges_them(tiny_base: Path, tmp_path: Path):
    printed = run_program(
        "python", BENCHMARKS / "recipe_speed.py", "--base", tiny_base, "--base-rows", "0",
        "--rows", "60", "--held-out", "40", cwd=tmp_path,
    ).stdout  # fmt: skip

    for way in ("lora", "packed", "llama3"):
        assert re.search(rf"^seed 0 {way} +[\d.]+ rows/s, accuracy [01]\.\d{{4}}$", printed, re.M)
    assert re.search(r"^packed +[\d.]+ +\d+\.\d\d +0\.\d{4} +0\.\d{4} to 0\.\d{4}$", printed, re.M)


def test_our_accuracy_is_evaluates_and_llamafactorys_is_higher(tmp_path: Path):
    printed = run_program(
        "python", BENCHMARKS / "accuracy_side_by_side.py", "--rows", "300", "--held-out", "100",
        cwd=tmp_path,
    ).stdout  # fmt: skip

    found = {
        name: float(figure)
        for name, figure in re.findall(r"^(LLaMA-Factory|ours|evaluate) +(\S+)", printed, re.M)
    }
    assert found["ours"] == found["evaluate"]
    assert found["LLaMA-Factory"] > found["ours"]


def test_gpu_train_checks_itself_on_a_tiny_model(tmp_path: Path):
    printed = run_program(
        "python", BENCHMARKS / "gpu_train.py", "--tiny", "--rows", "40", cwd=tmp_path
    ).stdout

    assert "a check only" in printed
    for recipe in ("emotion_lora", "emotion_lora_packed"):
        assert re.search(rf"^{recipe}\.yaml +[\d.]+ +\d+ +- +-  torch's$", printed, re.M)
