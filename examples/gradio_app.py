"""A page for an exported classifier: type a sentence, see a bar for every label.

Needs    pip install gradio transformers torch
Command  python examples/gradio_app.py saves/emotion_classifier
Override python examples/gradio_app.py saves/emotion_classifier --port 8080

The folder is a sequence classifier as transformers saves it; nothing of the package that trained it
is needed. Its examples are the `widget` texts of its README.md, as on the hub. The page is served
to this machine alone.
"""

import argparse
import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from huggingface_hub import ModelCard
from transformers import AutoConfig, pipeline

CSS = """
.gradio-container { max-width: 48rem !important; margin: 0 auto !important; }
.bars { display: grid; gap: .6rem; padding: .5rem 0; }
.bars div { display: grid; grid-template-columns: 6rem 1fr 3.5rem; gap: .6rem; }
.bars div:first-child b { font-weight: 700; } .bars b { font-weight: 400; }
.bars .track { background: var(--background-fill-secondary); border-radius: .3rem; height: 1.4rem; }
.bars .fill { display: block; background: #2563eb; border-radius: .3rem; height: 100%; }
.bars output { text-align: right; font-variant-numeric: tabular-nums; }
"""
EMOTIONS = {"sadness", "joy", "love", "anger", "fear", "surprise"}
EXAMPLES = [
    "I can't believe you came all this way just to see me!",
    "Nobody called, and the rooms were silent all evening.",
    "How dare they take the credit for my work.",
]


def classifier_of(folder: str) -> Callable[[str], dict[str, float]]:
    """Load a folder; give a function from a text to its labels' probabilities, likeliest first."""
    classify = pipeline("text-classification", model=folder, top_k=None)

    def probabilities(text: str) -> dict[str, float]:
        if not text.strip():
            return {}
        scores: list[dict[str, Any]] = classify([text], truncation=True)[0]
        return {one["label"]: one["score"] for one in scores}

    return probabilities


def problem_of(folder: str) -> str | None:
    """Say why a folder cannot be shown: a head that was never trained would give chance answers."""
    try:
        architectures = AutoConfig.from_pretrained(folder).architectures or []
    except (OSError, ValueError) as error:
        return f"{folder} cannot be read ({str(error).splitlines()[0]})"
    if any("ForSequenceClassification" in name for name in architectures):
        return None
    return f"{folder} is no sequence classifier; make one with export_classifier or train_head"


def examples_of(folder: str, labels: Iterable[str]) -> list[str]:
    """Return the texts that the folder's card shows, or our own where the labels are emotions."""
    try:
        card = Path(folder, "README.md")
        widget = ModelCard.load(card if card.is_file() else folder).data.get("widget") or []
    except (OSError, ValueError):  # no card, or one that cannot be read
        widget = []
    texts = [one["text"] for one in widget if isinstance(one, dict) and one.get("text")]
    return texts or (EXAMPLES if set(labels) == EMOTIONS else [])


def bars(probabilities: dict[str, float]) -> str:
    """Draw the probabilities as HTML. A label's name comes from the folder: it is only text."""
    rows = "".join(
        f"<div><b>{(name := html.escape(label))}</b>"
        f'<span class="track" role="meter" aria-label="{name}" aria-valuenow="{value:.4f}">'
        f'<span class="fill" style="width: {value:.2%}"></span></span>'
        f"<output>{value:.1%}</output></div>"
        for label, value in probabilities.items()
    )
    return f'<div class="bars">{rows}</div>'


def build(folder: str) -> gr.Blocks:
    """Build the page for a folder."""
    probabilities = classifier_of(folder)

    def show(text: str) -> str:
        return bars(probabilities(text))

    # Fonts of the visitor's own: nothing is fetched from elsewhere for them.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    labels = AutoConfig.from_pretrained(folder).id2label.values()
    # Names from outside are shown as code, which is only text in Markdown.
    title, named = (one.replace("`", "'") for one in (Path(folder).name, ", ".join(labels)))
    with gr.Blocks(title=title, theme=theme, css=CSS, analytics_enabled=False) as page:
        gr.Markdown(f"# `{title}`\nType a text and press Enter: `{named}`.")
        text = gr.Textbox(label="Text", lines=1, max_lines=8, submit_btn="Classify")
        result = gr.HTML(bars({}))
        text.submit(show, text, result, api_name="classify")
        if examples := examples_of(folder, labels):
            gr.Examples(examples, text, result, show, run_on_click=True, cache_examples=False)
    return page


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the page on this machine."""
    parser = argparse.ArgumentParser(description="Serve a page for a sequence classifier.")
    parser.add_argument("folder", help="a sequence classifier's folder or hub id")
    parser.add_argument("--port", type=int, default=7860)
    options = parser.parse_args(argv)
    problem = problem_of(options.folder)
    if problem is not None:
        parser.error(problem)
    build(options.folder).launch(server_name="127.0.0.1", server_port=options.port, show_api=False)


if __name__ == "__main__":
    main()
