"""What the README promises and shows; `test_docs` runs the commands of every page."""

import json
import re
import shlex
from pathlib import Path

import pytest
from programs import ROOT, run_program

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", README, re.S)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_by_hand_reaches_what_is_promised(smollm2_package: None, tmp_path: Path):
    folder = tmp_path
    for line in next(one for one in BLOCKS if any("smollm2.py" in line for line in one)):
        command = shlex.split(line)
        if command[0] == "cd":
            folder /= command[1]
        elif command[0] != "pip":  # what it needs is installed
            run_program(*command, cwd=folder, OMP_NUM_THREADS="2")

    file = "saves/emotion_cpu/predict/generated_predictions.jsonl"
    call = ("python", "-m", "llamafactory_emotion.evaluate", file, "--json", "out.json")
    run_program(*call, cwd=tmp_path / "work")
    figures = json.loads((tmp_path / "work" / "out.json").read_text(encoding="utf-8"))
    assert figures["n"] == 360
    assert figures["accuracy"] >= 0.86


def test_the_start_up_line_is_the_one_that_is_shipped():
    shipped = (ROOT / "src" / "llamafactory_emotion.pth").read_text(encoding="utf-8").strip()

    assert f"```\n{shipped}\n```" in README
