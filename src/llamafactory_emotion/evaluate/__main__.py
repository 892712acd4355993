"""`python -m llamafactory_emotion.evaluate`: how good are the predictions in these files?

The command reads its keys, opens files and prints; `evaluation` does the work. It starts in a
fraction of a second: what only some keys need (the reader of data files, the page, the card, the
plots) is imported when a key asks for it.
"""

import contextlib
import functools
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.evaluate.comparison import PairedComparison, compare_files
from llamafactory_emotion.evaluate.evaluation import Evaluation, evaluate_file
from llamafactory_emotion.evaluate.json_and_csv import ErrorList, figures_json
from llamafactory_emotion.evaluate.judging import ALL_RULES, Judged, Observer
from llamafactory_emotion.evaluate.lookup import DataFile
from llamafactory_emotion.evaluate.tables import all_blocks
from llamafactory_emotion.files import (
    STANDARD_STREAM,
    check_apart,
    check_output,
    real_path,
    write_json,
    write_whole,
    write_whole_binary,
)
from llamafactory_emotion.options import DataOptions, key
from llamafactory_emotion.predictions.formats import Columns
from llamafactory_emotion.predictions.reading import WRITTEN, name_of
from llamafactory_emotion.predictions.sidecar import sidecar_paths
from llamafactory_emotion.task import MATCH_RULES, Task
from llamafactory_emotion.task_choice import LABELS_ABOUT, TASK_ABOUT, Sources, choose_task
from llamafactory_emotion.terminal import print_blocks, printable, run_command, tell

PAGES, CARDS, PLOTS = (".html", ".htm"), (".md",), (".png", ".svg")
_ROWS_BETWEEN_LOOKS = 4096


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DataOptions):
    """What a call of `evaluate` asks for."""

    files: list[str] = key(
        [],
        about="predictions as JSON Lines, gzip too, or their folder; - is stdin",
        metavar="FILE",
        positional=True,
    )
    task: str | None = key(None, about=TASK_ABOUT)
    labels: str | None = key(None, about=LABELS_ABOUT)
    match: str | None = key(
        None,
        about="what counts as a right answer (default: the task's rule, usually flexible)",
        choices=(*MATCH_RULES, ALL_RULES),
    )
    json: Path | None = key(
        None, about="write the figures as JSON; - prints them instead of the tables", bare="-"
    )
    errors: Path | None = key(None, about="write wrong and invalid answers as CSV")
    report: list[Path] = key(
        [], about="write a page (.html) or a model card's section (.md); may be given twice"
    )
    plot: list[Path] = key([], about="draw the confusion matrix and the labels' F1 (.png, .svg)")
    skip_broken: bool = key(False, about="leave out rows that cannot be used, and count them")
    threshold: float | None = key(
        None, about="the confidence below which the model may abstain", least=0, most=1
    )
    source: str | None = key(
        None, about="the data predicted: check rows, take gold labels from it", metavar="FILE"
    )
    train: str | None = key(
        None, about="the training data: which errors does it explain?", metavar="FILE"
    )
    floor: str | None = key(
        None, about="training data: compare with a tf-idf SVM fitted on it", metavar="FILE"
    )
    prediction_column: str | None = key(
        None, about="the key or column of the answers (default: predict, response, ...)"
    )
    overwrite: bool = key(False, about="replace output files that exist")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say what is missing."""
        if not given.get("files"):
            yield "name a file of predictions, or - for standard input"


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate files of predictions and print tables; return the exit code."""
    return run_command(
        "evaluate",
        EvaluateOptions,
        lambda options, _: _run(options),
        argv,
        about="Score LLaMA-Factory's generated_predictions.jsonl (or vLLM's, or ours); several "
        "files are compared over the rows they share.",
    )


def _run(options: EvaluateOptions) -> int:
    options = replace(options, files=[*map(_file_in, options.files)])
    _check_paths(options)
    paths = (options.source, options.train, options.floor)
    known = Sources(files=paths, predictions=options.files)
    task = choose_task(options.task, options.labels, known)
    source, train, floor = data = [*_read_data(options, task)]
    # Beside data files that it names a column of, a row may have the usual key.
    columns = Columns(options.prediction_column, options.label_column, any(data))
    evaluations: list[Evaluation] = []
    errors_file = (
        write_whole(options.errors, overwrite=options.overwrite)
        if options.errors
        else contextlib.nullcontext()
    )
    with errors_file as out:
        errors = ErrorList(out, task) if out else None
        for path in options.files:
            file = name_of(path)
            with _progress(file) as observers:
                if errors:
                    observers.append(functools.partial(errors.add, file))
                evaluation = evaluate_file(
                    path,
                    task,
                    match=options.match,
                    threshold=options.threshold,
                    skip_broken=options.skip_broken,
                    source=source,
                    train=train,
                    floor=floor,
                    keeps_answers=len(options.files) > 1,
                    observers=observers,
                    columns=columns,
                    encoding=options.encoding,
                )
            evaluations.append(evaluation)
        pairs = compare_files([one.answers for one in evaluations if one.answers], task)
        _write_outputs(options, evaluations, pairs)
    if not _prints_json(options):
        print_blocks(all_blocks(evaluations, pairs), sys.stdout)
    return 0


def _file_in(path: str) -> str:
    """Return a path, or for a folder that of its only file of predictions; say so in one line."""
    folder = Path(path)
    if not folder.is_dir():
        return path
    found = [name for name in WRITTEN if (folder / name).is_file()]
    if len(found) != 1:
        below = sorted(one for name in WRITTEN for one in folder.glob(f"*/{name}"))
        there = [*found, *(str(one.relative_to(folder)) for one in below)]
        held = ", ".join(there) or f"no {' or '.join(WRITTEN)}"
        named = folder / (there[0] if there else "FILE")
        raise CallError(f"{folder} is a folder and holds {held}; write evaluate {named}.")
    tell(f"{folder} is a folder; evaluating its {found[0]}")
    return str(folder / found[0])


def _check_paths(options: EvaluateOptions) -> None:
    """Refuse inputs named twice, and outputs that cannot be written or would replace an input."""
    inputs = [*options.files, *filter(None, (options.source, options.train, options.floor))]
    if inputs.count(STANDARD_STREAM) > 1:
        raise CallError("standard input (-) can be read only once; name a file instead.")
    for first, second in itertools.combinations(options.files, 2):
        if real_path(first) == real_path(second):
            raise CallError(
                f"{second} and {first} are one file, named twice; name different files of "
                "predictions to compare."
            )
    reports = [("report", output, PAGES + CARDS) for output in options.report]
    plots = [("plot", output, PLOTS) for output in options.plot]
    for name, output, known in reports + plots:
        if output.suffix.lower() not in known:
            raise CallError(f"{name}={output}: the name must end in one of {', '.join(known)}.")
    taken = [*inputs, *filter(None, (options.task, options.labels))]
    taken += [str(sidecar) for path in options.files for sidecar in sidecar_paths(path)]
    json = None if _prints_json(options) else options.json
    written = [*filter(None, (json, options.errors, *options.report, *options.plot))]
    for output in written:
        check_output(output, overwrite=options.overwrite)
    check_apart(written, taken)


def _prints_json(options: EvaluateOptions) -> bool:
    return str(options.json) == STANDARD_STREAM


def _read_data(options: EvaluateOptions, task: Task) -> Iterator[DataFile | None]:
    """Read the data files that `source`, `train` and `floor` name, each file once."""
    read: dict[str, DataFile] = {}
    for path in (options.source, options.train, options.floor):
        if path and path not in read:
            from llamafactory_emotion.data.reading import FileNotes, read_rows

            notes = FileNotes()
            rows = read_rows(path, task, notes=notes, skip_empty=True, **options.reading)
            if notes.skipped:
                tell(f"{path}: {notes.skipped:,} rows without a text or a label are not used")
            read[path] = DataFile(path, rows, options.encoding, options.sheet)
        yield read[path] if path else None


@contextlib.contextmanager
def _progress(file: str) -> Iterator[list[Observer]]:
    """Count the rows on a terminal while they are read."""
    if not sys.stderr.isatty():
        yield []
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(file))) as status:
        rows = itertools.count(1)

        def count(_: Judged) -> None:
            row = next(rows)
            if not row % _ROWS_BETWEEN_LOOKS:
                status.update(Text(f"{printable(file)}: {row:,} rows"))

        yield [count]


def _write_outputs(
    options: EvaluateOptions, evaluations: list[Evaluation], pairs: list[PairedComparison]
) -> None:
    if options.json is not None:
        # ASCII cannot act on a terminal, and is JSON in every encoding.
        text = figures_json(evaluations, pairs, ensure_ascii=_prints_json(options))
        write_json(options.json, text, overwrite=options.overwrite)
    for path in options.report:
        if path.suffix.lower() in PAGES:
            from llamafactory_emotion.evaluate.html_page import page_html

            text = page_html(evaluations, pairs)
        else:
            from llamafactory_emotion.evaluate.model_card import model_card

            text = model_card(evaluations, pairs)
        with write_whole(path, overwrite=options.overwrite) as out:
            out.write(text)
    for path in options.plot:
        from llamafactory_emotion.evaluate.plots import plot_image

        image = plot_image(evaluations, kind=path.suffix.lower().removeprefix("."))
        with write_whole_binary(path, overwrite=options.overwrite) as binary:
            binary.write(image)


if __name__ == "__main__":
    sys.exit(main())
