"""Ask LLaMA-Factory what one of its templates writes around a text and an answer."""

import copy
from difflib import get_close_matches
from typing import Any

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.plugin.host import quiet
from llamafactory_emotion.scoring.templates import CHAT_TEMPLATE, Template

_CONTENT = "zqxjkvtextzqxjkv"
_TURNS = [{"role": role, "content": _CONTENT} for role in ("user", "assistant")]


def own_template(tokenizer: Any, name: str) -> Template:
    """Return LLaMA-Factory's template of a name.

    The tokenizer is changed as LLaMA-Factory changes it (its end token, say): hand in a copy.

    Raises:
        CallError: LLaMA-Factory has no template of that name.
        ModelError: The tokenizer lacks a token of the template.
    """
    with quiet():
        from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
        from llamafactory.hparams import DataArguments

        if name not in TEMPLATES:
            near = get_close_matches(name, TEMPLATES, n=1)
            raise CallError(
                f"LLaMA-Factory has no template {name!r}"
                + (f" (is {near[0]} meant?)" if near else "")
                + f"; write template={CHAT_TEMPLATE} for the model's own chat template."
            )
        known = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name))
    # What its encoder would turn into ids, turn by turn; beside the turns it adds an empty thought.
    turns: list[list[Any]] = []

    def listen(_: Any, elements: list[Any]) -> list[int]:
        turns.append(elements)
        return []

    listener: Any = copy.copy(known)
    listener._convert_elements_to_ids = listen
    thought = [one for ids in listener.encode_oneturn(tokenizer, _TURNS) for one in ids]
    (before, head, tail, after), (opening, prefix, end, more) = map(_around_content, turns)

    def ids_of(elements: list[Any]) -> tuple[int, ...]:
        return tuple(known._convert_elements_to_ids(tokenizer, elements))

    answer, framed = ids_of([f"{prefix}x"]), ids_of([f"{prefix}x{end}", *more])
    found = Template(
        ids_of(before),
        head,
        tail,
        prefix,
        framed[len(answer) :][:1] or (tokenizer.eos_token_id,),
        has_control_tokens=True,
        before=_text_of(before, tokenizer),
        after_ids=(*ids_of(after), *thought, *ids_of(opening)),
        after=_text_of(after, tokenizer),
        origin=f"LLaMA-Factory's template {name}",
    )
    if None in (*found.before_ids, *found.after_ids):
        raise ModelError(
            f"the template {name} uses tokens that the model's tokenizer does not have; use "
            f"template={CHAT_TEMPLATE} for the model's own, or template=emotion for a base model."
        )
    return found


def _around_content(turn: list[Any]) -> tuple[list[Any], str, str, list[Any]]:
    """Return a turn's elements before the one with the content, that one's halves, and the rest."""
    number = next(n for n, one in enumerate(turn) if isinstance(one, str) and _CONTENT in one)
    head, tail = turn[number].split(_CONTENT)
    return turn[:number], head, tail, turn[number + 1 :]


def _text_of(elements: list[Any], tokenizer: Any) -> str:
    """Write elements as a prompt shows them: text, the token of a name, or the begin or end."""
    texts = [
        one
        if isinstance(one, str)
        else one["token"]
        if isinstance(one, dict)
        else "".join(getattr(tokenizer, name, None) or "" for name in one)
        for one in elements
    ]
    return "".join(texts)
