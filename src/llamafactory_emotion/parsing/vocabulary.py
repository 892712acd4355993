r"""Find which of a task's labels a folded text names, and which of them it denies.

Stands between `cleaning` (which gives the folded text), `whole_words` (which searches it) and
`rules` (which asks where a label may stand).
"""

import functools
import re

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.parsing.cleaning import fold
from llamafactory_emotion.parsing.whole_words import WORD_CHARACTER, WordSearch, name_search
from llamafactory_emotion.task import Task

_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_BULLET = re.compile(r"[\W_]*(?:\d{1,3}|[a-z])[.)]\s")

# What happens in a text besides names: something denies the names after it, or ends the denial.
_NEGATOR, _DIRECT_NEGATOR, _TURN = "\0negator", "\0direct negator", "\0turn"
NEGATION_WINDOW = 3
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
        self._name = name_search(names)

    def only_name(self, text: str) -> str | None:
        """Give the label whose name is all there is in `text` besides signs, emoji and a bullet."""
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
        match = self._name.pattern.search(text)
        if match is None:
            return None
        before = WORD_CHARACTER.search(text, 0, match.start())
        after = before or WORD_CHARACTER.search(text, match.end())
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
        meanings = self._name.meanings
        found: list[str] = []
        words_since: int | None = None
        end = 0
        for match in self._name.pattern.finditer(text):
            start = match.start()
            if start == end:
                negated = words_since is not None
            else:
                negated, words_since = _negation(text, end, start, words_since)
            end = match.end()
            label = meanings[(match.lastindex or 0) - 1]
            if not negated and label not in found:
                found.append(label)
                if len(found) > 1:
                    break
            if words_since is not None:
                words_since = _count(text, start, end, words_since)
        return tuple(found)


def _negation(text: str, start: int, end: int, words_since: int | None) -> tuple[bool, int | None]:
    """Say whether the name at `end` is negated, and how many words ago the negator stood.

    Args:
        text: The folded text.
        start: Where the name before it ended, or 0.
        end: Where the name starts.
        words_since: Words since the negator as counted up to `start`; None for no negator.
    """
    if end - start > _NEGATION_REACH:
        start, words_since = end - _NEGATION_REACH, None
    direct_end, counted_to = -1, start
    if end - start > 1 or text[start:end] != " ":
        search = _negation_search()
        for event in search.pattern.finditer(text, start, end):
            meaning = search.meanings[(event.lastindex or 0) - 1]
            if meaning == _DIRECT_NEGATOR:
                direct_end = event.end()
            else:
                words_since, counted_to = 0 if meaning == _NEGATOR else None, event.end()
    if words_since is not None:
        words_since = _count(text, counted_to, end, words_since)
    return words_since is not None or direct_end == end, words_since


def has_word(text: str) -> bool:
    """Say whether any letter or digit is left."""
    return WORD_CHARACTER.search(text) is not None


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


@functools.cache
def _negation_search() -> WordSearch:
    entries = [
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
    return WordSearch(entries)
