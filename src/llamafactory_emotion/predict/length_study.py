"""A study of input length: the same texts, cut at one length and at another.

`predict` runs it where `cutoff_len` names several lengths: a predictions file for each of them, the
model loaded once. Here stand the lengths, the files and the table in the end, whose accuracies are
the evaluator's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.evaluate.one_file import Evaluation, evaluate_rows
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.options import Call
from llamafactory_emotion.predict.options import PredictOptions, names_a_file
from llamafactory_emotion.predictions.reading import BrokenRows, read_predictions
from llamafactory_emotion.predictions.sidecar import read_sidecar
from llamafactory_emotion.tables import Table
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import printable

CUTOFF = "cutoff_len"


def study_cutoffs(call: Call) -> tuple[int, ...]:
    """Give the lengths that a call names, the shortest first; none where it names one or nothing.

    Raises:
        CallError: They are not different whole numbers, or the call has no room for several files.
    """
    value = call.values.get(CUTOFF)
    if isinstance(value, str) and "," in value:
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list):
        return ()
    cutoffs = [_length(part) for part in value]
    if None in cutoffs or len(set(cutoffs)) < len(cutoffs):
        shown = ",".join(map(str, value))
        raise CallError(
            f"{CUTOFF}={shown} must be different whole numbers of tokens, 1 or more, with commas "
            f"between: {CUTOFF}=512,1024."
        )
    problems = _contradictions(call.values)
    if problems:
        raise CallError(f"{CUTOFF} with several lengths: {'; '.join(problems)}.")
    return tuple(sorted(cutoff for cutoff in cutoffs if cutoff is not None))


def _length(part: object) -> int | None:
    text = str(part)
    whole = text.isascii() and text.isdigit() and len(text) < 10
    return int(text) if whole and int(text) > 0 else None


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if "checkpoints" in values:
        problems.append("it does not go with checkpoints; study one of them at a time")
    if values.get("input") == STANDARD_STREAM:
        problems.append("input=- can be read only once, and each length reads it")
    output = values.get("output")
    if output == STANDARD_STREAM:
        problems.append("output=- is one stream; name a folder for the files")
    elif isinstance(output, str) and names_a_file(Path(output)):
        problems.append(f"output={output} must be a folder: each length gets its own file")
    return problems


def with_cutoff(call: Call, cutoffs: Sequence[int]) -> Call:
    """Give the call with the first of several lengths, or as it is."""
    return replace(call, values={**call.values, CUTOFF: cutoffs[0]}) if cutoffs else call


def study_places(options: PredictOptions, cutoffs: Sequence[int]) -> dict[int, Path]:
    """Give each length's predictions file, in the folder that `output` or `output_dir` names."""
    folder = Path(options.output or options.output_dir or ".")
    return {cutoff: folder / f"cutoff-{cutoff}.jsonl" for cutoff in cutoffs}


def check_reach(cutoffs: Sequence[int], max_positions: int | None) -> None:
    """Refuse lengths that the model cannot read: their figures would be those of its own limit.

    Raises:
        CallError: Names them.
    """
    beyond = [cutoff for cutoff in cutoffs if max_positions is not None and cutoff > max_positions]
    if beyond:
        raise CallError(
            f"{CUTOFF}={','.join(map(str, beyond))} is more than the {max_positions} tokens this "
            "model reads; leave it out."
        )


def study_table(places: Mapping[int, Path], task: Task) -> Table:
    """Lay out the files of a study, one line a length; accuracy where there are gold labels."""
    return Table(
        printable(f"input length (task {task.name}, match {task.match})"),
        (CUTOFF, "rows", "rows cut", "labelled", "accuracy", "low", "high", "invalid", "rows/s"),
        tuple(_line(cutoff, place, task) for cutoff, place in places.items()),
    )


def _line(cutoff: int, place: Path, task: Task) -> tuple[str, ...]:
    sidecar = read_sidecar(place)
    known = sidecar.everything if sidecar else {}
    speed = sidecar.rows_per_second if sidecar else None
    evaluation = _evaluation(place, task)
    figures: tuple[str, ...] = ("0", "", "", "", "")
    if evaluation is not None:
        metrics = evaluation.metrics
        figures = (
            f"{metrics.n:,}",
            f"{metrics.accuracy:.4f}",
            *(f"{bound:.4f}" for bound in metrics.accuracy_ci),
            f"{metrics.invalid:,}",
        )
    counts = (f"{known[key]:,}" if key in known else "" for key in ("rows", "truncated"))
    return (str(cutoff), *counts, *figures, "" if speed is None else f"{speed:,.1f}")


def _evaluation(place: Path, task: Task) -> Evaluation | None:
    """Judge a file's rows that have a gold label of the task; None where none has."""
    broken = BrokenRows(str(place), skip=True)
    try:
        return evaluate_rows(read_predictions(place, broken), broken, task)
    except DataError:
        return None
