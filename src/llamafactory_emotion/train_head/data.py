"""The rows of a training run: read from files or data sets by name, and tokenised.

A head reads the text alone, without an instruction.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import FILE_NAME
from llamafactory_emotion.data.entries import labelled_rows, read_entries
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.data.splits import draw_split
from llamafactory_emotion.task import Task
from llamafactory_emotion.task_choice import Sources
from llamafactory_emotion.terminal import tell
from llamafactory_emotion.train_head.arguments import HeadArguments

# The draw does not follow the run's seed: runs of several seeds are compared on the same rows.
_VALIDATION_SEED = 42


@dataclass(frozen=True)
class Splits:
    """The rows of a run; `validation` and `test` may be empty."""

    train: Sequence[Row]
    validation: Sequence[Row]
    test: Sequence[Row]


def data_files(arguments: HeadArguments) -> Iterator[tuple[str, Path]]:
    """Yield the keys that name data, each with the files that are read for it."""
    folder = Path(arguments.dataset_dir)
    for key in ("train", "validation", "test"):
        source = getattr(arguments, key)
        if source is None:
            continue
        if Path(source).exists():
            yield key, Path(source)
            continue
        yield "dataset_dir", folder / FILE_NAME
        for entry in read_entries(source, folder):
            if entry.path is not None:
                yield key, entry.path


def sources_of(arguments: HeadArguments) -> Sources:
    """Return the data of a run, which may know its task; that of the base model is another."""
    given = [one for one in (arguments.train, arguments.validation, arguments.test) if one]
    files = [one for one in given if Path(one).exists()]
    names = ",".join(one for one in given if one not in files)
    return Sources(dataset_dir=arguments.dataset_dir, datasets=names, files=files)


def read_splits(arguments: HeadArguments, task: Task) -> Splits:
    """Read and check the rows of every split."""
    train: Sequence[Row] = _read(arguments.train, arguments, task)[: arguments.max_samples]
    validation = _read(arguments.validation, arguments, task) if arguments.validation else []
    if arguments.validation_size:
        train, validation = draw_split(train, arguments.validation_size, seed=_VALIDATION_SEED)
    test = _read(arguments.test, arguments, task) if arguments.test else []
    return Splits(train, validation, test)


def _read(source: str, arguments: HeadArguments, task: Task) -> list[Row]:
    rows = labelled_rows(
        source,
        arguments.dataset_dir,
        task,
        tell=tell if os.environ.get("RANK", "0") == "0" else lambda _: None,
        cache_dir=arguments.cache_dir,
        token=arguments.hf_hub_token,
        **arguments.reading,
    )
    return list(rows)


def encode(
    rows: Sequence[Row], task: Task, tokenizer: Any, *, longest: int
) -> tuple[list[dict[str, Any]], int]:
    """Tokenise rows; return a mapping of model inputs and `labels` a row, and how many were cut.

    Padding is left to the batch. A special token's name inside a text stays text: texts are data.
    """
    if not rows:
        return [], 0
    texts = [row.text for row in rows]
    options = {"split_special_tokens": True, "padding": False}
    encoded = tokenizer(texts, truncation=True, max_length=longest, **options)
    numbers = {label: number for number, label in enumerate(task.labels)}
    features = [
        {key: encoded[key][index] for key in encoded} | {"labels": numbers[row.label]}
        for index, row in enumerate(rows)
    ]
    # A text of just `longest` tokens is full and not cut.
    full = [
        text for text, ids in zip(texts, encoded["input_ids"], strict=True) if len(ids) >= longest
    ]
    return features, sum(len(tokenizer(text, **options)["input_ids"]) > longest for text in full)
