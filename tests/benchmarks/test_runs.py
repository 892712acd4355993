"""Every benchmark starts; what it measures is no test."""

import pytest
from programs import ROOT, run_program

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_a_benchmark_starts(file, tmp_path):
    if "argparse" in file.read_text(encoding="utf-8"):
        assert "usage: " in run_program("python", file, "--help", cwd=tmp_path).stdout
