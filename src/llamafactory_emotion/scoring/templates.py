"""Say what stands around a text and after it, for each template.

`emotion` is built in; every other template is read off the chat template that the tokenizer
carries, as LLaMA-Factory saved it there. `prompts` encodes with what is said here.
"""

from dataclasses import dataclass
from typing import Any

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX

EMOTION_TEMPLATE = "emotion"
_SENTINEL = "zqxjkvtextzqxjkv"


@dataclass(frozen=True)
class Template:
    """What stands around the user content and after it, as LLaMA-Factory would write it.

    Attributes:
        name: The template's name.
        bos_ids: Token ids in front of everything.
        head: Text in front of the user content.
        tail: Text between the user content and the answer.
        answer_prefix: Text between the tail and the label.
        end_ids: The token ids that end an answer; empty when the model knows none.
        has_control_tokens: Whether `head` and `tail` hold control tokens by their names.
    """

    name: str
    bos_ids: tuple[int, ...]
    head: str
    tail: str
    answer_prefix: str
    end_ids: tuple[int, ...]
    has_control_tokens: bool


def read_template(tokenizer: Any, name: str) -> Template:
    """Give a template by its name: `emotion`, or what the tokenizer's chat template shows.

    Raises:
        ModelError: The tokenizer carries no chat template, or one that hides the user's content.
    """
    if name != EMOTION_TEMPLATE:
        return _chat_template(tokenizer, name)
    return Template(
        name=name,
        bos_ids=as_ids(tokenizer.bos_token_id),
        head="",
        tail=ANSWER_CUE,
        answer_prefix=ANSWER_PREFIX,
        end_ids=as_ids(tokenizer.eos_token_id),
        has_control_tokens=False,
    )


def as_ids(token_id: int | None) -> tuple[int, ...]:
    """Give a special token's id, or none where the tokenizer has no such token."""
    return () if token_id is None else (token_id,)


def _chat_template(tokenizer: Any, name: str) -> Template:
    """Read a template off the tokenizer's chat template: what it puts around a marked content."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"the tokenizer carries no chat template, so the template {name!r} cannot be rendered; "
            f"use template={EMOTION_TEMPLATE}, or a model folder that LLaMA-Factory saved with "
            f"template {name}."
        )
    user = {"role": "user", "content": _SENTINEL}
    prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    if prompt.count(_SENTINEL) != 1:
        raise ModelError("the model's chat template does not show the user's content exactly once.")
    head, tail = prompt.split(_SENTINEL)
    answered = [user, {"role": "assistant", "content": _SENTINEL + _SENTINEL}]
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    answer_prefix, end_ids = "", as_ids(tokenizer.eos_token_id)
    if whole.startswith(prompt) and _SENTINEL + _SENTINEL in whole[len(prompt) :]:
        answer_prefix, end = whole[len(prompt) :].split(_SENTINEL + _SENTINEL, 1)
        ids = tokenizer.encode(end, add_special_tokens=False)
        end_ids = (ids[0],) if ids else end_ids
    return Template(name, (), head, tail, answer_prefix, end_ids, has_control_tokens=True)
