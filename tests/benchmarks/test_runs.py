"""Every benchmark starts; what it measures is no test."""

import pytest
from programs import ROOT, run_program

FILES = sorted((ROOT / "benchmarks").glob("*.py"))
BENCHMARKS = [file for file in FILES if "argparse" in file.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_a_benchmark_starts(file, tmp_path):
    assert "usage: " in run_program("python", file, "--help", cwd=tmp_path).stdout
