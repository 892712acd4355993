"""The rows to predict: from a file, standard input or a LLaMA-Factory data set.

Each row holds the whole user content that LLaMA-Factory would ask with; for a row of an alpaca file
that begins with the row's own instruction. Rows are read one at a time.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_emotion.data.entries import read_entries
from llamafactory_emotion.data.reading import FileNotes, Row, iterate_rows, read_texts
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.predict.options import ModelOptions, PredictOptions
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import tell
from llamafactory_emotion.text import shorten

_ROWS_AHEAD = 1000


class InputRow(NamedTuple):
    """A row to predict: the user turn (instruction and text) and the gold label, if any.

    `line` is its place in the input as in `data.reading.Row`, where rows of that were left out;
    `kept` are its columns to keep.
    """

    content: str
    label: str | None
    line: int | None = None
    kept: Mapping[str, Any] | None = None


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
            # A task's own is what `prepare` has written to the rows that were trained.
            own_instruction=options.labels is not None,
            keep_columns=options.keep_columns,
            notes=notes,
        )
        first = list(islice(texts, 1))
        task = _as_trained(options, task, notes.instruction)
        rows = (
            InputRow(
                f"{row.instruction or task.instruction}\n{row.text}",
                row.label or None,
                row.line if options.skip_empty else None,
                row.kept,
            )
            for row in chain(first, texts)
        )
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


def _as_trained(options: PredictOptions, task: Task, own: str) -> Task:
    """Return the task to ask, and say which instruction it is where the rows have another.

    A task of labels alone has none of its own and takes the first row's.
    """
    if own and own != task.instruction:
        if options.labels is not None:
            tell(f"instruction, as the first row has it: {shorten(own)}")
            return replace(task, instruction=own)
        tell(f"instruction of the task {task.name!r}, not of the rows ({shorten(own)})")
    elif not own and options.labels is not None and options.adapter_name_or_path is not None:
        tell(
            f"instruction: {shorten(task.instruction)} A model that was trained with another one "
            "needs it: write it into a task file and name that with task="
        )
    return task


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
    """Draw `shots` examples (text, label) of each label from `few_shot`, and shuffle them.

    The same seed draws the same ones. Without `few_shot` there are none.
    """
    name, shots = options.few_shot, options.shots
    if name is None:
        return []
    chance = random.Random(options.seed)  # noqa: S311 - a draw of examples keeps no secret
    drawn: dict[str, list[str]] = {label: [] for label in task.labels}
    seen = dict.fromkeys(task.labels, 0)
    # Reservoir sampling: the file may be larger than memory.
    for text, label in _labelled_texts(name, options, task):
        seen[label] += 1
        index = chance.randrange(seen[label])
        if len(drawn[label]) < shots:
            drawn[label].append(text)
        elif index < shots:
            drawn[label][index] = text
    few = [f"{label} {seen[label]}" for label in task.labels if seen[label] < shots]
    if few:
        raise DataError(
            f"{name} has fewer than {shots} examples of {', '.join(few)}; lower shots or name "
            "others with few_shot."
        )
    examples = [(text, label) for label, texts in drawn.items() for text in texts]
    chance.shuffle(examples)
    return examples


def _labelled_texts(name: str, options: ModelOptions, task: Task) -> Iterator[tuple[str, str]]:
    """Yield the texts with a label in what `few_shot` names."""
    if options.few_shot_datasets is None:
        notes = FileNotes()
        for row in iterate_rows(name, task, **options.reading, notes=notes):
            yield row.text, row.label
        tell(f"{name}: {notes.columns}")
        return
    inputs = open_dataset(
        name, options.dataset_dir, task, cache_dir=options.cache_dir, token=options.hf_hub_token
    )
    opening, gold = inputs.task.user_content(""), GoldReader(task)
    for asked in inputs.rows:
        if asked.label is not None and (label := gold.read(asked.label)) is not None:
            yield asked.content.removeprefix(opening), label
