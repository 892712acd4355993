"""What a model reads around a text: the template `emotion`, LLaMA-Factory's own, a chat template.

A name that is not `emotion` means LLaMA-Factory's template of that name, where it is installed: a
model is asked as it was trained. `template_notices` tells where that may not be so.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import DataError, ModelError
from llamafactory_emotion.run_record import RECORD_NAME, read_record
from llamafactory_emotion.scoring.loading import as_model_error
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX

EMOTION_TEMPLATE = "emotion"
CHAT_TEMPLATE = "chat_template"
WARNING = "warning: "
_HOST = "llamafactory"
_HOST_RECIPE = "training_args.yaml"  # what its web page leaves beside a model
_SENTINEL = "zqxjkvtextzqxjkv"
_SHOWN = 24


@dataclass(frozen=True)
class Template:
    """What is written around the user content and the answer.

    In this order: `before_ids`, `head`, the content, `tail`, `after_ids`, `answer_prefix`, a label,
    `end_ids`. Text is encoded together with the content, or with the label; ids stand apart from
    it, and `before` and `after` show them in a prompt (an empty thought, which opens the answer, is
    in `after_ids` alone). `origin` says whose template it is.
    """

    before_ids: tuple[int, ...]
    head: str
    tail: str
    answer_prefix: str
    end_ids: tuple[int, ...]
    has_control_tokens: bool
    before: str = ""
    after_ids: tuple[int, ...] = ()
    after: str = ""
    origin: str = EMOTION_TEMPLATE

    def prompt(self, content: str) -> str:
        """Return the whole prompt of a content as text."""
        return f"{self.before}{self.head}{content}{self.tail}{self.after}"


def read_template(tokenizer: Any, name: str) -> tuple[Template, Any]:
    """Return the template of a name and the tokenizer that goes with it.

    For a template of LLaMA-Factory that is a copy, with what the template changes in it.

    Raises:
        CallError: There is no such template.
        ModelError: The tokenizer does not go with it.
    """
    if name == EMOTION_TEMPLATE:
        begin = as_ids(tokenizer.bos_token_id)
        text = "".join(tokenizer.convert_ids_to_tokens(list(begin)))
        ends = as_ids(tokenizer.eos_token_id)
        frame = ("", ANSWER_CUE, ANSWER_PREFIX)
        return Template(begin, *frame, ends, has_control_tokens=False, before=text), tokenizer
    if name == CHAT_TEMPLATE:
        return read_chat_template(tokenizer), tokenizer
    reason = "is not installed"
    if find_spec(_HOST) is not None:
        fitted = copy.deepcopy(tokenizer)
        try:
            from llamafactory_emotion.plugin.host_template import own_template

            return own_template(fitted, name), fitted
        except ImportError as error:
            reason = f"cannot be imported ({' '.join(str(error).split())})"
    found = read_chat_template(tokenizer)
    return replace(found, origin=f"{found.origin}, as LLaMA-Factory {reason}"), tokenizer


def read_chat_template(tokenizer: Any) -> Template:
    """Return what the chat template that a tokenizer carries writes."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "the tokenizer carries no chat template; name a template of LLaMA-Factory and have "
            f"that installed, or use template={EMOTION_TEMPLATE}."
        )
    user = {"role": "user", "content": _SENTINEL}
    answered = [user, {"role": "assistant", "content": _SENTINEL + _SENTINEL}]
    with as_model_error("the model's chat template cannot be rendered"):
        prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(answered, tokenize=False)
    if prompt.count(_SENTINEL) != 1:
        raise ModelError(
            "the model's chat template does not show the user's content exactly once; name "
            "another with template=."
        )
    head, tail = prompt.split(_SENTINEL)
    answer_prefix, end_ids = "", as_ids(tokenizer.eos_token_id)
    if whole.startswith(prompt) and _SENTINEL + _SENTINEL in whole[len(prompt) :]:
        answer_prefix, end = whole[len(prompt) :].split(_SENTINEL + _SENTINEL, 1)
        end_ids = tuple(tokenizer.encode(end, add_special_tokens=False)[:1]) or end_ids
    return Template(
        (),
        head,
        tail,
        answer_prefix,
        end_ids,
        has_control_tokens=True,
        origin="the model's own chat template",
    )


def as_ids(token_id: int | None) -> tuple[int, ...]:
    """Return a special token's id in a tuple, which is empty where the tokenizer has none."""
    return () if token_id is None else (token_id,)


def saved_chat_template(folder: str | None) -> str | None:
    """Return the chat template in a folder, as transformers saves it; None for a hub id."""
    file = Path(folder or "", "chat_template.jinja")
    settings = file.with_name("tokenizer_config.json")
    try:
        if folder and file.is_file():
            return file.read_text(encoding="utf-8")
        content = json.loads(settings.read_bytes()) if folder and settings.is_file() else {}
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the chat template in {folder} cannot be read ({error}); mend it."
        ) from error
    found = content.get("chat_template") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def trained_template(folder: str) -> tuple[str, str] | None:
    """Return the template that a run's folder names, and the file that says so."""
    try:
        record = read_record(folder)
    except DataError:
        record = None  # whoever looks for the task tells about a broken record
    if record is not None:
        return record.template, str(Path(folder) / RECORD_NAME)
    path = Path(folder)
    path = (path.parent if path.name.startswith("checkpoint-") else path) / _HOST_RECIPE
    if not path.is_file():
        return None
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    name = content.get("template") if isinstance(content, dict) else None
    return (name, str(path)) if isinstance(name, str) else None


def template_notices(
    asked: str, template: Template, tokenizer: Any, *, base: str, adapter: str | None
) -> Iterator[str]:
    """Yield what a user must know of the prompt: whose it is, and what speaks against it.

    Args:
        asked: The template's name in the call.
        template: What it is.
        tokenizer: The model's tokenizer as loaded, with the chat template of the adapter's folder
            or else the base's.
        base: The base model's folder or hub id.
        adapter: The adapter's.
    """
    model = adapter or base
    if asked != EMOTION_TEMPLATE:
        yield f"note: the prompt is {template.origin}"
    if (trained := trained_template(model)) is not None:
        if trained[0] != asked:
            yield (
                f"{WARNING}{model} was trained with the template {trained[0]} ({trained[1]}) and "
                f"is asked with another; write template={trained[0]}"
            )
        return
    if asked == CHAT_TEMPLATE:
        return
    try:
        carried = read_chat_template(tokenizer)
    except ModelError:
        return  # there is none, or none that can be used
    is_emotion = (carried.tail, carried.answer_prefix) == (ANSWER_CUE, ANSWER_PREFIX)
    if asked == EMOTION_TEMPLATE and adapter is None and not is_emotion:
        yield (
            f"note: {model} carries a chat template of its own. If it was not trained with "
            "template=emotion, its own prompt (template=chat_template, or LLaMA-Factory's name for "
            "it) with calibrate=true may be far better"
        )
    elif asked == EMOTION_TEMPLATE and saved_chat_template(adapter) and not is_emotion:
        yield (
            f"{WARNING}{model} carries another chat template than a training with "
            "template=emotion leaves; name the template that it was trained with"
        )
    elif asked != EMOTION_TEMPLATE and is_emotion:
        yield (
            f"{WARNING}{model} carries the chat template of a training with template=emotion and "
            "is asked with another; write template=emotion"
        )
    elif asked != EMOTION_TEMPLATE and (parts := _first_difference(template, carried)):
        yield (
            f"{WARNING}{template.origin} has {parts[0]!r} where the model's own chat template has "
            f"{parts[1]!r}; a model that LLaMA-Factory did not train may want "
            f"template={CHAT_TEMPLATE}"
        )


def _first_difference(one: Template, other: Template) -> tuple[str, str] | None:
    """Return where two prompts first differ, with some characters around; None for one prompt."""
    first, second = one.prompt("(text)"), other.prompt("(text)")
    if first == second:
        return None
    pairs = enumerate(zip(first, second, strict=False))
    start = next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))
    shown = slice(max(0, start - _SHOWN), start + _SHOWN)
    return first[shown], second[shown]
