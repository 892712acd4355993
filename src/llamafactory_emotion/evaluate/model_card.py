"""Write evaluations as the section of a model card: a `model-index` for the hub, tables for people.

The block at the top is what the Hugging Face hub reads
(https://huggingface.co/docs/hub/model-cards#evaluation-results). It holds the first file, which
the card is about; the others are compared with it. A card is public and the data may not be: it
shows a few invalid answers, and no prompt and no text of a data file. Whatever comes from a file is
escaped, so that it is shown and neither laid out nor run.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any

import yaml
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from llamafactory_emotion.evaluate.comparison import PairedComparison
from llamafactory_emotion.evaluate.evaluation import Evaluation
from llamafactory_emotion.evaluate.tables import (
    NO_INTERVAL,
    UNFINISHED,
    comparison_blocks,
    evaluation_blocks,
    percent,
)
from llamafactory_emotion.predictions.sidecar import Sidecar
from llamafactory_emotion.terminal import Block, Facts, printable
from llamafactory_emotion.text import shorten

ANSWERS_SHOWN = 5
_LONGEST_ANSWER = 120
# What Markdown acts on inside a line, and what GitHub's adds: links and `:emoji:` without brackets.
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~$#@]|:(?=//|[\w+-]+:)|(?<=www)\.", re.IGNORECASE)
_BY_ENTITY = "<>&|:@."


@dataclass(frozen=True)
class CardFigures:
    """The figures of an evaluation that a card shows; named as in `evaluate`'s JSON.

    `data` is the name of what was predicted, on one line, and `broken` counts rows left out.
    """

    task: str
    data: str
    match: str
    n: int
    accuracy: float
    accuracy_ci: tuple[float, float]
    f1_macro: float
    f1_macro_ci: tuple[float, float] | None
    invalid: int
    invalid_rate: float
    majority_label: str
    majority_baseline: float
    broken: int


def model_card(evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]) -> str:
    """Write the section: YAML between `---` lines, then Markdown.

    Args:
        evaluations: One for each file; the first is the model that the card is about.
        pairs: The comparison of each pair of them; empty for one file.
    """
    first = evaluations[0]
    figures = _figures(first)
    index = {"model-index": [model_index(_model_name(first), figures)]}
    parts = [
        "---\n"
        "# dataset.type should be the data set's id on the hub; put it there before publishing.\n"
        f"{yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=1000)}---\n\n"
        "## Evaluation",
        prose(figures) + (f" Unfinished: {UNFINISHED}." if first.unfinished else ""),
        # The first block sums up; the prose has said it.
        *map(_block, evaluation_blocks(first, texts=False)[1:]),
        *_invalid_answers(first),
    ]
    if len(evaluations) > 1:
        parts += ["## Comparison", *map(_block, comparison_blocks(evaluations, pairs))]
    return "\n\n".join(parts) + "\n"


def _figures(evaluation: Evaluation) -> CardFigures:
    check = evaluation.row_check
    data = PurePath(check.source if check else evaluation.file).name
    own: dict[str, Any] = {
        "task": evaluation.task.name,
        "data": one_line(data) or "data",
        "match": evaluation.match,
        "broken": evaluation.broken,
    }
    names = {one.name for one in fields(CardFigures)} - own.keys()
    return CardFigures(**own, **{name: getattr(evaluation.metrics, name) for name in names})


def _model_name(evaluation: Evaluation) -> str:
    sidecar = evaluation.sidecar or Sidecar()
    folder = sidecar.adapter or sidecar.model
    return PurePath(folder.rstrip("/\\")).name if folder else PurePath(evaluation.file).stem


def model_index(name: str, figures: CardFigures) -> dict[str, Any]:
    """Return one entry of a card's `model-index`, as the hub reads it."""
    about: dict[str, Any] = {
        "task_type": "text-classification",
        "task_name": one_line(figures.task),
        "dataset_type": figures.data,
        "dataset_name": figures.data,
    }
    accuracy, f1 = round(figures.accuracy, 6), round(figures.f1_macro, 6)
    results = [
        EvalResult(metric_type="accuracy", metric_name="Accuracy", metric_value=accuracy, **about),
        EvalResult(
            metric_type="f1",
            metric_name="Macro-F1",
            metric_value=f1,
            metric_args={"average": "macro"},
            **about,
        ),
    ]
    return eval_results_to_model_index(one_line(name) or "model", results)[0]


def prose(figures: CardFigures) -> str:
    """Say an evaluation's figures in a few sentences of Markdown."""
    low, high = (f"{bound:.4f}" for bound in figures.accuracy_ci)
    bounds = figures.f1_macro_ci
    f1_interval = f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else NO_INTERVAL
    said = (
        f"Accuracy {figures.accuracy:.4f} (95 % interval {low} to {high}) and macro-F1 "
        f"{figures.f1_macro:.4f} ({f1_interval}) on n = {figures.n:,} rows of "
        f"{markdown_text(figures.data)}, match rule {markdown_text(figures.match)}. "
        f"{figures.invalid:,} answers ({percent(figures.invalid_rate)}) name no label or several; "
        "they are invalid and count as wrong. Always answering "
        f"{markdown_text(figures.majority_label)} would reach {figures.majority_baseline:.4f}."
    )
    if figures.broken:
        said += f" {figures.broken:,} broken rows were left out."
    return said


def _invalid_answers(evaluation: Evaluation) -> Iterator[str]:
    examples = evaluation.invalid_answers[:ANSWERS_SHOWN]
    if not examples:
        return
    yield f"### Invalid answers, the first {len(examples)} of {evaluation.metrics.invalid:,}"
    shown = [shorten(" ".join(one.predict.split()), _LONGEST_ANSWER) for one in examples]
    rows = [(one.gold, one.reason or "", text) for one, text in zip(examples, shown, strict=True)]
    yield _table(("gold", "reason", "answer"), rows, mark="---")


def _block(block: Block) -> str:
    title = f"### {markdown_text(block.title)}"
    if isinstance(block, Facts):
        return f"{title}\n\n{_table(('', ''), block.lines, mark='---')}"
    return f"{title}\n\n{_table(block.columns, block.rows, mark='--:')}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, mark: str) -> str:
    lines = [list(map(markdown_text, row)) for row in (columns, *rows)]
    lines.insert(1, ["---", *(mark for _ in columns[1:])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Return text so that Markdown shows it as it is: no emphasis, link, HTML or table."""
    return _SPECIAL.sub(
        lambda match: f"&#{ord(match[0])};" if match[0] in _BY_ENTITY else f"\\{match[0]}",
        one_line(text),
    )


def one_line(text: str) -> str:
    """Return text on one line, without characters that would act."""
    return printable(" ".join(text.split()))
