"""Lines of a text file, whatever its encoding; all text formats are read through here.

What a byte-order mark or `encoding=` says holds; else a file is UTF-8, or what charset-normalizer
finds to be the only encoding in which it reads as a language.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import check_text, open_binary

Lines = Iterator[tuple[int, str]]

_CHUNK_BYTES = 2**20
_LINES_JUDGED = 500
_WIDE = ("utf-16", "utf-32")  # a line end is more than one byte there


def read_lines(path: str | Path, encoding: str | None = None) -> Lines:
    r"""Yield number and text of every line; only `\n` ends one, as JSON Lines has it.

    Raises:
        CallError: The file is not there, or Python does not know the encoding.
        DataError: The file is no text, or not in this encoding, or its encoding is not certain.
    """
    _check_known(encoding)
    with open_binary(path) as binary:
        first = binary.readline()
        check_text(path, first)
        # The zero bytes beside ASCII tell, too: JSON's rule (RFC 4627), and headers are ASCII.
        encoding = (encoding or json.detect_encoding(first[:4])).lower().replace("_", "-")
        if not encoding.startswith(_WIDE):
            known = None if encoding.startswith("utf-8") else encoding
            yield from _narrow_lines(path, chain([first] if first else [], binary), known)
            return
        try:
            chunks = chain([first], iter(partial(binary.read, _CHUNK_BYTES), b""))
            yield from enumerate(_wide_lines(chunks, encoding), start=1)
        except UnicodeError as error:
            reason = getattr(error, "reason", error)  # a missing byte-order mark has none
            raise DataError(
                f"{path}: not {encoding} text ({reason}); save it again, or name another encoding."
            ) from error


def _check_known(encoding: str | None) -> None:
    try:
        b"a".decode(encoding or "utf-8")
    except UnicodeDecodeError:
        pass  # one letter is no UTF-16
    except (LookupError, ValueError):
        raise CallError(
            f"encoding={encoding} is no text encoding that Python knows; write for example "
            "gb18030, big5, cp1252, utf-16."
        ) from None


def _wide_lines(chunks: Iterable[bytes], encoding: str) -> Iterator[str]:
    rest = ""
    for text in codecs.iterdecode(chunks, encoding):
        *lines, rest = (rest + text).split("\n")
        yield from (line.removeprefix("\ufeff") + "\n" for line in lines)
    if rest:
        yield rest


def _narrow_lines(
    path: str | Path, binary: Iterator[bytes], encoding: str | None, start: int = 1
) -> Lines:
    """Decode line by line: no character of these encodings holds the byte of a line end."""
    codec = encoding or "utf-8"
    is_ascii = True
    for number, raw in enumerate(binary, start=start):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 and not encoding else codec)
        except UnicodeDecodeError as error:
            fault = f"{path}:{number}: not {codec.upper()} text (byte 0x{raw[error.start]:02x}"
            if encoding:
                raise DataError(f"{fault}); mend the line, or name another encoding.") from error
            if not is_ascii:
                raise DataError(
                    f"{fault}), and lines before it are; mend the line, or name the file's "
                    "encoding with encoding=NAME."
                ) from error
            head = [raw, *islice(binary, _LINES_JUDGED)]
            yield from _narrow_lines(path, chain(head, binary), _detected(head, fault), number)
            return
        is_ascii = is_ascii and raw.isascii()


def _detected(head: list[bytes], fault: str) -> str:
    """Return the encoding of lines that are not UTF-8, if only one makes a language of them."""
    from charset_normalizer import from_bytes

    matches = list(from_bytes(b"".join(head)[:_CHUNK_BYTES]))
    readable = [match.encoding for match in matches if match.coherence > 0]
    if len(readable) == 1 and readable[0] == matches[0].encoding:
        return readable[0]
    guesses = ", ".join(match.encoding for match in matches[:4])
    guessed = f"; it may be {guesses}" if guesses else ""
    raise DataError(
        f"{fault}){guessed}. Name its encoding, for example encoding=gb18030 (Chinese) or "
        "encoding=cp1252 (Western Europe), or save it as UTF-8."
    )
