"""`python -m llamafactory_emotion.prepare`: raw data in, audited LLaMA-Factory data sets out.

Everything is read and checked before anything is written.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.dataset_folder import (
    FILE_NAME,
    check_free,
    data_file,
    read_dataset_info,
    task_file,
    write_datasets,
)
from llamafactory_emotion.data.reading import FileNotes, Row, UnknownLabelsError, read_rows
from llamafactory_emotion.data.splits import DROPS, draw_split, drop_rows
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import (
    STANDARD_STREAM,
    check_apart,
    check_output,
    check_output_folder,
    real_path,
    write_json,
)
from llamafactory_emotion.options import Call, DataOptions, key
from llamafactory_emotion.prepare.report import audit_blocks, audit_json
from llamafactory_emotion.prepare.task_file import (
    fitting_task,
    look_alikes,
    offer,
    task_text,
    written_text,
)
from llamafactory_emotion.task import BUILT_IN_TASKS, EMOTION, Task, instruction_for
from llamafactory_emotion.task_choice import LABELS_ABOUT, Sources, choose_task
from llamafactory_emotion.terminal import Block, Facts, print_blocks, run_command, tell

if TYPE_CHECKING:
    from llamafactory_emotion.scoring.words import Encode

SPLITS = TRAIN, VALIDATION, TEST = "train", "validation", "test"
_TIDIED = 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(DataOptions):
    """What a call of `prepare` asks for."""

    train: Path = key(
        about="labelled texts: JSON(L), chats, CSV, TSV, Excel, Parquet, Arrow, text;label",
        metavar="FILE",
        positional=True,
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
    test_size: float | None = key(
        None, about="rows or share to draw from train by class, where there is none", least=0
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
    write_task: Path | None = key(
        None, about="write a task that fits the labels of train, and use it", metavar="FILE"
    )
    skip_empty: bool = key(False, about="leave out rows without a text or a label")
    json: Path | None = key(
        None, about="write the audit as JSON; - (or --json alone) prints it", bare="-"
    )
    seed: int = key(42, about="of the validation split")
    overwrite: bool = key(False, about="replace files and entries that exist")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say which keys exclude each other, and what a call that writes lacks."""
        excluding = [(split, f"{split}_size") for split in (VALIDATION, TEST)]
        for one, other in [*excluding, ("task", "write_task"), ("labels", "write_task")]:
            if one in given and other in given:
                yield f"{one} and {other} exclude each other; keep one"
        if "write_task" in given and str(given.get("train")) == STANDARD_STREAM:
            yield "write_task reads train twice, so it must be a file"
        if not given.get("check_only") and not {"name", "dataset_dir"} <= given.keys():
            yield "name and dataset_dir are needed; or write check_only=true"
        name = given.get("name", "x")
        if not _NAME.fullmatch(name):
            yield (
                f"name={name!r} must be letters, digits, dots, hyphens and underscores, and begin "
                "with a letter or digit"
            )

    @property
    def reading(self) -> dict[str, Any]:
        """How the data is read, as arguments of `data.reading`."""
        return super().reading | {"skip_empty": self.skip_empty}

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
    folder = None if options.check_only else options.dataset_dir
    _check_outputs(options, folder, call.recipe)
    encode = _answer_encoder(options)
    fit = partial(fitting_task, options.train, options.name, options.reading, encode)
    task = fit() if options.write_task is not None else _task_of(options)
    splits, notes = _read(options, task, fit)
    audit = audit_splits(splits, task.labels)
    report, blocks = audit_json(audit), audit_blocks(audit)
    report["skipped"] = {split: note.skipped for split, note in notes.items()}
    if encode is not None:
        blocks.append(_answer_words(str(options.model_name_or_path), task, encode))
    try:
        blocks += _write(options, folder, splits, task, report)
    finally:
        # Last, so that a reader who goes away (`| head`) cannot keep the files from being written.
        for split, note in notes.items():
            for line in _told(note, task):
                tell(f"{getattr(options, split)}: {line}")
        for line in look_alikes(row.label for row in splits[TRAIN]) if options.write_task else ():
            tell(f"{options.write_task}: {line}")
        if str(options.json) == STANDARD_STREAM:
            print(_as_text(report))
        else:
            print_blocks(blocks, sys.stdout)
    return 0


def _answer_encoder(options: PrepareOptions) -> "Encode | None":
    """Return what encodes answers for the model to be trained, under our template."""
    if options.model_name_or_path is None:
        return None
    from llamafactory_emotion.scoring.loading import ModelSource, check_source
    from llamafactory_emotion.scoring.models import load_tokenizer
    from llamafactory_emotion.scoring.prompts import PromptEncoder

    source = ModelSource(options.model_name_or_path)
    check_source(source)
    # How an answer is encoded does not depend on the task.
    return PromptEncoder(load_tokenizer(source), EMOTION).answer_ids


def _task_of(options: PrepareOptions) -> Task:
    task = choose_task(options.task, options.labels, Sources())
    return replace(task, name=options.name) if options.labels and options.name else task


def _told(notes: FileNotes, task: Task) -> Iterator[str]:
    """Say which columns of a file were taken, and what was not taken as it is."""
    yield str(notes.columns)
    if notes.skipped:
        yield f"rows without a text or a label, left out: {notes.skipped:,}"
    ids, tidied = [], []
    by_size = sorted(notes.tidied.items(), key=lambda one: (len(str(one[0][0])), str(one[0][0])))
    for (value, label), count in by_size:
        said = f"{value!r} is {label!r} ({count:,})"
        if task.is_id(value):
            ids.append(said)
        elif isinstance(value, str):
            tidied.append(said)
    for what, found in (("labels were tidied", tidied), ("label ids, by the task's order", ids)):
        if found:
            more = ", ..." if found[_TIDIED:] else ""
            yield f"{what}: {', '.join(found[:_TIDIED])}{more}"


def _check_outputs(options: PrepareOptions, folder: Path | None, recipe: Path | None) -> None:
    """Find what would stop the writing before anything is read.

    Raises:
        CallError: The folder is none, or an input or something that exists would be overwritten.
        DataError: `dataset_info.json` is not valid.
    """
    outputs = [path for path in (options.json_file, options.write_task) if path is not None]
    if options.write_task is not None and options.write_task.is_file() and not options.overwrite:
        raise CallError(
            f"write_task={options.write_task} is there already; take it as it is with "
            f"task={options.write_task}, or write it anew with overwrite=true."
        )
    for path in outputs:
        check_output(path, overwrite=options.overwrite)
    names = [f"{options.name}_{TRAIN}"]
    if options.validation is not None or options.validation_size != 0:
        names.append(f"{options.name}_{VALIDATION}")
    if options.test is not None or options.test_size:
        names.append(f"{options.name}_{TEST}")
    if folder is not None:
        check_output_folder(folder, overwrite=True)
        outputs += [*(data_file(folder, name) for name in names), folder / FILE_NAME]
        task_output = _task_output(options, folder)
        outputs += [task_output] if task_output else []
    inputs = [options.train, options.validation, options.test]
    inputs += [path for one in inputs if one for path in one.glob("*")]  # of folders
    check_apart(outputs, [*inputs, options.task, options.labels, recipe])
    if folder is not None:
        info = read_dataset_info(folder)
        if not options.overwrite:
            check_free(folder, names, info)
        if task_output is not None:
            check_output(task_output, overwrite=options.overwrite)


def _task_output(options: PrepareOptions, folder: Path) -> Path | None:
    """Return the file to write the task to: none for a built-in one, or where it is that file."""
    path = task_file(folder, str(options.name))
    named = options.write_task or options.task or ("" if options.labels else EMOTION.name)
    is_there = named in BUILT_IN_TASKS or real_path(named) == real_path(path)
    return None if is_there else path


def _read(
    options: PrepareOptions, task: Task, fit: Callable[[], Task]
) -> tuple[dict[str, Sequence[Row]], dict[str, FileNotes]]:
    """Read the files given; every bad file is in the error.

    Raises:
        CallError: A file cannot be opened.
        DataError: The content of one file or more is wrong.
    """
    paths = {TRAIN: options.train, VALIDATION: options.validation, TEST: options.test}
    splits: dict[str, Sequence[Row]] = {}
    notes = {split: FileNotes() for split, path in paths.items() if path is not None}
    problems: list[str] = []
    offered = ""
    for split, note in notes.items():
        path = paths[split] or options.train
        try:
            splits[split] = read_rows(path, task, **options.reading, notes=note)
        except DataError as error:
            problems.append(str(error))
            if isinstance(error, UnknownLabelsError) and split == TRAIN:
                offered = offer(fit, task)
    if problems:
        raise DataError("\n".join(problems) + offered)
    return splits, notes


def _answer_words(model: str, task: Task, encode: "Encode") -> Block:
    """Say which labels are several tokens for a model, and suggest words of one."""
    from llamafactory_emotion.scoring.words import suggest_words, words_line

    answers = zip(task.labels, encode([*map(task.word_of, task.labels)]), strict=True)
    several = [repr(task.word_of(label)) for label, tokens in answers if len(tokens) > 1]
    lines = [("several tokens", ", ".join(several) or "none: every answer is one token")]
    words = suggest_words(task, encode)
    if words:
        lines.append(("for the task's file", words_line(words)))
        lines.append(("", f"instruction: {instruction_for(task.labels, words)}"))
    return Facts(f"Answers of {model}", tuple(lines))


def _write(
    options: PrepareOptions,
    folder: Path | None,
    splits: Mapping[str, Sequence[Row]],
    task: Task,
    report: dict[str, Any],
) -> list[Block]:
    """Write all there is to write, the data where there is a folder for it; return what to say."""
    datasets = {} if folder is None else _choose_rows(options, folder, splits, report)
    texts = ((options.write_task, written_text(task)), (options.json_file, _as_text(report)))
    also = {path: text for path, text in texts if path is not None}
    if folder is None:
        for path, text in also.items():
            write_json(path, text, overwrite=options.overwrite)
        return []
    task_output = _task_output(options, folder)
    also |= {task_output: task_text(task)} if task_output else {}
    built_in = task in BUILT_IN_TASKS.values()
    asks = task.name if built_in else task_file(folder, str(options.name)).name
    before = write_datasets(
        folder, datasets, task, asks=asks, overwrite=options.overwrite, also=also
    )
    lines = [
        (name, f"{data_file(folder, name)}, {len(rows):,} rows") for name, rows in datasets.items()
    ]
    if options.write_task is not None:
        lines.insert(0, ("task", f"{options.write_task}: {', '.join(task.labels)}"))
    lines.append(("registered", str(folder / FILE_NAME)))
    if task_output is not None:
        lines.append(("task", f"{task_output}, which the other commands find"))
    lines += [
        (name, "left as an earlier run wrote it; its rows may be in train")
        for name in (f"{options.name}_{split}" for split in SPLITS)
        if name in before.entries and name not in datasets
    ]
    lines.append(("train with", f"dataset_dir={folder} dataset={options.name}_{TRAIN}"))
    gone = tuple((word, f"{rows:,} rows") for word, rows in report["dropped"].items())
    return [*([Facts("Dropped from train", gone)] if gone else []), Facts("Written", tuple(lines))]


def _choose_rows(
    options: PrepareOptions,
    folder: Path,
    splits: Mapping[str, Sequence[Row]],
    report: dict[str, Any],
) -> dict[str, Sequence[Row]]:
    """Drop and draw; return the name of each data set with its rows, and report both."""
    held_out = {row.text for split in splits.keys() - {TRAIN} for row in splits[split]}
    train, report["dropped"] = drop_rows(splits[TRAIN], options.drop, held_out)
    if not train:
        raise DataError("drop leaves no training rows; give fewer of its words.")
    validation, test = splits.get(VALIDATION, ()), splits.get(TEST, ())
    total, seed = len(train), options.seed
    if options.test_size:
        train, test = draw_split(train, options.test_size, seed=seed, key="test_size")
    if VALIDATION not in splits:
        train, validation = draw_split(train, options.validation_size, seed=seed, total=total)
    chosen = {TRAIN: train, VALIDATION: validation, TEST: test}
    datasets = {f"{options.name}_{split}": rows for split, rows in chosen.items() if rows}
    report["written"] = {
        name: {"file": str(data_file(folder, name)), "rows": len(rows)}
        for name, rows in datasets.items()
    }
    return datasets


def _as_text(report: Mapping[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False, indent=2)


if __name__ == "__main__":
    sys.exit(main())
