r"""Search a folded text for whole words: what a whole word is, in any script.

Stands below `vocabulary`, which knows the words. A word found is not part of a longer one:

- letters and digits on either side make a longer word (`joyless`, `joy2`), and so do letters
  joined by one hyphen or underscore (`joy-filled`, `label_joy`); an apostrophe does not (`joy's`);
- a number inside a longer number does not count (`4` in `4.5` or `-4`);
- Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces: there a name counts
  as a substring, and such characters never make a word of another script longer (`答案是joy。`).

Where names overlap, the one that starts first counts, and of those the longest
(`very positive` over `positive`).
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable

WORD_CHARACTER = re.compile(r"[^\W_]")
# Ranges of the scripts without spaces between words, for a set in a pattern.
WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_SPACED = rf"[^\W_{WITHOUT_SPACES}]"


class WordSearch:
    """A search for any of several names as a whole word.

    The alternatives are bundled by their first character, which stands in front of its guards:
    the engine then skips ahead to the next character that can start one.

    Args:
        entries: Name, pattern of what follows its first character, and what it means.

    Attributes:
        meanings: What they mean, in the order of the groups of `pattern`.
    """

    def __init__(self, entries: Iterable[tuple[str, str, str]]) -> None:
        self._bundles: dict[str, list[tuple[str, str]]] = {}
        for text, pattern, meaning in sorted(entries, key=lambda entry: -len(entry[0])):
            self._bundles.setdefault(text[0], []).append((pattern, meaning))
        self.meanings = [meaning for bundle in self._bundles.values() for _, meaning in bundle]

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the next of them; the match's `lastindex`, from 1, says which.

        Compiled when it is first needed: most files hold nothing but plain labels.
        """
        alternatives = (
            re.escape(first) + _guard_before(first) + f"(?:{'|'.join(f'{p}()' for p, _ in bundle)})"
            for first, bundle in self._bundles.items()
        )
        return re.compile(f"(?:{'|'.join(alternatives) or '(?!)'}){_guard_after()}")


def name_search(names: dict[str, str]) -> WordSearch:
    """Make a search for folded names, given with what each means."""
    return WordSearch((name, _name_pattern(name), meaning) for name, meaning in names.items())


def _name_pattern(name: str) -> str:
    """Write what follows a name's first character; it may be wrapped, and spaced at its signs."""
    pieces = name.split()
    body = _literal(pieces[0][1:])
    for left, right in itertools.pairwise(pieces):
        words = WORD_CHARACTER.match(left[-1]) and WORD_CHARACTER.match(right[0])
        body += (r"\s+" if words else r"\s*") + _literal(right)
    return body


def _literal(piece: str) -> str:
    r"""Quote a piece for a pattern; Markdown may have put a backslash before each sign (`\_`)."""
    return "".join(
        re.escape(character) if character.isalnum() else r"\\?" + re.escape(character)
        for character in piece
    )


def _guard_before(first: str) -> str:
    """Write what may not stand before a name, as seen from behind its first character."""
    quoted = re.escape(first)
    if first in "+-":
        return rf"(?!(?<={_SPACED}{quoted})\d)"
    if not re.match(_SPACED, first):
        return ""
    guard = rf"(?<!{_SPACED}{quoted})(?<!{_SPACED}[-_]{quoted})(?<![{_combining_marks()}]{quoted})"
    return guard + (rf"(?<!-{quoted})(?<!\d[.,]{quoted})" if first.isdecimal() else "")


@functools.cache
def _guard_after() -> str:
    """Write what may not stand after a name; it depends on the name's last character alone."""
    return (
        rf"(?!(?<={_SPACED})(?:{_SPACED}|[-_]{_SPACED}|[{_combining_marks()}]))"
        r"(?!(?<=\d)[.,]\d)"
    )


@functools.cache
def _combining_marks() -> str:
    """Give the marks that belong to the letter before them, outside scripts without spaces."""
    spaceless = re.compile(f"[{WITHOUT_SPACES}]")
    marks = {
        code
        for code in range(0x300, 0x1E00)
        if unicodedata.category(chr(code))[0] == "M" and not spaceless.match(chr(code))
    }
    starts = sorted(code for code in marks if code - 1 not in marks)
    ends = sorted(code for code in marks if code + 1 not in marks)
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(starts, ends, strict=True))
