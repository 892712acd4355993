"""The README's commands, in order, in an empty folder."""

import json
import re
import shlex
from pathlib import Path

import pytest
from e2e.host import ROOT, run_program

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", README, re.S)]
PREDICTIONS = "saves/emotion_tiny/predict/generated_predictions.jsonl"


def block_with(words: str) -> list[str]:
    found = [block for block in BLOCKS if any(words in line for line in block)]
    assert found, f"no block of the README holds {words!r}"
    return found[0]


def run_block(block: list[str], folder: Path, *, more: dict[str, str] | None = None) -> str:
    """Run commands one after the other; `more` adds words to commands that hold a given word."""
    output = ""
    for line in block:
        command = shlex.split(line)
        if command[0] == "cd":
            folder = folder / command[1]
            continue
        for word, addition in (more or {}).items():
            if word in command:
                command += shlex.split(addition)
        output = run_program(*command, cwd=folder, OMP_NUM_THREADS="2").stdout
    return output


def test_the_demo_by_hand_runs_as_it_stands(tmp_path: Path):
    table = run_block(
        block_with("tiny_model"),
        tmp_path,
        more={
            "llamafactory_emotion.tiny_model": "--epochs 0",
            "examples/emotion_tiny.yaml": "max_steps=3",
            "eval_dataset=emotion_demo_test": "max_samples=16",
        },
    )

    assert re.search(r"accuracy", table)


@pytest.mark.slow
def test_the_demo_by_hand_reaches_what_is_promised(tmp_path: Path):
    run_block(block_with("tiny_model"), tmp_path)

    run_program(
        "python", "-m", "llamafactory_emotion.evaluate", PREDICTIONS, "--json", "out.json",
        cwd=tmp_path / "work",
    )  # fmt: skip
    figures = json.loads((tmp_path / "work" / "out.json").read_text(encoding="utf-8"))
    assert figures["n"] == 360
    assert figures["accuracy"] >= 0.55


def test_the_start_up_line_is_the_one_that_is_shipped():
    shipped = (ROOT / "src" / "llamafactory_emotion.pth").read_text(encoding="utf-8").strip()

    assert f"```\n{shipped}\n```" in README


def test_every_recipe_is_in_the_table():
    for recipe in (ROOT / "examples").glob("emotion_*.yaml"):
        assert f"`{recipe.name}`" in README


def test_the_test_command_is_the_one_that_continuous_integration_runs():
    assert ["make test"] in BLOCKS
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_prepare_runs_as_the_readme_says(tmp_path: Path):
    rows = "\n".join(f"text number {number},{number % 6}" for number in range(60))
    for name in ("my_train.csv", "my_test.csv"):
        content = "text,label\n" + rows.replace("text", f"{name} text")
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "data").mkdir()

    command = block_with("llamafactory_emotion.prepare")[0]
    output = run_program(*shlex.split(command), cwd=tmp_path).stdout

    assert "mine_train" in output
    registered = json.loads((tmp_path / "data" / "dataset_info.json").read_text("utf-8"))
    assert sorted(registered) == ["mine_test", "mine_train", "mine_validation"]
