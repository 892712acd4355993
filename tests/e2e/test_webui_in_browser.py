"""LLaMA-Factory's web page in a real browser: a training and a prediction with our template.

The names are those that the page shows in English; `docs/web_page.md` tells a reader the same ones.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import DESKTOP, Tab, wait_for
from programs import free_port, run_program, served

from llamafactory_emotion.init.__main__ import write_workspace

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = pytest.mark.slow

RUN = 240  # seconds for a run that the page starts
ENDS = r'Finished\.|"predict_|Failed\.'
BUTTONS = "button:not([aria-hidden] *)"  # Gradio has a hidden copy of its tabs
VISIBLE = "(one => one.checkVisibility())"
OUTPUT = f"[...document.querySelectorAll('.prose')].filter{VISIBLE}.map(one => one.innerText)"


class Board:
    """The page, by the names that it shows."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    def write(self, label: str, text: str) -> None:
        """Write into a field, in place of what is there, and leave the field."""
        self._fill(label, text)
        self._leave(label, text)

    def choose(self, label: str, option: str) -> None:
        """Choose from a list that opens, and find the choice in the field.

        Some lists are asked for when the field is clicked, and their answer empties it: the option
        must not have been in the list before.
        """
        self._fill(label, option)
        self._tab.click(one_of("[role=option]", "ariaLabel", option), f"{option} in {label}")
        self._leave(label, option)

    def press(self, name: str) -> None:
        """Press a button or a tab."""
        self._tab.click(one_of(BUTTONS, "innerText.trim()", name), name)

    def output(self) -> str:
        """Return what the visible output box says."""
        return "\n".join(self._tab.ask(OUTPUT))

    def run(self) -> str:
        """Press Start and wait for the run's end; return what the box says then."""
        self.press("Start")
        wait_for(lambda: re.search(ENDS, self.output()), "the end of the run", RUN)
        assert "Failed." not in self.output(), self.output()
        return self.output()

    def _fill(self, label: str, text: str) -> None:
        self._tab.click(f"{block_of(label)}?.querySelector('input, textarea')", label)
        self._tab.ask("document.activeElement.select()")
        self._tab.call("Input.insertText", text=text)

    def _leave(self, label: str, text: str) -> None:
        """Leave a field and see its value there; one that takes several shows names as well."""
        # Not with the Tab key: it opens the next list, which covers what lies below.
        self._tab.ask("document.activeElement.blur()")
        shown = f"[...{block_of(label)}.querySelectorAll('input, textarea, .token')]"
        values = f"{shown}.map(one => one.value ?? one.innerText.trim())"
        wait_for(lambda: text in (self._tab.ask(values) or ()), f"{text} as {label}")


def one_of(look: str, attribute: str, value: str) -> str:
    return (
        f"[...document.querySelectorAll('{look}')].filter{VISIBLE}"
        f".find(one => one.{attribute} === {json.dumps(value)})"
    )


def block_of(label: str) -> str:
    return f"{one_of('[data-testid=block-info]', 'innerText.trim()', label)}?.closest('.block')"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that `init` wrote."""
    write_workspace(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def page(folder: Path) -> Iterator[str]:
    """The address of the page, started in that folder."""
    port = free_port()
    settings = {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "BROWSER": "true",  # LLaMA-Factory opens one; the command `true` does nothing
        "OMP_NUM_THREADS": "1",
    }
    with served("llamafactory-cli", "webui", port=port, cwd=folder, **settings) as address:
        yield address


def test_a_model_is_trained_and_judged(tab: Tab, page: str, folder: Path, tiny_base: Path):
    def text() -> str:
        return str(tab.ask("document.body.innerText"))

    tab.open(page, DESKTOP)
    board = Board(tab)
    wait_for(lambda: "Ready." in board.output(), "the page in English")
    board.choose("Model name", "Custom")
    # The warning comes last: path and template are reset by then.
    wait_for(lambda: "You are using a non-instruct model" in text(), "the reset")
    board.write("Model path", str(tiny_base))
    board.choose("Chat template", "emotion")

    board.choose("Dataset", "emotion_demo_train")
    board.press("Preview dataset")
    first = json.loads((folder / "data/emotion_demo_train.jsonl").read_text().splitlines()[0])
    wait_for(lambda: first["text"] in text(), "the first text")
    board.press("Close")
    wait_for(lambda: first["text"] not in text(), "the closing")

    board.write("Max samples", "16")
    board.choose("Compute type", "fp32")
    board.write("Output dir", "trained")
    assert "Finished." in board.run()
    assert (folder / "saves/Custom/lora/trained/adapter_model.safetensors").is_file()

    board.press("Evaluate & Predict")
    board.choose("Checkpoint path", "trained")
    board.choose("Dataset", "emotion_demo_test")
    for label, value in {
        "Max samples": "8",
        "Maximum new tokens": "8",
        "Top-p": "0.01",
        "Temperature": "0.01",
        "Output dir": "predicted",
    }.items():
        board.write(label, value)
    shown = board.run()

    run_program(
        "python", "-m", "llamafactory_emotion.evaluate", "--json", "figures.json",
        "saves/Custom/lora/predicted/generated_predictions.jsonl", cwd=folder,
    )  # fmt: skip
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["n"] == 8
    assert f'"predict_accuracy": {figures["accuracy"]}' in shown
