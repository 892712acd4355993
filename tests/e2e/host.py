"""Run LLaMA-Factory as its users do: its command, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples").glob("emotion_*.yaml"))
PROGRAMS = Path(sys.executable).parent


def run_program(
    *command: str | Path, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program with this environment's programs on the path; fail with its output."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if result.returncode != 0:
        output = f"{result.stdout}\n{result.stderr}"
        raise AssertionError(f"{command} ended with {result.returncode}:\n{output[-6000:]}")
    return result


def llamafactory(
    action: str, recipe: Path, *overrides: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `llamafactory-cli ACTION RECIPE OVERRIDES`."""
    return run_program("llamafactory-cli", action, recipe, *overrides, cwd=cwd, **environment)
