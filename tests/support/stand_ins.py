"""What the documents' commands read and none before them makes: small, and our own."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

from own_texts import OWN_TEXTS
from programs import ROOT

from llamafactory_emotion.init.__main__ import write_workspace
from llamafactory_emotion.task import EMOTION, Task

ROWS = 60
_TEST = 1000  # where the texts of test files, and of predictions of them, begin
_DEMO_ROWS = 120
_MANY_ROWS = 900  # where a command puts hundreds aside for validation
_HUB_DATA = "dair-ai/emotion"
_PREDICTIONS = re.compile(r"(.*/)?(\w*predictions|a|b|lora|qlora|plain|scored)\.jsonl")
Rows = list[dict[str, object]]


def rows_of(task: Task, *, start: int = 0, count: int = ROWS) -> Rows:
    """Return rows of every label in turn, no text twice; another start gives other texts."""
    pairs = islice(zip(cycle(OWN_TEXTS), cycle(task.labels), strict=False), count)
    return [
        {"text": f"{text}, {number}", "label": label}
        for number, (text, label) in enumerate(pairs, start=start)
    ]


def write_rows(rows: Rows, path: Path) -> None:
    """Write rows in the form that the path's ending names."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        elif path.suffix == ".json":
            json.dump(rows, file, ensure_ascii=False)
        elif path.suffix == ".txt":
            file.writelines(f"{row['text']}\n" for row in rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def predictions_of(task: Task, *, right: float) -> Rows:
    """Return rows as `predict` writes them; about a share `right` of them is right."""
    others = task.labels[1:] + task.labels[:1]
    swapped = dict(zip(task.labels, others, strict=True))
    share = 0.4 / (len(task.labels) - 1)
    answers = []
    for number, row in enumerate(rows_of(task, start=_TEST)):
        gold = str(row["label"])
        answer = gold if number * 7 % 10 < 10 * right else swapped[gold]
        prompt = task.user_content(str(row["text"])) + "\nAnswer:"
        odds = {one: 0.6 if one == answer else share for one in task.labels}
        known = {"id": number, "prompt": prompt, "predict": answer, "label": gold}
        answers.append({**known, "probabilities": odds})
    return answers


class Stage:
    """Lays out a working folder, and in it what a command asks for.

    Args:
        models: Folder names as the documents have them to what stands in for them.
        page_texts: The documents, whose own files (a task's YAML) are written as printed.
    """

    def __init__(self, models: dict[str, Path], page_texts: dict[str, str]) -> None:
        self._models = models
        self._page_texts = page_texts

    def word(self, word: str) -> str:
        return re.sub(r"\bMODEL$", "saves/smollm2", word)

    def lay_out_workspace(self, folder: Path) -> None:
        """Write what `init` writes, and the data set of the hub."""
        write_workspace(folder)
        self.shorten(folder)

    def shorten(self, folder: Path) -> None:
        """Keep a few demo rows of a working folder and put the hub's data beside them."""
        import pyarrow
        from pyarrow import parquet

        demo = folder / "data" / "emotion_demo_train.jsonl"
        lines = demo.read_text(encoding="utf-8").splitlines(keepends=True)
        demo.write_text("".join(lines[:_DEMO_ROWS]), encoding="utf-8")
        hub = folder / _HUB_DATA / "split"
        hub.mkdir(parents=True)
        for start, split in enumerate(("train", "validation", "test")):
            rows = rows_of(EMOTION, start=1000 * start)
            columns = {
                "text": [row["text"] for row in rows],
                "label": [EMOTION.labels.index(str(row["label"])) for row in rows],
            }
            parquet.write_table(pyarrow.table(columns), hub / f"{split}-00000-of-00001.parquet")

    def lay_out(self, page: str, name: str, here: Path, task: Task) -> None:
        """Put a stand-in at a name, if there is one and nothing is there; rows are the task's."""
        target = here / name
        if not name or target.exists():
            return
        maker = self._maker(page, name, task)
        if maker is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            maker(target)

    def _maker(self, page: str, name: str, task: Task) -> Callable[[Path], object] | None:
        if name in self._models:
            return lambda target: target.symlink_to(self._models[name], target_is_directory=True)
        if name in _LABELLED:
            count, start = _LABELLED[name]
            return lambda target: write_rows(rows_of(task, start=start, count=count), target)
        if name == "my_task.yaml":
            shipped = ROOT / "examples" / "tasks" / "demo_sentiment.yaml"
            return lambda target: shutil.copyfile(shipped, target)
        if _PREDICTIONS.fullmatch(name):
            right = 0.6 if name.endswith("b.jsonl") else 0.8
            return lambda target: write_rows(predictions_of(task, right=right), target)
        if name == self._printed_task(page)[0]:
            return lambda target: target.write_text(self._printed_task(page)[1], encoding="utf-8")
        return None

    def _printed_task(self, page: str) -> tuple[str, str]:
        """Return the task file that a page prints: its name and content, or nothing."""
        found = re.search(r"```yaml\n(name: (\w+)\n.*?)```", self._page_texts[page], re.DOTALL)
        return (f"{found[2]}.yaml", found[1]) if found else ("", "")


# How many rows a file has, and where its texts begin.
_LABELLED = {
    "my_train.csv": (ROWS, 0),
    "my_test.csv": (ROWS, _TEST),
    "train.csv": (ROWS, 0),
    "test.csv": (ROWS, _TEST),
    "train.json": (_MANY_ROWS, 0),
    "test.json": (ROWS, _TEST),
    "train.jsonl": (ROWS, 0),
    "test.jsonl": (ROWS, _TEST),
    "texts.csv": (ROWS, _TEST),
    "texts.txt": (ROWS, _TEST),
    "data/emotion_test.jsonl": (ROWS, _TEST),
    "judgments.jsonl": (ROWS, 0),
}
