"""Calls of a command in the tests' own process, and the models and rows that they name."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from random_models import random_model, tokenizer_of


def save_model(
    folder: Path, architecture: str = "llama", tokenizer: Any = None, **changes: Any
) -> str:
    """Save a random model with a tokenizer, and return its folder."""
    random_model(architecture, **changes).save_pretrained(folder)
    (tokenizer or tokenizer_of()).save_pretrained(folder)
    return str(folder)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines, of which the last must be whole."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def run(command: Any, *words: object) -> None:
    """Make a call of a command's module, which must do its work."""
    assert command.main([str(word) for word in words]) == 0


def read_sidecar(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.with_name(f"{path.name}.meta.json").read_text())
    return content


def refused(main: Callable[[list[str]], int], capsys: Any, *words: object) -> tuple[int, str]:
    """Make a call that must fail with one sentence; return exit code and sentence.

    Lines before it tell what was read.
    """
    capsys.readouterr()  # what saving a model printed
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    assert captured.out == ""
    _, found, sentence = f"\n{captured.err}".partition("\nerror: ")
    assert found
    assert "Traceback" not in captured.err
    return code, f"error: {sentence}"
