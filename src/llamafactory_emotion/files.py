"""Open text for reading and write files whole or not at all.

Every module that touches a file goes through here, so that encodings, gzip, standard input,
overwriting and half-written outputs are handled in one way.
"""

import contextlib
import gzip
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from llamafactory_emotion.errors import CallError, DataError, EmotionError

STANDARD_STREAM = "-"
_GZIP_MAGIC = b"\x1f\x8b"


@contextlib.contextmanager
def open_binary(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file, a gzip file (known by its first bytes) or standard input (`-`) for reading.

    Raises:
        CallError: The path is not there, is a directory, or may not be read.
        DataError: A gzip file is broken or cut off.
    """
    if str(path) == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    with _open_file(Path(path)) as raw:
        try:
            if raw.peek(2)[:2] == _GZIP_MAGIC:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast("BinaryIO", unpacked)
            else:
                yield raw
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(f"{path} is a broken gzip file ({error}).") from error


def _open_file(path: Path) -> io.BufferedReader:
    try:
        if path.is_dir():
            raise CallError(f"{path} is a directory; name a file in it.")
        return path.open("rb")
    except FileNotFoundError:
        raise CallError(f"{path} is not there; check the path.") from None
    except OSError as error:
        raise CallError(f"{path} cannot be read ({error.strerror}).") from error


@contextlib.contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    r"""Open UTF-8 text (with or without a byte-order mark) like `open_binary`.

    Line ends are left as they are: what counts as a line (`\n` alone in JSON Lines) is the
    reader's business.

    Raises:
        CallError: The path is not there, is a directory, or may not be read.
        DataError: The bytes read are not UTF-8, or a gzip file is broken.
    """
    with open_binary(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        try:
            yield text
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not UTF-8 text (byte 0x{error.object[error.start]:02x}); "
                "save it as UTF-8."
            ) from error
        finally:
            if str(path) == STANDARD_STREAM:
                text.detach()


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that exists (unless `overwrite`) or whose place cannot hold a file.

    Raises:
        CallError: Says which of the two, and what to do.
    """
    if path.is_dir():
        raise CallError(f"{path} is a directory; name a file to write.")
    if path.exists() and not path.is_file():
        raise CallError(f"{path} is no regular file; name a file to write.")
    if path.exists() and not overwrite:
        raise CallError(f"{path} exists; name another file or allow overwriting.")
    check_parents(path)


def nearest_there(path: Path) -> Path:
    """Give a path, or the nearest place above it that is there."""
    path = path.absolute()
    # Not `Path.exists`, which raises for a name that is too long.
    there = (place for place in (path, *path.parents) if os.path.exists(place))  # noqa: PTH110
    return next(there, Path(path.anchor))


def check_parents(path: Path) -> None:
    """Refuse a place below a file.

    Raises:
        CallError: Names the file.
    """
    standing = nearest_there(path.absolute().parent)
    if not standing.is_dir():
        raise CallError(f"{standing} is a file and cannot hold {path}; name another place.")


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Keep other runs from an open file or folder until it is closed.

    Where it cannot be locked (Windows, some network drives) nothing is done.

    Args:
        descriptor: Of the file or folder.
        wait: Wait until another run has closed it.

    Returns:
        False where another run holds it.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def real_place(path: str | Path) -> Path:
    """Give where a path leads through all links; links in a circle lead to themselves."""
    return Path(os.path.realpath(path))


def is_one_of(path: Path, others: Iterable[str | Path | None]) -> bool:
    """Say whether a path leads to the same place as one of others; None is passed over."""
    return real_place(path) in {real_place(other) for other in others if other is not None}


@contextlib.contextmanager
def write_whole(path: str | Path, *, overwrite: bool = False) -> Iterator[TextIO]:
    r"""Write a UTF-8 text file that appears only when it is complete.

    Like `write_whole_binary`; lines end in `\n` on every system.

    Raises:
        CallError: The file exists and `overwrite` is false, or `path` is a directory.
        EmotionError: The disk is full or the folder may not be written.
    """
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

    The bytes go to a temporary file beside `path` and are moved into place at the end; when
    the body raises, the temporary file is removed and what stood at `path` is untouched.

    Raises:
        CallError: The file exists and `overwrite` is false, or `path` is a directory.
        EmotionError: The disk is full or the folder may not be written.
    """
    check_output(Path(path), overwrite=overwrite)
    # A link stays a link: what it points to is replaced.
    path = real_place(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as binary:
            yield binary
        temporary.chmod(_usual_mode(path))
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise EmotionError(f"{path} cannot be written ({error.strerror or error}).") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def write_whole_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder that is moved to `path` when the body is done.

    It stands beside `path`. When the body raises it is removed, and what stood at `path` is
    untouched.

    Raises:
        CallError: `path` is a file, or a folder that holds something and `overwrite` is false.
        EmotionError: The disk is full or the folder may not be written.
    """
    check_output_folder(Path(path), overwrite=overwrite)
    path = real_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            built = Path(temporary) / "new"
            built.mkdir()
            yield built
            if path.exists():
                path.replace(Path(temporary) / "old")
            built.replace(path)
    except OSError as error:
        raise EmotionError(f"{path} cannot be written ({error.strerror or error}).") from error
    except Exception as error:
        # tokenizers and safetensors put what the system said into exceptions of their own.
        if "(os error " not in str(error):
            raise
        raise EmotionError(f"{path} cannot be written ({error}).") from error


def check_output_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder to write that is a file, or holds something (unless `overwrite`).

    Raises:
        CallError: Says which of the two, and what to do.
    """
    if path.exists() and not path.is_dir():
        raise CallError(f"{path} is a file; name a folder to write.")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise CallError(f"{path} exists and holds files; name another or allow overwriting.")
    check_parents(path)


def _usual_mode(path: Path) -> int:
    """Give the mode a plain `open` would leave: `mkstemp` makes files private."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
