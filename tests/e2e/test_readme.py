"""What the README promises and shows; `test_docs` runs the commands of every page."""

import json
import re
import shlex
from pathlib import Path

import pytest
from programs import ROOT, run_program

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", README, re.S)]
PREDICTIONS = "saves/emotion_cpu/predict/generated_predictions.jsonl"


def block_with(words: str) -> list[str]:
    found = [block for block in BLOCKS if any(words in line for line in block)]
    assert found, f"no block of the README holds {words!r}"
    return found[0]


def run_block(block: list[str], folder: Path) -> None:
    for line in block:
        command = shlex.split(line)
        if command[0] == "pip":
            continue
        if command[0] == "cd":
            folder = folder / command[1]
            continue
        run_program(*command, cwd=folder, OMP_NUM_THREADS="2")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_by_hand_reaches_what_is_promised(smollm2_package: None, tmp_path: Path):
    run_block(block_with("smollm2.py"), tmp_path)

    run_program(
        "python", "-m", "llamafactory_emotion.evaluate", PREDICTIONS, "--json", "out.json",
        cwd=tmp_path / "work",
    )  # fmt: skip
    figures = json.loads((tmp_path / "work" / "out.json").read_text(encoding="utf-8"))
    assert figures["n"] == 360
    assert figures["accuracy"] >= 0.86


def test_the_start_up_line_is_the_one_that_is_shipped():
    shipped = (ROOT / "src" / "llamafactory_emotion.pth").read_text(encoding="utf-8").strip()

    assert f"```\n{shipped}\n```" in README
