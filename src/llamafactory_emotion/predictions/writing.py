"""Write a predictions file chunk by chunk, so that a killed run can go on where it stopped.

Chunks end at the same row numbers in every run: a run that is resumed goes on at the end of a
chunk, batches fall as they would have, and the file is the same to the byte.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.files import STANDARD_STREAM, check_output, lock, real_path
from llamafactory_emotion.predictions.sidecar import read_sidecar

FIRST_CHUNK, LARGEST_CHUNK = 64, 1024
_FIRST_BYTES = b'{"id": 0, "prompt": "'
_SIGNIFICANT_DIGITS = 7
_OTHERWISE = "name another output, or start again with overwrite=true."


def chunk_ends(largest: int = LARGEST_CHUNK) -> Iterator[int]:
    """Yield the row numbers at which chunks end: small ones first, so that a start is seen soon."""
    size, end = min(FIRST_CHUNK, largest), 0
    while True:
        end += size
        yield end
        size = min(size * 2, largest)


def numbers_by_label(labels: Sequence[str], numbers: Iterable[float]) -> dict[str, float]:
    """Return label to number, as a line of the file holds them."""
    return {label: rounded(number) for label, number in zip(labels, numbers, strict=True)}


def rounded(number: float) -> float:
    """Keep significant digits, not decimals: a small probability must not become 0."""
    return float(f"{number:.{_SIGNIFICANT_DIGITS}g}")


@dataclass(frozen=True)
class Resumed:
    """The rows of a file that a resumed run keeps, and the bytes they take.

    They end at the end of a chunk, unless the run was complete.
    """

    rows: int = 0
    size: int = 0


def inspect_output(path: Path, *, largest_chunk: int = LARGEST_CHUNK) -> Resumed:
    """Find out how much of a predictions file a resumed run can keep.

    Raises:
        CallError: The path is a directory.
        DataError: The file is not ours: a line is no row, or rows are not numbered from 0 on.
    """
    check_output(path, overwrite=True)
    if not path.exists():
        return Resumed()
    ends = chunk_ends(largest_chunk)
    end, rows, size, kept = next(ends), 0, 0, Resumed()
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                if rows == 0 and line[: len(_FIRST_BYTES)] != _FIRST_BYTES[: len(line)]:
                    raise DataError(f"{path} is not what predict wrote; {_OTHERWISE}")
                break
            _check_row(path, line, rows)
            size += len(line)
            rows += 1
            if rows == end:
                kept = Resumed(rows, size)
                end = next(ends)
    sidecar = read_sidecar(path)
    return Resumed(rows, size) if sidecar and sidecar.complete_rows == rows else kept


def _check_row(path: Path, line: bytes, number: int) -> None:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or row.get("id") != number or "prompt" not in row:
        raise DataError(
            f"{path}:{number + 1} is not the row {number} that predict wrote; {_OTHERWISE}"
        )


class PredictionsWriter(AbstractContextManager["PredictionsWriter"]):
    """Append whole chunks of rows to a predictions file or to standard output.

    What is in the file, and is not kept, stays until the first rows are written: a run that fails
    before leaves everything as it was. No other run can write the file in the meantime (where the
    system has locks).

    Args:
        path: The file; `-` is standard output.
        overwrite: Replace a file that exists, or go on with what `keep` is told of it.

    Raises:
        CallError: The file exists and `overwrite` was not given, or another run is writing it.
        EmotionError: The folder cannot be written.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.rows = self._size = 0
        self._file: FileIO | None = None
        self._begun = False
        if str(path) == STANDARD_STREAM:
            return
        self._target = real_path(path)
        check_output(Path(path), overwrite=overwrite)
        with self._errors():
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._is_new = not self._target.exists()
            # Unbuffered: what could not be written must not be tried again at closing.
            self._file = self._target.open("ab", buffering=0)
        if not lock(self._file.fileno()):
            self._file.close()
            raise CallError(f"{path} is being written by another run; name another output.")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the file; a chunk that was not written whole is cut off."""
        if self._file is None:
            return
        if self._begun or kind is None:
            self.begin()
        if os.name == "nt":  # which removes no open file
            self._file.close()
        if kind is not None and self._is_new and self._size == 0:
            self._target.unlink(missing_ok=True)
        self._file.close()

    def keep(self, resumed: Resumed) -> None:
        """Go on behind the rows of an earlier run, before anything is written."""
        self.rows, self._size = resumed.rows, resumed.size

    def begin(self) -> None:
        """Cut off what follows the rows kept; `write` does so before its first rows."""
        if self._file is not None:
            os.truncate(self._file.fileno(), self._size)
        self._begun = True

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows and hand them to the system, all of them or none.

        Raises:
            EmotionError: The disk is full or gone; what was written before stays valid.
        """
        chunk = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        if self._file is None:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        else:
            with self._errors():
                if not self._begun:
                    self.begin()
                remaining = memoryview(chunk)
                while remaining:
                    remaining = remaining[self._file.write(remaining) :]
        self._size += len(chunk)
        self.rows += len(rows)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the system says about a write into one sentence."""
        try:
            yield
        except OSError as error:
            whole = (
                f"its first {self.rows:,} rows are whole: make room and go on with resume=true"
                if self.rows
                else "make room, or name another output"
            )
            raise EmotionError(
                f"{self.path} cannot be written ({error.strerror or error}); {whole}."
            ) from error
