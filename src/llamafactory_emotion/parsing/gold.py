"""Read a gold value: the label of a task, however a file writes it.

Gold is read like an answer, for a run may have trained answers that are more than the label, and
LLaMA-Factory writes them as they were trained: with an empty block of reasoning, an end token, an
answer tag, as JSON, as `key: value`, or as a sentence that gives one where answers are expected
(`The text expresses joy.`). Else what is left must be a label or its answer word exactly; an alias,
which stands for what a model may say, is no gold value.
"""

from dataclasses import replace
from functools import cached_property

from llamafactory_emotion.parsing.cleaning import clean
from llamafactory_emotion.parsing.names import LabelNames
from llamafactory_emotion.parsing.rules import (
    LabelParser,
    after_marker,
    fields,
    json_field,
    sentence,
    whole_answer,
)
from llamafactory_emotion.task import Task

_LONGEST = 2_000


class GoldReader:
    """Reads gold values of one task, and answers that are ids where the gold labels are."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._names = LabelNames(replace(task, aliases={}))

    def read(self, value: object) -> str | None:
        """Return the label that a gold value means, or None."""
        label = self._task.label_of(value)
        if label is not None or not isinstance(value, str) or len(value) > _LONGEST:
            return label
        text = clean(value)
        if not text:
            return None
        label = self._task.label_of(text)
        if label is not None:
            return label
        for rule in (whole_answer, json_field, fields, after_marker, sentence):
            parsed = rule(text, self._names)
            if parsed is not None:
                return parsed.label
        return None

    def read_id(self, gold: object, answer: str) -> str | None:
        """Return the label of an answer that gives an id, where the gold value is one."""
        if self._task.is_id(clean(gold) if isinstance(gold, str) else gold):
            said = self._ids.parse(answer).label
            return said and self._task.label_of(said)
        return None

    @cached_property
    def _ids(self) -> LabelParser:
        numbers = tuple(map(str, range(len(self._task.labels))))
        return LabelParser(replace(self._task, labels=numbers, aliases={}, words={}))
