"""The rows to predict: from a file, standard input or a LLaMA-Factory data set.

Each row holds the whole user content that LLaMA-Factory would ask with; for a row of an alpaca file
that begins with the row's own instruction. Rows are read one at a time.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from llamafactory_emotion.data.columns import (
    NO_COLUMN,
    ColumnChoice,
    RowError,
    require_columns,
    with_turns,
)
from llamafactory_emotion.data.dataset_folder import EMOTION_FORMATTING, FILE_NAME
from llamafactory_emotion.data.entries import CONVERSATION, SHAREGPT_FORMATTING, Entry, read_entries
from llamafactory_emotion.data.reading import (
    FileNotes,
    is_no_label,
    iterate_rows,
    read_texts,
    text_rows,
)
from llamafactory_emotion.data.records import BrokenRecord, Record, Source
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.predict.options import ModelOptions, PredictOptions
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import tell
from llamafactory_emotion.text import shorten

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
        rows = (InputRow(task.user_content(row.text), row.label) for row in texts)
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
    rows = chain.from_iterable(
        _entry_rows(entry, task, cache_dir, token) for entry in read_entries(names, Path(folder))
    )
    first = next(rows, None)
    if first is None:
        return Inputs(task, iter(()), names)
    instruction = first[1] or task.instruction
    contents = (row for row, _ in chain([first], rows))
    return Inputs(replace(task, instruction=instruction), contents, names)


def _entry_rows(
    entry: Entry, task: Task, cache_dir: str | None, token: str | None
) -> Iterator[tuple[InputRow, str | None]]:
    """Yield the rows of a data set, with the instruction that an alpaca row begins with."""
    if entry.formatting != EMOTION_FORMATTING:
        source = entry.open(cache_dir=cache_dir, token=token)
        if entry.formatting == SHAREGPT_FORMATTING:
            entry = replace(entry, columns={"prompt": "user", "response": "assistant"})
            source = replace(source, records=map(_last_turns, source.records))
        yield from _alpaca_rows(entry, source, task)
        return
    label = entry.response or NO_COLUMN
    if isinstance(entry.location, Path):
        rows = read_texts(entry.location, task=task, text_column=entry.prompt, label_column=label)
    else:
        source = entry.open(cache_dir=cache_dir, token=token)
        rows = text_rows(source, task, ColumnChoice(entry.prompt, label))
    for row in rows:
        yield InputRow(task.user_content(row.text), row.label), None


def _last_turns(record: Record | BrokenRecord) -> Record | BrokenRecord:
    """Return a conversation's last question and answer, unless something comes before them."""
    if isinstance(record, BrokenRecord):
        return record
    try:
        fields = with_turns(record.fields, CONVERSATION)
    except RowError as error:
        return BrokenRecord(record.line, str(error))
    if lost := [key for key in ("system", "history") if fields.get(key)]:
        reason = f"a conversation with {' and '.join(lost)}, which llamafactory-cli alone predicts"
        return BrokenRecord(record.line, reason)
    return Record(record.line, fields)


def _alpaca_rows(entry: Entry, source: Source, task: Task) -> Iterator[tuple[InputRow, str | None]]:
    named = [column for column in (entry.prompt, entry.query) if column]
    columns, label_column = ["instruction", "input"], "output"
    if entry.columns:
        columns, label_column = named, entry.response or ""
    missing, strange, gold_of = set(named), Counter[str](), GoldReader(task)
    for number, record in enumerate(source.records):
        where = source.place_of(record.line)
        if isinstance(record, BrokenRecord):
            raise DataError(f"{where}: {record.reason}; mend the line.")
        if number == 0:
            require_columns(record.fields, named[:1], where, f"in {FILE_NAME}")
        missing.difference_update(record.fields)
        parts = [record.fields.get(column) for column in columns]
        texts = [part for part in parts if isinstance(part, str) and part]
        if not texts:
            raise DataError(
                f"{where}: no text in the columns {', '.join(columns) or 'named'}; remove the "
                f"row, or name the text's column in {FILE_NAME}."
            )
        gold, label = record.fields.get(label_column), None
        if not is_no_label(gold, task):
            as_text = gold if isinstance(gold, str) else json.dumps(gold, default=str)
            label = task.label_of(gold) or as_text  # the evaluator reads what was trained
            strange[shorten(as_text)] += gold_of.read(gold) is None
        if not strange.total():
            yield InputRow("\n".join(texts), label), texts[0] if len(texts) > 1 else None
    if strange.total():
        counts = ", ".join(f"{label!r} ({rows:,})" for label, rows in strange.most_common() if rows)
        raise DataError(
            f"{source.name} has labels outside the {task.described}, which has "
            f"{', '.join(task.labels)}; mend them, or name their task with task=: {counts}."
        )
    # LLaMA-Factory passes over a column that no row has.
    if missing:
        raise DataError(
            f"{source.name}: no row has the column {', '.join(sorted(missing))} that {FILE_NAME} "
            "names, so the texts lack it; name the right one."
        )


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
    for content, said in inputs.rows:
        if said is not None and (label := gold.read(said)) is not None:
            yield content.removeprefix(opening), label
