r"""Read a file of predictions row by row: LLaMA-Factory's, vLLM's or our own.

`generated_predictions.jsonl` and the output of `scripts/vllm_infer.py` have the keys `prompt`,
`predict` and `label`; ours adds `id` and `probabilities` (label to number) and stands beside a
sidecar `<name>.meta.json`. Next comes `evaluation`, which judges the rows.

The file is read in one pass, and to find an `id` that stands twice is all that needs memory: none
where ids are 0, 1, 2, ... as `predict` writes them, a hash of each from the first other one on.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM, open_binary

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAMED_PLACES = 3
_NAMED_VALUES = 20
_NAMED_VALUE_LENGTH = 60


class Prediction(NamedTuple):
    """One row of a predictions file.

    Attributes:
        line: The line of the file, from 1.
        predict: The answer, as generated.
        label: The gold label as it stands in the file (LLaMA-Factory leaves a space before it);
            None where the row has none.
        prompt: What the model was asked, or None.
        text: The text to be classified alone, where the row has a key `text`.
        id: The row's `id` as text, or None.
        probabilities: Label to number, as read and not yet checked, or None.
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
        source: The file's name, for the places named.
        skip: Leave broken rows out rather than stop on them.
        counts: Rows of each kind; a kind is a phrase such as 'have no "predict"'.
    """

    source: str
    skip: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _lines: dict[str, list[int]] = field(default_factory=dict)
    _values: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of broken rows."""
        return self.counts.total()

    def add(self, kind: str, line: int, value: str = "") -> None:
        """Count one broken row, and the value that is wrong where there is one."""
        self.counts[kind] += 1
        lines = self._lines.setdefault(kind, [])
        if len(lines) < _NAMED_PLACES:
            lines.append(line)
        if value:
            values = self._values.setdefault(kind, Counter())
            value = value[:_NAMED_VALUE_LENGTH]
            if value in values or len(values) < _NAMED_VALUES:
                values[value] += 1

    def describe(self) -> str:
        """Say how many rows of each kind there are, where, and with which values."""
        return "; ".join(self._describe_kind(kind, count) for kind, count in self.counts.items())

    def _describe_kind(self, kind: str, count: int) -> str:
        places = ", ".join(f"{self.source}:{line}" for line in self._lines[kind])
        more = ", ..." if count > len(self._lines[kind]) else ""
        values = self._values.get(kind, Counter())
        named = ", ".join(f"{value!r} ({number:,})" for value, number in values.most_common())
        named += ", ..." if named and values.total() < count else ""
        return f"{count:,} {kind}{': ' + named if named else ''} (at {places}{more})"

    def check(self) -> None:
        """Stop when a row was broken, unless they are to be skipped.

        Raises:
            DataError: Names every kind with its count and first places.
        """
        if self.counts and not self.skip:
            raise DataError(
                f"{self.source} has rows that cannot be used: {self.describe()}. "
                "Mend the file, or leave them out (they are counted) with --skip-broken."
            )


def name_of(path: str | Path) -> str:
    """Give the name under which messages speak of a file."""
    return "standard input" if str(path) == STANDARD_STREAM else str(path)


def read_predictions(path: str | Path, broken: BrokenRows) -> Iterator[Prediction]:
    r"""Read the rows of a predictions file, one at a time.

    A line ends at `\n` alone, so that U+2028 and the like stay inside the answers they stand in.
    Empty lines are passed over. gzip files, standard input (`-`), a byte-order mark and `\r\n`
    are all read.

    Args:
        path: The file, or `-`.
        broken: Where rows that cannot be used are counted; they are not yielded.

    Raises:
        CallError: The file is not there, is a directory or may not be read.
        DataError: The file is one JSON list, or a gzip file that is broken or cut off.
    """
    decode = json.JSONDecoder().raw_decode
    seen = _SeenIds()
    number = 0
    try:
        with open_binary(path) as binary:
            for number, line in enumerate(binary, start=1):
                content = line.strip()
                if number == 1:
                    content = content.removeprefix(_BYTE_ORDER_MARK).lstrip()
                    _refuse_list(content, broken.source)
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
                prediction = _prediction(row, number, broken, seen)
                if prediction is not None:
                    yield prediction
    except OSError as error:
        raise DataError(f"{broken.source}:{number + 1} cannot be read ({error}).") from error


def _refuse_list(content: bytes, source: str) -> None:
    if content.startswith(b"["):
        raise DataError(
            f"{source} is a JSON list; a predictions file is JSON Lines: one object a line."
        )


def _why_unreadable(error: Exception, line: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "are not UTF-8 text"
    if not line.endswith(b"\n"):
        return "are cut off (was the run that wrote them killed?)"
    return "are not JSON"


class _SeenIds:
    """The ids read so far: a counter while they run 0, 1, 2, ..., then hashes of all others."""

    def __init__(self) -> None:
        self._run = 0
        self._others: set[int] = set()

    def add(self, identity: str) -> bool:
        """Take an id; give False where it was taken before."""
        if not self._others and identity == str(self._run):
            self._run += 1
            return True
        key = hash(identity)
        if key in self._others or self._is_in_run(identity):
            return False
        self._others.add(key)
        return True

    def _is_in_run(self, identity: str) -> bool:
        # Python refuses to read numbers of thousands of digits.
        is_short = len(identity) <= len(str(self._run))
        if not (is_short and identity.isascii() and identity.isdigit()):
            return False
        number = int(identity)
        return number < self._run and identity == str(number)


def _prediction(
    row: dict[str, Any], line: int, broken: BrokenRows, seen: _SeenIds
) -> Prediction | None:
    predict = row.get("predict")
    if type(predict) is not str:
        have = "predict" in row
        broken.add('have a "predict" that is not text' if have else 'have no "predict"', line)
        return None
    identity = row.get("id")
    if identity is not None:
        identity = _identity(identity, line, broken, seen)
        if identity is None:
            return None
    prompt = row.get("prompt")
    text = row.get("text")
    label = row.get("label")
    if label is not None and type(label) not in (str, int, float):
        broken.add('have a "label" that is neither text nor a number', line)
        return None
    return Prediction(
        line,
        predict,
        label,
        prompt if type(prompt) is str else None,
        text if type(text) is str else None,
        identity,
        row.get("probabilities"),
    )


def _identity(value: object, line: int, broken: BrokenRows, seen: _SeenIds) -> str | None:
    if type(value) is not str and type(value) is not int:
        broken.add('have an "id" that is neither text nor a whole number', line)
        return None
    identity = str(value)
    if not seen.add(identity):
        broken.add('repeat an "id"', line, identity)
        return None
    return identity
