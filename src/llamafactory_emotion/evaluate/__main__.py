"""`python -m llamafactory_emotion.evaluate`: how good are the predictions in these files?

The command over `evaluation` and `report`; it reads flags, opens files and prints.
It stands on the pure layer alone (the reader of data files is loaded when a flag names one), so
that it starts in a fraction of a second.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.evaluate.comparison import compare_files, compare_published
from llamafactory_emotion.evaluate.comparison_tables import comparison_blocks
from llamafactory_emotion.evaluate.error_list import ErrorList
from llamafactory_emotion.evaluate.floor import FloorRecorder
from llamafactory_emotion.evaluate.json_report import report_json
from llamafactory_emotion.evaluate.judging import ALL_RULES, Observer
from llamafactory_emotion.evaluate.matching import Answers, AnswersRecorder
from llamafactory_emotion.evaluate.one_file import Evaluation, evaluate_rows
from llamafactory_emotion.evaluate.report_files import check_suffix, write_plot, write_report
from llamafactory_emotion.evaluate.rows import SourceJoin, TrainLookup
from llamafactory_emotion.evaluate.tables import evaluation_blocks
from llamafactory_emotion.evaluate.texts import TextFinder
from llamafactory_emotion.files import STANDARD_STREAM, check_output, real_place, write_whole
from llamafactory_emotion.predictions.reading import (
    BrokenRows,
    Prediction,
    name_of,
    read_predictions,
)
from llamafactory_emotion.predictions.sidecar import is_unfinished, read_sidecar
from llamafactory_emotion.tables import print_blocks
from llamafactory_emotion.task import EMOTION, MATCH_RULES, LabelledRow, Task, load_task
from llamafactory_emotion.terminal import run_command

_QUIET_SECONDS = 2.0
_ROWS_BETWEEN_LOOKS = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate files of predictions and print tables; give the exit code."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _run(options), debug=options.debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llamafactory_emotion.evaluate",
        description="Score LLaMA-Factory's generated_predictions.jsonl (or vLLM's, or ours); "
        "several files are compared over the rows they share.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="predictions as JSON Lines, gzip too; - is stdin")
    add("--task", default=EMOTION.name, help="a built-in task or a task's YAML file")
    add(
        "--match",
        choices=(*MATCH_RULES, ALL_RULES),
        help="what counts as a right answer (default: the task's rule, usually flexible)",
    )
    add("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    add("--errors", type=Path, metavar="OUT", help="write wrong and invalid answers as CSV")
    add(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar="OUT",
        help="write a page (.html) or a model card's section (.md); may be given twice",
    )
    add(
        "--plot",
        type=Path,
        action="append",
        default=[],
        metavar="OUT",
        help="draw the confusion matrix and the labels' F1 (.png, .svg)",
    )
    add("--skip-broken", action="store_true", help="leave out rows that cannot be used, and count")
    add("--threshold", type=float, help="the confidence below which the model may abstain")
    add("--source", metavar="FILE", help="the data predicted: check rows, take gold labels from it")
    add("--train", metavar="FILE", help="the training data: which errors does it explain?")
    add("--floor", metavar="FILE", help="training data: compare with a tf-idf SVM fitted on it")
    add("--published", action="store_true", help="compare with the published figures (emotion)")
    add("--seed", type=int, default=0, help="of the bootstrap intervals (default 0)")
    add("--overwrite", action="store_true", help="replace output files that exist")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


@dataclass(frozen=True)
class _Data:
    """The data files that flags name, read once for all files of predictions."""

    source: Sequence[LabelledRow] | None
    train: Sequence[LabelledRow] | None
    floor: Sequence[LabelledRow] | None


def _run(options: argparse.Namespace) -> int:
    _check_call(options)
    task = load_task(options.task)
    data = _read_data(options, task)
    evaluations: list[Evaluation] = []
    answers: list[Answers] = []
    with contextlib.ExitStack() as stack:
        errors = None
        if options.errors is not None:
            out = stack.enter_context(write_whole(options.errors, overwrite=options.overwrite))
            errors = ErrorList(out, task)
        for path in options.files:
            recorder = AnswersRecorder(name_of(path)) if len(options.files) > 1 else None
            observers: list[Observer] = [one for one in (recorder, errors) if one is not None]
            if errors is not None:
                errors.source = name_of(path)
            evaluations.append(_evaluate(path, task, options, data, observers))
            if recorder is not None:
                answers.append(recorder.answers(broken=evaluations[-1].broken))
        pairs = compare_files(answers, task, seed=options.seed)
        if options.json is not None:
            with write_whole(options.json, overwrite=options.overwrite) as out:
                out.write(report_json(evaluations, pairs))
        for path in options.report:
            write_report(path, evaluations, pairs, overwrite=options.overwrite)
        for path in options.plot:
            write_plot(path, evaluations, overwrite=options.overwrite)
    if len(evaluations) > 1:
        print_blocks(comparison_blocks(evaluations, pairs), sys.stdout)
    else:
        print_blocks(evaluation_blocks(evaluations[0]), sys.stdout)
    return 0


def _check_call(options: argparse.Namespace) -> None:
    inputs = [*options.files, *filter(None, (options.source, options.train, options.floor))]
    _check_outputs(options, {real_place(path) for path in inputs})
    if inputs.count(STANDARD_STREAM) > 1:
        raise CallError("Standard input (-) can be read only once; name a file instead.")
    if len(set(options.files)) < len(options.files):
        raise CallError("A file of predictions is named twice; name different ones to compare.")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise CallError("--threshold is a probability; give a number from 0 to 1.")
    if options.seed < 0:
        raise CallError("--seed cannot be negative.")


def _check_outputs(options: argparse.Namespace, taken: set[Path]) -> None:
    """Refuse outputs that cannot be written or would replace an input or each other."""
    for flag in ("--report", "--plot"):
        for out in getattr(options, flag.removeprefix("--")):
            check_suffix(flag, out)
    for out in filter(None, (options.json, options.errors, *options.report, *options.plot)):
        check_output(out, overwrite=options.overwrite)
        if real_place(out) in taken:
            raise CallError(f"{out} is read or written by another flag too; name another file.")
        taken.add(real_place(out))


def _read_data(options: argparse.Namespace, task: Task) -> _Data:
    read: dict[str, Sequence[LabelledRow]] = {}
    for path in filter(None, (options.source, options.train, options.floor)):
        if path not in read:
            from llamafactory_emotion.data.reading import read_rows

            read[path] = read_rows(path, task)
    return _Data(*(read.get(path) for path in (options.source, options.train, options.floor)))


def _evaluate(
    path: str,
    task: Task,
    options: argparse.Namespace,
    data: _Data,
    observers: list[Observer],
) -> Evaluation:
    """Judge one file, with all that the flags ask for, in one pass."""
    name = name_of(path)
    finder = TextFinder(task)
    broken = BrokenRows(name, skip=options.skip_broken)
    rows = _with_progress(read_predictions(path, broken), name)
    join = lookup = floor = None
    if data.source is not None:
        join = SourceJoin(data.source, task, name=options.source, finder=finder)
        rows = join.correct(rows, broken)
    if data.train is not None:
        lookup = TrainLookup(data.train, task, name=options.train, finder=finder)
    if data.floor is not None:
        floor = FloorRecorder(task, finder=finder)
    evaluation = evaluate_rows(
        rows,
        broken,
        task,
        match=options.match,
        threshold=options.threshold,
        seed=options.seed,
        sidecar=read_sidecar(path),
        observers=[*observers, *(one for one in (lookup, floor) if one is not None)],
    )
    if options.threshold is not None and evaluation.calibration is None:
        raise DataError(f"--threshold needs probabilities, and no row of {name} has any.")
    published = options.published
    counted = evaluation.metrics.n + evaluation.broken
    return replace(
        evaluation,
        unfinished=is_unfinished(path, evaluation.sidecar, counted),
        row_check=join.result() if join else None,
        train_explanation=lookup.result(seed=options.seed) if lookup else None,
        floor=floor.result(data.floor or (), source=name, name=options.floor, seed=options.seed)
        if floor
        else None,
        published=tuple(compare_published(name, evaluation.metrics, task)) if published else (),
    )


def _with_progress(rows: Iterable[Prediction], name: str) -> Iterable[Prediction]:
    """Say on a terminal how far the reading is, once it takes longer than two seconds."""
    return _told(rows, name) if sys.stderr.isatty() else rows


def _told(rows: Iterable[Prediction], name: str) -> Iterator[Prediction]:
    from llamafactory_emotion.terminal import printable

    said = time.monotonic() + _QUIET_SECONDS
    has_said = False
    for count, row in enumerate(rows):
        if not count % _ROWS_BETWEEN_LOOKS and time.monotonic() > said:
            print(f"\r{printable(name)}: {count:,} rows", end="", file=sys.stderr, flush=True)
            said, has_said = time.monotonic() + 0.5, True
        yield row
    if has_said:
        print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
