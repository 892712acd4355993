"""The change that docs/upstream.md proposes, applied to a copy of the installed LLaMA-Factory."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
KNOWN = """
import llamafactory
from llamafactory.data.template import TEMPLATES
from llamafactory.data.converter import DATASET_CONVERTERS
print(llamafactory.__file__)
print("emotion" in TEMPLATES, "emotion" in DATASET_CONVERTERS, "llama3" in TEMPLATES)
"""


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_entry_point_registers_once_and_a_broken_one_does_no_harm(tmp_path: Path):
    spec = importlib.util.find_spec("llamafactory")
    package = Path(str(spec and spec.origin)).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / package.name / "data" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("\n\n" + block("python"))
    metadata = tmp_path / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[llamafactory.plugins]\nbroken = nowhere:register")

    for hook in ({"LLAMAFACTORY_EMOTION_AUTOLOAD": "0"}, {}):
        done = subprocess.run(
            [sys.executable, "-c", KNOWN],
            env={**os.environ, "PYTHONPATH": str(tmp_path), **hook},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

        *log, file, known = done.stdout.splitlines()
        assert Path(file).is_relative_to(tmp_path)
        assert known == "True True True"
        assert "llamafactory_emotion:" not in done.stderr
        (warning,) = (line for line in log if "was not loaded" in line)
        assert "Plugin broken" in warning


def test_the_entry_point_on_the_page_is_the_one_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = tomllib.loads(block("toml"))["project"]

    assert shown["entry-points"] == {
        "llamafactory.plugins": declared["entry-points"]["llamafactory.plugins"]
    }
