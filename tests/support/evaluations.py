"""Evaluations for the tests of the reports: made by the evaluator itself from a few rows."""

import json

from llamafactory_emotion.evaluate.comparison import compare_files
from llamafactory_emotion.evaluate.matching import AnswersRecorder
from llamafactory_emotion.evaluate.one_file import evaluate_rows
from llamafactory_emotion.predictions.reading import BrokenRows, read_predictions
from llamafactory_emotion.predictions.sidecar import read_sidecar
from llamafactory_emotion.task import EMOTION

# Each would set the title, draw a picture from elsewhere, end the list it stands in or add up.
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


def evaluations_of(folder, files, *, task=EMOTION, skip=False, threshold=None, match=None):
    """Write each list of rows as a file of that name, and give evaluations and their pairs."""
    evaluations, answers = [], []
    for name, rows in files.items():
        path = folder / name
        path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
        broken = BrokenRows(str(path), skip=skip)
        recorder = AnswersRecorder(str(path))
        evaluations.append(
            evaluate_rows(
                read_predictions(path, broken),
                broken,
                task,
                match=match,
                threshold=threshold,
                sidecar=read_sidecar(path),
                observers=[recorder],
            )
        )
        answers.append(recorder.answers(broken=broken.total))
    return evaluations, compare_files(answers, task, seed=0)
