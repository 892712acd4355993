"""The commands of README.md and docs/: found, and run in a working folder as they are written.

A page's commands run in order, block after block, in one folder that holds what `init` writes. What
they read and no command before them has made is laid out for them (`stand_ins`): a hub's name is a
folder of that name here, which every library tries first.
"""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from programs import ROOT, run_in_fork, run_program
from stand_ins import Stage

from llamafactory_emotion.task import EMOTION, load_task

PROGRAMS = ("python", "llamafactory-cli", "llamafactory-emotion", "pip", "make", "torchrun", "ray")
_SHELLS = ("bash", "sh", "shell", "console")
_BLOCK = re.compile(r"^ *``` *(\w*) *\n(.*?)^ *``` *$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=\S*")
_SHELL_SIGNS = re.compile(r"[|<>&;$`]")
# What the value of such a key or flag names is made by the command, not read.
_OUTPUTS = frozenset(
    {"output", "output_dir", "export_dir", "--output", "--json", "--report", "--plot", "--errors"}
)
_HALF_PRECISION = ("fp16", "bf16", "pure_bf16")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, first line, language and lines."""

    page: str
    line: int
    language: str
    lines: tuple[str, ...]

    @property
    def holds_commands(self) -> bool:
        """Whether these are commands, by the language or, without one, by the first word."""
        if self.language:
            return self.language in _SHELLS
        return bool(self.lines) and self.lines[0].split(" ")[0] in PROGRAMS


@dataclass(frozen=True)
class Command:
    """A command of a page, with continued lines joined."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> dict[str, str]:
    """Read the documents: README, its translations, and docs/; by their path from the root."""
    found = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").glob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}


def blocks_of(page: str, text: str) -> list[Block]:
    return [
        Block(page, text[: found.start(2)].count("\n") + 1, found[1], tuple(found[2].splitlines()))
        for found in _BLOCK.finditer(text)
    ]


def commands_of(block: Block) -> list[Command]:
    commands: list[Command] = []
    text, start = "", block.line
    for number, line in enumerate(block.lines, start=block.line):
        start = start if text else number
        text += line.strip().removeprefix("$ ").removesuffix("\\")
        if line.rstrip().endswith("\\"):
            text = text.rstrip() + " "
            continue
        words = text.strip()
        if words and not words.startswith("#"):
            commands.append(Command(block.page, start, re.sub(r"\s+# .*$", "", words)))
        text = ""
    return commands


def pairs_of(words: list[str]) -> list[tuple[str, str]]:
    """Return the words of a command with their keys: `key=value`, `--flag value`, a word alone."""
    pairs = []
    for before, word in zip(["", *words], words, strict=False):
        key, sign, value = word.partition("=")
        flag = before if before.startswith("--") else ""
        pairs.append((key, value) if sign else (flag, word))
    return pairs


def read_names(words: list[str], here: Path) -> list[str]:
    """Return what a command may read: its words and values, and what its recipe names."""
    names: list[str] = []
    for key, value in pairs_of(words):
        if key not in _OUTPUTS:
            names += value.split(",")
    for word in words:
        recipe = here / word
        if recipe.suffix == ".yaml" and recipe.is_file():
            content = yaml.safe_load(recipe.read_text(encoding="utf-8")) or {}
            overridden = {word.partition("=")[0] for word in words if "=" in word}
            keys = {"model_name_or_path", "adapter_name_or_path"} - overridden
            names += [str(content[key]) for key in sorted(keys & content.keys())]
    return names


def shortened(words: list[str], here: Path) -> list[str]:
    """Return a command that is done in seconds on a CPU: full precision, one step, four rows."""
    if "llamafactory_emotion.train_head" in words:
        return [*words, "max_steps=1"]
    recipe = next((here / word for word in words if re.fullmatch(r"[^=]+\.yaml", word)), None)
    trains = words[:2] == ["llamafactory-cli", "train"]
    if recipe is None or not (trains or "llamafactory_emotion.predict" in words):
        return words
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    values |= dict(word.split("=", 1) for word in words if "=" in word)
    extra = [f"{key}=false" for key in _HALF_PRECISION if str(values.get(key)).lower() == "true"]
    if trains:
        extra += ["max_samples=8", "report_to=none"]
        extra += ["max_steps=1"] if values.get("do_train") else []
    return [*words, *extra]


def run_page(page: str, blocks: list[list[Command]], folder: Path, stage: Stage) -> None:
    """Run a page's commands, block after block.

    Raises:
        AssertionError: One of them failed; says which, and with what output.
    """
    stage.lay_out_workspace(folder)
    for block in blocks:
        here, written = folder, set[Path]()
        for command in block:
            words = shlex.split(command.text)
            # What a block before this one has written is no obstacle; within a block it is.
            outputs = {here / value for key, value in pairs_of(words) if key in _OUTPUTS}
            for output in outputs - written:
                _remove(output)
                written.add(output)
            if words[0] == "cd":
                here /= words[1]
                continue
            if "llamafactory_emotion.init" in words:
                # A block that makes a working folder starts afresh, as its reader does.
                _remove(here / words[-1])
            _run(command, words, here, stage, page)
            if "llamafactory_emotion.init" in words:
                stage.shorten(here / words[-1])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(command: Command, words: list[str], here: Path, stage: Stage, page: str) -> None:
    words = [stage.word(word) for word in words]
    task_file = next((name for key, name in pairs_of(words) if key in ("task", "--task")), "")
    stage.lay_out(page, task_file, here, EMOTION)
    task = EMOTION
    if task_file:
        task = load_task(here / task_file if (here / task_file).is_file() else task_file)
    for name in read_names(words, here):
        stage.lay_out(page, name, here, task)
    if words[0] == "llamafactory-emotion":
        words = ["python", "-m", f"llamafactory_emotion.{words[1]}", *words[2:]]
    done = _finished(command, shortened(words, here), here)
    # doctor's findings are about this machine: that it reports them is what is asked here.
    reports = "llamafactory_emotion.doctor" in words and " errors, " in done.stdout
    assert done.returncode == 0 or (reports and done.returncode == 1), (
        f"{command}\nended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}\n"
        "Mend the page; or lay out what it reads in tests/support/stand_ins.py; or say in NOT_RUN "
        "of tests/project/test_docs.py why it cannot be run."
    )


def _finished(command: Command, words: list[str], here: Path) -> subprocess.CompletedProcess[str]:
    settings = dict(word.split("=", 1) for word in words if _ASSIGNMENT.fullmatch(word))
    needs_shell = bool(_SHELL_SIGNS.search(command.text))
    is_ours = words[0] == "llamafactory-cli" or words[:2] == ["python", "-m"]
    if is_ours and not settings and not needs_shell:
        return run_in_fork(*words, cwd=here)
    if needs_shell:
        words, settings = ["bash", "-o", "pipefail", "-c", command.text], {}
    words = [word for word in words if not _ASSIGNMENT.fullmatch(word)]
    try:
        return run_program(*words, cwd=here, OMP_NUM_THREADS="2", **settings)
    except AssertionError as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))
