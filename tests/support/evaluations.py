"""Evaluations for the tests of the reports: made by the evaluator itself from a few rows."""

import json

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.evaluate.comparison import compare_files
from llamafactory_emotion.evaluate.evaluation import evaluate_file
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.predictions.reading import Prediction
from llamafactory_emotion.task import EMOTION

# Each would set the title, draw a picture from elsewhere, end the list it is in or add up.
PAYLOADS = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    '<img src="http://leak.example/picture">',
    '"><svg onload="document.title=\'owned\'">',
    "'><iframe src=http://leak.example/frame></iframe>",
    "</script><script>document.title='owned'</script>",
    "</style></td></table><h1>owned</h1>",
    "{{7*7}} {% raw %} ${7*7} #{7*7}",
    "<style>@import url(http://leak.example/style);</style>",
    '<meta http-equiv="refresh" content="0;url=http://leak.example/refresh">',
    '<link rel="prefetch" href="http://leak.example/link">',
    "<a href=\"javascript:document.title='owned'\">x</a>",
    "<!--",
    "\u202egnp.exe\u202c",
    "\x1b]0;owned\x07",
    "\ud800",
    "a\r\n\x00b",
)


def row(gold, answer, **more):
    return {"prompt": "Which?\nI laughed", "predict": answer, "label": gold, **more}


def labelled(*pairs):
    """Make pairs of text and label the rows of a data file."""
    return [Row(text, label, line) for line, (text, label) in enumerate(pairs, start=1)]


def prediction(line=1, label="", *, prompt=None, text=None, id=None, predict=""):  # noqa: A002
    return Prediction(line, predict, label, prompt, text, id, None)


def judged(row, gold, *predicted):
    return Judged(row, gold, predicted, None, None)


def write_rows(path, *rows):
    """Write rows as JSON Lines, text as a line of its own, and return the path as text."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def evaluations_of(folder, files, *, task=EMOTION, **options):
    """Write each list of rows as a file of that name; return evaluations and their pairs."""
    evaluations = [
        evaluate_file(write_rows(folder / name, *rows), task, keeps_answers=True, **options)
        for name, rows in files.items()
    ]
    return evaluations, compare_files([one.answers for one in evaluations], task)
