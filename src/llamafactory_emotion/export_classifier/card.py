"""Write the README of an exported folder: what it is, how it is used, how good it was found to be.

Stands on `report.model_card`, which lays figures out for the hub and for people.
"""

import json
from pathlib import Path
from typing import Any

import yaml

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
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.task import Task

_KINDS: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "file": str,
    "match": str,
    "majority_label": str,
    "n": int,
    "invalid": int,
    "broken": int,
    "accuracy": (int, float),
    "f1_macro": (int, float),
    "invalid_rate": (int, float),
    "majority_baseline": (int, float),
    "accuracy_ci": list,
    "f1_macro_ci": list,
}


def read_evaluation(path: str, task: Task) -> CardFigures:
    """Read what `evaluate --json` wrote of one file of predictions.

    Raises:
        CallError: The file is not there.
        DataError: It is not such a file, holds several, or is about another task.
    """
    with open_text(path) as lines:
        try:
            content = json.loads(lines.read())
        except ValueError as error:
            raise DataError(
                f"{path} is not JSON ({error}); name what evaluate --json wrote."
            ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not what evaluate --json writes; name such a file.")
    if "files" in content:
        raise DataError(f"{path} compares several files; evaluate the exported model's alone.")
    wrong = [key for key, kind in _KINDS.items() if not isinstance(content.get(key), kind)]
    wrong += [
        key
        for key in ("accuracy_ci", "f1_macro_ci")
        if key not in wrong and not _pair(content[key])
    ]
    if wrong:
        raise DataError(
            f"{path} has no usable {', '.join(wrong)}; name what evaluate --json wrote."
        )
    if content["task"] != task.name:
        raise DataError(
            f"{path} is an evaluation of the task {content['task']!r}, and {task.name!r} is "
            "exported; name one of the same task."
        )
    return _figures(content)


def _pair(value: list[Any]) -> bool:
    return len(value) == 2 and all(isinstance(one, int | float) for one in value)


def _figures(content: dict[str, Any]) -> CardFigures:
    check = content.get("row_check")
    source = check.get("source") if isinstance(check, dict) else None
    data = Path(str(source or content["file"])).name
    kept = {key: content[key] for key in _KINDS if key != "file"}
    pairs = {key: tuple(content[key]) for key in ("accuracy_ci", "f1_macro_ci")}
    return CardFigures(**{**kept, **pairs, "data": one_line(data) or "data"})


def card(
    name: str,
    base: str,
    encoder: PromptEncoder,
    baked: BakedPrompt,
    figures: CardFigures | None,
    checked: str,
) -> str:
    """Write the card: YAML for the hub between `---` lines, then Markdown.

    Args:
        name: The folder's name.
        base: The base model; named where it is a hub id, as a path means nothing to others.
        encoder: The prompt and the labels.
        baked: How the prompt lies in the tokenizer.
        figures: An evaluation, or None.
        checked: What the comparison with the scorer found, in words.
    """
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "license": "other",
    }
    if _is_hub_id(base):
        front["base_model"] = base
    if figures is not None:
        front["model-index"] = [model_index(name, figures)]
    shown = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    labels = ", ".join(map(markdown_text, encoder.task.labels))
    parts = [
        f"---\n{shown}---\n\n# {markdown_text(name)}",
        f"A sequence classifier with the labels {labels}. It was a language model that answers a "
        "prompt with one of them; its head holds those labels' rows of the output matrix, and its "
        "tokenizer puts the prompt around every text. Give it the text alone.",
        _usage(name),
        f"## Limits\n\n{_limits(encoder, baked)}",
        f"## Checked\n\n{checked}",
        "## Evaluation\n\n" + ("None was given." if figures is None else prose(figures)),
        _terms(base),
    ]
    return "\n\n".join(parts) + "\n"


def _is_hub_id(base: str) -> bool:
    parts = base.split("/")
    return len(parts) == 2 and all(parts) and parts[0][0] not in ".~" and not Path(base).exists()


def _usage(name: str) -> str:
    shown = json.dumps(one_line(name))
    return f"""## Use

```python
from transformers import pipeline

classify = pipeline("text-classification", model={shown})
classify(["I can't believe they did that."], top_k=None, truncation=True)
```

```python
from vllm import LLM

model = LLM({shown}, runner="pooling")
model.classify(["I can't believe they did that."])[0].outputs.probs
```"""


def _limits(encoder: PromptEncoder, baked: BakedPrompt) -> str:
    room = encoder.limit - len(baked.before_ids) - len(baked.after_ids)
    said = (
        f"A text may have {room:,} tokens; `truncation=True` cuts longer ones at their end and "
        "leaves the prompt whole."
    )
    if baked.glue_after:
        said = (
            f"A text may have {room:,} tokens; `truncation=True` cuts longer ones at their end. "
            f"The prompt stays whole but for {json.dumps(baked.glue_after)} between the text and "
            "its cue, which this tokenizer must read together with the text."
        )
    if not baked.empty_alike:
        said += " A text without any character is not read as the language model reads it."
    return said + " Names of special tokens inside a text are read as text."


def _terms(base: str) -> str:
    model = markdown_text(base) if _is_hub_id(base) else "the base model"
    return (
        "## Licence and data\n\n"
        f"The weights are derived from {model} and stand under its licence; put that licence's id "
        "in place of `other` above before publishing. What the training data allows binds the "
        "model too: name the data here. (dair-ai/emotion, say, is for education and research only, "
        "and its labels were made by machine from hashtags.)"
    )
