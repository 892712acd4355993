"""The tables of docs/recipes.md, read as data: they are the one list of recipes and overrides."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from programs import ROOT

PAGE = ROOT / "docs" / "recipes.md"
EXECUTED, TWO_PROCESSES = "yes", "yes, two processes"
SECTIONS = ["model", "method", "dataset", "output", "train", "eval"]


def sections_of(recipe: Path) -> list[str]:
    """Return a recipe's sections; it must fit a screen and say what it needs and its command."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 50
    for word in ("Needs", "Command", "Override"):
        assert any(line.startswith(f"# {word}") for line in lines), word
    assert any(line.startswith("# ") and f"/{recipe.name}" in line for line in lines)
    return [line[4:] for line in lines if line.startswith("### ")]


@dataclass(frozen=True)
class Entry:
    """A row: a recipe and what is added to its command."""

    name: str
    recipe: Path
    environment: dict[str, str]
    overrides: tuple[str, ...]
    memory: int | None
    executed: str

    def __str__(self) -> str:
        return self.name


def shipped() -> list[Entry]:
    """Return the recipes of the first table."""
    return [
        _entry(cells["recipe"].strip("`"), cells["recipe"], "", cells)
        for cells in _table("| recipe |")
    ]


def overrides() -> list[Entry]:
    """Return the rows of the second table."""
    return [
        _entry(cells["what"], cells["recipe"], cells["add"], cells) for cells in _table("| what |")
    ]


def _table(head: str) -> list[dict[str, str]]:
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index(head) :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def _entry(name: str, recipe: str, added: str, cells: dict[str, str]) -> Entry:
    words = shlex.split(added.strip("`"))
    variables = {
        key: value for key, value in (word.split("=", 1) for word in words) if key.isupper()
    }
    memory = re.fullmatch(r"(\d+) GiB", cells["memory a GPU"])
    return Entry(
        name,
        ROOT / "examples" / f"{recipe.strip('`')}.yaml",
        variables,
        tuple(word for word in words if not word.split("=", 1)[0].isupper()),
        int(memory[1]) if memory else None,
        cells["executed here"],
    )
