"""The rows to predict: from a file, standard input or a LLaMA-Factory data set.

Each row holds the whole user content that LLaMA-Factory would ask with; for a row of an alpaca file
that begins with the row's own instruction. Rows are read one at a time.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from llamafactory_emotion.data.entries import read_entries
from llamafactory_emotion.data.reading import FileNotes, Row, iterate_rows, read_texts
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.predict.options import ModelOptions, PredictOptions
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import tell

_ROWS_AHEAD = 1000


class InputRow(NamedTuple):
    """A row to predict: the user turn (instruction and text) and the gold label, if any."""

    content: str
    label: str | None


@dataclass(frozen=True)
class Inputs:
    """The rows to predict, the task whose instruction they begin with, and their source's name.

    `notes` is complete once all rows are read.
    """

    task: Task
    rows: Iterator[InputRow]
    name: str
    notes: FileNotes = field(default_factory=FileNotes)


def open_inputs(options: PredictOptions, task: Task) -> Inputs:
    """Open what a call names, and read its first rows: a wrong file is told before a model loads.

    Standard input is not waited for: of it one row is read.
    """
    notes = FileNotes()
    if options.input is not None:
        name = "standard input" if options.input == STANDARD_STREAM else options.input
        texts = read_texts(
            options.input,
            task=task,
            **options.reading,
            # What is to be predicted may have no labels where the examples have some.
            label_may_lack=options.few_shot is not None,
            skip_empty=options.skip_empty,
            notes=notes,
        )
        rows = (InputRow(task.user_content(row.text), row.label or None) for row in texts)
        inputs = Inputs(task, rows, name, notes)
    else:
        inputs = open_dataset(
            options.eval_dataset or "",
            options.dataset_dir,
            task,
            cache_dir=options.cache_dir,
            token=options.hf_hub_token,
        )
    ahead = list(islice(inputs.rows, 1 if options.input == STANDARD_STREAM else _ROWS_AHEAD))
    if not ahead:
        raise DataError(f"{inputs.name} holds no text; name another input.")
    if notes.columns is not None:
        tell(f"{inputs.name}: {notes.columns}")
    return replace(inputs, rows=islice(chain(ahead, inputs.rows), options.max_samples))


def open_dataset(
    names: str, folder: str, task: Task, *, cache_dir: str | None = None, token: str | None = None
) -> Inputs:
    """Open data sets by their names in a folder's `dataset_info.json`, one after another.

    The instruction of an alpaca file's first row replaces the task's own.
    """
    entries = read_entries(names, Path(folder), cache_dir=cache_dir, token=token)
    rows = chain.from_iterable(entry.asked(task) for entry in entries)
    first = next(rows)  # a data set without rows is an error
    asked = replace(task, instruction=first.instruction or task.instruction)
    return Inputs(asked, map(_as_asked, chain([first], rows)), names)


def _as_asked(row: Row) -> InputRow:
    content = f"{row.instruction}\n{row.text}" if row.instruction else row.text
    return InputRow(content, row.label or None)


def draw_examples(options: ModelOptions, task: Task) -> list[tuple[str, str]]:
    """Draw `shots` examples (text, label) of each label from the file `few_shot`, and shuffle them.

    The same seed draws the same ones. Without a file there are none.
    """
    path, shots = options.few_shot, options.shots
    if path is None:
        return []
    notes = FileNotes()
    chance = random.Random(options.seed)  # noqa: S311 - a draw of examples keeps no secret
    drawn: dict[str, list[str]] = {label: [] for label in task.labels}
    seen = dict.fromkeys(task.labels, 0)
    # Reservoir sampling: the file may be larger than memory.
    for row in iterate_rows(path, task, **options.reading, notes=notes):
        seen[row.label] += 1
        index = chance.randrange(seen[row.label])
        if len(drawn[row.label]) < shots:
            drawn[row.label].append(row.text)
        elif index < shots:
            drawn[row.label][index] = row.text
    tell(f"{path}: {notes.columns}")
    few = [f"{label} {seen[label]}" for label in task.labels if seen[label] < shots]
    if few:
        raise DataError(
            f"{path} has fewer than {shots} examples of {', '.join(few)}; lower shots or name "
            "another file with few_shot."
        )
    examples = [(text, label) for label, texts in drawn.items() for text in texts]
    chance.shuffle(examples)
    return examples
