"""The predictions files a call writes: one, or one for each checkpoint or each input length.

Each has a model and a cutoff of its own. Files of several lengths are compared in a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llamafactory_emotion.data.dataset_folder import FILE_NAME
from llamafactory_emotion.data.entries import read_entries
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.evaluate.evaluation import evaluate_file
from llamafactory_emotion.files import STANDARD_STREAM, check_apart, check_output
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.predictions.sidecar import read_sidecar, sidecar_path
from llamafactory_emotion.scoring.loading import ModelSource, find_checkpoints
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import Table, printable

_MODEL_FILES = (
    *("*config.json", "*.index.json", "*.safetensors", "*.bin", "*.py"),
    *("*token*", "vocab.*", "merges.txt", "*.jinja"),
)


_COLUMNS = (
    *("cutoff_len", "rows", "rows cut", "labelled", "accuracy", "low", "high", "invalid", "rows/s"),
)


@dataclass(frozen=True)
class Output:
    """A predictions file to write: where, with which model, and cut at how many tokens."""

    path: Path
    source: ModelSource
    cutoff_len: int

    @property
    def is_stream(self) -> bool:
        """Whether the rows go to standard output, where nothing is kept beside them."""
        return str(self.path) == STANDARD_STREAM


def list_outputs(options: PredictOptions) -> list[Output]:
    """List the files that a call writes, in the order of the checkpoints' steps or the lengths."""
    path, source, lengths = options.output_path, options.source, sorted(options.cutoff_len)
    if len(lengths) > 1:
        return [Output(path / f"cutoff-{cutoff}.jsonl", source, cutoff) for cutoff in lengths]
    if options.checkpoints is None:
        return [Output(path, source, lengths[0])]
    folder = Path(options.checkpoints)
    found = find_checkpoints(folder)
    if not found:
        raise CallError(f"{folder} holds no checkpoint-<step>; name a training run's output_dir.")
    outputs = []
    for checkpoint in found.values():
        own = replace(source, model=str(checkpoint), adapter=None)
        if (checkpoint / "adapter_config.json").is_file():
            own = replace(source, adapter=str(checkpoint))
        outputs.append(Output(path / f"{checkpoint.name}.jsonl", own, lengths[0]))
    return outputs


def check_outputs(outputs: Sequence[Output], options: PredictOptions, recipe: Path | None) -> None:
    """Refuse outputs that exist, cannot be written, or would replace a file that the call reads."""
    files = [output for output in outputs if not output.is_stream]
    for output in files:
        check_output(output.path, overwrite=options.overwrite or options.resume)
    read = [recipe, options.task, options.labels, options.few_shot, options.input]
    read += [path for name in read[3:] if name for path in Path(name).glob("*")]  # of folders
    folder = Path(options.dataset_dir)
    predicted = options.eval_dataset if options.input is None else None
    for names in filter(None, (predicted, options.few_shot_datasets)):
        read.append(folder / FILE_NAME)
        for entry in read_entries(names, folder):
            if entry.path is not None:
                read += entry.path.rglob("*") if entry.path.is_dir() else [entry.path]
    for output in files:
        for name in filter(None, (output.source.model, output.source.adapter)):
            # Its other files may be replaced: predictions often lie in the run's own folder.
            read += [path for pattern in _MODEL_FILES for path in Path(name).glob(pattern)]
    paths = [path for output in files for path in (output.path, sidecar_path(output.path))]
    check_apart(paths, read)


def length_table(outputs: Sequence[Output], task: Task) -> Table:
    """Compare the files of several lengths; accuracy where rows have a gold label of the task."""
    rows = []
    for output in outputs:
        known = sidecar.everything if (sidecar := read_sidecar(output.path)) else {}
        try:
            evaluation = evaluate_file(output.path, task, skip_broken=True)
        except DataError:  # no row has a gold label
            figures = ["0", "", "", "", ""]
        else:
            metrics = evaluation.metrics
            shares = (metrics.accuracy, *metrics.accuracy_ci)
            figures = [f"{metrics.n:,}", *(f"{x:.4f}" for x in shares), f"{metrics.invalid:,}"]
        counts = [f"{known['rows']:,}", f"{known['truncated']:,}"]
        speed = f"{known['rows_per_second']:,.1f}"
        rows.append((str(output.cutoff_len), *counts, *figures, speed))
    return Table(
        printable(f"input length (task {task.name}, match {task.match})"), _COLUMNS, tuple(rows)
    )
