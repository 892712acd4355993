"""Run LLaMA-Factory as its users do: its own command with their arguments."""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples").glob("emotion_*.yaml"))
PROGRAMS = Path(sys.executable).parent
PREDICTED = "generated_predictions.jsonl"  # as LLaMA-Factory calls its file
TIMEOUT = 1500  # of a single program; a test has its own limit


def run_program(
    *command: str | Path, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program with this environment's programs on the path; fail with its output."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **usual_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return _succeeded(result)


def run_python(
    code: str, *flags: str, python: str | Path = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, however it ends."""
    return subprocess.run(
        [str(python), *flags, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def llamafactory(
    action: str, recipe: Path, *overrides: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `llamafactory-cli ACTION RECIPE OVERRIDES`.

    Without an environment of its own the command runs in a fork of a process that has imported
    LLaMA-Factory and done nothing yet: the same code from the command's entry point on, ten seconds
    sooner.
    """
    command = ("llamafactory-cli", action, str(recipe), *overrides)
    if environment:
        return run_program(*command, cwd=cwd, **environment)
    return _succeeded(run_in_fork(*command, cwd=cwd))


def run_in_fork(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `llamafactory-cli`, `python -m MODULE` or `python -c CODE` in a fork, however it ends."""
    outputs = tuple(cwd / f".{name}.txt" for name in ("stdout", "stderr"))
    process = _imported_llamafactory().Process(target=_run_command, args=(command, cwd, outputs))
    process.start()
    process.join(TIMEOUT)
    stdout, stderr = (output.read_text("utf-8", "replace") for output in outputs)
    return subprocess.CompletedProcess(command, process.exitcode or 0, stdout, stderr)


def learned(folder: Path) -> bool:
    """Whether a run that wrote to `out` in a folder has moved its adapter."""
    weights = load_file(folder / "out" / "adapter_model.safetensors")
    return any(abs(weight).max() > 0 for name, weight in weights.items() if "lora_B" in name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(
    *command: object, port: int, page: str = "", cwd: Path | None = None, **environment: str
) -> Iterator[str]:
    """Run a program that serves on a port; yield a page's address once it answers."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **usual_environment(), **environment},
        start_new_session=True,
    )
    address, until = f"http://127.0.0.1:{port}/{page}", time.monotonic() + 120
    try:
        while not _answers(address):
            assert process.poll() is None, "the program ended by itself"
            assert time.monotonic() < until, "the page did not come"
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # what the program has started ends with it
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.TransportError:
        return False


def usual_environment() -> dict[str, str]:
    """Return what is set for every program: this environment's programs, and no hub."""
    return {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}


@cache
def _imported_llamafactory() -> multiprocessing.context.ForkServerContext:
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["llamafactory.cli", "llamafactory.train.tuner"])
    before = dict(os.environ)
    os.environ.update(usual_environment())
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _run_command(command: tuple[str, ...], cwd: Path, outputs: tuple[Path, Path]) -> None:
    for output, stream in zip(outputs, (1, 2), strict=True):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.chdir(cwd)
    if command[0] == "python":
        sys.argv = list(command[2:])
        if command[1] == "-c":
            exec(command[2], {"__name__": "__main__"})  # noqa: S102 - a test's own program
        else:
            runpy.run_module(command[2], run_name="__main__", alter_sys=True)
        return
    sys.argv = list(command)
    from llamafactory.cli import main

    main()


def _succeeded(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if result.returncode != 0:
        output = f"{result.stdout}\n{result.stderr}"
        raise AssertionError(f"{result.args} ended with {result.returncode}:\n{output[-6000:]}")
    return result
