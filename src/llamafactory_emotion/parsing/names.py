r"""Find which of a task's labels a folded text names as whole words, and which of them it denies.

A name is no part of a longer word, in any script:

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
from collections.abc import Iterable, Mapping

from llamafactory_emotion.text import WITHOUT_SPACES

WORD_CHARACTER = re.compile(r"[^\W_]")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_BULLET = re.compile(r"[\W_]*(?:\d{1,3}|[a-z])[.)]\s")
_SPACED = rf"[^\W_{WITHOUT_SPACES}]"

# What happens in a text besides names: something denies the names after it, or ends the denial.
_NEGATOR, _DIRECT_NEGATOR, _TURN = "negator", "direct negator", "turn"
_NEGATION_WINDOW = 3
# Three words are shorter than this many characters; it bounds the work for each name.
_NEGATION_REACH = 256
_NEGATORS = (
    *("not", "no", "never", "neither", "nor", "without", "ni", "sin", "cannot", "non"),
    *("nunca", "jamás", "tampoco", "ningún", "ninguna"),
    # Contractions whose apostrophe was dropped.
    *("isnt", "arent", "wasnt", "werent", "dont", "doesnt", "didnt", "cant", "wont", "aint"),
    *("couldnt", "wouldnt", "shouldnt", "hasnt", "havent", "hadnt"),
)
# The single characters are negators of their own before a noun: 不爱, 没恐惧, 无悲伤.
_DIRECT_NEGATORS = (
    *("不是", "没有", "沒有", "并非", "並非", "不属于", "不屬於", "不算"),
    *("不", "没", "沒", "无", "無", "非", "未"),
)
_DIRECT_GAP = r"[\s\"'*_`~]{0,8}"
_TURNS = (
    *("but", "only", "rather", "just", "merely", "simply", "instead", "however", "yet"),
    *("although", "though", "except", "unless"),
    *("pero", "sino", "solo", "sólo", "solamente", "aunque", "excepto"),
    *("而是", "只有", "只是", "但", "却"),
    *",.;:!?¡¿()[]{}|\n\r\v\f\x85\u2028\u2029…—–、。〈〉《》【】〔〕〖〗→⇒",
)


class WordSearch:
    """A search for any of several words as a whole word.

    The alternatives are bundled by their first character, which precedes its guards in the pattern:
    the engine then skips ahead to the next character that can start one.

    Args:
        entries: Word, pattern of what follows its first character, and what it means.
    """

    def __init__(self, entries: Iterable[tuple[str, str, str]]) -> None:
        self._bundles: dict[str, list[tuple[str, str]]] = {}
        for text, pattern, meaning in sorted(entries, key=lambda entry: -len(entry[0])):
            self._bundles.setdefault(text[0], []).append((pattern, meaning))
        self._meanings = [meaning for bundle in self._bundles.values() for _, meaning in bundle]

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the next of them; compiled late, as most files hold nothing but plain labels."""
        alternatives = (
            re.escape(first) + _guard_before(first) + f"(?:{'|'.join(f'{p}()' for p, _ in bundle)})"
            for first, bundle in self._bundles.items()
        )
        marks = _combining_marks()
        # What may not follow depends on the last character alone.
        return re.compile(
            f"(?:{'|'.join(alternatives)})"
            rf"(?!(?<={_SPACED})(?:{_SPACED}|[-_]{_SPACED}|[{marks}]))(?!(?<=\d)[.,]\d)"
        )

    def meaning(self, match: re.Match[str]) -> str:
        """Return what the word that was found means."""
        return self._meanings[(match.lastindex or 0) - 1]


def name_search(names: Mapping[str, str]) -> WordSearch:
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
    """Write what may not precede a name, as seen from behind its first character."""
    quoted = re.escape(first)
    if first in "+-":
        return rf"(?!(?<={_SPACED}{quoted})\d)"
    if not re.match(_SPACED, first):
        return ""
    guard = rf"(?<!{_SPACED}{quoted})(?<!{_SPACED}[-_]{quoted})(?<![{_combining_marks()}]{quoted})"
    return guard + (rf"(?<!-{quoted})(?<!\d[.,]{quoted})" if first.isdecimal() else "")


@functools.cache
def _combining_marks() -> str:
    """Return the marks that belong to the letter before them, outside scripts without spaces."""
    spaceless = re.compile(f"[{WITHOUT_SPACES}]")
    marks = (
        chr(code)
        for code in range(0x300, 0x1E00)
        if unicodedata.category(chr(code))[0] == "M" and not spaceless.match(chr(code))
    )
    return "".join(marks)


class Names:
    """A task's names (`Task.names`), and what a folded text says with them."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._longest = max(map(len, names))
        self._search = name_search(names)

    def only_name(self, text: str) -> str | None:
        """Return the label whose name is all of `text` besides signs, emoji and a bullet."""
        label = self._sole_name(text)
        bullet = _BULLET.match(text) if label is None else None
        return self._sole_name(text[bullet.end() :]) if bullet else label

    def _sole_name(self, text: str) -> str | None:
        first = WORD_CHARACTER.search(text)
        if first is not None:
            # A name may be wrapped and escaped, but not without bound.
            text = text[max(0, first.start() - self._longest) :]
            reach = 3 * self._longest + 64
            if WORD_CHARACTER.search(text, reach):
                return None
            text = text[:reach]
        match = self._search.pattern.search(text)
        if match is None or WORD_CHARACTER.search(text, 0, match.start()):
            return None
        return None if WORD_CHARACTER.search(text, match.end()) else self._search.meaning(match)

    def begins_at(self, text: str, position: int) -> bool:
        """Whether a name begins right there."""
        return self._search.pattern.match(text, position) is not None

    def named(self, text: str) -> list[str]:
        """Return the distinct labels that `text` names without denying them, at most two.

        A name is denied when a negator is among the three words before it and no comma, full stop,
        other sentence sign, bracket, dash, line break or turning word (`but`, `only`, `sino`, ...)
        between, or when a Chinese negator (`不是`, `没有`, ...) is right before it. One pass; it
        stops at the second label, which is all that an ambiguity takes.
        """
        found: list[str] = []
        words_since: int | None = None
        end = 0
        for match in self._search.pattern.finditer(text):
            start = match.start()
            if start == end:
                denied = words_since is not None
            else:
                denied, words_since = _denial(text, end, start, words_since)
            end = match.end()
            label = self._search.meaning(match)
            if not denied and label not in found:
                found.append(label)
                if len(found) > 1:
                    break
            words_since = _count_words(text, start, end, words_since)
        return found


def _denial(text: str, start: int, end: int, words_since: int | None) -> tuple[bool, int | None]:
    """Say whether the name that begins at `end` is denied, and how many words ago the negator was.

    The name before it ended at `start`; `words_since` the negator were counted up to there.
    """
    if end - start > _NEGATION_REACH:
        start, words_since = end - _NEGATION_REACH, None
    direct_end, counted_to = -1, start
    if end - start > 1 or text[start:end] != " ":
        search = _negation_search()
        for event in search.pattern.finditer(text, start, end):
            meaning = search.meaning(event)
            if meaning == _DIRECT_NEGATOR:
                direct_end = event.end()
            else:
                words_since, counted_to = 0 if meaning == _NEGATOR else None, event.end()
    words_since = _count_words(text, counted_to, end, words_since)
    return words_since is not None or direct_end == end, words_since


def _count_words(text: str, start: int, end: int, words_since: int | None) -> int | None:
    """Add the words of a stretch; None without a negator, or when it is out of reach."""
    if words_since is None:
        return None
    for _ in _WORD.finditer(text, start, end):
        words_since += 1
        if words_since >= _NEGATION_WINDOW:
            return None
    return words_since


@functools.cache
def _negation_search() -> WordSearch:
    return WordSearch(
        [
            *((word, word[1:], _NEGATOR) for word in _NEGATORS),
            ("'t", "(?<=n')t", _NEGATOR),
            *((word, word[1:] + _DIRECT_GAP, _DIRECT_NEGATOR) for word in _DIRECT_NEGATORS),
            *((word, re.escape(word[1:]), _TURN) for word in _TURNS),
            # "However": a negator's word in a phrase that turns.
            ("sin embargo", r"in\s+embargo", _TURN),
            ("no obstante", r"o\s+obstante", _TURN),
            ("- ", r"(?<=\s-)\s", _TURN),
            ("--", "-", _TURN),
        ]
    )
