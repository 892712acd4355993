"""Open files for reading, and write files and folders whole or not at all."""

import contextlib
import gzip
import io
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from llamafactory_emotion.errors import CallError, DataError, EmotionError

STANDARD_STREAM = "-"
_GZIP_MAGIC = b"\x1f\x8b"
_MAGIC = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; unpack it, or save it as CSV or .xlsx",
    b"\xd0\xcf\x11\xe0": "an old or encrypted Excel workbook; save its sheet as CSV",
    b"PAR1\x15": "a Parquet file; name it .parquet",
    b"ARROW1\0\0": "an Arrow file; name it .arrow",
    b"BZh91AY": "packed with bzip2; unpack it or pack it with gzip",
    b"\xfd7zXZ\0": "packed with xz; unpack it or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it or pack it with gzip",
}
# A run writes its temporary files more often than that.
_LIVING_SECONDS = 3600.0


@contextlib.contextmanager
def open_binary(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file, a gzip file (known by its first bytes) or standard input (`-`) for reading.

    Raises:
        CallError: The path is not there, is a directory or a pipe, or may not be read.
        DataError: A gzip file is broken or cut off.
    """
    if str(path) == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    # What a shell makes of `<(...)` is a pipe with a writer; any other may wait for ever.
    if Path(path).is_fifo() and not str(path).startswith(("/dev/", "/proc/")):
        raise CallError(f"{path} is a pipe; name a file, or - and pipe into the command.")
    try:
        raw = Path(path).open("rb")  # noqa: SIM115 - an error while reading is another thing
    except FileNotFoundError:
        is_address = re.match(r"\w{2,}:/", str(path))
        remedy = "download it and name the file" if is_address else "check the path"
        raise CallError(f"{path} is not there; {remedy}.") from None
    except IsADirectoryError:
        raise CallError(f"{path} is a directory; name a file in it.") from None
    except OSError as error:
        raise CallError(f"{path} cannot be read ({error.strerror}); check its rights.") from error
    with raw:
        packed = raw.peek(2)[:2] == _GZIP_MAGIC
        try:
            yield cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(f"{path} is a broken gzip file ({error}); write it again.") from error


@contextlib.contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """Open UTF-8 text like `open_binary`; line ends are kept, a byte-order mark is dropped."""
    with open_binary(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        try:
            yield text
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise DataError(
                f"{path} is not UTF-8 text (byte 0x{byte:02x}); save it as UTF-8."
            ) from error
        finally:
            if str(path) == STANDARD_STREAM:
                text.detach()


def check_text(path: str | Path, first: bytes) -> None:
    """Raise a DataError for a file whose first bytes are those of another kind than text."""
    for magic, kind in _MAGIC.items():
        if first.startswith(magic):
            raise DataError(f"{path} is {kind}.")


def check_apart(outputs: Iterable[str | Path], inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise a CallError for an output that the command reads too or writes twice, links resolved.

    An output may be a folder: no input may be inside, nor be linked from there. Inputs that are
    None or `-` are passed over.
    """
    read = {
        real_path(one): one for one in inputs if one is not None and str(one) != STANDARD_STREAM
    }
    written: set[Path] = set()
    for output in outputs:
        real = real_path(output)
        if real in read:
            raise CallError(f"{output} is an input and would be overwritten; name another output.")
        linked = {real_path(one) for one in real.iterdir()} if real.is_dir() else set()
        if inside := [
            named for one, named in read.items() if one.is_relative_to(real) or one in linked
        ]:
            raise CallError(
                f"{inside[0]} in {output} is an input and would be overwritten; name another "
                "folder."
            )
        if real in written:
            raise CallError(f"{output} would be written twice; name another file.")
        written.add(real)


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise a CallError for a file that exists (unless `overwrite`) or that cannot be written."""
    if str(path) == STANDARD_STREAM:
        raise CallError("- is standard output, which this key does not write to; name a file.")
    if path.exists() and not path.is_file():
        kind = "a directory" if path.is_dir() else "no regular file"
        raise CallError(f"{path} is {kind}; name a file to write.")
    if path.exists() and not overwrite:
        raise CallError(f"{path} exists; name another file, or replace it with overwrite=true.")
    check_parents(path)


def check_output_folder(path: Path, *, overwrite: bool) -> None:
    """Raise a CallError for a folder that holds files (unless `overwrite`) or cannot be written."""
    if path.exists() and not path.is_dir():
        raise CallError(f"{path} is a file; name a folder to write.")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise CallError(
            f"{path} exists and holds files; name another, or replace it with overwrite=true."
        )
    check_parents(path)


def check_parents(path: Path) -> None:
    """Raise a CallError for a path below a file."""
    parent = nearest_there(path.absolute().parent)
    if not parent.is_dir():
        raise CallError(f"{parent} is a file and cannot hold {path}; name another path.")


def nearest_there(path: Path) -> Path:
    """Return a path, or the nearest of its parents that exists."""
    path = path.absolute()
    # Not `Path.exists`, which raises for a name that is too long.
    there = (one for one in (path, *path.parents) if os.path.exists(one))  # noqa: PTH110
    return next(there, Path(path.anchor))


def real_path(path: str | Path) -> Path:
    """Resolve symlinks; one that leads to itself stays."""
    return Path(os.path.realpath(path))


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed; return False where another run holds it.

    Does nothing where there are no locks (Windows, some network drives).
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True


@contextlib.contextmanager
def write_whole(path: str | Path, *, overwrite: bool = False) -> Iterator[TextIO]:
    r"""Write a UTF-8 text file like `write_whole_binary`; lines end in `\n` on every system."""
    with write_whole_binary(path, overwrite=overwrite) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="\n")
        try:
            yield text
        finally:
            text.detach()


def write_json(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a JSON text to a file, or print it where the path is `-`."""
    if str(path) == STANDARD_STREAM:
        print(text)
        return
    with write_whole(path, overwrite=overwrite) as out:
        out.write(text + "\n")


@contextlib.contextmanager
def write_whole_binary(path: str | Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Write a file that appears only when it is complete.

    The bytes go to a temporary file beside `path` that is renamed at the end. When the body raises,
    it is removed and what was at `path` is untouched. A link stays a link.

    Raises:
        CallError: The file exists and `overwrite` is false, or `path` is a directory.
        EmotionError: The disk is full or the folder may not be written.
    """
    check_output(Path(path), overwrite=overwrite)
    path = real_path(path)
    _remove_left_over(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = _Output(temporary, path)
    try:
        with io.BufferedWriter(raw) as binary:
            yield binary
        with _writing(path):
            if overwrite and path.exists():
                shutil.copymode(path, temporary)
            _move(temporary, path, overwrite=overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def _move(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename, unless another run has written the path since it was free and is to stay."""
    if not overwrite:
        try:
            # A link is made only where nothing is; a rename replaces what is there.
            os.link(temporary, path)
        except OSError:  # something is there, or no links are to be had on this file system
            check_output(path, overwrite=overwrite)
        else:
            return
    temporary.replace(path)


def _remove_left_over(path: Path) -> None:
    """Remove what runs that were killed have left beside a path; a living one writes on."""
    is_ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    for one in [one for one in beside if is_ours.fullmatch(one.name)]:
        with contextlib.suppress(OSError):
            written = max(part.stat().st_mtime for part in (one, *one.rglob("*")))
            if time.time() - written > _LIVING_SECONDS:
                shutil.rmtree(one) if one.is_dir() else one.unlink()


@contextlib.contextmanager
def write_whole_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a temporary folder beside `path` that is renamed to it at the end.

    When the body or the renaming fails, what was at `path` is still there. Raises as
    `write_whole_binary`, for a folder that holds something.
    """
    check_output_folder(Path(path), overwrite=overwrite)
    path = real_path(path)
    _remove_left_over(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    new, old = temporary / "new", temporary / "old"
    try:
        with _writing(path, inside=temporary):
            new.mkdir()
            yield new
        with _writing(path):
            check_output_folder(path, overwrite=overwrite)  # another run may have filled it
            if path.exists():
                path.replace(old)
            new.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if not path.exists() and old.exists():
            old.replace(path)
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _writing(path: Path, *, inside: Path | None = None) -> Iterator[None]:
    """Report an error of the system as `path`'s; with `inside`, only one about a file in there."""
    try:
        yield
    except OSError as error:
        about = error.filename
        if inside and not (isinstance(about, str) and Path(about).is_relative_to(inside)):
            raise
        reason = error.strerror or error
        raise EmotionError(
            f"{path} cannot be written ({reason}); make room or name another path."
        ) from error


class _Output(io.FileIO):
    """A temporary file that reports a full disk as its output's, and leaves all else alone."""

    def __init__(self, temporary: Path, output: Path) -> None:
        super().__init__(str(temporary), "x")
        self._output = output

    def write(self, data: Any, /) -> int:
        with _writing(self._output):
            return super().write(data)
