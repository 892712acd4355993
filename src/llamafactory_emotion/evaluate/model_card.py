"""Write evaluations as the section of a model card: a `model-index` for the hub, tables for people.

The block at the top is what the Hugging Face hub reads
(https://huggingface.co/docs/hub/model-cards#evaluation-results); it holds the first file, which
the card is about, and the others are compared with it below. A card is public and the data may not
be: it shows a few invalid answers, and no prompt and no text of a data file. Whatever comes from a
file is escaped, so that it is shown and neither laid out nor run.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import yaml

from llamafactory_emotion.evaluate.comparison import PairedComparison
from llamafactory_emotion.evaluate.comparison_tables import files_table, pair_facts, short_names
from llamafactory_emotion.evaluate.one_file import Evaluation
from llamafactory_emotion.evaluate.tables import UNFINISHED, evaluation_blocks, percent
from llamafactory_emotion.predictions.sidecar import Sidecar
from llamafactory_emotion.terminal import Block, Facts, printable

ANSWERS_SHOWN = 5
_ANSWER_LENGTH = 120
# What Markdown acts on inside a line, and what GitHub's adds: links and `:emoji:` without brackets.
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~$#@]|:(?=//|[\w+-]+:)|(?<=www)\.", re.IGNORECASE)
_BY_ENTITY = "<>&|:@."


@dataclass(frozen=True)
class CardFigures:
    """The figures of an evaluation that a card shows; named as in `evaluate`'s JSON.

    `data` is the name of what was predicted, and `broken` counts rows that were left out.
    """

    task: str
    data: str
    match: str
    n: int
    accuracy: float
    accuracy_ci: tuple[float, float]
    f1_macro: float
    f1_macro_ci: tuple[float, float]
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
    names = short_names([one.source for one in evaluations])
    index = yaml.safe_dump(
        {"model-index": [model_index(model_name(first), _figures(first))]},
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    )
    parts = [
        "---\n"
        "# dataset.type should be the data set's id on the hub; put it there before publishing.\n"
        f"{index}---\n\n## Evaluation",
        prose(_figures(first)) + (f" Unfinished: {UNFINISHED}." if first.unfinished else ""),
        # The first block sums up; the prose has said it.
        *(_block(block) for block in evaluation_blocks(first, texts=False)[1:]),
        *_invalid_answers(first),
    ]
    if len(evaluations) > 1:
        parts += ["## Comparison", _block(files_table(evaluations, names))]
        parts += [_block(pair_facts(pair, names, pairs=len(pairs))) for pair in pairs]
    return "\n\n".join(parts) + "\n"


def _figures(evaluation: Evaluation) -> CardFigures:
    metrics = evaluation.metrics
    return CardFigures(
        task=evaluation.task.name,
        data=_data_name(evaluation),
        match=evaluation.match,
        n=metrics.n,
        accuracy=metrics.accuracy,
        accuracy_ci=metrics.accuracy_ci,
        f1_macro=metrics.f1_macro,
        f1_macro_ci=metrics.f1_macro_ci,
        invalid=metrics.invalid,
        invalid_rate=metrics.invalid_rate,
        majority_label=metrics.majority_label,
        majority_baseline=metrics.majority_baseline,
        broken=evaluation.broken,
    )


def model_index(name: str, figures: CardFigures) -> dict[str, Any]:
    """Give one entry of a card's `model-index`, as the hub reads it."""
    data = one_line(figures.data) or "data"
    return {
        "name": one_line(name) or "model",
        "results": [
            {
                "task": {"type": "text-classification", "name": one_line(figures.task)},
                "dataset": {"type": data, "name": data},
                "metrics": [
                    {"type": "accuracy", "value": round(figures.accuracy, 6), "name": "Accuracy"},
                    {
                        "type": "f1",
                        "value": round(figures.f1_macro, 6),
                        "name": "Macro-F1",
                        "args": {"average": "macro"},
                    },
                ],
            }
        ],
    }


def model_name(evaluation: Evaluation) -> str:
    """Give the name the card uses: the adapter's or the model's, else the file's."""
    sidecar = evaluation.sidecar or Sidecar()
    path = sidecar.adapter or sidecar.model or evaluation.source
    is_file = path == evaluation.source
    name = PurePath(path).stem if is_file else PurePath(path.rstrip("/\\")).name
    return one_line(name) or "model"


def _data_name(evaluation: Evaluation) -> str:
    check = evaluation.row_check
    return one_line(PurePath(check.source if check else evaluation.source).name) or "data"


def prose(figures: CardFigures) -> str:
    """Say an evaluation's figures in a few sentences of Markdown."""
    low, high = (f"{bound:.4f}" for bound in figures.accuracy_ci)
    f1_low, f1_high = (f"{bound:.4f}" for bound in figures.f1_macro_ci)
    said = (
        f"Accuracy {figures.accuracy:.4f} (95 % interval {low} to {high}) and macro-F1 "
        f"{figures.f1_macro:.4f} ({f1_low} to {f1_high}) on n = {figures.n:,} rows of "
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
    rows = tuple((one.gold, one.reason or "", _shortened(one.predict)) for one in examples)
    yield _table(("gold", "reason", "answer"), rows, figures=False)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _ANSWER_LENGTH else text[:_ANSWER_LENGTH] + "…"


def _block(block: Block) -> str:
    title = f"### {markdown_text(block.title)}"
    if isinstance(block, Facts):
        return f"{title}\n\n{_table(('', ''), block.lines, figures=False)}"
    return f"{title}\n\n{_table(block.columns, block.rows, figures=True)}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, figures: bool) -> str:
    marks = ["---", *("--:" if figures else "---" for _ in columns[1:])]
    lines = [
        [markdown_text(column) for column in columns],
        marks,
        *([markdown_text(cell) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Give text so that Markdown shows it as it is: no emphasis, link, HTML, table or line end."""
    return _SPECIAL.sub(_escaped, one_line(text))


def one_line(text: str) -> str:
    """Give text on one line, without characters that would act."""
    return printable(" ".join(text.split()))


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return f"&#{ord(character)};" if character in _BY_ENTITY else f"\\{character}"
