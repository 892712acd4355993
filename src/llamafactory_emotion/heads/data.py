"""The labelled rows of a training run, and what the model is fed of them.

Stands between `data`, which reads and checks files, and `training`. A split is a file or data sets
of LLaMA-Factory's `dataset_info.json`; a head reads the text alone, without an instruction.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import FILE_NAME, read_dataset_info
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.data.splits import draw_validation, parse_validation_size
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.heads.arguments import HeadArguments
from llamafactory_emotion.task import Task

_HUB, _FILE = "hf_hub_url", "file_name"
_FORMATTINGS = ("alpaca", "emotion")
# The draw does not follow the run's seed: runs of several seeds are compared on the same rows.
_VALIDATION_SEED = 42


@dataclass(frozen=True)
class Splits:
    """The rows of a run; `validation` and `test` may be empty."""

    train: Sequence[Row]
    validation: Sequence[Row]
    test: Sequence[Row]


def read_splits(arguments: HeadArguments, task: Task) -> Splits:
    """Read and check every split that a call names.

    Raises:
        CallError: A split is neither a file nor a known data set.
        DataError: A file is wrong; labels that the task lacks are listed with their counts.
    """
    train: Sequence[Row] = _read(arguments.train, arguments, task)[: arguments.max_samples]
    validation = _read(arguments.validation, arguments, task) if arguments.validation else []
    if arguments.validation_size:
        size = parse_validation_size(arguments.validation_size).rows(len(train))
        train, validation = draw_validation(train, size, seed=_VALIDATION_SEED)
    test = _read(arguments.test, arguments, task) if arguments.test else []
    return Splits(train, validation, test)


def digest(rows: Sequence[Row]) -> str:
    """Give a short digest of rows, by which a resumed run knows its data."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(f"{row.label}\x1f{row.text}\x1e".encode())
    return sha.hexdigest()[:16]


def _read(source: str, arguments: HeadArguments, task: Task) -> list[Row]:
    columns = {"text_column": arguments.text_column, "label_column": arguments.label_column}
    if Path(source).exists():
        return read_rows(source, task, **columns)
    entries = read_dataset_info(Path(arguments.dataset_dir)).entries
    rows: list[Row] = []
    for name in (part.strip() for part in source.split(",")):
        if name not in entries:
            known = ", ".join(entries) or "it has none"
            raise CallError(
                f"{name!r} is neither a file nor a data set of "
                f"{Path(arguments.dataset_dir) / FILE_NAME} ({known}); check the path, or name "
                "another folder with dataset_dir."
            )
        rows += _entry_rows(name, entries[name], arguments, task)
    return rows


def _entry_rows(name: str, entry: Any, arguments: HeadArguments, task: Task) -> list[Row]:
    folder = Path(arguments.dataset_dir)
    if not isinstance(entry, Mapping):
        raise DataError(f"{folder / FILE_NAME}: the entry {name!r} is not an object; mend it.")
    if entry.get("formatting", _FORMATTINGS[0]) not in _FORMATTINGS or entry.get("num_samples"):
        raise CallError(
            f"the data set {name!r} has a formatting other than {' and '.join(_FORMATTINGS)}, or "
            "asks for num_samples, a draw that only LLaMA-Factory repeats; name a file instead."
        )
    columns = entry.get("columns") or {}
    text = arguments.text_column or columns.get("query") or columns.get("prompt")
    if text in ("input", "instruction"):
        text = None  # an alpaca record has its text in one or the other, which `reading` finds out
    label = arguments.label_column or columns.get("response")
    if _HUB in entry:
        return list(_hub_rows(name, entry, task, (text or "text", label or "label"), arguments))
    if _FILE not in entry:
        raise CallError(f"the data set {name!r} has neither {_FILE} nor {_HUB}; name a file.")
    return read_rows(folder / str(entry[_FILE]), task, text_column=text, label_column=label)


def _hub_rows(
    name: str,
    entry: Mapping[str, Any],
    task: Task,
    columns: tuple[str, str],
    arguments: HeadArguments,
) -> Iterator[Row]:
    from datasets import load_dataset

    split = entry.get("split", "train")
    where = f"the data set {name!r} ({entry[_HUB]}, split {split})"
    try:
        rows = load_dataset(
            entry[_HUB],
            name=entry.get("subset"),
            split=split,
            cache_dir=arguments.cache_dir,
            token=arguments.hf_hub_token,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(
            f"{where} cannot be loaded: {reason}; without a network, give a file with train=, "
            "validation= or test=."
        ) from error
    names = getattr(rows.features.get(columns[1]), "names", None)
    unknown: Counter[str] = Counter()
    for line, fields in enumerate(rows, start=1):
        value = fields.get(columns[1])
        # Ids mean what the data set says, not what the task's order happens to be.
        meant = names[value] if names and isinstance(value, int) and value >= 0 else value
        label = task.label_of(meant)
        if label is None:
            unknown[repr(meant)] += 1
        elif not unknown:
            yield Row(str(fields.get(columns[0])), label, line)
    if unknown:
        counts = ", ".join(f"{value} ({count:,})" for value, count in unknown.most_common())
        raise DataError(
            f"{where} has labels that task {task.name!r} lacks: {counts}; it has "
            f"{', '.join(task.labels)}."
        )


def encode(
    rows: Sequence[Row], task: Task, tokenizer: Any, *, longest: int
) -> tuple[list[dict[str, Any]], int]:
    """Tokenise rows; padding is left to the batch.

    A special token's name inside a text stays text: texts are data.

    Returns:
        One mapping of model inputs and `labels` a row, and how many texts were cut at `longest`.
    """
    if not rows:
        return [], 0
    texts = [row.text for row in rows]
    options = {"split_special_tokens": True, "padding": False}
    encoded = tokenizer(texts, truncation=True, max_length=longest, **options)
    numbers = {label: number for number, label in enumerate(task.labels)}
    features = [
        {key: encoded[key][place] for key in encoded} | {"labels": numbers[row.label]}
        for place, row in enumerate(rows)
    ]
    full = [
        text for text, ids in zip(texts, encoded["input_ids"], strict=True) if _at(ids, longest)
    ]
    cut = sum(len(tokenizer(text, **options)["input_ids"]) > longest for text in full)
    return features, cut


def _at(ids: Sequence[int], longest: int) -> bool:
    return len(ids) >= longest
