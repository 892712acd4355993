"""What is asked and which answers count: a classification task as data.

Everything else (data, template, scoring, parsing, metrics) takes a `Task`, so that another label
set needs a YAML file and no code. `EMOTION` is the built-in one.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from llamafactory_emotion.errors import CallError, DataError

# The template: a prompt that ends in a colon and an answer that begins with a space make each label
# of the emotion task one token of the Llama-3 vocabulary.
ANSWER_CUE = "\nAnswer:"
ANSWER_PREFIX = " "

MATCH_RULES = ("strict", "flexible", "contains")
_TASK_KEYS = ("name", "instruction", "labels", "aliases", "match")


class ClassName(str):
    """The name that a data set has for a label id: written by its makers, not row by row."""

    __slots__ = ()


@dataclass(frozen=True)
class Task:
    """A closed set of labels, the instruction that asks for one, and other words for them.

    Attributes:
        name: The task's name, as in `--task NAME`.
        labels: The labels; a label's position is its id in the data.
        instruction: Put before every text, separated by a line break.
        aliases: Other words for a label, as they may stand in an answer: alias to label.
        match: The match rule that evaluation uses when none is given.

    Raises:
        DataError: Fewer than two labels, an empty or doubled one, an alias claimed twice or for
            a label that is not there, an unknown match rule; all problems in one message.
    """

    name: str
    labels: tuple[str, ...]
    instruction: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    match: str = "flexible"

    def __post_init__(self) -> None:
        problems = _problems(self.name, self.instruction, self.labels, self.match)
        problems += _alias_problems(self.aliases.items(), self.labels)
        if problems:
            raise DataError(f"Task {self.name!r}: " + "; ".join(problems) + ".")
        object.__setattr__(self, "aliases", MappingProxyType(dict(self.aliases)))

    def __reduce__(self) -> tuple[type["Task"], tuple[Any, ...]]:
        """Pickle by value: a mapping proxy cannot be pickled itself."""
        return Task, (self.name, self.labels, self.instruction, dict(self.aliases), self.match)

    @property
    def fingerprint(self) -> str:
        """A short digest of all that shapes the data: it changes when the task does."""
        content = [self.name, self.labels, self.instruction, sorted(self.aliases.items())]
        encoded = json.dumps(content, ensure_ascii=False).encode()
        return hashlib.sha256(encoded).hexdigest()[:16]

    def user_content(self, text: str) -> str:
        """Give what the user turn holds: the instruction, a line break, the text."""
        return f"{self.instruction}\n{text}"

    def label_of(self, value: object) -> str | None:
        """Give the label that a gold value of a data file means, or None.

        A value is a label id (`3`, `3.0`, `"3"`) or a label's name in any case; an alias is a gold
        value only where it is a data set's `ClassName`. A label's name is tried before a number, so
        a task may have labels `1` to `5`.
        """
        if isinstance(value, str):
            name = _label_key(value)
            for label in self.labels:
                if _label_key(label) == name:
                    return label
            if isinstance(value, ClassName):
                for alias, label in self.aliases.items():
                    if _label_key(alias) == name:
                        return label
            # Python refuses to read numbers of thousands of digits.
            is_number = len(name) < 10 and name.isascii() and name.isdigit()
            return self._label_with_id(int(name)) if is_number else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return self._label_with_id(int(value)) if value == value // 1 else None

    def _label_with_id(self, number: int) -> str | None:
        return self.labels[number] if 0 <= number < len(self.labels) else None


class LabelledRow(Protocol):
    """A row of a data file: its text, the name of its label, and where it stands."""

    @property
    def text(self) -> str:
        """The text to be classified."""

    @property
    def label(self) -> str:
        """The gold label, one of the task's."""

    @property
    def line(self) -> int:
        """The row's line, from 1."""


def _label_key(text: str) -> str:
    # Composed: an accent may be written as a character of its own, and looks the same.
    return unicodedata.normalize("NFC", text.strip().casefold())


def _answer_key(text: str) -> str:
    """Give what is left of a name once signs of one look and runs of white space are one."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _problems(name: str, instruction: str, labels: Iterable[str], match: object) -> list[str]:
    """Give a sentence part for all that is wrong with a task but its aliases."""
    labels = list(labels)
    problems = [] if name.strip() else ["it has no name"]
    problems += [] if instruction.strip() else ["the instruction is empty"]
    problems += [] if len(labels) >= 2 else ["it needs two labels or more"]
    if match not in MATCH_RULES:
        problems.append(f"match {match!r} is none of {', '.join(MATCH_RULES)}")
    return [*problems, *_label_problems(labels)]


def _label_problems(labels: Iterable[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for label in labels:
        key = _answer_key(label)
        if not key:
            yield "a label is empty"
        elif len(label.strip().splitlines()) > 1:
            yield f"label {label!r} holds a line break, and an answer is one line"
        elif key in seen and _label_key(seen[key]) == _label_key(label):
            yield f"label {label!r} stands twice"
        elif key in seen:
            yield f"labels {seen[key]!r} and {label!r} cannot be told apart in an answer"
        seen.setdefault(key, label)


def _alias_problems(aliases: Iterable[tuple[str, str]], labels: Iterable[str]) -> Iterator[str]:
    labels = list(labels)
    claimed = {_answer_key(label): label for label in labels}
    for alias, label in aliases:
        key = _answer_key(alias)
        if label not in labels:
            yield f"alias {alias!r} names {label!r}, which is no label"
        if not key:
            yield f"an alias of {label!r} is empty"
        elif claimed.get(key, label) != label:
            yield f"alias {alias!r} is claimed by {claimed[key]!r} and {label!r}"
        claimed.setdefault(key, label)


def load_task(name_or_path: str | Path) -> Task:
    """Give the built-in task of that name, or the task that a YAML file holds.

    The file has `name`, `instruction`, `labels` (a list; its order gives the ids) and, if wanted,
    `aliases` (label to a list of words) and `match`.

    Raises:
        CallError: No built-in task has that name and no file is there.
        DataError: The file is not a task; all problems are listed.
    """
    if str(name_or_path) in BUILT_IN_TASKS:
        return BUILT_IN_TASKS[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(BUILT_IN_TASKS)
        raise CallError(
            f"Task {str(name_or_path)!r} is neither built in ({known}) nor a file; "
            "give a name or the path of a task's YAML file."
        )
    return _task_from_mapping(_read_yaml(path), path)


def _read_yaml(path: Path) -> object:
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        doubled = sorted(set(_doubled_keys(yaml.compose(text, Loader=yaml.SafeLoader))))
        content = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be a task.") from None
    if doubled:
        raise DataError(f"{path}: {', '.join(doubled)} stands there twice; keep one of them.")
    return content


def _doubled_keys(node: Any) -> Iterator[str]:
    """Give the keys that stand twice in one mapping: YAML keeps the last without a word."""
    for key, value in node.value if getattr(node, "id", "") == "mapping" else ():
        if sum(key.value == other.value for other, _ in node.value) > 1:
            yield f"the key {key.value!r}"
        yield from _doubled_keys(value)


def _task_from_mapping(content: object, path: Path) -> Task:
    """Make a task of a file's content; what is wrong with its shape and its words is said at once.

    Raises:
        DataError: Lists every problem.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a task: a mapping with {', '.join(_TASK_KEYS)} is needed.")
    problems = [f"unknown key {key!r}" for key in content if key not in _TASK_KEYS]
    texts = {key: content.get(key) for key in ("name", "instruction")}
    problems += [f"{key} must be text" for key, text in texts.items() if not isinstance(text, str)]
    name, instruction = (text if isinstance(text, str) else "?" for text in texts.values())
    labels = _words(content.get("labels"))
    if labels is None:
        problems.append(f"labels must be a list of words{_no_words(content.get('labels'))}")
    match = content.get("match", "flexible")
    problems += _problems(name, instruction, labels or ["?", "??"], match)
    aliases, problem = _aliases(content.get("aliases") or {})
    problems += [problem] if problem else []
    problems += _alias_problems(aliases, labels) if labels else []
    if problems:
        raise DataError(f"{path} is not a task: " + "; ".join(problems) + ".")
    return Task(name, tuple(labels or ()), instruction.strip(), dict(aliases), match)


def _words(value: object) -> list[str] | None:
    """Give a list of words without the white space around them, or None when it is none."""
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return [word.strip() for word in value]


def _no_words(value: object) -> str:
    """Say which things in a list are no words; nothing of what is no list."""
    strange = [word for word in value if not isinstance(word, str)] if type(value) is list else []
    named = ", ".join("an empty one" if one is None else repr(one) for one in strange)
    return f", not {named} (quote what YAML reads otherwise: 'no', '1')" if named else ""


def _aliases(value: object) -> tuple[list[tuple[str, str]], str | None]:
    """Give pairs of alias and label, and what is wrong with the mapping they stand in."""
    pairs = list(value.items()) if isinstance(value, dict) else [("", None)]
    read = [(label, _words(words)) for label, words in pairs]
    if not all(isinstance(label, str) and words is not None for label, words in read):
        found = value.values() if isinstance(value, dict) else ()
        strange = next((told for told in map(_no_words, found) if told), "")
        return [], f"aliases must map a label to a list of words{strange}"
    return [(word, label.strip()) for label, words in read for word in words or ()], None


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

BUILT_IN_TASKS: Mapping[str, Task] = MappingProxyType({EMOTION.name: EMOTION})
