r"""Turn a generated answer into one of the task's labels, or into the reason why it names none.

An answer that names no label, or several, is invalid: it is never guessed, dropped or replaced.
Under `flexible` an answer is first cleaned, then the rules of `RULES` are tried in order; the first
that decides, decides. `strict` is plain equality. The rule `contains` names no class, so it is a
function of the gold label: `contains_label`.

What the rules cannot read without doubt is invalid.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.parsing.cleaning import clean
from llamafactory_emotion.parsing.names import WORD_CHARACTER, Names, WordSearch, name_search
from llamafactory_emotion.task import Task
from llamafactory_emotion.text import fold, name_key

PARSER_RULES = ("strict", "flexible")
EMPTY, NO_LABEL, AMBIGUOUS, UNFINISHED = "empty", "no_label", "ambiguous", "unfinished"
REASONS = (EMPTY, NO_LABEL, AMBIGUOUS, UNFINISHED)

_JSON_KEYS = "label|emotion|answer|sentiment|class|category"
# The key in quotes, or bare right after a brace as in a JavaScript object.
_JSON_KEY = re.compile(rf"""(?:(["'])(?:{_JSON_KEYS})\1|\{{\s*(?:{_JSON_KEYS}))\s*:\s*""")
# A second quote belongs to a value that is quoted twice: ""joy"", "**'joy'**".
_OPENING_QUOTE = re.compile(r"""(["'])(?:[^\w,:}\]]{0,8}["'][^\w,:}\]]{0,8}(?=[^\W_]))?""")
_BARE_VALUE = re.compile(r"[^,}\]\r\n]*")

_MARKER_WORDS = (
    *("answer", "emotion", "label", "sentiment", "class", "category", "classification"),
    *("prediction", "feeling"),
    *("respuesta", "emoción", "emocion", "etiqueta", "sentimiento", "clase", "categoría"),
    *("categoria", "clasificación", "resposta", "emoção", "réponse", "émotion", "antwort"),
)
_MARKER_WORDS_WITHOUT_SPACES = (
    *("答案", "情感", "情绪", "情緒", "感情", "标签", "標籤", "类别", "類別", "分类", "分類"),
    *("回答", "答え", "罪名"),
)
_MARKER = re.compile(
    rf"(?:(?P<word>{'|'.join(_MARKER_WORDS)})(?:e?s)?|{'|'.join(_MARKER_WORDS_WITHOUT_SPACES)})"
    r"""[\s"'`*_)\]]{0,6}[:=]"""
    r"""|(?P<verb>(?:answer\s+is|respuesta\s+es)\b|答案[是为為])[\s"'`*_:]{0,6}"""
)


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What an answer says.

    Attributes:
        label: One of the task's labels, or None when the answer is invalid.
        reason: None for a label, else why there is none: `empty` (nothing but signs and tokens),
            `no_label`, `ambiguous` (several labels) or `unfinished` (reasoning without an end).
    """

    label: str | None
    reason: str | None


_INVALID = {reason: ParsedAnswer(None, reason) for reason in REASONS}

Rule = Callable[[str, Names], ParsedAnswer | None]


def whole_answer(text: str, names: Names) -> ParsedAnswer | None:
    """Accept an answer that is one name and nothing else but decoration."""
    label = names.only_name(text)
    return ParsedAnswer(label, None) if label else None


def nothing_left(text: str, names: Names) -> ParsedAnswer | None:  # noqa: ARG001 - one signature
    """Settle an answer without any letter or digit as empty."""
    return None if WORD_CHARACTER.search(text) else _INVALID[EMPTY]


def json_field(text: str, names: Names) -> ParsedAnswer | None:
    """Read a JSON object or fragment, also single-quoted or cut off, by its known keys.

    The values that are one name must agree. When no value is, the answer is invalid whatever else
    it says. A list counts as its one name; an object is searched for the keys itself.
    """
    labels: set[str] = set()
    worst: str | None = None
    position = 0
    while key := _JSON_KEY.search(text, position):
        items, position = _json_value(text, key.end())
        found = [names.only_name(item) for item in items]
        if found and all(found):
            labels.update(filter(None, found))
        elif worst != AMBIGUOUS:
            several = any(len(names.named(item)) > 1 for item in items)
            worst = AMBIGUOUS if several else NO_LABEL
    if len(labels) == 1:
        return ParsedAnswer(labels.pop(), None)
    return _INVALID[AMBIGUOUS] if labels else _INVALID[worst] if worst else None


def _json_value(text: str, start: int) -> tuple[list[str], int]:
    """Return the strings of the value that begins there, and where to look for the next key."""
    opening = text[start : start + 1]
    if opening == "{":
        return [], start
    quoted = _OPENING_QUOTE.match(text, start)
    if opening != "[" and quoted is None:
        end = _BARE_VALUE.match(text, start).end()  # type: ignore[union-attr]  # always matches
        return [text[start:end]], end
    first = quoted.end() if quoted else start + 1
    end = text.find(quoted[1] if quoted else "]", first)
    end = len(text) if end < 0 else end
    return [text[first:end]] if quoted else text[first:end].split(","), end


def after_marker(text: str, names: Names) -> ParsedAnswer | None:
    """Accept the text after the last `answer:` (and the like) when it names exactly one label.

    `the answer is` is a marker only when a name follows at once.
    """
    start = None
    for marker in _MARKER.finditer(text):
        in_word = marker["word"] and text[marker.start() - 1 : marker.start()].isalnum()
        if not in_word and (marker["verb"] is None or names.begins_at(text, marker.end())):
            start = marker.end()
    labels = [] if start is None else names.named(text[start:])
    return ParsedAnswer(labels[0], None) if len(labels) == 1 else None


def words_named(text: str, names: Names) -> ParsedAnswer:
    """Accept an answer that names exactly one distinct label, not denied, as a whole word."""
    labels = names.named(text)
    if len(labels) == 1:
        return ParsedAnswer(labels[0], None)
    return _INVALID[AMBIGUOUS if labels else NO_LABEL]


RULES: tuple[Rule, ...] = (whole_answer, nothing_left, json_field, after_marker, words_named)


class LabelParser:
    """Parse answers of one task under one match rule.

    Args:
        task: The labels and aliases.
        match: `strict` (equal to a label after strip and case folding) or `flexible` (`RULES`).

    Raises:
        CallError: `match` is neither.
    """

    def __init__(self, task: Task, *, match: str = "flexible") -> None:
        if match not in PARSER_RULES:
            raise CallError(f"Match rule {match!r} is none of {', '.join(PARSER_RULES)}.")
        self._names = Names(task.names) if match == "flexible" else None
        spellings = dict(task.aliases) if match == "flexible" else {}
        spellings |= {label: label for label in task.labels}
        # A name as it is spelled is its label, even one that cleaning would take apart (`[x]`).
        self._spelled = {
            name.strip().casefold(): ParsedAnswer(label, None) for name, label in spellings.items()
        }

    def parse(self, answer: str) -> ParsedAnswer:
        """Return the label that `answer` names, or the reason why it is invalid.

        Takes time linear in the answer's length and raises nothing on any string.
        """
        spelled = self._spelled.get(answer.strip().casefold())
        if spelled is not None:
            return spelled
        if self._names is None:
            return _INVALID[NO_LABEL if answer.strip() else EMPTY]
        text = clean(answer)
        if text is None:
            return _INVALID[UNFINISHED]
        decided = (rule(text, self._names) for rule in RULES)
        return next(filter(None, decided))  # the last rule always decides


def contains_label(answer: str, label: str, task: Task) -> bool:
    """Whether `answer` contains the name of the gold `label`, or one of its aliases.

    The rule of zero-shot studies: right when the right class name occurs anywhere in the answer,
    whatever else occurs. Both are folded. The label's own name counts as a substring (`fear` in
    `fearless`), which is the published rule; an alias, which that rule does not know, only as a
    whole word, or else `ira` would be found in `admiration`. In scripts without spaces an alias is
    a substring too. Denial and reasoning are not looked at.
    """
    text = fold(answer)
    if name_key(label) in text:
        return True
    aliases = (name_key(alias) for alias, meant in task.aliases.items() if meant == label)
    # Nearly always no alias is in the text, and a plain search says so without a pattern.
    return any(alias in text and _alias_search(alias).pattern.search(text) for alias in aliases)


@functools.lru_cache(maxsize=1024)
def _alias_search(alias: str) -> WordSearch:
    return name_search({alias: alias})
