r"""Find a task's labels and aliases in a folded text: as whole words, the longest, negated or not.

Stands between `cleaning` (which gives the folded text) and `parsing` (whose rules ask where a
label may stand). What a *whole word* is:

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

from llamafactory_emotion.cleaning import fold
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.task import Task

_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_SPACED = rf"[^\W_{_WITHOUT_SPACES}]"
_WORD_CHARACTER = re.compile(r"[^\W_]")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_BULLET = re.compile(r"[\W_]*(?:\d{1,3}|[a-z])[.)]\s")

# What happens in a text besides names: something denies the names after it, or ends the denial.
_NEGATOR, _DIRECT_NEGATOR, _TURN = "\0negator", "\0direct negator", "\0turn"
NEGATION_WINDOW = 3
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


class Vocabulary:
    """The names of a task's labels, folded, and the patterns that find them.

    Args:
        task: Gives the labels and their aliases.

    Raises:
        DataError: Two labels have names that differ only in what folding removes.
    """

    def __init__(self, task: Task) -> None:
        names = _folded_names(task)
        self._longest = max(map(len, names), default=0)
        self._names = names
        self._name = WordSearch(names)

    @functools.cached_property
    def _event(self) -> "WordSearch":
        # Made when the first answer needs it: a file of plain labels never does.
        return WordSearch(self._names, with_negation=True)

    def only_name(self, text: str) -> str | None:
        """Give the label whose name is all there is in `text` besides signs, emoji and a bullet."""
        label = self._sole_name(text)
        bullet = _BULLET.match(text) if label is None else None
        return self._sole_name(text[bullet.end() :]) if bullet else label

    def _sole_name(self, text: str) -> str | None:
        first = _WORD_CHARACTER.search(text)
        if first is not None:
            # A name may be wrapped and escaped, but not without bound.
            text = text[max(0, first.start() - self._longest) :]
            reach = 3 * self._longest + 64
            if _WORD_CHARACTER.search(text, reach):
                return None
            text = text[:reach]
        match = self._name.pattern.search(text)
        if match is None:
            return None
        before = _WORD_CHARACTER.search(text, 0, match.start())
        after = before or _WORD_CHARACTER.search(text, match.end())
        return None if after else self._name.meanings[(match.lastindex or 0) - 1]

    def names_at(self, text: str, position: int) -> bool:
        """Say whether a name starts right there."""
        return self._name.pattern.match(text, position) is not None

    def named(self, text: str) -> tuple[str, ...]:
        """Give the distinct labels that `text` names without negating them, at most two.

        A name is negated when a negator stands among the three words before it and no comma,
        full stop, other sentence sign, bracket, dash, line break or turning word (`but`, `only`,
        `sino`, ...) between, or when a Chinese negator (`不是`, `没有`, ...) stands right before.
        One pass; it stops at the second label, which is all that an ambiguity takes.
        """
        first = self._name.pattern.search(text)
        if first is None:
            return ()
        # No negator reaches over a line break: the lines before the first name say nothing.
        start = text.rfind("\n", 0, first.start()) + 1
        meanings = self._event.meanings
        found: list[str] = []
        words_since: int | None = None
        counted_to = direct_end = -1
        for match in self._event.pattern.finditer(text, start):
            meaning = meanings[(match.lastindex or 0) - 1]
            if meaning == _TURN:
                words_since = None
            elif meaning == _NEGATOR:
                words_since, counted_to = 0, match.end()
            elif meaning == _DIRECT_NEGATOR:
                direct_end = match.end()
            else:
                if words_since is not None:
                    words_since = _count(text, counted_to, match.start(), words_since)
                negated = words_since is not None or match.start() == direct_end
                if not negated and meaning not in found:
                    found.append(meaning)
                    if len(found) > 1:
                        break
                if words_since is not None:
                    words_since = _count(text, match.start(), match.end(), words_since)
                    counted_to = match.end()
        return tuple(found)


class WordSearch:
    """A search for any of several names as a whole word.

    The alternatives are bundled by their first character, which stands in front of its guards:
    the engine then skips ahead to the next character that can start one.

    Args:
        names: Folded name to what it means.
        with_negation: Find negators and turns too.

    Attributes:
        pattern: Finds the next of them; the match's `lastindex`, from 1, says which.
        meanings: What they mean, in that order.
    """

    def __init__(self, names: dict[str, str], *, with_negation: bool = False) -> None:
        bundles: dict[str, list[tuple[str, str]]] = {}
        # Among names of the same length the sort keeps their order: a label `no` is no negator.
        entries = [(name, _name_pattern(name), meaning) for name, meaning in names.items()]
        entries += _negation_entries() if with_negation else []
        for text, pattern, meaning in sorted(entries, key=lambda entry: -len(entry[0])):
            bundles.setdefault(text[0], []).append((pattern, meaning))
        self.meanings = [meaning for bundle in bundles.values() for _, meaning in bundle]
        alternatives = (
            re.escape(first) + _guard_before(first) + f"(?:{'|'.join(f'{p}()' for p, _ in bundle)})"
            for first, bundle in bundles.items()
        )
        self.pattern = re.compile(f"(?:{'|'.join(alternatives) or '(?!)'}){_guard_after()}")


def has_word(text: str) -> bool:
    """Say whether any letter or digit is left."""
    return _WORD_CHARACTER.search(text) is not None


def _count(text: str, start: int, end: int, words: int) -> int | None:
    """Add the words of a stretch; None once the negator is out of reach."""
    if end > start:
        for _ in _WORD.finditer(text, start, end):
            words += 1
            if words >= NEGATION_WINDOW:
                return None
    return words


def _folded_names(task: Task) -> dict[str, str]:
    names: dict[str, str] = {}
    pairs = [(label, label) for label in task.labels] + list(task.aliases.items())
    for name, label in pairs:
        folded = fold(name).strip()
        if folded and names.setdefault(folded, label) != label:
            raise DataError(
                f"Task {task.name!r}: {name!r} of {label!r} cannot be told from a name of "
                f"{names[folded]!r} in an answer; rename one."
            )
    return names


def _negation_entries() -> list[tuple[str, str, str]]:
    """Give the negators and turns as text, pattern after the first character, and meaning."""
    return [
        *((word, word[1:], _NEGATOR) for word in _NEGATORS),
        ("'t", "(?<=n')t", _NEGATOR),
        *((word, word[1:] + _DIRECT_GAP, _DIRECT_NEGATOR) for word in _DIRECT_NEGATORS),
        *((word, word[1:], _TURN) for word in _TURNS),
        ("- ", r"(?<=\s-)\s", _TURN),
        ("--", "-", _TURN),
    ]


def _name_pattern(name: str) -> str:
    """Write what follows a name's first character; it may be wrapped, and spaced at its signs."""
    pieces = name.split()
    body = _literal(pieces[0][1:])
    for left, right in itertools.pairwise(pieces):
        words = _WORD_CHARACTER.match(left[-1]) and _WORD_CHARACTER.match(right[0])
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
    spaceless = re.compile(f"[{_WITHOUT_SPACES}]")
    marks = {
        code
        for code in range(0x300, 0x1E00)
        if unicodedata.category(chr(code))[0] == "M" and not spaceless.match(chr(code))
    }
    starts = sorted(code for code in marks if code - 1 not in marks)
    ends = sorted(code for code in marks if code + 1 not in marks)
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(starts, ends, strict=True))
