"""Write one predictions file: score or generate the rows in chunks, and write each chunk."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from llamafactory_emotion.data.records import open_source
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.predict.inputs import InputRow, Inputs
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.predict.outputs import Output
from llamafactory_emotion.predictions.sidecar import (
    check_same_run,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from llamafactory_emotion.predictions.writing import (
    PredictionsWriter,
    chunk_ends,
    inspect_output,
    numbers_by_label,
    rounded,
)
from llamafactory_emotion.scoring.batches import Scorer
from llamafactory_emotion.scoring.generation import answer_tokens, generate_answers
from llamafactory_emotion.scoring.loading import fingerprint
from llamafactory_emotion.scoring.models import hardware, versions
from llamafactory_emotion.scoring.prompts import EncodedPrompt
from llamafactory_emotion.scoring.scorer import LabelScorer

# What a resumed run must have the same, or its rows would not fit those before.
_ROWS_DEPEND_ON = (
    *("model_revision", "template", "flash_attn", "text_column", "label_column", "normalize"),
    *("calibrate", "few_shot", "shots", "seed", "generate", "max_new_tokens", "log_likelihoods"),
    *("margin", "quantization_bit", "tokens_per_batch", "chunk_rows", "max_samples"),
    *("keep_columns", "sheet"),
)


@dataclass
class PredictionRun:
    """Writes one predictions file and its sidecar, and counts what happened to its rows."""

    output: Output
    inputs: Inputs
    scorer: Scorer
    options: PredictOptions
    recipe: Path | None
    examples: frozenset[str] = frozenset()  # texts whose labels every prompt tells
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._longest = 0
        if self.options.generate:
            if not isinstance(self.scorer, LabelScorer):
                raise CallError(
                    f"{self.scorer.loaded.adapter or self.scorer.loaded.base} is a classification "
                    "head and cannot write answers; remove generate, or name the language model."
                )
            self._longest = answer_tokens(self.scorer, self.options.max_new_tokens)

    def write(self) -> None:
        """Write the file from its first row, or from where a killed run left it."""
        path, is_file = self.output.path, not self.output.is_stream
        loaded, task = self.scorer.loaded, self.scorer.task
        settings = {  # a resumed run must have the same
            "model": loaded.base,
            "adapter": loaded.adapter,
            "model_fingerprint": fingerprint(loaded.base),
            "adapter_fingerprint": fingerprint(loaded.adapter),
            "task_fingerprint": task.fingerprint,
            "dtype": str(loaded.model.dtype).removeprefix("torch."),
            "cutoff_len": self.output.cutoff_len,
            **{name: getattr(self.options, name) for name in _ROWS_DEPEND_ON},
        }
        description = {
            **settings,
            "task": task.as_mapping(),
            "recipe": None if self.recipe is None else str(self.recipe),
            "trained_parameters": loaded.adapter_parameters,
            "model_parameters": sum(weight.numel() for weight in loaded.model.parameters()),
            "shared_prefix_tokens": self.scorer.shared_prefix_tokens,
            "readout": self.scorer.readout,
            "versions": versions(),
            "hardware": hardware(loaded.model),
        }
        overwrite = self.options.overwrite or self.options.resume
        with PredictionsWriter(path, overwrite=overwrite) as writer:
            if self.options.resume:
                self._resume(writer, settings)
            kept, started = writer.rows, time.monotonic()
            for lines in self._chunks(kept):
                if is_file and writer.rows == 0:
                    # A sidecar never lies beside the rows of another run, and these are not lost
                    # where it cannot be written.
                    begun = {**description, "complete_rows": None}
                    write_sidecar(path, begun, before_it_appears=writer.begin)
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
                "truncated": self.counts["truncated"],
                "special_tokens": self.counts["special_tokens"],
            }
            write_sidecar(path, description)
        self._report(new, seconds)

    def _resume(self, writer: PredictionsWriter, settings: dict[str, Any]) -> None:
        """Keep the rows of an earlier run, and check that they came from this input."""
        path, name, step = self.output.path, self.inputs.name, self.options.chunk_rows
        begun = read_sidecar(path)
        check_same_run(path, begun.everything if begun else {}, settings)
        resumed = inspect_output(path, largest_chunk=step)
        if resumed.rows and begun is None:
            raise CallError(
                f"{sidecar_path(path)} is not there, so what {path} was begun with is not known; "
                "start again with overwrite=true."
            )
        with path.open("rb") as file:
            for first in range(0, resumed.rows, step):
                lines = list(islice(file, min(step, resumed.rows - first)))
                rows = list(islice(self.inputs.rows, len(lines)))
                if len(rows) < len(lines):
                    raise CallError(
                        f"{path} holds {resumed.rows:,} rows and {name} only "
                        f"{first + len(rows):,}; it was written from another input: start again "
                        "with overwrite=true."
                    )
                prompts = self._encode(rows)
                for number, line in enumerate(lines):
                    written = json.loads(line)
                    wanted = {"prompt": prompts[number].prompt, "label": rows[number].label}
                    for key in (key for key in wanted if written.get(key) != wanted[key]):
                        raise CallError(
                            f"row {first + number} of {path} has another {key} than row "
                            f"{first + number} of {name}; it was written from another input, or "
                            "with other examples: start again with overwrite=true."
                        )
        writer.keep(resumed)

    def _chunks(self, done: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the lines of each chunk behind the rows that are done, until the input ends."""
        with self._progress() as advance:
            advance(done)
            for end in chunk_ends(self.options.chunk_rows):
                if end <= done:
                    continue
                rows = list(islice(self.inputs.rows, end - done))
                if rows:
                    yield self._lines(rows, done)
                    advance(len(rows))
                if len(rows) < end - done:
                    return
                done = end

    def _encode(self, rows: Sequence[InputRow]) -> list[EncodedPrompt]:
        prompts = self.scorer.encode_contents([row.content for row in rows])
        self.counts.update(
            rows=len(rows),
            truncated=sum(prompt.truncated for prompt in prompts),
            special_tokens=sum(prompt.special_tokens for prompt in prompts),
        )
        return prompts

    def _lines(self, rows: Sequence[InputRow], first: int) -> list[dict[str, Any]]:
        prompts, opening = self._encode(rows), self.inputs.task.user_content("")
        lines = []
        answers = zip(rows, prompts, *self._answers(prompts), strict=True)
        for number, (row, prompt, answer, figures) in enumerate(answers, start=first):
            line: dict[str, Any] = {"id": number, "prompt": prompt.prompt}
            if row.line is not None:
                line["line"] = row.line
            if row.kept is not None:
                line["columns"] = row.kept
            text = row.content.removeprefix(opening)
            self.counts["examples"] += text in self.examples
            # Where it cannot be told from the prompt.
            if prompt.truncated or self.options.few_shot is not None:
                line["text"] = text
            line["predict"] = answer
            if row.label is not None:
                line["label"] = row.label
            lines.append(line | figures)
        return lines

    def _answers(
        self, prompts: Sequence[EncodedPrompt]
    ) -> tuple[Sequence[str], Sequence[dict[str, Any]]]:
        """Return the answer to each prompt, and the further keys of its line."""
        if isinstance(self.scorer, LabelScorer) and self.options.generate:
            answers = generate_answers(self.scorer, prompts, max_new_tokens=self._longest)
            return answers, [{}] * len(prompts)
        scores = self.scorer.score_prompts(prompts)
        labels, probabilities, margins = scores.labels, scores.probabilities, scores.margins
        figures: list[dict[str, Any]] = []
        for row in range(len(prompts)):
            figures.append({"probabilities": numbers_by_label(labels, probabilities[row])})
            if self.options.log_likelihoods:
                figures[row]["log_likelihoods"] = numbers_by_label(labels, scores.log_scores[row])
            if self.options.margin:
                figures[row]["margin"] = rounded(margins[row])
        return scores.predictions, figures

    @contextmanager
    def _progress(self) -> Iterator[Callable[[int], None]]:
        """Show rows and time left on a terminal; nothing in a log."""
        shown = sys.stderr.isatty()
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows"),
            TaskProgressColumn(show_speed=True),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )
        most, source = self.options.max_samples, self.options.input
        if shown and source not in (None, STANDARD_STREAM):
            # Read once more, which is cheap beside a model.
            options = self.options
            opened = open_source(
                source, encoding=options.encoding, sheet=options.sheet, split_labels=False
            )
            count = sum(1 for _ in opened.records)
            most = min(count, most or count)
        name = "predict" if self.output.is_stream else self.output.path.name
        with progress:
            bar = progress.add_task(name, total=most)
            yield lambda rows: progress.advance(bar, rows)

    def _report(self, new: int, seconds: float) -> None:
        path, counts = self.output.path, self.counts
        if new == 0:
            print(f"{path}: complete already, {counts['rows']:,} rows", file=sys.stderr)
            return
        parts = [f"{path}: {counts['rows']:,} rows"]
        if counts["rows"] != new:
            parts.append(f"{new:,} of them new")
        parts.append(f"{new / seconds:,.1f} rows/s")
        if cut := counts["truncated"]:
            parts.append(f"{cut:,} texts cut at cutoff_len={self.output.cutoff_len}")
        if special := counts["special_tokens"]:
            parts.append(f"{special:,} texts hold a special token's name (kept as text)")
        if examples := counts["examples"]:
            parts.append(f"{examples:,} texts are few-shot examples: their prompts tell the answer")
        print("; ".join(parts), file=sys.stderr)
