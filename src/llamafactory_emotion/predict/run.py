"""Write one predictions file: go through the rows in chunks, score or generate, and keep count.

Stands between `predict`, which reads the call and loads models, and `predictions.writing`.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from llamafactory_emotion.data.records import read_records
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.predict.description import run_description, run_settings
from llamafactory_emotion.predict.inputs import InputRow, Inputs
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.predictions.sidecar import (
    check_same_run,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from llamafactory_emotion.predictions.writing import (
    PredictionsWriter,
    Resumed,
    chunk_ends,
    inspect_output,
    numbers_by_label,
    rounded,
)
from llamafactory_emotion.scoring.batches import Scorer
from llamafactory_emotion.scoring.generation import answer_tokens, generate_answers
from llamafactory_emotion.scoring.prompts import EncodedPrompt
from llamafactory_emotion.scoring.scorer import LabelScorer


@dataclass(frozen=True)
class Job:
    """One predictions file to be written."""

    scorer: Scorer
    inputs: Inputs
    place: str
    options: PredictOptions
    recipe: Path | None

    @property
    def path(self) -> Path | None:
        """The file, or None for standard output."""
        return None if self.place == STANDARD_STREAM else Path(self.place)


@dataclass
class _Counts:
    """What a run counts as it goes."""

    rows: int = 0
    truncated: int = 0
    special_tokens: int = 0

    def add(self, rows: int, truncated: int, special_tokens: int) -> None:
        """Count rows, and how many of them were cut or hold a special token's name."""
        self.rows += rows
        self.truncated += truncated
        self.special_tokens += special_tokens

    def add_prompts(self, prompts: Sequence[EncodedPrompt]) -> None:
        """Count encoded rows."""
        truncated = sum(prompt.truncated for prompt in prompts)
        special_tokens = sum(prompt.special_tokens for prompt in prompts)
        self.add(len(prompts), truncated, special_tokens)


def write_predictions(job: Job) -> None:
    """Go through a job's rows and write its file and sidecar.

    Raises:
        CallError: The file cannot be resumed with this input or these settings.
        EmotionError: The file cannot be written; what was written stays valid.
    """
    counts = _Counts()
    if job.options.generate:
        # Refuses before a file is begun.
        answer_tokens(_language_model(job), job.options.max_new_tokens)
    description = run_description(job.scorer, job.options, job.recipe)
    replaces = job.options.overwrite or job.options.resume
    with PredictionsWriter(job.path or STANDARD_STREAM, overwrite=replaces) as writer:
        if job.path is not None and job.options.resume:
            begun = read_sidecar(job.path)
            before = begun.everything if begun else {}
            check_same_run(job.path, before, run_settings(job.scorer, job.options))
            resumed = inspect_output(job.path, largest_chunk=job.options.chunk_rows)
            if resumed.rows and begun is None:
                raise CallError(
                    f"{sidecar_path(job.path)} is not there, so what {job.path} was begun with is "
                    "not known; start again with overwrite=true."
                )
            _skip(job, resumed, counts)
            writer.keep(resumed)
        started, kept = time.monotonic(), writer.rows
        for lines in _answered_chunks(job, kept, counts):
            if job.path is not None and writer.rows == 0:
                # Emptied first: a sidecar never stands beside the rows of another run.
                writer.begin()
                write_sidecar(job.path, {**description, "complete_rows": None})
            writer.write(lines)
        seconds = time.monotonic() - started
    new = writer.rows - kept
    if job.path is not None and (new or kept == 0):
        figures = {"seconds": round(seconds, 3), "rows_per_second": round(new / seconds, 3)}
        ends = {"rows": writer.rows, "complete_rows": writer.rows, "resumed_at_row": kept or None}
        found = {"truncated": counts.truncated, "special_tokens": counts.special_tokens}
        write_sidecar(job.path, {**description, **ends, **figures, **found})
    _say(job, counts, new=new, seconds=seconds)


def _skip(job: Job, resumed: Resumed, counts: _Counts) -> None:
    """Go past the rows that an earlier run wrote, and check that they came from this input."""
    done = 0
    with Path(job.place).open("rb") as file:
        while done < resumed.rows:
            rows = list(islice(job.inputs.rows, min(resumed.rows - done, job.options.chunk_rows)))
            if not rows:
                raise CallError(
                    f"{job.place} holds {resumed.rows:,} rows and {job.inputs.name} only "
                    f"{done:,}; it was written from another input."
                )
            prompts = job.scorer.encode_contents([row.content for row in rows])
            counts.add_prompts(prompts)
            for row, prompt, line in zip(rows, prompts, file, strict=False):
                _check_same_row(job, done, {"prompt": prompt.prompt, **_gold(row)}, line)
                done += 1


def _check_same_row(job: Job, number: int, asked: Mapping[str, str], line: bytes) -> None:
    written = json.loads(line)
    for key in ("prompt", "label"):
        if written.get(key) != asked.get(key):
            raise CallError(
                f"row {number} of {job.place} has another {key} than row {number} of "
                f"{job.inputs.name}; it was written from another input, or with other examples."
            )


def _answered_chunks(job: Job, done: int, counts: _Counts) -> Iterator[list[dict[str, Any]]]:
    """Give the lines of each chunk that comes after the rows done, until the input ends."""
    with _progress(job) as advance:
        advance(done)
        for end in chunk_ends(job.options.chunk_rows):
            if end <= done:
                continue
            wanted = end - done
            rows = list(islice(job.inputs.rows, wanted))
            if rows:
                yield _answer(job, rows, done, counts)
                advance(len(rows))
            if len(rows) < wanted:
                return
            done = end


def _answer(
    job: Job, rows: Sequence[InputRow], first: int, counts: _Counts
) -> list[dict[str, Any]]:
    answer = _generate if job.options.generate else _score
    return [
        {"id": number, **line} for number, line in enumerate(answer(job, rows, counts), start=first)
    ]


def _language_model(job: Job) -> LabelScorer:
    if not isinstance(job.scorer, LabelScorer):
        raise CallError(
            f"{job.scorer.loaded.adapter or job.scorer.loaded.base} is a classification head and "
            "cannot write answers; remove generate, or name the language model."
        )
    return job.scorer


def _generate(job: Job, rows: Sequence[InputRow], counts: _Counts) -> Iterator[dict[str, Any]]:
    prompts = job.scorer.encode_contents([row.content for row in rows])
    scorer = _language_model(job)
    most = answer_tokens(scorer, job.options.max_new_tokens)
    answers = generate_answers(scorer, prompts, max_new_tokens=most)
    counts.add_prompts(prompts)
    for row, prompt, answer in zip(rows, prompts, answers, strict=True):
        asked = {"prompt": prompt.prompt, **_text(job, row, cut=prompt.truncated)}
        yield {**asked, "predict": answer, **_gold(row)}


def _score(job: Job, rows: Sequence[InputRow], counts: _Counts) -> Iterator[dict[str, Any]]:
    scores = job.scorer.score_contents([row.content for row in rows])
    counts.add(len(rows), scores.truncated, scores.special_tokens)
    probabilities, margins = scores.probabilities, scores.margins
    for number, row in enumerate(rows):
        line: dict[str, Any] = {
            "prompt": scores.prompts[number],
            **_text(job, row, cut=scores.cut[number]),
            "predict": scores.predictions[number],
            **_gold(row),
            "probabilities": numbers_by_label(scores.labels, probabilities[number]),
        }
        if job.options.log_likelihoods:
            line["log_likelihoods"] = numbers_by_label(scores.labels, scores.log_scores[number])
        if job.options.margin:
            line["margin"] = rounded(margins[number])
        yield line


def _text(job: Job, row: InputRow, *, cut: bool) -> dict[str, str]:
    """Give the text where it cannot be told from the prompt: it was cut, or examples precede it."""
    if not cut and job.options.few_shot is None:
        return {}
    return {"text": row.content.removeprefix(job.inputs.task.user_content(""))}


def _gold(row: InputRow) -> dict[str, str]:
    return {} if row.label is None else {"label": row.label}


@contextmanager
def _progress(job: Job) -> Iterator[Callable[[int], None]]:
    """Show rows, rows a second and time left on a terminal; nothing in a log."""
    shown = sys.stderr.isatty()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        RowsPerSecond(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
    total = _total(job) if shown else None
    name = Path(job.place).name if job.path else "predict"
    with progress:
        bar = progress.add_task(name, total=total)
        yield lambda rows: progress.advance(bar, rows)


class RowsPerSecond(ProgressColumn):
    """The speed of the last seconds."""

    def render(self, task: Any) -> Text:
        """Give the speed as text."""
        return Text(f"{task.speed:,.1f} rows/s" if task.speed else "")


def _total(job: Job) -> int | None:
    """Count the rows to come, where that is cheap: it is only for the time left."""
    if job.options.input in (None, STANDARD_STREAM):
        return job.options.max_samples
    count = sum(1 for _ in read_records(job.options.input, split_labels=False))
    return min(count, job.options.max_samples or count)


def _say(job: Job, counts: _Counts, *, new: int, seconds: float) -> None:
    if new == 0:
        print(f"{job.place}: complete already, {counts.rows:,} rows", file=sys.stderr)
        return
    parts = [f"{job.place}: {counts.rows:,} rows"]
    if counts.rows != new:
        parts.append(f"{new:,} of them new")
    parts.append(f"{new / seconds:,.1f} rows/s")
    if counts.truncated:
        parts.append(f"{counts.truncated:,} texts cut at cutoff_len={job.options.longest}")
    if counts.special_tokens:
        parts.append(f"{counts.special_tokens:,} texts hold a special token's name (kept as text)")
    print("; ".join(parts), file=sys.stderr)
