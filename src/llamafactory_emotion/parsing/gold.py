"""Read a gold value: the label of a task, however a file writes it.

Gold is read like an answer, for a run may have trained answers that are more than the label, and
LLaMA-Factory writes them as they were trained: with an empty block of reasoning, an end token, an
answer tag, as JSON or as `key: value`. What is left must be a label or its answer word exactly; an
alias, which stands for what a model may say, is no gold value.
"""

from dataclasses import replace

from llamafactory_emotion.parsing.cleaning import clean
from llamafactory_emotion.parsing.names import LabelNames
from llamafactory_emotion.parsing.rules import after_marker, fields, json_field, whole_answer
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
        for rule in (whole_answer, json_field, fields, after_marker):
            parsed = rule(text, self._names)
            if parsed is not None:
                return parsed.label
        return None

    def read_id(self, gold: object, answer: str) -> str | None:
        """Return the label of an answer that is nothing but an id, where the gold value is one."""
        if self._task.is_id(clean(gold) if isinstance(gold, str) else gold):
            text = clean(answer)
            return self._task.label_of(text) if text and self._task.is_id(text) else None
        return None
