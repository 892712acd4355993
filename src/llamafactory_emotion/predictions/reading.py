r"""Read a file of predictions row by row: LLaMA-Factory's, vLLM's, other tools' or our own.

`generated_predictions.jsonl` and the output of `scripts/vllm_infer.py` have the keys `prompt`,
`predict` and `label`; ours adds `id` and `probabilities` (label to number). Rows of other tools are
brought to these keys by `formats`; tables (CSV, TSV, Parquet) are read by `data`.

The file is read in one pass. Only finding an `id` that occurs twice needs memory: none where ids
are 0, 1, 2, ... as `predict` writes them, a hash of each from the first other one on.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM, check_text, open_binary
from llamafactory_emotion.predictions.formats import BY_KEYS, Columns, as_ours
from llamafactory_emotion.text import shorten

# As LLaMA-Factory and `predict` name the file, and `train_head`.
WRITTEN = ("generated_predictions.jsonl", "test_predictions.jsonl")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAMED_LINES = 3
_NAMED_VALUES = 20


class Prediction(NamedTuple):
    """One row of a predictions file.

    Attributes:
        line: The line of the file, from 1.
        predict: The answer, as generated.
        label: The gold label as it is in the file: LLaMA-Factory leaves a space before it.
        prompt: What the model was asked.
        text: The text to be classified alone, where the row has a key `text`.
        probabilities: Label to number, as read and not yet checked.
    """

    line: int
    predict: str
    label: str | int | float | None
    prompt: str | None
    text: str | None
    id: str | None
    probabilities: object


@dataclass
class BrokenRows:
    """The rows of one file that cannot be used: counted by kind, the first few named.

    Attributes:
        source: The file's name.
        skip: Leave broken rows out rather than stop on them.
        counts: Rows of each kind; a kind is a phrase such as 'have no "predict"'.
        label_kind: The kind whose values are labels outside the task, once there is one.
    """

    source: str
    skip: bool = False
    label_kind: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    _lines: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _values: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def total(self) -> int:
        """The number of broken rows."""
        return self.counts.total()

    def add(self, kind: str, line: int, value: str = "") -> None:
        """Count one broken row, and the value that is wrong where there is one."""
        self.counts[kind] += 1
        if len(self._lines[kind]) < _NAMED_LINES:
            self._lines[kind].append(line)
        values, value = self._values[kind], shorten(value)
        if value and (value in values or len(values) < _NAMED_VALUES):
            values[value] += 1

    def describe(self) -> str:
        """Say how many rows of each kind there are, where, and with which values."""
        return "; ".join(self._describe(kind, count) for kind, count in self.counts.items())

    def _describe(self, kind: str, count: int) -> str:
        lines = [f"{self.source}:{line}" for line in self._lines[kind]]
        lines += ["..."] * (count > len(lines))
        values = self._values[kind]
        named = [f"{value!r} ({number:,})" for value, number in values.most_common()]
        named += ["..."] * (0 < values.total() < count)
        said = f": {', '.join(named)}" if named else ""
        return f"{count:,} {kind}{said} (at {', '.join(lines)})"

    def check(self, *, accepted: bool) -> None:
        """Stop when a row was broken, unless they are to be skipped; `accepted`: others are sound.

        Raises:
            DataError: Names every kind with its count and first lines.
        """
        if self.counts and not self.skip:
            offer = "" if accepted else self._labels()
            raise DataError(
                f"{self.source} has rows that cannot be used: {self.describe()}. {offer}Mend the "
                "file, or leave them out (they are counted) with skip_broken=true."
            )

    def _labels(self) -> str:
        """Offer the labels outside the task as a task, ready to write, where they can be one."""
        values = self._values[self.label_kind]
        whole = len(values) > 1 and values.total() == self.counts[self.label_kind]
        if not whole or any(mark in value for value in values for mark in ',"…'):
            return ""
        return f'If these are the labels, write labels="{", ".join(sorted(values))}". '


def name_of(path: str | Path) -> str:
    """Return the name of a file in messages."""
    return "standard input" if str(path) == STANDARD_STREAM else str(path)


def read_predictions(
    path: str | Path, broken: BrokenRows, columns: Columns = BY_KEYS
) -> Iterator[Prediction]:
    r"""Read the rows of a predictions file, one at a time.

    A line ends at `\n` alone, so that U+2028 and the like stay inside the answers they are in.
    Empty lines are passed over. gzip files, standard input (`-`), a byte-order mark and `\r\n`
    are all read.

    Args:
        path: The file, or `-`.
        broken: Counts rows that cannot be used; they are not yielded.
        columns: The keys of answer and gold label, where a call names them.

    Raises:
        CallError: The file does not exist, is a directory or may not be read.
        DataError: The file is one JSON list, or a gzip file that is broken or cut off.
    """
    decode = json.JSONDecoder().raw_decode
    seen = SeenIds()
    number = 0
    try:
        with open_binary(path) as binary:
            for number, line in enumerate(binary, start=1):
                content = line.strip()
                if number == 1:
                    check_text(broken.source, content)
                    content = content.removeprefix(_BYTE_ORDER_MARK).lstrip()
                    if content.startswith(b"["):
                        raise DataError(
                            f"{broken.source} is a JSON list; write it as JSON Lines, one object a "
                            "line."
                        )
                if not content:
                    continue
                try:
                    text = content.decode()
                    row, end = decode(text)
                except (ValueError, RecursionError) as error:
                    broken.add(_why_unreadable(error, line), number)
                    continue
                if end != len(text) or type(row) is not dict:
                    broken.add("are not one JSON object", number)
                    continue
                prediction = as_prediction(row, number, broken, seen, columns)
                if prediction is not None:
                    yield prediction
    except OSError as error:
        raise DataError(
            f"{broken.source}:{number + 1} cannot be read ({error}); check the file and its disk."
        ) from error


def _why_unreadable(error: Exception, line: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "are not UTF-8 text"
    if isinstance(error, RecursionError):
        return "are nested too deeply"
    if not line.endswith(b"\n"):
        return "are cut off (was the run that wrote them killed?)"
    return "are not JSON"


def as_prediction(
    row: dict[str, Any], line: int, broken: BrokenRows, seen: "SeenIds", columns: Columns
) -> Prediction | None:
    """Return a row as a prediction; None where it cannot be used, which `broken` counts."""
    given = row
    if columns != BY_KEYS or type(row.get("predict")) is not str:
        row = as_ours(row, columns)
    predict, label, identity = row.get("predict"), row.get("label"), row.get("id")
    if type(predict) is not str:
        if type(row.get("failed")) is str:
            broken.add("are failed requests of a batch; send them again", line, row["failed"])
        else:
            broken.add(_no_answer(row, columns), line, ", ".join(map(repr, given)))
        return None
    if identity is not None:
        if type(identity) is not str and type(identity) is not int:
            broken.add('have an "id" that is neither text nor a whole number', line)
            return None
        identity = str(identity)
        if not seen.add(identity):
            broken.add('repeat an "id"', line, identity)
            return None
    if label is not None and type(label) not in (str, int, float, bool):
        broken.add(
            'have a "label" that is a list or an object, not text or a number', line, _listed(label)
        )
        return None
    prompt, text = row.get("prompt"), row.get("text")
    return Prediction(
        line,
        predict,
        label,
        prompt if type(prompt) is str else None,
        text if type(text) is str else None,
        identity,
        row.get("probabilities"),
    )


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _no_answer(row: dict[str, Any], columns: Columns) -> str:
    if "predict" in row:
        return 'have a "predict" that is not text'
    wanted = repr(columns.prediction) if columns.prediction else '"predict"'
    return f"have no {wanted} (name the key of the answers with prediction_column=); they have keys"


class SeenIds:
    """The ids read so far: a counter while they run 0, 1, 2, ..., then hashes of all others."""

    def __init__(self) -> None:
        self._run = 0
        self._others: set[int] = set()

    def add(self, identity: str) -> bool:
        """Take an id; return False where it was taken before."""
        if not self._others and identity == str(self._run):
            self._run += 1
            return True
        # Python refuses to convert numbers of thousands of digits.
        number = int(identity) if len(identity) < 20 and identity.isdecimal() else self._run
        in_run = number < self._run and identity == str(number)
        key = hash(identity)
        if in_run or key in self._others:
            return False
        self._others.add(key)
        return True
