"""A study of input length: the same texts, cut at one length and at another.

`predict` runs it where `cutoff_len` names several lengths: a predictions file for each of them, the
model loaded once, and a table of accuracies in the end.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.evaluate.evaluation import Evaluation, evaluate_file
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.predictions.sidecar import read_sidecar
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import Table, printable

CUTOFF = "cutoff_len"


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
    try:
        return evaluate_file(place, task, skip_broken=True)
    except DataError:
        return None
