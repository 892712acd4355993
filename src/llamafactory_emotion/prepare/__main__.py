"""`python -m llamafactory_emotion.prepare`: raw data in, audited LLaMA-Factory data sets out.

Everything is read and checked before anything is written.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.dataset_folder import (
    FILE_NAME,
    check_free,
    data_file,
    read_dataset_info,
    task_file,
    write_datasets,
)
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.data.splits import (
    DROPS,
    draw_validation,
    drop_rows,
)
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import (
    STANDARD_STREAM,
    check_apart,
    check_output,
    real_place,
    write_json,
)
from llamafactory_emotion.options import Call, Options, key
from llamafactory_emotion.prepare.report import audit_blocks, audit_json
from llamafactory_emotion.task import BUILT_IN_TASKS, EMOTION, Task
from llamafactory_emotion.task_choice import LABELS_ABOUT, Sources, choose_task
from llamafactory_emotion.terminal import Block, Facts, print_blocks, printable, run_command

SPLITS = TRAIN, VALIDATION, TEST = "train", "validation", "test"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(Options):
    """What a call of `prepare` asks for."""

    train: Path = key(
        about="labelled texts: JSON(L), chats, CSV, TSV, Excel, Parquet, Arrow, text;label",
        metavar="FILE",
    )
    validation: Path | None = key(None, about="a validation file", metavar="FILE")
    validation_size: float | None = key(
        None,
        about="rows (200) or share (0.1) to draw from train by class; 0 for none (default: a "
        "tenth, at most 2000)",
        metavar="N",
        least=0,
    )
    test: Path | None = key(
        None, about="a test file; it is written as it is, nothing is dropped", metavar="FILE"
    )
    name: str | None = key(
        None, about="the data sets become NAME_train, NAME_validation and NAME_test"
    )
    dataset_dir: Path | None = key(
        None, about="the folder where dataset_info.json is or will be", metavar="DIR"
    )
    drop: list[str] = key(
        [],
        about="what to drop from train, with commas: "
        + "; ".join(f"{word}, {meaning}" for word, meaning in DROPS.items()),
        metavar="LIST",
        choices=tuple(DROPS),
    )
    check_only: bool = key(False, about="print the audit and write no data")
    model_name_or_path: str | None = key(
        None,
        about="the model to be trained: which labels are several tokens for it, and words of one",
        metavar="MODEL",
    )
    task: str | None = key(None, about="a built-in task or a task's YAML file (default: emotion)")
    labels: str | None = key(None, about=LABELS_ABOUT)
    text_column: str | None = key(
        None, about="the column of the texts, or several with commas (default: guessed)"
    )
    label_column: str | None = key(None, about="the column of the labels (default: guessed)")
    encoding: str | None = key(
        None, about="of text files that are neither UTF-8 nor certain: gb18030, cp1252, ..."
    )
    sheet: str | None = key(None, about="the sheet of a workbook (default: the first)")
    json: Path | None = key(
        None, about="write the audit as JSON; - (or --json alone) prints it", bare="-"
    )
    seed: int = key(42, about="of the validation split")
    overwrite: bool = key(False, about="replace files and entries that exist")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say which keys exclude each other, and what a call that writes lacks."""
        if "validation" in given and "validation_size" in given:
            yield "validation and validation_size exclude each other; keep one"
        if not given.get("check_only") and not {"name", "dataset_dir"} <= given.keys():
            yield "name and dataset_dir are needed; or write check_only=true"
        name = given.get("name", "x")
        if not _NAME.fullmatch(name):
            yield (
                f"name={name!r} must be letters, digits, dots, hyphens and underscores, and begin "
                "with a letter or digit"
            )

    @property
    def json_file(self) -> Path | None:
        """The file for the JSON; None where there is none or it is printed."""
        return None if str(self.json) == STANDARD_STREAM else self.json


def main(argv: Sequence[str] | None = None) -> int:
    """Audit data files and write them for LLaMA-Factory; return the exit code."""
    return run_command(
        "prepare",
        PrepareOptions,
        _run,
        argv,
        about="Check labelled texts, audit them and write them as LLaMA-Factory data sets.",
        notes="Only training rows are dropped, conflicts before repeats before leaks.",
    )


def _run(options: PrepareOptions, call: Call) -> int:
    task = choose_task(options.task, options.labels, Sources())
    if options.labels and options.name:
        task = replace(task, name=options.name)
    folder = None if options.check_only else options.dataset_dir
    _check_outputs(options, folder, call.recipe)
    splits = _read(options, task)
    audit = audit_splits(splits, task.labels)
    report, blocks = audit_json(audit), audit_blocks(audit)
    if options.model_name_or_path is not None:
        blocks.append(_answer_words(options.model_name_or_path, task))
    try:
        if folder is not None:
            blocks += _write(options, folder, splits, task, report)
        elif options.json_file is not None:
            write_json(options.json_file, _as_text(report), overwrite=options.overwrite)
    finally:
        # Last, so that a reader who goes away (`| head`) cannot keep the files from being written.
        if str(options.json) == STANDARD_STREAM:
            print(_as_text(report))
        else:
            print_blocks(blocks, sys.stdout)
    return 0


def _check_outputs(options: PrepareOptions, folder: Path | None, recipe: Path | None) -> None:
    """Find what would stop the writing before anything is read.

    Raises:
        CallError: The folder is none, or an input or something that exists would be overwritten.
        DataError: `dataset_info.json` is not valid.
    """
    outputs: list[Path] = []
    if options.json_file is not None:
        check_output(options.json_file, overwrite=options.overwrite)
        outputs.append(options.json_file)
    names = [f"{options.name}_{TRAIN}"]
    if options.validation is not None or options.validation_size != 0:
        names.append(f"{options.name}_{VALIDATION}")
    if options.test is not None:
        names.append(f"{options.name}_{TEST}")
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise CallError(f"dataset_dir={folder} is a file; name a folder.")
        outputs += [*(data_file(folder, name) for name in names), folder / FILE_NAME]
        task_output = _task_output(options, folder)
        outputs += [task_output] if task_output else []
    inputs = (options.train, options.validation, options.test, options.task, options.labels, recipe)
    check_apart(outputs, inputs)
    if folder is not None:
        info = read_dataset_info(folder)
        if not options.overwrite:
            check_free(folder, names, info)
        if task_output is not None:
            check_output(task_output, overwrite=options.overwrite)


def _task_output(options: PrepareOptions, folder: Path) -> Path | None:
    """Return the file to write the task to: none for a built-in one, or where it is that file."""
    path = task_file(folder, str(options.name))
    named = options.task or ("" if options.labels else EMOTION.name)
    is_there = named in BUILT_IN_TASKS or real_place(named) == real_place(path)
    return None if is_there else path


def _read(options: PrepareOptions, task: Task) -> dict[str, Sequence[Row]]:
    """Read the files given; every bad file is in the error.

    Raises:
        CallError: A file cannot be opened.
        DataError: The content of one file or more is wrong.
    """
    paths = {TRAIN: options.train, VALIDATION: options.validation, TEST: options.test}
    names = ("text_column", "label_column", "encoding", "sheet")
    given = {name: getattr(options, name) for name in names}
    splits: dict[str, Sequence[Row]] = {}
    problems: list[str] = []
    for split, path in paths.items():
        try:
            if path is not None:
                splits[split] = read_rows(path, task, **given)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return splits


def _answer_words(model: str, task: Task) -> Block:
    """Say which labels are several tokens for a model, under our template, and suggest words."""
    from llamafactory_emotion.scoring.loading import ModelSource, check_source
    from llamafactory_emotion.scoring.models import load_tokenizer
    from llamafactory_emotion.scoring.prompts import PromptEncoder
    from llamafactory_emotion.scoring.words import suggest_words, words_line

    source = ModelSource(model)
    check_source(source)
    encoder = PromptEncoder(load_tokenizer(source), task)
    ids = zip(task.labels, encoder.answer_ids([*map(task.word_of, task.labels)]), strict=True)
    several = [label for label, tokens in ids if len(tokens) > 1]
    lines = [("several tokens", ", ".join(several) or "none of the labels")]
    if words := suggest_words(task, encoder.answer_ids):
        lines.append(("for the task's file", words_line(words)))
    said = tuple((name, printable(fact)) for name, fact in lines)
    return Facts(f"Answers of {printable(model)}", said)


def _write(
    options: PrepareOptions,
    folder: Path,
    splits: Mapping[str, Sequence[Row]],
    task: Task,
    report: dict[str, Any],
) -> list[Block]:
    """Drop, draw, write and register; return what to say about it, and add it to the report."""
    held_out = {row.text for split in splits.keys() - {TRAIN} for row in splits[split]}
    train, dropped = drop_rows(splits[TRAIN], options.drop, held_out)
    if not train:
        raise DataError("drop leaves no training rows; give fewer of its words.")
    validation = splits.get(VALIDATION, ())
    if VALIDATION not in splits:
        train, validation = draw_validation(train, options.validation_size, seed=options.seed)
    chosen = {TRAIN: train, VALIDATION: validation, TEST: splits.get(TEST, ())}
    datasets = {f"{options.name}_{split}": rows for split, rows in chosen.items() if rows}
    files = {name: str(data_file(folder, name)) for name in datasets}
    written = {name: {"file": files[name], "rows": len(rows)} for name, rows in datasets.items()}
    report |= {"dropped": dropped, "written": written}
    also = {options.json_file: _as_text(report)} if options.json_file is not None else {}
    if path := _task_output(options, folder):
        also[path] = yaml.safe_dump(task.as_mapping(), allow_unicode=True, sort_keys=False).rstrip()
    built_in = task in BUILT_IN_TASKS.values()
    asks = task.name if built_in else task_file(folder, str(options.name)).name
    before = write_datasets(
        folder, datasets, task, asks=asks, overwrite=options.overwrite, also=also
    )
    names = [f"{options.name}_{split}" for split in SPLITS]
    lines = [
        *((name, f"{files[name]}, {len(rows):,} rows") for name, rows in datasets.items()),
        ("registered", str(folder / FILE_NAME)),
        *([("task", f"{path}, which the other commands find")] if path else []),
        *(
            (name, "left as an earlier run wrote it; its rows may be in train")
            for name in names
            if name in before.entries and name not in datasets
        ),
        ("train with", f"dataset_dir={folder} dataset={options.name}_{TRAIN}"),
    ]
    gone = tuple((word, f"{rows:,} rows") for word, rows in dropped.items())
    said = Facts("Written", tuple((name, printable(fact)) for name, fact in lines))
    return [Facts("Dropped from train", gone), said] if gone else [said]


def _as_text(report: Mapping[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False, indent=2)


if __name__ == "__main__":
    sys.exit(main())
