"""Write evaluations for other programs: the figures as JSON, wrong answers as CSV.

JSON keys follow scikit-learn's scorer names; nothing is computed here.
"""

import csv
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from llamafactory_emotion.evaluate.comparison import PairedComparison
from llamafactory_emotion.evaluate.evaluation import Evaluation, confused_pairs
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.metrics.counts import Metrics
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import printable

COLUMNS = ("file", "line", "id", "gold", "predicted", "reason", "confidence", "predict", "prompt")
_FORMULA_STARTS = ("=", "+", "-", "@")


def figures_json(
    evaluations: Sequence[Evaluation],
    pairs: Sequence[PairedComparison],
    *,
    ensure_ascii: bool = False,
) -> str:
    """Write one file's figures as JSON, or `files` and `pairs` of several."""
    files = [_evaluation_json(one) for one in evaluations]
    content = files[0] if len(files) == 1 else {"files": files, "pairs": list(map(asdict, pairs))}
    text = json.dumps(content, ensure_ascii=ensure_ascii, indent=2)
    # A lone surrogate, which no file can hold, becomes its JSON escape.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    content: dict[str, Any] = {
        "file": evaluation.file,
        "task": evaluation.task.name,
        "match": evaluation.match,
        **_metrics_json(evaluation.metrics),
        "reasons": evaluation.reasons,
        "by_rule": {rule: _metrics_json(one) for rule, one in evaluation.by_rule.items()},
        "broken": evaluation.broken,
        "broken_kinds": evaluation.broken_kinds,
        "unfinished": evaluation.unfinished,
    }
    if evaluation.calibration is not None:
        figures = asdict(evaluation.calibration)
        content |= {"n_probabilities": figures.pop("n"), **figures}
    if evaluation.sidecar is not None:
        content["sidecar"] = dict(evaluation.sidecar.everything)
    if evaluation.row_check is not None:
        content["row_check"] = asdict(evaluation.row_check)
    explanation = evaluation.train_explanation
    if explanation is not None:
        content["train_explanation"] = asdict(explanation) | {
            "clean": explanation.clean and _metrics_json(explanation.clean),
            "confused": [asdict(pair) for pair in confused_pairs(evaluation.metrics)],
        }
    if evaluation.floor is not None:
        floor = evaluation.floor
        content["floor"] = asdict(floor) | {"metrics": _metrics_json(floor.metrics)}
    return content


def _metrics_json(metrics: Metrics) -> dict[str, Any]:
    figures = asdict(metrics)
    confusion = {"labels": figures.pop("labels"), "matrix": figures.pop("confusion")}
    return figures | {"confusion": confusion}


class ErrorList:
    """Writes one line of CSV for every wrong or invalid answer, safe to open in a spreadsheet."""

    def __init__(self, out: TextIO, task: Task) -> None:
        """Write the header to `out`."""
        self._task = task
        self._writer = csv.writer(out, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, file: str, judged: Judged) -> None:
        """Write a file's row if its answer is wrong; `predicted` is empty where it is invalid."""
        row, predicted = judged.row, judged.predicted[0]
        if predicted == judged.gold:
            return
        self._writer.writerow(
            (
                spreadsheet_cell(file),
                row.line,
                spreadsheet_cell(row.id or ""),
                spreadsheet_cell(self._task.labels[judged.gold]),
                spreadsheet_cell((*self._task.labels, "")[predicted]),
                judged.reason or "",
                f"{max(judged.probabilities):.6f}" if judged.probabilities else "",
                spreadsheet_cell(row.predict),
                spreadsheet_cell(row.prompt if row.prompt is not None else row.text or ""),
            )
        )


def spreadsheet_cell(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula and no terminal obeys it.

    What starts with =, +, -, @ (also full-width, also after spaces), a tab or a line end gets an
    apostrophe in front; control characters become their escapes.
    """
    first = unicodedata.normalize("NFKC", text.lstrip()[:1])
    acts = first.startswith(_FORMULA_STARTS) or text[:1] in ("\t", "\r", "\n")
    return ("'" if acts else "") + printable(text)
