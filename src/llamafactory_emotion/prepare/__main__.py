"""`python -m llamafactory_emotion.prepare`: raw data in, audited LLaMA-Factory data sets out.

The command over `data`, `audit` and `report`. Everything is read and checked
before anything is written, and the data files are in place before they are registered.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.dataset_folder import (
    FILE_NAME,
    check_free,
    data_file,
    read_dataset_info,
    write_datasets,
)
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.data.splits import (
    DROPS,
    ValidationSize,
    draw_validation,
    drop_rows,
    parse_drops,
    parse_validation_size,
)
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import check_apart, check_output, write_whole
from llamafactory_emotion.options import Options, key
from llamafactory_emotion.prepare.report import audit_blocks, audit_json
from llamafactory_emotion.task import EMOTION, Task, load_task
from llamafactory_emotion.terminal import Block, Facts, print_blocks, printable, run_command

Splits = Mapping[str, Sequence[Row]]

SPLITS = TRAIN, VALIDATION, TEST = "train", "validation", "test"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(Options):
    """What a call of `prepare` asks for."""

    train: str = key(
        about="labelled texts as JSONL, JSON, CSV, TSV, Parquet or text;label", metavar="FILE"
    )
    validation: str | None = key(None, about="a validation file", metavar="FILE")
    validation_size: str | None = key(
        None,
        about="rows (200) or share (0.1) to draw from train by class; 0 for none (default: a "
        "tenth, at most 2000)",
        metavar="N",
    )
    test: str | None = key(
        None, about="a test file; it is written as it is, nothing is dropped", metavar="FILE"
    )
    name: str | None = key(
        None, about="the data sets become NAME_train, NAME_validation and NAME_test"
    )
    dataset_dir: Path | None = key(
        None, about="the folder where dataset_info.json is or will be", metavar="DIR"
    )
    drop: str | None = key(
        None,
        about="what to drop from train, with commas: "
        + "; ".join(f"{word}, {meaning}" for word, meaning in DROPS.items()),
        metavar="LIST",
    )
    check_only: bool = key(False, about="print the audit and write no data")
    task: str = key(EMOTION.name, about="a built-in task or a task's YAML file")
    text_column: str | None = key(None, about="the column of the texts (default: guessed)")
    label_column: str | None = key(None, about="the column of the labels (default: guessed)")
    json: Path | None = key(None, about="write the audit as JSON")
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
        if isinstance(name, str) and not _NAME.fullmatch(name):
            yield (
                f"name={name!r} must be letters, digits, dots, hyphens and underscores, and begin "
                "with a letter or digit"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Audit data files and write them for LLaMA-Factory; return the exit code."""
    return run_command(
        "prepare",
        PrepareOptions,
        lambda options, _: _run(options),
        argv,
        about="Check labelled texts, audit them and write them as LLaMA-Factory data sets.",
        notes="Only training rows are dropped, conflicts before repeats before leaks.",
    )


def _run(options: PrepareOptions) -> int:
    drops = parse_drops(options.drop) if options.drop else ()
    size = ValidationSize()
    if options.validation_size is not None:
        size = parse_validation_size(options.validation_size)
    task = load_task(options.task)
    if options.json is not None:
        check_output(options.json, overwrite=options.overwrite)
    if options.check_only:
        _check_apart(options, [options.json] if options.json else [])
    else:
        _check_target(options, size)
    given = _read(options, task)
    audit = audit_splits(given, task.labels)
    blocks: list[Block] = []
    try:
        if not options.check_only:
            splits, dropped = _chosen_rows(given, drops, size, seed=options.seed)
            blocks = _write(options, splits, task, {**audit_json(audit), "dropped": dropped})
        elif options.json is not None:
            with write_whole(options.json, overwrite=options.overwrite) as out:
                out.write(_json_text(audit_json(audit)))
    finally:
        # Last, so that a reader who goes away (`| head`) cannot keep the files from being written.
        print_blocks([*audit_blocks(audit), *blocks], sys.stdout)
    return 0


def _read(options: PrepareOptions, task: Task) -> dict[str, list[Row]]:
    """Read the files given; every bad file is in the error.

    Raises:
        CallError: A file cannot be opened.
        DataError: The content of one file or more is wrong.
    """
    paths = {TRAIN: options.train, VALIDATION: options.validation, TEST: options.test}
    given: dict[str, list[Row]] = {}
    problems: list[str] = []
    for split, path in paths.items():
        if path is None:
            continue
        try:
            given[split] = read_rows(
                path, task, text_column=options.text_column, label_column=options.label_column
            )
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return given


def _chosen_rows(
    given: Mapping[str, Sequence[Row]],
    drops: Sequence[str],
    size: ValidationSize,
    *,
    seed: int,
) -> tuple[Splits, dict[str, int]]:
    """Give the rows to write, split by split, and how many rows each drop took from train."""
    held_out = {row.text for split, rows in given.items() if split != TRAIN for row in rows}
    train, dropped = drop_rows(given[TRAIN], drops, held_out)
    if not train:
        raise DataError("drop leaves no training rows; give fewer of its words.")
    splits: dict[str, Sequence[Row]] = {**given, TRAIN: train}
    if VALIDATION not in given:
        splits[TRAIN], drawn = draw_validation(train, size.rows(len(train)), seed=seed)
        if drawn:
            splits[VALIDATION] = drawn
    return {split: splits[split] for split in SPLITS if split in splits}, dropped


def _check_target(options: PrepareOptions, size: ValidationSize) -> None:
    """Find what would stop the writing before anything is read.

    Raises:
        CallError: Name or folder are missing or unfit, or something would be overwritten.
        DataError: `dataset_info.json` is not valid.
    """
    folder = options.dataset_dir
    assert folder is not None  # noqa: S101 - `problems` refuses the call
    if folder.exists() and not folder.is_dir():
        raise CallError(f"dataset_dir={folder} is a file; name a folder.")
    wanted = {
        TRAIN: True,
        VALIDATION: options.validation is not None or size.count != 0,
        TEST: options.test is not None,
    }
    names = [f"{options.name}_{split}" for split in SPLITS if wanted[split]]
    outputs = [data_file(folder, name) for name in names]
    outputs += [options.json] if options.json else []
    _check_apart(options, [*outputs, folder / FILE_NAME])
    info = read_dataset_info(folder)
    if not options.overwrite:
        check_free(folder, names, info)


def _check_apart(options: PrepareOptions, outputs: Sequence[Path]) -> None:
    """Refuse outputs that would replace an input or each other."""
    check_apart(outputs, (options.train, options.validation, options.test, options.task))


def _write(
    options: PrepareOptions, splits: Splits, task: Task, report: Mapping[str, Any]
) -> list[Block]:
    """Write the data files, register them, and give what to say about it."""
    folder = options.dataset_dir
    assert folder is not None  # noqa: S101 - `problems` refuses the call
    datasets = {f"{options.name}_{split}": rows for split, rows in splits.items()}
    written = {
        name: {"file": str(data_file(folder, name)), "rows": len(rows)}
        for name, rows in datasets.items()
    }
    also = {options.json: _json_text({**report, "written": written})} if options.json else {}
    before = write_datasets(folder, datasets, task, overwrite=options.overwrite, also=also)
    lines = [(name, f"{one['file']}, {one['rows']:,} rows") for name, one in written.items()]
    lines.append(("registered", str(folder / FILE_NAME)))
    lines += [
        (f"{options.name}_{split}", "left as an earlier run wrote it; its rows may stand in train")
        for split in SPLITS
        if split not in splits and f"{options.name}_{split}" in before.entries
    ]
    lines.append(("train with", f"dataset_dir={folder} dataset={options.name}_{TRAIN}"))
    dropped = tuple((drop, f"{rows:,} rows") for drop, rows in report["dropped"].items())
    return [
        *([Facts("Dropped from train", dropped)] if dropped else []),
        Facts("Written", tuple((name, printable(said)) for name, said in lines)),
    ]


def _json_text(report: Mapping[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
