"""Write the model card of an exported folder: what it is, how to use it, how good it was found."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from pydantic import TypeAdapter, ValidationError

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.model_card import (
    CardFigures,
    markdown_text,
    model_index,
    one_line,
    prose,
)
from llamafactory_emotion.export_classifier.prompt import BakedPrompt
from llamafactory_emotion.files import open_text
from llamafactory_emotion.scoring.loading import is_path
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.task import Task

_TEXT = "I can't believe they did that."


def read_evaluation(path: str, task: Task) -> CardFigures:
    """Read what `evaluate json=FILE` wrote of one file of predictions."""
    with open_text(path) as file:
        text = file.read()
    try:
        content = TypeAdapter(dict[str, Any]).validate_json(text)
        if "files" in content:
            raise DataError(
                f"{path} compares several files; name an evaluation of the exported model's alone."
            )
        check = content.get("row_check")
        source = check.get("source") if isinstance(check, dict) else None
        # Its name alone: the card is public, and paths name people.
        data = one_line(Path(str(source or content.get("file"))).name) or "data"
        text = json.dumps({**content, "data": data})
        figures = TypeAdapter(CardFigures).validate_json(text, strict=True)
    except ValidationError as error:
        wrong = "; ".join(": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors())
        raise DataError(
            f"{path} is not what evaluate json=FILE writes ({wrong}); name such a file."
        ) from error
    if figures.task != task.name:
        raise DataError(
            f"{path} is an evaluation of the task {figures.task!r}, and {task.name!r} is "
            "exported; name one of the same task."
        )
    return figures


def model_card(
    name: str,
    base: str,
    encoder: PromptEncoder,
    baked: BakedPrompt,
    figures: CardFigures | None,
    checked: str,
) -> str:
    """Write the card: YAML for the hub between `---` lines, then Markdown.

    The base model is named where it is a hub id: a path means nothing to others.
    """
    hub_id = None if is_path(base) or Path(base).exists() else base
    front = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        license="other",
        base_model=hub_id,
    )
    if figures is not None:
        front["model-index"] = [model_index(name, figures)]
    origin = "the base model" if hub_id is None else markdown_text(hub_id)
    shown, example = json.dumps(one_line(name)), json.dumps([_TEXT])
    return f"""---
{front.to_yaml()}
---

# {markdown_text(name)}

A sequence classifier with the labels {", ".join(map(markdown_text, encoder.task.labels))}. It was \
a language model that answers a prompt with a word for one of them; its head holds those words' \
rows of the output matrix, and its tokenizer puts the prompt around every text. Give it the text \
alone.

## Use

```python
from transformers import pipeline

classify = pipeline("text-classification", model={shown})
classify({example}, top_k=None, truncation=True)
```

```python
from vllm import LLM

model = LLM({shown}, runner="pooling")
model.classify({example})[0].outputs.probs
```

## Limits

{_limits(encoder, baked)}

## Checked

{checked}

## Evaluation

{"None was given (`evaluation=FILE`)." if figures is None else prose(figures)}

## Licence and data

The weights are derived from {origin} and stand under its licence; put that licence's id in place \
of `other` above before publishing. What the training data allows binds the model too: name the \
data here. (dair-ai/emotion, say, is for education and research only, and its labels were made by \
machine from hashtags.)
"""


def _limits(encoder: PromptEncoder, baked: BakedPrompt) -> str:
    room = encoder.limit - len(baked.before_ids) - len(baked.after_ids)
    said = f"A text may have {room:,} tokens; `truncation=True` cuts longer ones at their end"
    if baked.glue_after:
        said += (
            f". The prompt stays whole but for {json.dumps(baked.glue_after)} between the text and "
            "its cue, which this tokenizer must read together with the text."
        )
    else:
        said += " and leaves the prompt whole."
    if not baked.empty_alike:
        said += " A text without any character is not read as the language model reads it."
    return said + " Names of special tokens inside a text are read as text."
