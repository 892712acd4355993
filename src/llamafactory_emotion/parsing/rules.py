r"""Turn a generated answer into one of the task's labels, or into the reason why it names none.

Stands between the predictions and the metrics. An answer that names no label, or several, is
invalid: it is never guessed, dropped or replaced. Under `flexible` an answer is first cleaned
(`cleaning`), then the rules of `RULES` are tried in order; the first that decides, decides.
`strict` is plain equality. The rule `contains` names no class, so it is a function of the gold
label: `contains_label`.

Where the rules are silent, this is what happens: what cannot be read without doubt is invalid.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.parsing.cleaning import clean, fold
from llamafactory_emotion.parsing.vocabulary import Vocabulary, has_word
from llamafactory_emotion.parsing.whole_words import WordSearch, name_search
from llamafactory_emotion.task import Task

PARSER_RULES = ("strict", "flexible")
EMPTY, NO_LABEL, AMBIGUOUS, UNFINISHED = "empty", "no_label", "ambiguous", "unfinished"
REASONS = (EMPTY, NO_LABEL, AMBIGUOUS, UNFINISHED)

# Most answers of a file are the same few short strings; these bounds keep the memory of a file
# whose answers all differ below 20 MB.
_CACHED_ANSWERS = 16_384
_CACHED_LENGTH = 128

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

Rule = Callable[[str, Vocabulary], ParsedAnswer | None]


def whole_answer(text: str, vocabulary: Vocabulary) -> ParsedAnswer | None:
    """Accept an answer that is one name and nothing else but decoration."""
    return _labelled(vocabulary.only_name(text))


def nothing_left(text: str, vocabulary: Vocabulary) -> ParsedAnswer | None:  # noqa: ARG001
    """Settle an answer without any letter or digit as empty."""
    return None if has_word(text) else _INVALID[EMPTY]


def json_field(text: str, vocabulary: Vocabulary) -> ParsedAnswer | None:
    """Read a JSON object or fragment, also single-quoted or cut off, by its known keys.

    The values that are one name must agree. When no value is, the answer is invalid whatever else
    it says. A list counts as its one name; an object is searched for the keys itself.
    """
    labels: set[str] = set()
    worst: str | None = None
    position = 0
    while key := _JSON_KEY.search(text, position):
        value, position = _json_value(text, key.end())
        found = [vocabulary.only_name(item) for item in value]
        if found and None not in found:
            labels.update(label for label in found if label is not None)
        elif worst != AMBIGUOUS:
            several = any(len(vocabulary.named(item)) > 1 for item in value)
            worst = AMBIGUOUS if several else NO_LABEL
    if len(labels) == 1:
        return _labelled(labels.pop())
    return _INVALID[AMBIGUOUS] if labels else _INVALID[worst] if worst else None


def after_marker(text: str, vocabulary: Vocabulary) -> ParsedAnswer | None:
    """Accept the text after the last `answer:` (and the like) when it names exactly one label.

    `the answer is` is a marker only when a name follows at once.
    """
    start = None
    for marker in _MARKER.finditer(text):
        in_word = marker["word"] and text[marker.start() - 1 : marker.start()].isalnum()
        if not in_word and (marker["verb"] is None or vocabulary.names_at(text, marker.end())):
            start = marker.end()
    labels = () if start is None else vocabulary.named(text[start:])
    return _labelled(labels[0]) if len(labels) == 1 else None


def words_named(text: str, vocabulary: Vocabulary) -> ParsedAnswer | None:
    """Accept an answer that names exactly one distinct label, not negated, as a whole word."""
    labels = vocabulary.named(text)
    if len(labels) == 1:
        return _labelled(labels[0])
    return _INVALID[AMBIGUOUS if labels else NO_LABEL]


RULES: tuple[Rule, ...] = (whole_answer, nothing_left, json_field, after_marker, words_named)


class LabelParser:
    """Parse answers of one task under one match rule, remembering the short ones it has seen.

    Args:
        task: The labels and aliases.
        match: `strict` (equal to a label's name after strip and case folding) or `flexible`
            (the rules of this module).

    Raises:
        CallError: `match` is neither.
        DataError: Two labels of the task cannot be told apart in an answer (`flexible`).
    """

    def __init__(self, task: Task, *, match: str = "flexible") -> None:
        if match not in PARSER_RULES:
            raise CallError(f"Match rule {match!r} is none of {', '.join(PARSER_RULES)}.")
        self.task = task
        self.match = match
        names = dict(task.aliases) if match == "flexible" else {}
        names |= {label: label for label in task.labels}
        self._plain = {
            name.strip().casefold(): ParsedAnswer(label, None) for name, label in names.items()
        }
        self._vocabulary = Vocabulary(task) if match == "flexible" else None
        self._cache: dict[str, ParsedAnswer] = {}

    def parse(self, answer: str) -> ParsedAnswer:
        """Give the label that `answer` names, or the reason why it is invalid.

        Takes time linear in the answer's length and raises nothing on any string.
        """
        known = self._cache.get(answer)
        if known is not None:
            return known
        parsed = self._parse(answer)
        if len(answer) <= _CACHED_LENGTH:
            if len(self._cache) >= _CACHED_ANSWERS:
                self._cache.clear()
            self._cache[answer] = parsed
        return parsed

    def _parse(self, answer: str) -> ParsedAnswer:
        plain = self._plain.get(answer.strip().casefold())
        if plain is not None:
            return plain
        if self._vocabulary is None:
            return _INVALID[NO_LABEL if answer.strip() else EMPTY]
        text = clean(answer)
        if text is None:
            return _INVALID[UNFINISHED]
        for rule in RULES:
            parsed = rule(text, self._vocabulary)
            if parsed is not None:
                return parsed
        return _INVALID[NO_LABEL]


def contains_label(answer: str, label: str, task: Task) -> bool:
    """Say whether `answer` contains the name of the gold `label`, or one of its aliases.

    The rule of zero-shot studies: right when the right class name occurs anywhere in the answer,
    whatever else occurs. Both are folded (Unicode NFKC, case). The label's own name counts as a
    substring (`fear` in `fearless`), which is the published rule; an alias, which that rule does
    not know, only as a whole word, or else `ira` would stand in `admiration`. In scripts without
    spaces an alias is a substring too. Negation and reasoning are not looked at.
    """
    text = fold(answer)
    name = fold(label).strip()
    if name in text if name else label in answer:
        return True
    aliases = (fold(alias).strip() for alias, meant in task.aliases.items() if meant == label)
    return any(
        alias in text and _alias_search(alias).pattern.search(text) is not None
        for alias in aliases
        if alias
    )


def _labelled(label: str | None) -> ParsedAnswer | None:
    return None if label is None else ParsedAnswer(label, None)


def _json_value(text: str, start: int) -> tuple[list[str], int]:
    """Give the strings of the value that starts there, and where to look for the next key."""
    opening = text[start : start + 1]
    if opening == "{":
        return [], start
    if opening == "[":
        end = _find(text, "]", start)
        return text[start + 1 : end].split(","), end
    quoted = _OPENING_QUOTE.match(text, start)
    if quoted:
        end = _find(text, quoted[1], quoted.end())
        return [text[quoted.end() : end]], end
    end = _BARE_VALUE.match(text, start).end()  # type: ignore[union-attr]  # it matches always
    return [text[start:end]], end


def _find(text: str, sign: str, start: int) -> int:
    end = text.find(sign, start)
    return len(text) if end < 0 else end


@functools.lru_cache(maxsize=1024)
def _alias_search(alias: str) -> WordSearch:
    return name_search({alias: alias})
