"""The change that docs/upstream.md proposes, applied to a copy of the installed LLaMA-Factory."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
CHANGED_FILE = Path("llamafactory") / "data" / "__init__.py"
KNOWN = """
import llamafactory
from llamafactory.data.template import TEMPLATES
from llamafactory.data.converter import DATASET_CONVERTERS
print(llamafactory.__file__)
print("emotion" in TEMPLATES, "emotion" in DATASET_CONVERTERS, "llama3" in TEMPLATES)
"""


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 1, f"the page holds {len(found)} blocks of {language}"
    return found[0]


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with LLaMA-Factory as it would be after the change."""
    spec = importlib.util.find_spec("llamafactory")
    assert spec is not None
    assert spec.origin is not None
    folder = tmp_path_factory.mktemp("patched")
    shutil.copytree(
        Path(spec.origin).parent,
        folder / "llamafactory",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    with (folder / CHANGED_FILE).open("a", encoding="utf-8") as file:
        file.write("\n\n" + block("python"))
    return folder


def run_patched(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def add_broken_plugin(folder: Path) -> None:
    metadata = folder / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[llamafactory.plugins]\nbroken = nowhere:register\n"
    )


def test_without_the_hook_the_entry_point_registers_and_a_broken_one_does_no_harm(patched: Path):
    add_broken_plugin(patched)

    done = run_patched(patched, KNOWN, LLAMAFACTORY_EMOTION_AUTOLOAD="0")

    assert done.returncode == 0, done.stderr
    place, known = done.stdout.splitlines()[-2:]  # LLaMA-Factory's own log goes to stdout as well
    assert Path(place).is_relative_to(patched)
    assert known == "True True True"
    warnings = [line for line in done.stdout.splitlines() if "was not loaded" in line]
    assert len(warnings) == 1
    assert "Plugin broken" in warnings[0]
    assert "nowhere" in warnings[0]


def test_hook_and_entry_point_together_register_once(patched: Path):
    done = run_patched(patched, KNOWN)

    assert done.stdout.splitlines()[-1] == "True True True", done.stderr
    assert "emotion" not in done.stderr


def test_the_entry_point_on_the_page_is_the_one_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = tomllib.loads(block("toml"))["project"]

    assert shown["entry-points"] == {
        "llamafactory.plugins": declared["entry-points"]["llamafactory.plugins"]
    }


def test_the_change_is_a_few_lines():
    assert len(block("python").strip().splitlines()) <= 15
