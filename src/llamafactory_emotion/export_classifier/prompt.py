r"""Put the prompt into the tokenizer: a text in, the ids of the whole prompt out.

The ids are those of `scoring.prompts`. The post-processor puts the ids of the prompt's two ends
around every text. Where a word splitter joins a text's edge with the prompt (it reads "!\n" as one
word), a few characters of the prompt, the glue, are put on the text itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, processors

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.scoring.prompts import PromptEncoder

_LONGEST_GLUE = 6

# Texts whose edges word splitters treat in special ways.
HARD_TEXTS = (
    *("so glad", "So glad!", "what now?!", "it is over.", "one more thing...", "wait, "),
    *(" it begins with a space", "it ends with a space ", "  two  spaces  "),
    *("\nit begins with a break", "it ends with a break\n", "\r\n\r\nboth\r\n"),
    *("full stop, then a break.\n", "\t", " ", "\n", ".", "!", "'s", "don't"),
    *("(in brackets)", '"quoted"', "12", "in 2024", "1,000.5 %", "A", "ALL CAPITALS"),
    *("爱是什么", "我很高兴。", "嬉しい！", "очень рад", "سعيد", "café cafe\u0301"),
    *("🙂", "well 🙂!", "👩‍👩‍👧", "\xa0hard spaces\xa0", "\u200b"),
    *("Answer:", "Answer: joy\nAnswer:", "<s>[INST] hello </s>", "<|eot_id|>"),
    *("<|begin_of_text|>well<|end_of_text|>", "{{content}} %s $A"),
    *("https://example.org/?q=1#top", "#tag @name *bold* `code`", "a" * 50, "word " * 40),
)


@dataclass(frozen=True)
class BakedPrompt:
    """A tokenizer that puts the prompt around every text.

    Attributes:
        glue_before: The prompt's characters that are put on a text's start.
        glue_after: Those that are put on its end; lost when the tokenizer truncates a text.
        empty_alike: Whether a text without characters gets the ids of its prompt: no normalizer
            touches it, so it gets no glue.
    """

    tokenizer: Tokenizer
    before_ids: tuple[int, ...]
    after_ids: tuple[int, ...]
    glue_before: str
    glue_after: str
    empty_alike: bool


def bake_prompt(encoder: PromptEncoder) -> BakedPrompt:
    """Find the smallest glue with which every text gets the ids that the encoder gives it."""
    if not encoder.tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer is a {type(encoder.tokenizer).__name__}, which cannot be described by "
            "a tokenizer.json, so a prompt cannot be put into it; use a model with a fast one."
        )
    prompts = dict(zip(HARD_TEXTS, encoder.encode(HARD_TEXTS), strict=True))
    wanted = {text: list(one.ids) for text, one in prompts.items() if not one.truncated}
    frame = _Frame(encoder)
    nearest = list(wanted)
    sizes = range(_LONGEST_GLUE + 1)
    befores = dict.fromkeys(frame.lead[len(frame.lead) - size :] for size in sizes)
    afters = dict.fromkeys(frame.tail[:size] for size in sizes)
    # Little glue first, above all on a text's end, where truncation can cut it off.
    for after, before in product(afters, befores):
        baked = frame.bake(before, after)
        unlike = [text for text, ids in wanted.items() if baked.tokenizer.encode(text).ids != ids]
        if not unlike:
            return baked
        nearest = min(nearest, unlike, key=len)
    raise ModelError(
        "the prompt cannot be put into this tokenizer: whatever part of it is on a text's "
        f"edges, some texts do not get the ids they are scored with ({nearest[0]!r} for one); "
        "serve this model with predict or EmotionClassifier instead."
    )


class _Frame:
    """The parts of a prompt around its text, and their ids.

    `lead` and `tail` are the characters that can be glue: a control token's name cannot, since on a
    text it would be read as text.
    """

    def __init__(self, encoder: PromptEncoder) -> None:
        self._encoder = encoder
        self._split = not encoder.template.has_control_tokens
        self._inner = _without_dummy_space(encoder.tokenizer.backend_tokenizer)
        self._own = [self._inner.normalizer] if self._inner.normalizer else []
        head, tail = encoder.template.head, encoder.template.tail
        names = [str(name) for name in encoder.tokenizer.all_special_tokens]
        head_ends = [head.rfind(name) + len(name) for name in names if name in head]
        self.lead = encoder.opening[max(head_ends, default=0) :]
        self.tail = tail[: min((tail.find(name) for name in names if name in tail), default=None)]

    def bake(self, before: str, after: str) -> BakedPrompt:
        """Set the tokenizer to that glue and return it; it is the same object every time."""
        encoder, opening = self._encoder, self._encoder.opening
        plain = encoder.tokenizer(
            opening[: len(opening) - len(before)],
            add_special_tokens=False,
            split_special_tokens=self._split,
        )["input_ids"]
        before_ids = [*encoder.template.before_ids, *plain]
        inner = self._inner
        inner.normalizer = normalizers.Sequence(self._own)
        inner.encode_special_tokens = self._split
        rest = inner.encode(encoder.template.tail[len(after) :], add_special_tokens=False).ids
        after_ids = [*rest, *encoder.template.after_ids]
        # Prepend has no twin; an empty match at the very end is replaced instead.
        glue = [normalizers.Prepend(before)] * bool(before)
        glue += [normalizers.Replace(Regex(r"\z"), after)] * bool(after)
        inner.normalizer = normalizers.Sequence([*glue, *self._own])
        inner.encode_special_tokens = True
        inner.post_processor = _around(inner, before_ids, after_ids)
        alike = inner.encode("").ids == list(encoder.encode([""])[0].ids)
        return BakedPrompt(inner, tuple(before_ids), tuple(after_ids), before, after, alike)


def _around(tokenizer: Tokenizer, before: Sequence[int], after: Sequence[int]) -> Any:
    """Return a post-processor that puts ids around every text; truncation leaves room for them."""
    ends = {name: list(ids) for name, ids in (("<prompt>", before), ("<cue>", after)) if ids}
    first, last = ["<prompt>"] * bool(before), ["<cue>"] * bool(after)
    return processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", "$B", *last],
        special_tokens=[
            {"id": name, "ids": ids, "tokens": [str(tokenizer.id_to_token(one)) for one in ids]}
            for name, ids in ends.items()
        ],
    )


def _without_dummy_space(tokenizer: Tokenizer) -> Tokenizer:
    """Copy a tokenizer, without the space that it puts before a text: ours follow a prompt."""
    content = json.loads(tokenizer.to_str())
    for part in ("normalizer", "pre_tokenizer"):
        content[part] = _without_prepend(content[part])
    content["post_processor"] = content["truncation"] = content["padding"] = None
    return Tokenizer.from_str(json.dumps(content))


def _without_prepend(part: Any) -> Any:
    if isinstance(part, list):
        return [one for one in map(_without_prepend, part) if one is not None]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend":
        return None
    never = {"prepend_scheme": "never", "add_prefix_space": False}
    return {name: never.get(name, _without_prepend(value)) for name, value in part.items()}
