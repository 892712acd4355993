"""`python -m llamafactory_emotion.evaluate`: how good are the predictions in these files?

The command over `evaluation` and `report`; it reads flags, opens files and prints.
It stands on the pure layer alone (the reader of data files is loaded when a flag names one), so
that it starts in a fraction of a second.
"""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.evaluate.comparison import compare_files
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
from llamafactory_emotion.options import Options, key
from llamafactory_emotion.predictions.reading import (
    BrokenRows,
    Prediction,
    name_of,
    read_predictions,
)
from llamafactory_emotion.predictions.sidecar import is_unfinished, read_sidecar
from llamafactory_emotion.task import EMOTION, MATCH_RULES, LabelledRow, Task, load_task
from llamafactory_emotion.terminal import print_blocks, run_command

_QUIET_SECONDS = 2.0
_ROWS_BETWEEN_LOOKS = 4096


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """What a call of `evaluate` asks for."""

    files: list[str] = key(
        [], about="predictions as JSON Lines, gzip too; - is stdin", metavar="FILE", positional=True
    )
    task: str = key(EMOTION.name, about="a built-in task or a task's YAML file")
    match: str | None = key(
        None,
        about="what counts as a right answer (default: the task's rule, usually flexible)",
        choices=(*MATCH_RULES, ALL_RULES),
    )
    json: Path | None = key(None, about="write the figures as JSON")
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
    seed: int = key(0, about="of the bootstrap intervals", least=0)
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


@dataclass(frozen=True)
class _Data:
    """The data files that flags name, read once for all files of predictions."""

    source: Sequence[LabelledRow] | None
    train: Sequence[LabelledRow] | None
    floor: Sequence[LabelledRow] | None


def _run(options: EvaluateOptions) -> int:
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
        for page in options.report:
            write_report(page, evaluations, pairs, overwrite=options.overwrite)
        for plot in options.plot:
            write_plot(plot, evaluations, overwrite=options.overwrite)
    if len(evaluations) > 1:
        print_blocks(comparison_blocks(evaluations, pairs), sys.stdout)
    else:
        print_blocks(evaluation_blocks(evaluations[0]), sys.stdout)
    return 0


def _check_call(options: EvaluateOptions) -> None:
    inputs = [*options.files, *filter(None, (options.source, options.train, options.floor))]
    _check_outputs(options, {real_place(path) for path in inputs})
    if inputs.count(STANDARD_STREAM) > 1:
        raise CallError("Standard input (-) can be read only once; name a file instead.")
    if len(set(options.files)) < len(options.files):
        raise CallError("A file of predictions is named twice; name different ones to compare.")


def _check_outputs(options: EvaluateOptions, taken: set[Path]) -> None:
    """Refuse outputs that cannot be written or would replace an input or each other."""
    for name, outs in (("report", options.report), ("plot", options.plot)):
        for out in outs:
            check_suffix(name, out)
    for out in filter(None, (options.json, options.errors, *options.report, *options.plot)):
        check_output(out, overwrite=options.overwrite)
        if real_place(out) in taken:
            raise CallError(f"{out} is read or written under another key too; name another file.")
        taken.add(real_place(out))


def _read_data(options: EvaluateOptions, task: Task) -> _Data:
    read: dict[str, Sequence[LabelledRow]] = {}
    for path in filter(None, (options.source, options.train, options.floor)):
        if path not in read:
            from llamafactory_emotion.data.reading import read_rows

            read[path] = read_rows(path, task)
    return _Data(*(read.get(path or "") for path in (options.source, options.train, options.floor)))


def _evaluate(
    path: str,
    task: Task,
    options: EvaluateOptions,
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
        join = SourceJoin(data.source, task, name=str(options.source), finder=finder)
        rows = join.correct(rows, broken)
    if data.train is not None:
        lookup = TrainLookup(data.train, task, name=str(options.train), finder=finder)
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
        raise DataError(f"threshold needs probabilities, and no row of {name} has any.")
    counted = evaluation.metrics.n + evaluation.broken
    return replace(
        evaluation,
        unfinished=is_unfinished(path, evaluation.sidecar, counted),
        row_check=join.result() if join else None,
        train_explanation=lookup.result(seed=options.seed) if lookup else None,
        floor=floor.result(
            data.floor or (), source=name, name=str(options.floor), seed=options.seed
        )
        if floor
        else None,
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
