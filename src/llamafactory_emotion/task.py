"""What is asked and which answers count: a classification task as data.

Everything else (data, template, scoring, parsing, metrics) takes a `Task`, so that another label
set needs a YAML file and no code. `EMOTION` is the built-in one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
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
        problems = list(_task_problems(self))
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

        A value is a label id (`3`, `3.0`, `"3"`) or a label's name in any case; an alias is not a
        gold value. A label's name is tried before a number, so a task may have labels `1` to `5`.
        """
        if isinstance(value, str):
            name = _label_key(value)
            for label in self.labels:
                if _label_key(label) == name:
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
    return text.strip().casefold()


def _task_problems(task: Task) -> Iterator[str]:
    if not task.name.strip():
        yield "it has no name"
    if not task.instruction.strip():
        yield "the instruction is empty"
    if len(task.labels) < 2:
        yield "it needs two labels or more"
    if task.match not in MATCH_RULES:
        yield f"match {task.match!r} is none of {', '.join(MATCH_RULES)}"
    claimed: dict[str, str] = {}
    for label in task.labels:
        if not _label_key(label):
            yield "a label is empty"
        elif _label_key(label) in claimed:
            yield f"label {label!r} stands twice"
        claimed[_label_key(label)] = label
    yield from _alias_problems(task, claimed)


def _alias_problems(task: Task, claimed: dict[str, str]) -> Iterator[str]:
    for alias, label in task.aliases.items():
        key = _label_key(alias)
        if label not in task.labels:
            yield f"alias {alias!r} names {label!r}, which is no label"
        if not key:
            yield f"an alias of {label!r} is empty"
        elif claimed.get(key, label) != label:
            yield f"alias {alias!r} is claimed by {claimed[key]!r} and {label!r}"
        claimed[key] = label


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
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error


def _task_from_mapping(content: object, path: Path) -> Task:
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a task: a mapping with {', '.join(_TASK_KEYS)} is needed.")
    problems = [f"unknown key {key!r}" for key in content if key not in _TASK_KEYS]
    labels = content.get("labels")
    aliases = content.get("aliases") or {}
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        problems.append("labels must be a list of words (quote those YAML reads otherwise: 'no')")
    text_keys = ("name", "instruction")
    problems += [
        f"{key} must be text" for key in text_keys if not isinstance(content.get(key), str)
    ]
    if not isinstance(aliases, dict) or not all(isinstance(v, list) for v in aliases.values()):
        problems.append("aliases must map a label to a list of words")
    if problems:
        raise DataError(f"{path} is not a task: " + "; ".join(problems) + ".")
    flat = [(str(alias), label) for label, words in aliases.items() for alias in words]
    doubled = sorted({a for a, label in flat for b, other in flat if a == b and label != other})
    if doubled:
        raise DataError(f"{path}: aliases claimed by two labels: {', '.join(doubled)}.")
    return Task(
        name=content["name"],
        labels=tuple(content["labels"]),
        instruction=content["instruction"].strip(),
        aliases=dict(flat),
        match=content.get("match", "flexible"),
    )


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
