"""Write one predictions file: score or generate the rows in chunks, and write each chunk."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from llamafactory_emotion.data.records import read_records
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.predict.inputs import InputRow, Inputs
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.predict.outputs import Output
from llamafactory_emotion.predictions.writing import (
    PredictionsWriter,
    check_same_run,
    chunk_ends,
    inspect_output,
    numbers_by_label,
    rounded,
    sidecar_path,
    write_sidecar,
)
from llamafactory_emotion.scoring.generation import answer_tokens, generate_answers
from llamafactory_emotion.scoring.places import fingerprint
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.scoring.scores import Scorer
from llamafactory_emotion.scoring.surroundings import hardware, versions

# What a resumed run must have the same, or its rows would not fit those before.
_ROWS_DEPEND_ON = (
    *("model_revision", "template", "flash_attn", "text_column", "label_column", "normalize"),
    *("calibrate", "few_shot", "shots", "seed", "generate", "max_new_tokens", "log_likelihoods"),
    *("margin", "quantization_bit", "tokens_per_batch", "chunk_rows", "max_samples"),
)


class PredictionRun:
    """Writes one predictions file and its sidecar, and counts what happened to its rows.

    Raises:
        CallError: Free answers are asked of a classification head, or are too short for a label.
    """

    def __init__(
        self,
        output: Output,
        inputs: Inputs,
        scorer: Scorer,
        options: PredictOptions,
        recipe: Path | None,
    ) -> None:
        self._output, self._inputs, self._scorer = output, inputs, scorer
        self._options, self._recipe = options, recipe
        self._rows = self._truncated = self._special_tokens = 0
        self._answer: Callable[[list[str]], _Answers] = partial(_score, scorer, options)
        if options.generate:
            if not isinstance(scorer, LabelScorer):
                raise CallError(
                    f"{scorer.loaded.adapter or scorer.loaded.base} is a classification head and "
                    "cannot write answers; remove generate, or name the language model."
                )
            longest = answer_tokens(scorer, options.max_new_tokens)
            self._answer = partial(_generate, scorer, longest)

    def write(self) -> None:
        """Write the file from its first row, or from where a killed run left it.

        Raises:
            CallError: The file cannot be resumed with this input or these settings.
            EmotionError: The file cannot be written; what was written stays valid.
        """
        path, is_file = self._output.path, not self._output.is_stream
        description = self._describe()
        overwrite = self._options.overwrite or self._options.resume
        with PredictionsWriter(path, overwrite=overwrite) as writer:
            if self._options.resume:
                self._resume(writer)
            kept, started = writer.rows, time.monotonic()
            for lines in self._chunks(kept):
                if is_file and writer.rows == 0:
                    # Emptied first: a sidecar never lies beside the rows of another run.
                    writer.begin()
                    write_sidecar(path, {**description, "complete_rows": None})
                writer.write(lines)
            seconds = time.monotonic() - started
        new = writer.rows - kept
        if is_file and (new or kept == 0):
            description |= {
                "rows": writer.rows,
                "complete_rows": writer.rows,
                "resumed_at_row": kept or None,
                "seconds": round(seconds, 3),
                "rows_per_second": round(new / seconds, 3),
                "truncated": self._truncated,
                "special_tokens": self._special_tokens,
            }
            write_sidecar(path, description)
        self._report(new, seconds)

    def _settings(self) -> dict[str, Any]:
        """Return what the rows depend on; a resumed run must have the same."""
        loaded, task = self._scorer.loaded, self._scorer.task
        return {
            "model": loaded.base,
            "adapter": loaded.adapter,
            "model_fingerprint": fingerprint(loaded.base),
            "adapter_fingerprint": fingerprint(loaded.adapter),
            "task": task.name,
            "task_fingerprint": task.fingerprint,
            "dtype": str(loaded.model.dtype).removeprefix("torch."),
            "cutoff_len": self._output.cutoff_len,
            **{name: getattr(self._options, name) for name in _ROWS_DEPEND_ON},
        }

    def _describe(self) -> dict[str, Any]:
        """Return all that is known of the run when it begins."""
        model = self._scorer.loaded.model
        return {
            **self._settings(),
            "recipe": None if self._recipe is None else str(self._recipe),
            "trained_parameters": self._scorer.loaded.adapter_parameters,
            "model_parameters": sum(weight.numel() for weight in model.parameters()),
            "shared_prefix_tokens": self._scorer.shared_prefix_tokens,
            "readout": self._scorer.readout,
            "versions": versions(),
            "hardware": hardware(model),
        }

    def _resume(self, writer: PredictionsWriter) -> None:
        """Keep the rows of an earlier run, and check that they came from this input."""
        path, name, step = self._output.path, self._inputs.name, self._options.chunk_rows
        check_same_run(path, self._settings())
        resumed = inspect_output(path, largest_chunk=step)
        if resumed.rows and not sidecar_path(path).is_file():
            raise CallError(
                f"{sidecar_path(path)} is not there, so what {path} was begun with is not known; "
                "start again with overwrite=true."
            )
        with path.open("rb") as file:
            for first in range(0, resumed.rows, step):
                lines = list(islice(file, min(step, resumed.rows - first)))
                rows = list(islice(self._inputs.rows, len(lines)))
                if len(rows) < len(lines):
                    raise CallError(
                        f"{path} holds {resumed.rows:,} rows and {name} only "
                        f"{first + len(rows):,}; it was written from another input."
                    )
                prompts = self._scorer.encode_contents([row.content for row in rows])
                cut = sum(prompt.truncated for prompt in prompts)
                self._count(len(rows), cut, sum(prompt.special_tokens for prompt in prompts))
                for number, line in enumerate(lines):
                    written = json.loads(line)
                    wanted = {"prompt": prompts[number].prompt, "label": rows[number].label}
                    for key in (key for key in wanted if written.get(key) != wanted[key]):
                        raise CallError(
                            f"row {first + number} of {path} has another {key} than row "
                            f"{first + number} of {name}; it was written from another input, or "
                            "with other examples."
                        )
        writer.keep(resumed)

    def _chunks(self, done: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the lines of each chunk behind the rows that are done, until the input ends."""
        with self._progress() as advance:
            advance(done)
            for end in chunk_ends(self._options.chunk_rows):
                if end <= done:
                    continue
                rows = list(islice(self._inputs.rows, end - done))
                if rows:
                    yield self._lines(rows, done)
                    advance(len(rows))
                if len(rows) < end - done:
                    return
                done = end

    def _lines(self, rows: Sequence[InputRow], first: int) -> list[dict[str, Any]]:
        answers = self._answer([row.content for row in rows])
        self._count(len(rows), sum(answers.cut), answers.special_tokens)
        opening = self._inputs.task.user_content("")
        lines = []
        for number, row in enumerate(rows):
            line: dict[str, Any] = {"id": first + number, "prompt": answers.prompts[number]}
            # The text, where it cannot be told from the prompt.
            if answers.cut[number] or self._options.few_shot is not None:
                line["text"] = row.content.removeprefix(opening)
            line["predict"] = answers.predictions[number]
            if row.label is not None:
                line["label"] = row.label
            lines.append(line | answers.figures[number])
        return lines

    def _count(self, rows: int, truncated: int, special_tokens: int) -> None:
        self._rows += rows
        self._truncated += truncated
        self._special_tokens += special_tokens

    @contextmanager
    def _progress(self) -> Iterator[Callable[[int], None]]:
        """Show rows, rows a second and time left on a terminal; nothing in a log."""
        shown = sys.stderr.isatty()
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,} rows"),
            _RowsPerSecond(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )
        most, source = self._options.max_samples, self._options.input
        if shown and source not in (None, STANDARD_STREAM):
            # Read once more, which is cheap beside a model.
            count = sum(1 for _ in read_records(source, split_labels=False))
            most = min(count, most or count)
        name = "predict" if self._output.is_stream else self._output.path.name
        with progress:
            bar = progress.add_task(name, total=most)
            yield lambda rows: progress.advance(bar, rows)

    def _report(self, new: int, seconds: float) -> None:
        if new == 0:
            said = f"{self._output.path}: complete already, {self._rows:,} rows"
            print(said, file=sys.stderr)
            return
        parts = [f"{self._output.path}: {self._rows:,} rows"]
        if self._rows != new:
            parts.append(f"{new:,} of them new")
        parts.append(f"{new / seconds:,.1f} rows/s")
        if self._truncated:
            parts.append(f"{self._truncated:,} texts cut at cutoff_len={self._output.cutoff_len}")
        if self._special_tokens:
            count = f"{self._special_tokens:,}"
            parts.append(f"{count} texts hold a special token's name (kept as text)")
        print("; ".join(parts), file=sys.stderr)


class _Answers(NamedTuple):
    """What a model says to the rows of a chunk; `figures` are the further keys of each line."""

    prompts: Sequence[str]
    cut: Sequence[bool]
    predictions: Sequence[str]
    special_tokens: int
    figures: Sequence[dict[str, Any]]


def _score(scorer: Scorer, options: PredictOptions, contents: list[str]) -> _Answers:
    scores = scorer.score_contents(contents)
    probabilities, margins = scores.probabilities, scores.margins
    figures = []
    for row in range(len(contents)):
        found: dict[str, Any] = {
            "probabilities": numbers_by_label(scores.labels, probabilities[row])
        }
        if options.log_likelihoods:
            found["log_likelihoods"] = numbers_by_label(scores.labels, scores.log_scores[row])
        if options.margin:
            found["margin"] = rounded(margins[row])
        figures.append(found)
    return _Answers(scores.prompts, scores.cut, scores.predictions, scores.special_tokens, figures)


def _generate(scorer: LabelScorer, max_new_tokens: int, contents: list[str]) -> _Answers:
    prompts = scorer.encode_contents(contents)
    return _Answers(
        [prompt.prompt for prompt in prompts],
        [prompt.truncated for prompt in prompts],
        generate_answers(scorer, prompts, max_new_tokens=max_new_tokens),
        sum(prompt.special_tokens for prompt in prompts),
        [{} for _ in prompts],
    )


class _RowsPerSecond(ProgressColumn):
    def render(self, task: Any) -> Text:
        """Return the speed of the last seconds."""
        return Text(f"{task.speed:,.1f} rows/s" if task.speed else "")
