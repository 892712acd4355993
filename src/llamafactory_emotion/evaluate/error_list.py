"""Write wrong and invalid answers into a CSV file, safe to open in a spreadsheet.

An observer of `one_file.evaluate_rows`: rows are written as they are judged, none is kept.
"""

import csv
import unicodedata
from typing import TextIO

from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import printable

COLUMNS = ("file", "line", "id", "gold", "predicted", "reason", "confidence", "predict", "prompt")
_FORMULA_STARTS = ("=", "+", "-", "@")


class ErrorList:
    """Writes one line for every wrong or invalid answer."""

    def __init__(self, out: TextIO, task: Task) -> None:
        """Write the header to `out`."""
        self._task = task
        self._writer = csv.writer(out, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self.source = ""

    def __call__(self, judged: Judged) -> None:
        """Write the row if its answer is wrong; `predicted` is empty where it is invalid."""
        row, predicted = judged.row, judged.predicted[0]
        if predicted == judged.gold:
            return
        self._writer.writerow(
            (
                spreadsheet_cell(self.source),
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
    """Give `text` so that no spreadsheet takes it for a formula and no terminal obeys it.

    What starts with =, +, -, @ (also full-width, also after spaces), a tab or a line end gets an
    apostrophe in front; control characters become their escapes.
    """
    first = unicodedata.normalize("NFKC", text.lstrip()[:1])
    acts = first.startswith(_FORMULA_STARTS) or text[:1] in ("\t", "\r", "\n")
    return ("'" if acts else "") + printable(text)
