r"""Find the text to be classified inside a row of predictions.

LLaMA-Factory writes the whole prompt: template, instruction, text, template. To join a row with
the data it came from, or to give another classifier the same input, the text alone is needed.
It is the row's key `text` where there is one; else what follows the task's instruction in the
prompt, without the end of the turn. Where the instruction is another one, the prompt's frame is
learned from known texts: what stands before and after them in every prompt.
"""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from llamafactory_emotion.predictions.reading import Prediction
from llamafactory_emotion.task import ANSWER_CUE, Task

# Rows from which the frame is learned, and the share of texts that makes learning needless.
SAMPLE = 30
_AGREEING = 0.8
_TAIL_LENGTH = 300
# What templates put between the text and the answer.
_TAIL = re.compile(
    r"(?:\s*<\|[^|<>]{1,40}\|>(?:assistant|model)?"
    r"|\s*<(?:end|start)_of_turn>(?:model)?"
    r"|\s*</?(?:s|think)>"
    r"|\s*\[/INST\]"
    # vLLM's rows leave special tokens out, but not the roles between them.
    r"|\s*(?:assistant|model)\n{1,2}(?=\Z)"
    r"|\s*(?:\n|\s)(?:#{1,3}\s*)?(?:Assistant|ASSISTANT|Response|Answer):"
    r")+\s*\Z"
)


@dataclass(frozen=True)
class Frame:
    """What stands before and after the text in every prompt of a file."""

    before: str
    after: str

    def text(self, prompt: str) -> str | None:
        """Give the text inside the frame; None where the prompt has another frame."""
        long_enough = len(prompt) >= len(self.before) + len(self.after)
        if long_enough and prompt.startswith(self.before) and prompt.endswith(self.after):
            return prompt[len(self.before) : len(prompt) - len(self.after)]
        return None


class TextFinder:
    """Finds the text of a row; one is shared by all who look at the rows of a file."""

    def __init__(self, task: Task) -> None:
        """Look behind the task's instruction until a frame is learned."""
        self._instruction = task.instruction
        self._frame: Frame | None = None

    def find(self, row: Prediction) -> str | None:
        """Give the text of a row, or None where it cannot be told."""
        if row.text is not None:
            return row.text
        if row.prompt is None:
            return None
        if self._frame is not None:
            return self._frame.text(row.prompt)
        _, found, rest = row.prompt.partition(self._instruction)
        return _without_tail(rest).strip() if found else None

    def learn(self, rows: Sequence[Prediction], texts: Sequence[str], keys: Container[str]) -> None:
        """Learn the frame of the prompts where it finds more texts than the instruction does.

        Args:
            rows: The first rows of the file, `SAMPLE` of them.
            texts: Texts of which the file's are a part, or which are a part of the file's.
            keys: Their `join_key`s.
        """
        plain = self._share_found(rows, keys)
        if plain >= _AGREEING:
            return
        self._frame = _learn_frame([row.prompt for row in rows if row.prompt is not None], texts)
        if self._share_found(rows, keys) <= plain:
            self._frame = None

    def _share_found(self, rows: Sequence[Prediction], keys: Container[str]) -> float:
        found = [self.find(row) for row in rows]
        return sum(text is not None and join_key(text) in keys for text in found) / max(
            len(rows), 1
        )


def _without_tail(text: str) -> str:
    if text.endswith(ANSWER_CUE):
        return text.removesuffix(ANSWER_CUE)
    start = max(0, len(text) - _TAIL_LENGTH)
    tail = _TAIL.search(text, start)
    return (text[: tail.start()] if tail else text).removesuffix(ANSWER_CUE)


def join_key(text: str) -> str:
    """Give what two writings of the same text share: decoding tokens may change the spaces."""
    return "".join(text.split())


def _learn_frame(prompts: Iterable[str], texts: Iterable[str]) -> Frame | None:
    """Give the frame that most prompts have around one of the texts, if two texts share it."""
    longest_first = sorted({text.strip() for text in texts} - {""}, key=len, reverse=True)
    framed: defaultdict[Frame, set[str]] = defaultdict(set)
    for prompt in prompts:
        text = next((text for text in longest_first if text in prompt), None)
        if text is not None:
            # A short text may stand in the instruction as well; the last place is the text's.
            before, _, after = prompt.rpartition(text)
            framed[Frame(before, after)].add(text)
    best = max(framed, key=lambda frame: len(framed[frame]), default=None)
    return best if best is not None and len(framed[best]) > 1 else None
