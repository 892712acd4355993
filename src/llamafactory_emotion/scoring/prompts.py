"""Texts to the token ids a model is asked with, labels to the ids it may answer with.

The ids are the ones LLaMA-Factory would feed. A text stays text: a special token's name inside it
never becomes a control token.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring.templates import EMOTION_TEMPLATE, read_template
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, Task

# How texts usually begin. What all of them share in front of the text is the shared prefix; a text
# that begins otherwise (a line break may melt into the one before it) is scored without the cache.
_USUAL_TEXTS = ("the", "I", "1", "(", "爱")


@dataclass(frozen=True)
class EncodedPrompt:
    """One prompt as the model reads it; `special_tokens`: whether its text names one."""

    ids: tuple[int, ...]
    prompt: str
    truncated: bool
    special_tokens: bool


class PromptEncoder:
    """Encode texts and labels for one task, one template and one tokenizer.

    Examples (text, label) of `few_shot` are put between the instruction and the text; `cutoff_len`
    is the longest prompt and answer in tokens, as in LLaMA-Factory.

    Attributes:
        prefix_ids: The token ids that prompts share from their start.
        label_ids: For each label the token ids of its answer, which is its word where it has one.
            Where one label's ids begin another's, the end token follows all of them.
        limit: The most tokens of a prompt; longer texts are cut.
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
        self.template, self.tokenizer = read_template(tokenizer, template)
        self.task = task
        self.template_name = template
        self._examples = "".join(
            f"{text}{ANSWER_CUE}{ANSWER_PREFIX}{task.word_of(label)}\n\n"
            for text, label in few_shot
        )
        self._special = special_token_pattern(self.tokenizer)
        self._ends_joined = False
        self.label_ids = self._encode_labels()
        self.prefix_ids = self._shared_prefix()
        self.limit = self._prompt_limit(cutoff_len, max_positions)

    @property
    def opening(self) -> str:
        """The characters that every text is encoded behind: head, instruction, examples."""
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

    def answer_ids(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Encode answers, without an end token."""
        answers = [f"{self.template.answer_prefix}{word}" for word in words]
        split = not self.template.has_control_tokens
        return [tuple(ids) for ids in self._tokenize(answers, split=split)]

    def _with_examples(self, content: str) -> tuple[str, int]:
        """Put the examples before the text; return the index too at which the text begins."""
        opening = self.task.user_content("")
        start = len(opening) if content.startswith(opening) else 0
        return content[:start] + self._examples + content[start:], start + len(self._examples)

    def _finish(self, content: str, start: int, ids: list[int]) -> EncodedPrompt:
        special = self._special.search(content, start) is not None
        truncated = len(ids) > self.limit
        if truncated:
            content = longest_that_fits(
                self.tokenizer,
                content,
                start=start,
                limit=self.limit,
                length=lambda part: len(self._encode_rows([part])[0]),
            )
            ids = self._encode_rows([content])[0]
        return EncodedPrompt(tuple(ids), self.template.prompt(content), truncated, special)

    def _encode_rows(self, contents: Sequence[str]) -> list[list[int]]:
        template = self.template
        rows = [f"{template.head}{content}{template.tail}" for content in contents]
        encoded = self._tokenize(rows, split=not template.has_control_tokens)
        if template.has_control_tokens:
            for number, content in enumerate(contents):
                if self._special.search(content):
                    encoded[number] = self._encode_around(content)
        return [[*template.before_ids, *ids, *template.after_ids] for ids in encoded]

    def _encode_around(self, content: str) -> list[int]:
        """Encode a content that names special tokens: control in the template, text in it."""
        head, tail = self.template.head, self.template.tail
        head_end = max((match.end() for match in self._special.finditer(head)), default=0)
        first = self._special.search(tail)
        tail_start = first.start() if first else len(tail)
        middle = f"{head[head_end:]}{content}{tail[:tail_start]}"
        begin, end = self._tokenize([head[:head_end], tail[tail_start:]], split=False)
        return [*begin, *self._tokenize([middle], split=True)[0], *end]

    def _tokenize(self, rows: list[str], *, split: bool) -> list[list[int]]:
        if not rows:
            return []
        options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
        encoded = self.tokenizer(rows, split_special_tokens=split, **options)
        return [list(ids) for ids in encoded["input_ids"]]

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
        # The last token of a prompt is never shared: its own state is what scores are read off.
        columns = zip(*(row[:-1] for row in rows), strict=False)
        return tuple(column[0] for column in takewhile(lambda one: len(set(one)) == 1, columns))

    def _encode_labels(self) -> tuple[tuple[int, ...], ...]:
        label_ids = self.answer_ids([self.task.word_of(label) for label in self.task.labels])
        seen: dict[tuple[int, ...], str] = {}
        for label, ids in zip(self.task.labels, label_ids, strict=True):
            if ids in seen:
                raise ModelError(
                    f"the labels {seen[ids]!r} and {label!r} become the same tokens {list(ids)}, "
                    "so no model with this tokenizer can tell them apart; rename one of them, or "
                    "give it another word (`words:` in the task's file)."
                )
            seen[ids] = label
        # All distinct, so a label whose tokens begin another's is shorter: the end token decides.
        self._ends_joined = any(
            one != other and other[: len(one)] == one for one in label_ids for other in label_ids
        )
        if not self._ends_joined:
            return tuple(label_ids)
        if not self.template.end_ids:
            raise ModelError(
                "one label's tokens begin another's and the tokenizer has no end token to tell "
                "them apart; rename a label or set the tokenizer's eos_token."
            )
        return tuple(ids + self.template.end_ids for ids in label_ids)


def longest_that_fits(
    tokenizer: Any, text: str, *, start: int, limit: int, length: Callable[[str], int]
) -> str:
    """Return the longest beginning of a text that fits, cut between two of its tokens.

    At least its first `start` characters are kept. `length` counts the tokens of the whole prompt
    around a part of the text, of which there may be `limit`.
    """
    ends = _token_starts(tokenizer, text, start, limit)
    # The first end is what must be kept, whatever its length.
    last = bisect_right(ends, limit, lo=1, key=lambda end: length(text[:end])) - 1
    return text[: ends[last]]


def _token_starts(tokenizer: Any, text: str, start: int, limit: int) -> list[int]:
    """Return the indices to cut at: where tokens begin; any without a fast tokenizer."""
    if not tokenizer.is_fast:
        return list(range(start, len(text)))
    offsets = tokenizer(
        [text],
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )["offset_mapping"][0]
    # No cut text that fits has more tokens than the limit; a byte-level token may begin inside a
    # character, and what a normalizer adds to a text has a character's offsets.
    ends, past = [start], start
    for begin, end in offsets[: limit + 1]:
        if begin >= past and begin > start:
            ends.append(begin)
        past = max(past, end)
    return ends


def special_token_pattern(tokenizer: Any) -> re.Pattern[str]:
    """Compile a pattern of the names of a tokenizer's special tokens; it may match nothing."""
    names = set(tokenizer.all_special_tokens)
    names |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def valid_unicode(text: str) -> str:
    """Replace half characters (a lone surrogate, as JSON may hold), which no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
