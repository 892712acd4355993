"""Turn texts into the token ids a model is asked with, and labels into the ids it may answer with.

Stands on `templates` and `truncation`. The ids are the ones LLaMA-Factory would feed. A text stays
text: a special token's name inside it never becomes a control token.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring.templates import EMOTION_TEMPLATE, read_template
from llamafactory_emotion.scoring.truncation import longest_that_fits
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, Task

# How texts usually begin. What all of them share in front of the text is the shared prefix; a text
# that begins otherwise (a line break may melt into the one before it) is scored without the cache.
_USUAL_TEXTS = ("the", "I", "1", "(", "爱")


@dataclass(frozen=True)
class EncodedPrompt:
    """One prompt as the model reads it.

    Attributes:
        ids: The token ids.
        prompt: The same as text.
        truncated: Whether the text was cut to fit the cutoff.
        special_tokens: Whether the text holds the name of a special token.
    """

    ids: tuple[int, ...]
    prompt: str
    truncated: bool
    special_tokens: bool


class PromptEncoder:
    """Encode texts and labels for one task, one template and one tokenizer.

    Args:
        tokenizer: A transformers tokenizer.
        task: The task; its instruction stands before every text.
        template: `emotion`, or any other name for the chat template that the tokenizer carries.
        few_shot: Examples (text, label) that are put between the instruction and the text.
        cutoff_len: The longest prompt and answer in tokens, as in LLaMA-Factory.
        max_positions: The most tokens the model can read, or None when it has no such limit.

    Attributes:
        prefix_ids: The token ids that prompts share from their start.
        label_ids: For each label the token ids of its answer. Where one label's ids begin
            another's, the end token has joined all of them.

    Raises:
        CallError: `cutoff_len` leaves no room for a text.
        ModelError: Two labels become the same tokens, or the tokenizer lacks what is needed.
    """

    def __init__(
        self,
        tokenizer: Any,
        task: Task,
        *,
        template: str = EMOTION_TEMPLATE,
        few_shot: Sequence[tuple[str, str]] = (),
        cutoff_len: int = 2048,
        max_positions: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.task = task
        self.template = read_template(tokenizer, template)
        self._examples = "".join(
            f"{text}{ANSWER_CUE}{ANSWER_PREFIX}{label}\n\n" for text, label in few_shot
        )
        self._special = special_token_pattern(tokenizer)
        self.label_ids = self._encode_labels()
        self.prefix_ids = self._shared_prefix()
        self.limit = self._prompt_limit(cutoff_len, max_positions)

    @property
    def opening(self) -> str:
        """The text in front of every text: the template's head, the instruction, the examples."""
        return self.template.head + self._with_examples(self.task.user_content(""))[0]

    def encode(self, texts: Iterable[str]) -> list[EncodedPrompt]:
        """Encode texts, each behind the task's instruction."""
        return self.encode_contents([self.task.user_content(text) for text in texts])

    def encode_contents(self, contents: Sequence[str]) -> list[EncodedPrompt]:
        """Encode whole user contents (instruction and text)."""
        prepared = [self._with_examples(valid_unicode(content)) for content in contents]
        encoded = self._encode_rows([content for content, _ in prepared])
        return [
            self._finish(content, start, ids)
            for (content, start), ids in zip(prepared, encoded, strict=True)
        ]

    def _with_examples(self, content: str) -> tuple[str, int]:
        """Put the examples before the text and give the place where the text begins."""
        opening = self.task.user_content("")
        start = len(opening) if content.startswith(opening) else 0
        return content[:start] + self._examples + content[start:], start + len(self._examples)

    def _finish(self, content: str, start: int, ids: list[int]) -> EncodedPrompt:
        special = self._special is not None and self._special.search(content, start) is not None
        truncated = len(ids) > self.limit
        if truncated:
            content = self._cut(content, start)
            ids = self._encode_rows([content])[0]
        bos = "".join(self.tokenizer.convert_ids_to_tokens(list(self.template.bos_ids)))
        prompt = f"{bos}{self.template.head}{content}{self.template.tail}"
        return EncodedPrompt(tuple(ids), prompt, truncated, special)

    def _encode_rows(self, contents: Sequence[str]) -> list[list[int]]:
        if not contents:
            return []
        template = self.template
        rows = [f"{template.head}{content}{template.tail}" for content in contents]
        encoded = self._tokenize(rows, split=not template.has_control_tokens)
        if template.has_control_tokens and self._special is not None:
            for number, content in enumerate(contents):
                if self._special.search(content):
                    encoded[number] = self._encode_around(content)
        return [[*template.bos_ids, *ids] for ids in encoded]

    def _encode_around(self, content: str) -> list[int]:
        """Encode a content that names special tokens: control in the template, text in it."""
        assert self._special is not None  # noqa: S101 - the caller found a match
        head, tail = self.template.head, self.template.tail
        head_end = max((match.end() for match in self._special.finditer(head)), default=0)
        first = self._special.search(tail)
        tail_start = first.start() if first else len(tail)
        middle = f"{head[head_end:]}{content}{tail[:tail_start]}"
        return [
            *(self._tokenize([head[:head_end]], split=False)[0] if head_end else []),
            *self._tokenize([middle], split=True)[0],
            *(self._tokenize([tail[tail_start:]], split=False)[0] if first else []),
        ]

    def _tokenize(self, rows: list[str], *, split: bool) -> list[list[int]]:
        encoded = self.tokenizer(
            rows,
            add_special_tokens=False,
            split_special_tokens=split,
            return_attention_mask=False,
            verbose=False,
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def _cut(self, content: str, start: int) -> str:
        """Give the longest content that fits, cut in the text and between two of its tokens."""
        return longest_that_fits(
            self.tokenizer,
            content,
            start=start,
            limit=self.limit,
            length=lambda part: len(self._encode_rows([part])[0]),
        )

    def _prompt_limit(self, cutoff_len: int, max_positions: int | None) -> int:
        lengths = [len(ids) for ids in self.label_ids]
        # LLaMA-Factory keeps room for the row's own answer and its end token. The shortest label
        # decides here, so that every row which fits there is whole here too.
        end = 0 if self._ends_joined else 1
        limit = cutoff_len - min(lengths) - end
        if max_positions is not None:
            limit = min(limit, max_positions - max(lengths))
        needed = len(self._encode_rows([self._with_examples(self.task.user_content(""))[0]])[0]) + 1
        if limit < needed:
            raise CallError(
                f"cutoff_len {cutoff_len} leaves no room for a text: instruction, examples and cue "
                f"alone take {needed - 1} tokens and the longest prompt may have {max(limit, 0)}; "
                "raise cutoff_len or take fewer examples"
                + ("." if max_positions is None else f" (the model reads {max_positions} tokens).")
            )
        return limit

    def _shared_prefix(self) -> tuple[int, ...]:
        contents = [self._with_examples(self.task.user_content(t))[0] for t in _USUAL_TEXTS]
        rows = self._encode_rows(contents)
        length = 0
        while all(len(row) > length + 1 for row in rows):
            if len({row[length] for row in rows}) > 1:
                break
            length += 1
        return tuple(rows[0][:length])

    def _encode_labels(self) -> tuple[tuple[int, ...], ...]:
        answers = [f"{self.template.answer_prefix}{label}" for label in self.task.labels]
        label_ids = [tuple(ids) for ids in self._tokenize(answers, split=True)]
        for label, ids in zip(self.task.labels, label_ids, strict=True):
            if not ids:
                raise ModelError(f"the tokenizer makes no token of the label {label!r}.")
        self._ends_joined = _some_begin_others(label_ids)
        if self._ends_joined:
            label_ids = [ids + self.template.end_ids for ids in label_ids]
        self._check_distinct(label_ids)
        return tuple(label_ids)

    def _check_distinct(self, label_ids: Sequence[tuple[int, ...]]) -> None:
        seen: dict[tuple[int, ...], str] = {}
        for label, ids in zip(self.task.labels, label_ids, strict=True):
            if ids in seen:
                raise ModelError(
                    f"the labels {seen[ids]!r} and {label!r} become the same tokens {list(ids)}, "
                    "so no model with this tokenizer can tell them apart; rename one of them."
                )
            seen[ids] = label
        if self._ends_joined and not self.template.end_ids:
            raise ModelError(
                "one label's tokens begin another's and the tokenizer has no end token to tell "
                "them apart; rename a label or set the tokenizer's eos_token."
            )


def _some_begin_others(label_ids: Sequence[tuple[int, ...]]) -> bool:
    return any(
        len(short) < len(long) and long[: len(short)] == short
        for short in label_ids
        for long in label_ids
    )


def special_token_pattern(tokenizer: Any) -> re.Pattern[str] | None:
    """Give a pattern of a tokenizer's special tokens by their names, or None if it has none."""
    names = set(tokenizer.all_special_tokens)
    names |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    if not names:
        return None
    return re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))


def valid_unicode(text: str) -> str:
    """Replace half characters (a lone surrogate, as JSON may hold), which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
