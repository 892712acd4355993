r"""Find the names of a task's labels in a folded text: what a whole word is, in any script.

A name found is not part of a longer word:

- letters and digits on either side make a longer word (`joyless`, `joy2`), and so do letters
  joined by one hyphen or underscore (`joy-filled`, `label_joy`); an apostrophe does not (`joy's`);
- a number inside a longer number does not count (`4` in `4.5` or `-4`);
- Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces: there a name counts
  as a substring, and such characters never make a word of another script longer (`答案是joy。`).

Where names overlap, the one that starts first counts, and of those the longest (`very positive`
over `positive`). Space, hyphen and underscore in a name are the same as long as labels stay
distinct.
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from llamafactory_emotion.parsing.phrases import OF_ALL, ORDINARY_WORDS
from llamafactory_emotion.task import Task
from llamafactory_emotion.text import WITHOUT_SPACES, fold

WORD_CHARACTER = re.compile(r"[^\W_]")
_SPACED = rf"[^\W_{WITHOUT_SPACES}]"
_BULLET = re.compile(r"[\W_]*(?:\d{1,3}|[a-z])[.)]\s")
_SEPARATORS = re.compile(r"[\s_–—-]+")
# What parts the levels of a hierarchical label: `Transport | Ship`, `card/lost`.
_LEVELS = "|/>:"
_NEXT_LEVEL = re.compile(r"[\"'`*_)\]]{0,4}\s{0,3}([|/>→\\]|->|::|:(?= ?\S))[ \t\"'`*_(\[]*")
# Signs between the words of a label; apostrophes and hyphens are inside a word.
_JOINT = re.compile(r"(?<=[^\W_])(?!['-]\b)(\s*)([^\w\s]+)(\s*)(?=[^\W_])")
_SPACEABLE = frozenset(":/,|>&;+")
_NEGATED = re.compile(r"(?:not|non|no)[\s_-]+(.+)")
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?")


class Name(NamedTuple):
    """A label's name in a text.

    Attributes:
        label: The label.
        start: Where the name begins.
        end: Where it ends.
        kind: `label` (or its answer word), `alias`, `number`, or `ordinary` for one that is an
            ordinary word or a single letter.
    """

    label: str
    start: int
    end: int
    kind: str


class LabelNames:
    """The names of a task's labels, folded, and the pattern that finds them."""

    def __init__(self, task: Task) -> None:
        self._names = _folded_names(task)
        self._meanings: list[tuple[str, str]] = []  # of the pattern's alternatives
        self._longest = max(map(len, self._names), default=0)
        self._levels = "".join(one for one in _LEVELS if any(one in name for name in self._names))
        self._joint = _joint_pattern(self._names)
        self._numbers = _numbers(task)

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the next name; the match's `lastindex`, from 1, says which.

        The alternatives are bundled by their first character, which precedes its guards: the
        engine then skips ahead to the next character that can start one. Compiled when it is first
        needed: most files hold nothing but plain labels.
        """
        squeezed: dict[str, set[str]] = {}  # to tell names that differ in their separators alone
        for name, (label, _) in self._names.items():
            squeezed.setdefault(_SEPARATORS.sub("", name), set()).add(label)
        longest_first = sorted(self._names, key=lambda one: -len(one))
        bundles: dict[str, list[str]] = {}
        for name in longest_first:
            loose = squeezed[_SEPARATORS.sub("", name)] == {self._names[name][0]}
            piece = _name_pattern(name, loose=loose) + _stack_guard(name, self._names)
            bundles.setdefault(name[0], []).append(piece)
        self._meanings = [
            self._names[name] for first in bundles for name in longest_first if name[0] == first
        ]
        alternatives = (
            re.escape(first) + _guard_before(first) + f"(?:{'|'.join(f'{p}()' for p in bundle)})"
            for first, bundle in bundles.items()
        )
        return re.compile(f"(?:{'|'.join(alternatives) or '(?!)'}){_guard_after()}")

    def find(self, text: str, start: int = 0) -> Iterator[Name]:
        """Yield the names in a folded text, one after another."""
        for match in self.pattern.finditer(text, start):
            around = text[match.start() - 1 : match.start()] + text[match.end() : match.end() + 1]
            if "'" not in around or match.end() - match.start() > 1 or around == "''":
                yield self._name(match)  # and no `d` of `I'd`, no `c` of `c'est`

    def at(self, text: str, position: int) -> Name | None:
        """Return the name that begins right there."""
        match = self.pattern.match(text, position)
        return None if match is None else self._name(match)

    def _name(self, match: re.Match[str]) -> Name:
        label, kind = self._meanings[(match.lastindex or 0) - 1]
        return Name(label, match.start(), match.end(), kind)

    def only(self, text: str) -> str | None:
        """Return the label whose name is all there is in `text` but signs, emoji and a bullet."""
        label = self._sole(text)
        bullet = _BULLET.match(text) if label is None else None
        return self._sole(text[bullet.end() :]) if bullet else label

    def _sole(self, text: str) -> str | None:
        first = WORD_CHARACTER.search(text)
        if first is not None:
            # A name may be wrapped and escaped, but not without bound.
            text = text[max(0, first.start() - self._longest) :]
            reach = 3 * self._longest + 64
            if WORD_CHARACTER.search(text, reach):
                return None
            text = text[:reach]
        match = self.pattern.search(text)
        if match is None:
            return self._number(text)
        before = WORD_CHARACTER.search(text, 0, match.start())
        if before or WORD_CHARACTER.search(text, match.end()):
            return self._all_alike(text) or self._number(text)
        name = self._name(match)
        return name.label if has_word(match[0]) else self._all_alike(text)

    def _all_alike(self, text: str) -> str | None:
        """Return the label of a text that is nothing but names of one label: `joy joy`."""
        labels = self.all_of(text)
        return labels.pop() if len(labels) == 1 else None

    def all_of(self, text: str) -> set[str]:
        """Return the labels of a text that is nothing but names; none where it says more."""
        labels = set()
        end = 0
        for name in self.find(text):
            if name.start < end:
                continue  # the 5 of `4/5`
            if WORD_CHARACTER.search(text, end, name.start):
                return set()
            labels.add(name.label)
            end = self.out_of(text, name) or name.end
        return set() if WORD_CHARACTER.search(text, end) else labels

    def _number(self, text: str) -> str | None:
        """Return the label that is a number of the same value: `4.0` is `4`."""
        if not self._numbers:
            return None
        found = _NUMBER.fullmatch(text.strip(" \t\n\r\"'`*.()[]"))
        return self._numbers.get(float(found[0])) if found else None

    def out_of(self, text: str, name: Name) -> int:
        """Return where `out of 5` or `/5` ends behind a number, 5 being the highest; else 0."""
        of_all = OF_ALL.match(text, name.end) if name.kind == "number" else None
        return of_all.end() if of_all and float(of_all[1]) == max(self._numbers, default=0) else 0

    def continues(self, text: str, name: Name) -> bool:
        """Whether a name is a level of a longer, unknown one: `Ship | Rowing`, `Sea > Ship`."""
        after = _NEXT_LEVEL.match(text, name.end)
        if after and (after[1] in self._levels or after[1] != ":"):
            follows = WORD_CHARACTER.match(text, after.end())
            if follows and not follows[0].isdecimal():
                return self.at(text, follows.start()) is None or after[1] in self._levels
        if self._joint and self._joint.match(text, name.end):
            return True
        if not self._levels:
            return False
        before = text[max(0, name.start - 6) : name.start].rstrip(" \"'`*_([")
        return (
            before[-1:] in tuple(self._levels.replace(":", ""))
            and WORD_CHARACTER.search(before) is not None
        )


def _joint_pattern(names: Iterable[str]) -> re.Pattern[str] | None:
    """Find what joins a name to more of its kind: the signs between the words of the labels.

    Where labels have no space around a sign, only a sign without space joins; where they have, what
    is joined ends its line after two words or one, or else it is a reason.
    """
    joints = set()
    for space, sign, other in (found for name in names for found in _JOINT.findall(name)):
        quoted = {"-": "[-–—]", "&": "(?:&|and)"}.get(sign, re.escape(sign))
        if (space or other) and sign not in ".?!":
            end = r"[^\W_]+(?:\s[^\W_]+)?[^\w\s]{0,4}\s*(?:\n|\Z)"
            joints.add(rf"\s{'+' if space else '*'}{quoted}\s{'+' if other else '*'}(?={end})")
        elif not (space or other):
            joints.add(rf"{quoted}(?=[^\W_])")
    return re.compile("|".join(sorted(joints))) if joints else None


def _kind(name: str, otherwise: str) -> str:
    is_letter = len(name) == 1 and name != name.upper()
    is_sign = name.isascii() and not WORD_CHARACTER.search(name)
    return "ordinary" if is_letter or is_sign or name in ORDINARY_WORDS else otherwise


def has_word(text: str) -> bool:
    """Say whether any letter or digit is left."""
    return WORD_CHARACTER.search(text) is not None


def _numbers(task: Task) -> dict[float, str]:
    """Map the value of each numeric label or word to the label, where all values differ."""
    values: dict[float, str] = {}
    for name, label in task.answers.items():
        found = _NUMBER.fullmatch(fold(name).strip())
        if found and values.setdefault(float(found[0]), label) != label:
            return {}
    return values


def _folded_names(task: Task) -> dict[str, tuple[str, str]]:
    """Map each folded name to its label and kind; `Task` has told labels and aliases apart."""
    folded = ((fold(alias).strip(), label) for alias, label in task.aliases.items())
    names = {name: (label, _kind(name, "alias")) for name, label in folded}
    for label in task.labels:  # `not toxic` is `non-toxic`
        negated = _NEGATED.fullmatch(fold(label).strip())
        if negated and negated[1] in map(fold, task.labels):
            names |= {f"{one} {negated[1]}": (label, "label") for one in ("not", "non")}
    for answer, label in task.answers.items():
        name = fold(answer).strip()
        names[name] = label, _kind(name, "number" if _NUMBER.fullmatch(name) else "label")
    bare = [(name.rstrip(".?!"), meaning) for name, meaning in names.items()]
    claims = Counter(name for name, _ in bare)
    return {name: meaning for name, meaning in bare if name and claims[name] == 1} | names


def _name_pattern(name: str, *, loose: bool) -> str:
    """Write what follows a name's first character; it may be wrapped, and spaced at its signs."""
    parts = re.findall(r"[\s_–—-]+|[^\s_–—-]+", name[1:])
    before = name[0]
    body = ""
    for index, part in enumerate(parts):
        if not _SEPARATORS.fullmatch(part):
            body += r"(?:\\?&|and|und|et|y|e)" if part == "&" else _literal(part, before)
            before = part[-1]
            continue
        after = parts[index + 1][0] if index + 1 < len(parts) else ""
        words = WORD_CHARACTER.match(before) and WORD_CHARACTER.match(after or " ")
        if words and loose and not part.isspace():
            body += r"(?:\\?[\s_–—-])+"
        elif words and loose:
            body += r"[\s_-]+"
        elif part.isspace():
            body += r"\s+" if words else r"\s*"
        else:
            body += _literal(part)
    return body


def _stack_guard(name: str, names: Iterable[str]) -> str:
    """Write what may not surround a sign that labels repeat: `★` is no part of `★★`."""
    sign = name[0]
    is_stack = not name.strip(sign) and not sign.isalnum() and any(2 * sign in one for one in names)
    return f"(?!{re.escape(sign)})(?<!{re.escape(sign + name)})" if is_stack else ""


def _literal(piece: str, before: str = "") -> str:
    r"""Quote a piece for a pattern; Markdown may have put a backslash before each sign (`\_`).

    A sign between words may have spaces around it.
    """
    written = ""
    for character, after in zip(piece, piece[1:] + " ", strict=True):
        if character.isalnum():
            written += character
        elif character.isspace():
            written += r"\s+"
        else:
            around = before + after
            space = r"\s?" if character in _SPACEABLE and _parts_words(around) else ""
            written += rf"{space}\\?{re.escape(character)}{space}"
        before = character
    return written


def _parts_words(around: str) -> bool:
    return around.isalnum() and len(around) == 2 and not around.isdecimal()


def _guard_before(first: str) -> str:
    """Write what may not precede a name, as seen from behind its first character."""
    quoted = re.escape(first)
    if first in "+-":
        return rf"(?!(?<={_SPACED}{quoted})\d)"
    if not re.match(_SPACED, first):
        return rf"(?<!\u200d{quoted})"
    guard = rf"(?<!{_SPACED}{quoted})(?<!{_SPACED}[-_]{quoted})(?<![{_combining_marks()}]{quoted})"
    return guard + (rf"(?<![-$€£¥⁄]{quoted})(?<!\d[.,]{quoted})" if first.isdecimal() else "")


@functools.cache
def _guard_after() -> str:
    """Write what may not follow a name; it depends on the name's last character alone."""
    return (
        rf"(?!(?<={_SPACED})(?:{_SPACED}|[-_](?!(?<=\d-)star r){_SPACED}|[{_combining_marks()}]))"
        r"(?!(?<=\d)(?:[.,]\d|:\d\d|⁄|\s?%|\+))(?!\u200d)"
        r"(?!(?<=(?<![^\W_])[a-z])(?:[+#]|-(?!-))(?!\w))"  # `A-` and `C#` are no letters
    )


@functools.cache
def _combining_marks() -> str:
    """Return the marks that belong to the letter before them, outside scripts without spaces."""
    spaceless = re.compile(f"[{WITHOUT_SPACES}]")
    marks = {
        code
        for code in range(0x300, 0x1E00)
        if unicodedata.category(chr(code))[0] == "M" and not spaceless.match(chr(code))
    }
    starts = sorted(code for code in marks if code - 1 not in marks)
    ends = sorted(code for code in marks if code + 1 not in marks)
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(starts, ends, strict=True))
