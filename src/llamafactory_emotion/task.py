"""What is asked and which answers count: a classification task as data.

Everything else (data, template, scoring, parsing, metrics) takes a `Task`, so that another label
set needs a YAML file and no code. `EMOTION` is the built-in one.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.text import loose_key, name_key

# The template: a prompt that ends in a colon and an answer that begins with a space make each label
# of the emotion task one token of the Llama-3 vocabulary.
ANSWER_CUE = "\nAnswer:"
ANSWER_PREFIX = " "

MATCH_RULES = ("strict", "flexible", "contains")
_TASK_KEYS = ("name", "instruction", "labels", "words", "aliases", "match")


class ClassName(str):
    """The name that a data set has for a label id: written by its makers, not row by row."""

    __slots__ = ()


@dataclass(frozen=True)
class Task:
    """A closed set of labels, the instruction that asks for one, and other words for them.

    Attributes:
        name: The task's name, as in `task=NAME`.
        labels: The labels; a label's index is its id in the data.
        instruction: Put before every text, separated by a line break.
        aliases: Other words for a label that may occur in an answer: alias to label.
        match: The match rule that evaluation uses when none is given.
        words: Answer words: label to what is trained and scored in its stead. What is shown and
            stored is the label; an answer or a gold value may be either.
        origin: Where a command found it, for messages; no part of the task itself.

    Raises:
        DataError: Fewer than two labels, an empty one, two that an answer could not tell apart, an
            alias or a word claimed twice or for no label, a word that is a number of another
            meaning in the data, an unknown match rule; all problems in one message.
    """

    name: str
    labels: tuple[str, ...]
    instruction: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    match: str = "flexible"
    words: Mapping[str, str] = field(default_factory=dict)
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        claims = _claims(self.words, self.aliases.items())
        problems = [*_problems(self.name, self.instruction, self.labels, claims, self.match)]
        if problems:
            raise DataError(f"mend the task {self.name!r}: " + "; ".join(problems) + ".")

    @property
    def fingerprint(self) -> str:
        """A short digest of all that shapes the data: it changes when the task does."""
        content = [self.name, self.labels, self.instruction, sorted(self.aliases.items())]
        content += [sorted(self.words.items())] if self.words else []
        encoded = json.dumps(content, ensure_ascii=False).encode()
        return hashlib.sha256(encoded).hexdigest()[:16]

    @property
    def described(self) -> str:
        """Its name and, where it is known, where it was found and how to name another."""
        found = f" ({self.origin}; name another with task= or labels=)" if self.origin else ""
        return f"task {self.name!r}{found}"

    @cached_property
    def answers(self) -> Mapping[str, str]:
        """What an answer may be, every label and every answer word, to the label."""
        words = {word: label for label, word in self.words.items()}
        return words | {label: label for label in self.labels}

    @cached_property
    def _names(self) -> dict[str, str]:
        """The `name_key` of every label and answer word, to the label."""
        return {name_key(name): label for name, label in self.answers.items()}

    @cached_property
    def _class_names(self) -> Mapping[str, str]:
        """The same, with aliases."""
        return {name_key(alias): label for alias, label in self.aliases.items()} | self._names

    @cached_property
    def _loose_names(self) -> Mapping[str, str | None]:
        """The `loose_key` of every label and answer word; None where two labels share it."""
        names: dict[str, str | None] = {}
        for name, label in self.answers.items():
            key = loose_key(name)
            names[key] = label if names.get(key, label) == label else None
        return names

    @cached_property
    def _numbers(self) -> Mapping[float, str]:
        return _values(self.labels)

    def word_of(self, label: str) -> str:
        """Return what is trained and scored for a label: its answer word, or the label itself."""
        return self.words.get(label, label)

    def as_mapping(self) -> dict[str, Any]:
        """Return the task as plain data, as a task file holds it; `task_of` reads it."""
        aliases: dict[str, list[str]] = {}
        for alias, label in self.aliases.items():
            aliases.setdefault(label, []).append(alias)
        content = {
            "name": self.name,
            "instruction": self.instruction,
            "labels": list(self.labels),
            "words": dict(self.words),
            "aliases": aliases,
            "match": self.match,
        }
        return {key: value for key, value in content.items() if value}

    def user_content(self, text: str) -> str:
        """Return the content of the user turn: the instruction, a line break, the text."""
        return f"{self.instruction}\n{text}"

    def label_of(self, value: object) -> str | None:
        """Return the label that a gold value of a data file means, or None.

        A value is compared with labels and answer words as text: case, Unicode form, surrounding
        space, and the difference between space, hyphen and underscore do not matter as long as
        labels stay distinct; `3.0` is `3`, True is `true`, an en dash is a minus. Only where no
        label is a number, a whole number is a label id. An alias is a gold value only where it is a
        data set's `ClassName`.
        """
        key = name_key(_as_text(value))
        names = self._class_names if isinstance(value, ClassName) else self._names
        label = names.get(key) or self._loose_names.get(loose_key(key))
        if label is not None or not key or isinstance(value, bool):
            return label
        return _numbered(key, self.labels, self._numbers)

    def is_id(self, value: object) -> bool:
        """Whether a gold value is a label id: a whole number, and no label is one."""
        if self._numbers or isinstance(value, bool):
            return False
        return _number(name_key(_as_text(value))) is not None and self.label_of(value) is not None


def _as_text(value: object) -> str:
    """Write a value of a data file as text: True as `true`, 3.0 as `3`, nothing as nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else ""


# Python refuses to convert numbers of thousands of digits.
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?")


def _number(key: str) -> float | None:
    return float(key) if _NUMBER.fullmatch(key) else None


def _values(labels: Sequence[str]) -> Mapping[float, str]:
    """Return the value of each label that is a number, to the label."""
    values = [(_number(name_key(label)), label) for label in labels]
    return {value: label for value, label in reversed(values) if value is not None}


def _numbered(key: str, labels: Sequence[str], values: Mapping[float, str]) -> str | None:
    """Return the label that a number means: of that value, or where no label has one, the id."""
    number = _number(key)
    if number is None or values:
        return None if number is None else values.get(number)
    is_id = number == int(number) and 0 <= number < len(labels) and "-" not in key
    return labels[int(number)] if is_id else None


Claim = tuple[str, str, str]


def _claims(words: Mapping[str, str], aliases: Iterable[tuple[str, str]]) -> list[Claim]:
    """Return what else may name a label: `word` or `alias`, the name, the label."""
    named = [("word", word, label) for label, word in words.items()]
    return named + [("alias", alias, label) for alias, label in aliases]


def _problems(
    name: str, instruction: str, labels: Sequence[str], claims: Iterable[Claim], match: object
) -> Iterator[str]:
    """Yield a sentence part for each thing that is wrong with a task."""
    if not name.strip():
        yield "it has no name"
    if not instruction.strip():
        yield "the instruction is empty"
    if len(labels) < 2:
        yield "it needs two labels or more"
    if match not in MATCH_RULES:
        yield f"match {match!r} is none of {', '.join(MATCH_RULES)}"
    yield from _label_problems(labels)
    yield from _claim_problems(labels, claims)


def _label_problems(labels: Sequence[str]) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, label in enumerate(labels):
        key = name_key(label)
        other = first.setdefault(key, number)
        if not key:
            yield "a label is empty"
        elif len(label.strip().splitlines()) > 1:
            yield f"label {label!r} holds a line break, and an answer is one line"
        elif other != number:
            yield f"labels {labels[other]!r} and {label!r} cannot be told apart in an answer"


def _claim_problems(labels: Sequence[str], claims: Iterable[Claim]) -> Iterator[str]:
    claimed = {name_key(label): label for label in reversed(labels)}
    values = _values(labels)
    for kind, name, label in claims:
        key = name_key(name)
        claimant = claimed.setdefault(key, label)
        if label not in labels:
            yield f"{kind} {name!r} names {label!r}, which is no label"
        if not key:
            yield f"{'the word' if kind == 'word' else 'an alias'} of {label!r} is empty"
        elif claimant != label:
            yield f"{kind} {name!r} is claimed by {claimant!r} and {label!r}"
        elif kind == "word" and len(name.strip().splitlines()) > 1:
            yield f"word {name!r} of {label!r} holds a line break, and an answer is one line"
        elif kind == "word" and _number(key) is not None:
            # Gold values that are numbers must mean the same with and without the words.
            meant = _numbered(key, labels, values)
            if label in labels and meant != label:
                said = "no label" if meant is None else repr(meant)
                yield f"word {name!r} of {label!r} is a number, which means {said} in the data"


def load_task(name_or_path: str | Path) -> Task:
    """Return the built-in task of that name, or the task in a YAML file.

    The file has `name`, `labels` (a list; its order gives the ids) and, if wanted, `instruction`
    (generated when not there), `words` (label to answer word), `aliases` (label to a list of names)
    and `match`.

    Raises:
        CallError: No built-in task has that name and there is no such file.
        DataError: The file is not a task; all problems are listed.
    """
    if str(name_or_path) in BUILT_IN_TASKS:
        return BUILT_IN_TASKS[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(BUILT_IN_TASKS)
        raise CallError(
            f"the task {str(name_or_path)!r} is neither built in ({known}) nor a file; "
            "give a name or the path of a task's YAML file."
        )
    return task_of(_read_yaml(path), str(path))


_STRING = "tag:yaml.org,2002:str"


class _Bare(str):
    """A word of a list that YAML reads as something else than text."""

    __slots__ = ()


def _read_yaml(path: Path) -> object:
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        # Ten short lines of aliases can write out to more than any memory holds.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise DataError(f"{path} has YAML aliases (*name); write out what they repeat.")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        doubled = sorted(set(_doubled_keys(node)))
        _keep_as_written(node)
        content = loader.construct_document(node) if node else None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    # PyYAML passes on what Python says of `2001-99-99`, `!!int x` or `!!bool x`.
    except (yaml.YAMLError, ValueError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not valid YAML; mend it: {reason}.") from error
    if doubled:
        raise DataError(f"{path}: {', '.join(doubled)} is there twice; keep one of them.")
    return content


def _doubled_keys(node: Any) -> Iterator[str]:
    """Yield the keys that a mapping has twice: YAML keeps the last without a word."""
    pairs = node.value if getattr(node, "id", "") == "mapping" else ()
    counts = Counter(str(key.value) for key, _ in pairs)
    yield from (f"the key {key!r}" for key, count in counts.items() if count > 1)
    for _, value in pairs:
        yield from _doubled_keys(value)


def _keep_as_written(node: Any) -> None:
    """Let keys be text, and mark items of lists, that YAML reads otherwise: `no`, `on`, `1`."""
    kind = getattr(node, "id", "")
    for item in node.value if kind == "sequence" else ():
        if item.id == "scalar" and item.tag != _STRING:
            item.tag, item.value = _STRING, _Bare(item.value)
    for key, value in node.value if kind == "mapping" else ():
        if key.id == "scalar":
            key.tag = _STRING
        _keep_as_written(value)


def task_of(content: object, origin: str) -> Task:
    """Return the task that plain data describes, as a task file or a record holds it.

    Args:
        content: A mapping with the keys of a task file.
        origin: What the data comes from, for messages.

    Raises:
        DataError: Lists all problems of the data's shape and of the task.
    """
    if not isinstance(content, dict):
        raise DataError(f"{origin} is not a task; write a mapping with {', '.join(_TASK_KEYS)}.")
    problems = [f"unknown key {key!r}" for key in content if key not in _TASK_KEYS]
    labels = _words(content.get("labels"), "labels must be a list of words", problems)
    generated = instruction_for(labels)
    texts = {"name": content.get("name"), "instruction": content.get("instruction", generated)}
    problems += [f"{key} must be text" for key, text in texts.items() if not isinstance(text, str)]
    name, instruction = (text if isinstance(text, str) else "?" for text in texts.values())
    aliases: list[tuple[str, str]] = []
    by_label = content.get("aliases") or {}
    for label, others in by_label.items() if isinstance(by_label, dict) else [("", None)]:
        found = _words(others, "aliases must map a label to a list of words", problems)
        aliases += [(word, str(label).strip()) for word in found]
    given = content.get("words") or {}
    given = given if isinstance(given, dict) else {"": None}
    words = _words(list(given.values()), "words must map a label to one word", problems)
    answers = dict(zip((str(label).strip() for label in given), words, strict=False))
    match = content.get("match", "flexible")
    known = (labels, _claims(answers, aliases)) if labels else (["?", "??"], [])
    problems += _problems(name, instruction, *known, match)
    if problems:
        raise DataError(f"{origin} is not a task; mend it: " + "; ".join(problems) + ".")
    return Task(name, tuple(labels), instruction.strip(), dict(aliases), match, answers)


def instruction_for(labels: Iterable[str], words: Mapping[str, str] | None = None) -> str:
    """Return an instruction that names the labels, for a task that has none of its own.

    Where labels have answer words, it names both: a model that was not trained for the task could
    not know that `A` is to be answered for `billing`.
    """
    if not words:
        return f"Classify the following text as one of: {', '.join(labels)}."
    named = (f"{words[label]} for {label}" if label in words else label for label in labels)
    return f"Classify the following text. Answer with one of: {', '.join(named)}."


def _words(value: object, wanted: str, problems: list[str]) -> list[str]:
    """Return a list of words without the white space around them, or note why it is none."""
    listed = value if isinstance(value, list) else []
    strange = [word for word in listed if not isinstance(word, str) or isinstance(word, _Bare)]
    if strange or not isinstance(value, list):
        named = ", ".join(str(word) or "an empty one" for word in strange)
        reading = (
            f", not {named} (quote what YAML reads otherwise: 'no', 'on', '1')" if named else ""
        )
        problems.append(wanted + reading)
        return []
    return [word.strip() for word in listed]


EMOTION = Task(
    name="emotion",
    labels=("sadness", "joy", "love", "anger", "fear", "surprise"),
    instruction="Do emotion classification for data in the following text.",
    aliases={
        **dict.fromkeys(("sad", "unhappy", "悲伤", "tristeza"), "sadness"),
        **dict.fromkeys(("happy", "happiness", "joyful", "喜悦", "alegría"), "joy"),
        **dict.fromkeys(("loving", "爱", "amor"), "love"),
        **dict.fromkeys(("angry", "愤怒", "ira"), "anger"),
        **dict.fromkeys(("afraid", "scared", "fearful", "恐惧", "miedo"), "fear"),
        **dict.fromkeys(("surprised", "惊讶", "sorpresa"), "surprise"),
    },
)

BUILT_IN_TASKS: Mapping[str, Task] = {EMOTION.name: EMOTION}
