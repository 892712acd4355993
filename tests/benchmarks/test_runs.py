"""The benchmarks of recipes run and print what they promise; what they measure is no test."""

import json
import re
from pathlib import Path

import pytest
from programs import ROOT, run_program

pytestmark = pytest.mark.slow
BENCHMARKS = ROOT / "benchmarks"


def test_recipe_speed_counts_rows_and_judges_them(tiny_base: Path, tmp_path: Path):
    printed = run_program(
        "python", BENCHMARKS / "recipe_speed.py", "--base", tiny_base, "--data", ROOT / "data",
        "--rows", "60", "--held-out", "40", cwd=tmp_path,
    ).stdout  # fmt: skip

    for way in ("lora", "packed", "short", "head"):
        line = rf"^seed 0 {way} +[\d.]+ rows/s, \d+ steps, accuracy [01]\.\d{{4}}$"
        assert re.search(line, printed, re.M)
    assert re.search(
        r"^packed +[\d.]+ +\d+\.\d\d +\d\.\d{4} +0\.\d{4} to \d\.\d{4}$", printed, re.M
    )


def test_our_accuracy_is_evaluates_and_llamafactorys_is_higher(smollm2: Path, tmp_path: Path):
    printed = run_program(
        "python", BENCHMARKS / "accuracy_side_by_side.py", "--base", smollm2, "--rows", "300",
        "--held-out", "100", cwd=tmp_path,
    ).stdout  # fmt: skip

    found = {
        name: float(figure)
        for name, figure in re.findall(r"^(LLaMA-Factory|ours|evaluate) +(\S+)", printed, re.M)
    }
    assert found["ours"] == found["evaluate"]
    assert found["LLaMA-Factory"] > found["ours"]


def test_from_scratch_reads_trains_and_judges(tmp_path: Path):
    rows = (ROOT / "data" / "emotion_demo_test.jsonl").read_text("utf-8").splitlines(keepends=True)
    for split, part in (("train", rows[:300]), ("test", rows[300:])):
        (tmp_path / f"{split}.jsonl").write_text("".join(part), encoding="utf-8")

    printed = run_program(
        "python", BENCHMARKS / "from_scratch.py", "--data", ".", "--output", "out", "--epochs", "1",
        cwd=tmp_path,
    ).stdout  # fmt: skip

    assert re.search(r"^out/base: read 1 times, a loss of \d\.\d\d nats a token$", printed, re.M)
    assert re.search(r"^ +rows +60$", printed, re.M)
    assert "SVM" in printed


def test_gpu_measures_both_recipes_and_both_predictions(tmp_path: Path):
    file = tmp_path / "gpu.json"
    printed = run_program(
        "python", BENCHMARKS / "gpu.py", "--shape", "tiny", "--rows", "64", "--warm-up", "1",
        "--timed", "0.1", "--peak-tflops", "0.1", "--seconds", "1200", "--json", file, cwd=tmp_path,
        CUDA_VISIBLE_DEVICES="",
    ).stdout  # fmt: skip

    found = json.loads(file.read_text(encoding="utf-8"))
    parts = {part["name"]: part for part in found["parts"]}
    for name in ("LoRA, packed", "LoRA"):
        part = parts[name]
        assert part["tokens"] > 10 * part["rows"] > 0
        assert (part["attention"], part["dtype"]) == ("sdpa", "torch.float32")
        flops = 4 * found["parameters"] * part["tokens"]
        assert part["mfu"] == pytest.approx(flops / part["seconds"] / 1e11)
    assert parts["LoRA"]["rows"] == 20 * parts["LoRA"]["steps"]  # batch 5, accumulated 4 times
    assert parts["`predict`"]["rows"] == 64
    assert parts["LLaMA-Factory's prediction"]["rows"] == 64 - 32  # without its first batch
    for name in ("LoRA, packed", "LoRA", "`predict`", "LLaMA-Factory's prediction"):
        assert f"| {name} | {parts[name]['rows_per_second']:.1f} | " in printed
    for name in ("LoRA, packed, Liger", "LoRA, Liger"):
        assert f"| {name} | skipped: needs a GPU and liger-kernel |" in printed


def test_doctor_and_the_host_agree_on_every_tenth_case(tmp_path: Path):
    printed = run_program(
        "python", BENCHMARKS / "doctor_against_host.py", "--every", "10", cwd=tmp_path
    ).stdout

    counts = dict(re.findall(r"^(.+): (\d+)$", printed, re.M))
    assert int(counts["broken"]) + int(counts["sound"]) > 10
    for half in ("broken", "sound"):
        assert counts[f"agree, {half}"] == counts[half], printed
