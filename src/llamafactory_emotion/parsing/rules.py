r"""Turn a generated answer into one of the task's labels, or into the reason why it names none.

What counts is where the answer is. An answer is first cleaned (`cleaning`), then the rules of
`RULES` are tried in order; the first that decides, decides:

1. the whole answer is one name (nothing but names of two labels is ambiguous);
2. a field of a JSON object, or of a line of `key: value`, holds one;
3. one follows the last answer marker (`Answer:`, `答案是`), whatever comes after it;
4. one follows the options, where the answer repeats them first (`Yes or no? No.`);
5. the answer begins or ends with a line, or begins with a clause, that is nothing but a name;
6. the answer begins with another word as a sentence (`Disgust.`): no label;
7. the answer declines (`refusal`);
8. a short statement on what is classified names exactly one label.

Of an answer that goes on with the next example of a prompt, what is before it counts.

An answer that names no label, or several, is invalid: it is never guessed, dropped or replaced.
`strict` is plain equality. The rule `contains` names no class, so it is asked with the gold label:
`LabelParser.contains`.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.parsing import phrases
from llamafactory_emotion.parsing.cleaning import clean
from llamafactory_emotion.parsing.names import LabelNames, Name, has_word
from llamafactory_emotion.parsing.surroundings import Surroundings, ends_clause, skip_lead
from llamafactory_emotion.task import Task
from llamafactory_emotion.text import fold

PARSER_RULES = ("strict", "flexible")
REASONS = ("empty", "no_label", "ambiguous", "unfinished", "refusal")
EMPTY, NO_LABEL, AMBIGUOUS, UNFINISHED, REFUSAL = REASONS

# The key in quotes, or bare right after a brace as in a JavaScript object.
_JSON_KEY = re.compile(
    rf"""(?:(["'])(?:{phrases.JSON_KEYS}|[^\W\d_a-z"']{{1,6}})\1|\{{\s*{phrases.JSON_KEYS})\s*:\s*"""
)
# A second quote belongs to a value that is quoted twice: ""joy"", "**'joy'**".
_OPENING_QUOTE = re.compile(r"""(["'])(?:[^\w,:}\]]{0,8}["'][^\w,:}\]]{0,8}(?=[^\W_]))?""")
_BARE_VALUE = re.compile(r"[^,}\]\r\n]*")
_FIELD = re.compile(
    r"\s*([^\W\d][^,;.:=!?()*\n]{0,24}?)\s*[:=]\s*([^,;\n:=]{1,200}?)\s*(?:[,;\n]|\.?\s*\Z)"
)
_SCORE = re.compile(r"""["'`*]{0,3}\s*[:=(|-]?\s*["']?(\d{1,3}(?:\.\d{1,15})?)(?![\d.])""")
# In characters: what is longer is no statement; no answer that declines; more than its last lines.
_STATEMENT = 400
_PROSE = 4_000
_LINES = 20_000


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What an answer says.

    Attributes:
        label: One of the task's labels, or None when the answer is invalid.
        reason: None for a label, else why there is none: `empty` (nothing but signs and tokens),
            `no_label`, `ambiguous` (several labels), `unfinished` (reasoning without an end) or
            `refusal`.
    """

    label: str | None
    reason: str | None


_INVALID = {reason: ParsedAnswer(None, reason) for reason in REASONS}

Rule = Callable[[str, LabelNames], ParsedAnswer | None]


def whole_answer(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Accept an answer that is one name and nothing else but decoration, and no two names."""
    label = names.only(text)
    if label is None and not phrases.MARKER.search(text) and len(names.all_of(text)) > 1:
        return _INVALID[AMBIGUOUS]
    return _labelled(label)


def nothing_left(text: str, names: LabelNames) -> ParsedAnswer | None:  # noqa: ARG001
    """Settle an answer without any letter or digit as empty."""
    return None if has_word(text) else _INVALID[EMPTY]


def json_field(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Read a JSON object or fragment, also single-quoted or cut off, by its known keys.

    The values that are one name must agree. When no value is, the answer is invalid whatever else
    it says. A list counts as its one name; an object is searched for the keys itself.
    """
    labels: set[str] = set()
    worst: str | None = None
    position = 0
    while key := _JSON_KEY.search(text, position):
        value, position = _json_value(text, key.end())
        found = [names.only(item) for item in value]
        if found and None not in found:
            labels.update(label for label in found if label is not None)
        elif worst != AMBIGUOUS:
            several = any(len({name.label for name in names.find(item)}) > 1 for item in value)
            worst = AMBIGUOUS if several else NO_LABEL
    if len(labels) == 1:
        return _labelled(labels.pop())
    return _INVALID[AMBIGUOUS] if labels else _INVALID[worst] if worst else None


def fields(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Read an answer that is nothing but `key: value` pairs, of which one value is a name."""
    if len(text) > _STATEMENT:
        return None
    position = 0
    labels, others = set[str](), set[str]()
    while position < len(text):
        field = _FIELD.match(text, position)
        if field is None:
            return None
        label = None if phrases.SURENESS.search(field[1]) else names.only(field[2])
        is_other = phrases.ANOTHER.search(field[1].rpartition(" ")[0] + " ")
        if label is not None and not (is_other and any(names.find(field[1]))):
            (others if is_other else labels).add(label)
        position = field.end()
    if not labels and others:
        return _INVALID[NO_LABEL]
    return _labelled(labels.pop()) if len(labels) == 1 else None


def after_marker(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Accept the name right behind the last marker that has one there."""
    found = None
    for marker in phrases.MARKER.finditer(text):
        if marker["word"] and text[marker.start() - 1 : marker.start()].isalnum():
            continue
        if found is not None and phrases.NEXT_EXAMPLE.search(text, found.end, marker.start()):
            break
        if phrases.ANOTHER.search(text, max(0, marker.start() - 20), marker.start()):
            continue
        start = skip_lead(text, marker.end())
        name = names.at(text, start) or names.at(text, marker.end())
        if name is not None and phrases.ASKED.match(text, name.end):
            continue
        if name is not None and marker["plural"] and phrases.ITEM_AFTER.match(text, name.end):
            continue  # `Labels: billing, refund`: the list of them
        if name is not None and (name.kind != "ordinary" or _chosen(text, name, marker["verb"])):
            found = name
    return None if found is None else _answered(text, found, names)


def line_of_its_own(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Accept a name that is the whole first or last line, or the clause the answer begins with."""
    lines = [line for line in text[:_LINES].split("\n") if has_word(line)]
    while len(lines) > 1 and lines[0].startswith("#") and names.only(lines[0]) is None:
        del lines[0]  # a heading
    is_list = len(lines) > 1 and all(map(phrases.LINE_ITEM.match, lines[-2:]))
    if (len(lines) > 1 or len(text) > _LINES) and not is_list:
        last = text[-_LINES:].rstrip().rsplit("\n", 1)[-1]
        found = {names.only(lines[0]), names.only(last)} - {None}
        if len(found) == 2:
            return _INVALID[AMBIGUOUS]
        if found:
            return _labelled(found.pop())
    name = names.at(text, skip_lead(text, 0))
    if name is None or text[name.end :].lstrip(" \"'*`)")[:1] == "?":
        return None
    if is_list and name.kind == "number":
        return None
    ends = _rates(text, name, names) if name.kind == "number" else ends_clause(text, name.end)
    is_option = name.kind == "ordinary" and text.startswith(") ", name.end) and "\n" not in text
    if not (ends or is_option or _beside(text, name, names)):
        return None
    return _answered(text, name, names)


def named_otherwise(text: str, names: LabelNames) -> ParsedAnswer | None:  # noqa: ARG001
    """Settle an answer that begins with another word than a label: `Disgust. Not joy`."""
    word = phrases.OTHER_WORD.match(text)
    said = word and (word[1] or word[2])
    if not said or said in phrases.INTERJECTIONS or said.endswith("ly"):
        return None
    return _INVALID[NO_LABEL]


def behind_options(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Read what follows the options, where the answer repeats them first."""
    options = phrases.OPTIONS.match(text[:_STATEMENT])
    if options is None or len({one.label for one in names.find(options[0])}) < 2:
        return None
    rest = text[options.end() :].strip()
    label = names.only(rest)
    if label is None and not options[0].endswith(":") and len(rest) <= _STATEMENT and rest:
        said, expected = _stated(rest, names)
        label = said.label if expected else None
    return _labelled(label)


def declined(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Settle an answer that declines, or offers help, as a refusal."""
    if len(text) > _PROSE:
        return None
    offers = phrases.OFFER.search(text)
    declines = phrases.DECLINED.search(text)
    if not offers and not declines:
        return None
    if declines is None:
        sentences = (one[0] for one in phrases.SENTENCE.finditer(text))
        rest = "".join(one for one in sentences if not phrases.OFFER.search(one))
        said = statement(rest, names) if has_word(rest) else None
        if said is not None and said.label is not None:
            return said
    return _INVALID[REFUSAL]


def statement(text: str, names: LabelNames) -> ParsedAnswer:
    """Accept a short statement that names exactly one label and denies none.

    It speaks of what is classified or gives the label where an answer is expected.
    Where one is denied, another counts only where an answer is expected: behind a contrast (`but
    joy`, `而是喜悦`), behind `is` and the like, or as a clause of its own. Labels that are ordinary
    words count only there in any case. A first sentence that gives the answer is not undone by what
    later ones mention, unless they give another.
    """
    if len(text) > _STATEMENT:
        return _several(text, names)
    first = phrases.SENTENCE.match(text)
    rest = text[first.end() :] if first else ""
    if first and has_word(rest):
        said, expected = _stated(first[0], names)
        if said.label and expected:
            later, expected_later = _stated(rest, names)
            if later.label == said.label or not expected_later:
                return said
    return _stated(text, names)[0]


def sentence(text: str, names: LabelNames) -> ParsedAnswer | None:
    """Accept a short sentence that gives one label where an answer is expected."""
    said, expected = _stated(text, names) if len(text) <= _STATEMENT else (None, False)
    return said if expected else None


def _stated(text: str, names: LabelNames) -> tuple[ParsedAnswer, bool]:
    """Return what a statement says, and whether it says it where an answer is expected."""
    around = Surroundings(text)
    stated: dict[str, bool] = {}  # label to whether it is where an answer is expected
    any_denied = any_judged = False
    beside: Name | None = None
    for name in names.find(text):
        counts, expected = around.counts(name)
        counts = counts and (name.kind != "number" or _rates(text, name, names))
        is_weak = name.kind in ("number", "ordinary")
        if counts and beside == name:  # `between 3 and 4`, of which the first does not count
            return _INVALID[AMBIGUOUS], False
        beside = None
        if not counts:
            beside = _beside(text, name, names) if is_weak else None
            continue
        if names.continues(text, name) or phrases.DOUBT.search(text):
            return _INVALID[NO_LABEL], expected
        if around.enumerates(name):
            return _INVALID[AMBIGUOUS], False
        if around.denies(name):
            any_denied = True
            continue
        other = _beside(text, name, names) if is_weak else None
        if other is not None and other.label != name.label:
            return _INVALID[AMBIGUOUS], False
        stated[name.label] = stated.get(name.label, False) or expected
        any_judged = any_judged or around.judged(name)
    expected = any(stated.values())
    if len(stated) > 1:
        return _INVALID[AMBIGUOUS], expected
    decided = stated and (expected or (any_judged and not any_denied))
    said = ParsedAnswer(next(iter(stated)), None) if decided else _INVALID[NO_LABEL]
    return said, expected


def _several(text: str, names: LabelNames) -> ParsedAnswer:
    """Say why prose is no answer: it names several labels, or is no statement of one."""
    labels = {name.label for name in names.find(text) if name.kind == "label"}
    return _INVALID[AMBIGUOUS if len(labels) > 1 else NO_LABEL]


RULES: tuple[Rule, ...] = (
    whole_answer,
    nothing_left,
    json_field,
    fields,
    after_marker,
    behind_options,
    line_of_its_own,
    named_otherwise,
    declined,
    statement,
)


class LabelParser:
    """Parse answers of one task under one match rule.

    Args:
        task: The labels, their answer words and aliases.
        match: `strict` (equal to a label or its word after strip and case folding) or `flexible`
            (the rules of this module).

    Raises:
        CallError: `match` is neither.
    """

    def __init__(self, task: Task, *, match: str = "flexible") -> None:
        if match not in PARSER_RULES:
            raise CallError(f"match={match} is no rule; write one of {', '.join(PARSER_RULES)}.")
        self.task = task
        self.match = match
        names = dict(task.aliases) if match == "flexible" else {}
        names |= task.answers
        self._plain = {
            name.strip().casefold(): ParsedAnswer(label, None) for name, label in names.items()
        }
        self._names = LabelNames(task) if match == "flexible" else None

    def parse(self, answer: str) -> ParsedAnswer:
        """Return the label that `answer` names, or the reason why it is invalid.

        Takes time linear in the answer's length and raises nothing on any string.
        """
        plain = self._plain.get(answer.strip().casefold())
        if plain is not None:
            return plain
        if self._names is None:
            return _INVALID[NO_LABEL if answer.strip() else EMPTY]
        glued = self._glued(answer)
        if glued is not None:
            return glued
        text = clean(answer)
        if text is None:
            return _INVALID[UNFINISHED]
        following = self._next_example.search(text)
        if following:
            parsed = _ruled(text[: following.start()], self._names)
            if parsed.label:
                return parsed
        return _ruled(text, self._names)

    def contains(self, answer: str, label: str) -> bool:
        """Say whether `answer` contains the name of the gold `label`, its word or an alias.

        The rule of zero-shot studies: right when the right class name occurs anywhere in the
        answer, whatever else occurs. Both are folded (Unicode NFKC, case). The label's own name
        counts as a substring (`fear` in `fearless`), which is the published rule; its answer word
        or an alias, which that rule does not know, only as a whole word that is no ordinary one, or
        else `ira` would be in `admiration`. In scripts without spaces these are substrings too.
        Negation and reasoning do not matter.
        """
        text = fold(answer)
        name = fold(label).strip()
        if name in text if name else label in answer:
            return True
        found = () if self._names is None else self._names.find(text)
        kinds = ("alias", "label") if label in self.task.words else ("alias",)
        return any(one.label == label and one.kind in kinds for one in found)

    @functools.cached_property
    def _next_example(self) -> re.Pattern[str]:
        instruction = re.escape(fold(self.task.instruction).strip())
        return re.compile(rf"{phrases.NEXT_EXAMPLE.pattern}|\n[^\S\n]*{instruction}")

    @functools.cached_property
    def _glue(self) -> re.Pattern[str]:
        names = sorted(self.task.answers, key=lambda name: -len(name))
        small = "|".join(re.escape(name) for name in names if name[-1:].islower())
        return re.compile(rf"[\s\u200b-\u200f\ufeff]*({small or '(?!)'})[A-Z]")

    def _glued(self, answer: str) -> ParsedAnswer | None:
        """Read a label that the next word is glued to, where its end can be told: `joyThe`."""
        match = self._glue.match(answer)
        return _labelled(self.task.answers[match[1]]) if match else None


def _ruled(text: str, names: LabelNames) -> ParsedAnswer:
    """Return what the first rule that decides says."""
    found = (rule(text, names) for rule in RULES)
    return next((parsed for parsed in found if parsed is not None), _INVALID[NO_LABEL])


def _labelled(label: str | None) -> ParsedAnswer | None:
    return None if label is None else ParsedAnswer(label, None)


def _chosen(text: str, name: Name, verb: str | None) -> bool:
    """Whether an ordinary word is an answer behind a marker, and begins no phrase: `A car`."""
    if ends_clause(text, name.end) or text.startswith(")", name.end):
        return True
    begins_phrase = name.end - name.start == 1 and re.match(
        r" [a-z]", text[name.end : name.end + 2]
    )
    return verb is None and not (begins_phrase and text[name.start] in phrases.ORDINARY_WORDS)


def _answered(text: str, name: Name, names: LabelNames) -> ParsedAnswer:
    """Return the label of a name in answer position, unless another is named beside it."""
    if names.continues(text, name):
        return _INVALID[NO_LABEL]
    correction = phrases.CORRECTION.search(text, name.end, name.end + _STATEMENT)
    if correction and any(one.label != name.label for one in names.find(text, correction.end())):
        return _INVALID[AMBIGUOUS]
    beside: Name | None = name
    while beside is not None:
        beside = _beside(text, beside, names)
        if beside is not None and beside.label != name.label:
            return _INVALID[AMBIGUOUS]
    side = phrases.SIDE_BY_SIDE.match(text, name.end)
    other = names.at(text, side.end()) if side else None
    if other is not None and other.kind == "label" and other.label != name.label:
        return _INVALID[AMBIGUOUS]
    scored = _best_scored(text, name, names)
    if scored is None and phrases.UNTRUE.match(text, name.end):
        return _INVALID[NO_LABEL]
    return scored or ParsedAnswer(name.label, None)


def _best_scored(text: str, first: Name, names: LabelNames) -> ParsedAnswer | None:
    """Read the label of the highest score from the first one on: `joy: 0.1, sadness: 0.9`."""
    scores: dict[str, float] = {}
    for name in names.find(text[:_STATEMENT], first.start):
        score = _SCORE.match(text, name.end)
        is_told = score is not None and (name.kind != "number" or score[0].strip()[:1] in ":=")
        if score is not None and is_told:
            scores[name.label] = float(score[1])
    if len(scores) < 2 or first.label not in scores:
        return None
    best = [label for label, score in scores.items() if score == max(scores.values())]
    # Whole numbers may be ranks, unless they are 0 and one 1 or percentages.
    told = max(scores.values()) <= 1 or "%" in text
    return ParsedAnswer(best[0], None) if told and len(best) == 1 else _INVALID[AMBIGUOUS]


def _rates(text: str, name: Name, names: LabelNames) -> bool:
    """Whether a number is where a rating is, and counts nothing: `4.`, `4 stars`, `4 out of 5`."""
    if phrases.SCALE.search(text, max(0, name.start - 16), name.start):
        return False
    ends = ends_clause(text, name.end) or phrases.UNIT.match(text, name.end)
    return bool(ends or names.out_of(text, name))


def _beside(text: str, name: Name, names: LabelNames) -> Name | None:
    """Return the name that follows another one as its alternative: `joy or love`, `joy/love`."""
    if names.out_of(text, name):
        return None
    other = phrases.ALTERNATIVE.match(text, name.end)
    return None if other is None else names.at(text, other.end())


def _json_value(text: str, start: int) -> tuple[list[str], int]:
    """Return the strings of the value that starts there, and where to look for the next key."""
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
    value = _BARE_VALUE.match(text, start)
    end = start if value is None else value.end()
    return [text[start:end]], end


def _find(text: str, sign: str, start: int) -> int:
    end = text.find(sign, start)
    return len(text) if end < 0 else end
