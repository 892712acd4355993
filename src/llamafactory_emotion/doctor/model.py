"""Are model and adapter there, and do template, end token and trained layers fit them?"""

import filecmp
import json
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning
from llamafactory_emotion.doctor.loading import BaseModel
from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.plugin.host_encoding import encode
from llamafactory_emotion.plugin.host_template import own_template
from llamafactory_emotion.scoring.loading import is_path, quiet_loading
from llamafactory_emotion.scoring.templates import (
    Template,
    read_chat_template,
    trained_template,
)
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX

_GATED = ("meta-llama/", "google/gemma", "mistralai/Mistral-Large")
_NO_LANGUAGE_MODELS = (
    *("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"),
    *("ForQuestionAnswering", "ForMultipleChoice", "ForPreTraining"),
)
_SHOWN = 3


def check_model(context: Context) -> Iterator[Finding]:
    """A model that is not there, or that needs a licence and a token."""
    model, base = context.model, context.base
    folder = Path(model)
    if not model:
        return
    if not folder.is_dir() and is_path(model):
        yield _not_there(context, "model", model)
    elif folder.is_dir() and not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        yield error(
            f"{model} holds no config.json" + (": it is an adapter" if adapter else ""),
            "name the base model, and the adapter with adapter_name_or_path"
            if adapter
            else "name the folder that training or export wrote",
        )
    elif base.config is None and folder.is_dir():
        yield error(f"{model} cannot be read: {base.config_problem}", "write it again")
    elif base.config is None:
        yield _unreachable(context)
    elif base.tokenizer_problem:
        yield error(
            f"the tokenizer of {model} cannot be read: {base.tokenizer_problem}", "write it again"
        )
    elif (kind := _other_kind(base.config)) is not None:
        yield error(
            f"{model} was saved as {kind}: the layer that writes text would be random",
            "name a language model; for a classification head there is `train_head`",
        )


def _other_kind(config: Any) -> str | None:
    """Return what a checkpoint is when it is no language model; own code may be anything."""
    saved_as = () if getattr(config, "auto_map", None) else getattr(config, "architectures", None)
    others = (name for name in saved_as or () if name.endswith(_NO_LANGUAGE_MODELS))
    return next((name for name in others if not name.endswith("LMHeadModel")), None)


def _not_there(context: Context, kind: str, folder: str) -> Finding:
    if (maker := _maker(context.recipe, folder)) is not None:
        return note(f"the {kind} folder {folder} is not there yet", f"first run {maker}")
    return error(
        f"the {kind} folder {folder} is not there", "train or export it first, or name another one"
    )


def _maker(recipe: Path | None, folder: str) -> str | None:
    """Return what writes a folder that the recipe names: a recipe beside it, or its own header."""
    text = "" if recipe is None else recipe.read_text(encoding="utf-8", errors="replace")
    if recipe is None or folder not in text:  # it was named on the command line
        return None
    writes = re.compile(rf"^(output|export)_dir:\s*{re.escape(folder)}\s*$", re.MULTILINE)
    for sibling in sorted(recipe.parent.glob("*.yaml")):
        if writes.search(sibling.read_text(encoding="utf-8", errors="replace")):
            return str(sibling)
    header = takewhile(lambda line: line.startswith("#"), text.splitlines())
    is_named = any(line.endswith(f" {folder}") for line in header)
    return f"what the head of {recipe} says" if is_named else None


def _unreachable(context: Context) -> Finding:
    """Judge a model of the hub: gated or not there is an error, no network is not the recipe's."""
    reason = context.base.config_problem or ""
    if "gated" in reason:
        return error(
            f"{context.model} is given out with a licence, and no token here opens it",
            "ask for access on its page, then run `hf auth login`",
        )
    if "no such model" in reason:
        return error(f"{context.model}: {reason}", "check the name")
    licence = "it is given out with a licence: ask for access on its page and run `hf auth login`"
    return note(
        f"{context.model}: {reason}, so labels, end token and memory are not checked",
        licence if context.model.startswith(_GATED) else "",
    )


def check_adapter(context: Context) -> Iterator[Finding]:
    """An adapter that is not there, or was trained on another base."""
    for adapter in filter(None, context.names("adapter_name_or_path")):
        folder = Path(adapter)
        if not folder.is_dir():
            if is_path(adapter):
                yield _not_there(context, "adapter", adapter)
            continue
        try:
            content = dict(json.loads((folder / "adapter_config.json").read_bytes()))
        except (OSError, TypeError, ValueError):
            yield error(
                f"{adapter} holds no readable adapter_config.json",
                "name the output_dir of a LoRA run; a fully trained model goes under "
                "model_name_or_path",
            )
            continue
        base = content.get("base_model_name_or_path")
        if base and not _same_model(str(base), context.model):
            yield warning(
                f"{adapter} was trained on {base}, and the base here is {context.model}",
                f"set model_name_or_path: {base}",
            )


def _same_model(one: str, other: str) -> bool:
    """Whether two names mean the same model: a folder may be a copy of another or of the hub's."""
    folders = Path(one), Path(other)
    first, second = (folder / "config.json" for folder in folders)
    if first.is_file() and second.is_file():
        alike = folders[0].name == folders[1].name and filecmp.cmp(first, second, shallow=False)
        return alike or folders[0].samefile(folders[1])
    if Path(one).is_absolute() or Path(other).is_dir():
        return Path(one).name == Path(other).name
    return one == other


def check_end_token(context: Context) -> Iterator[Finding]:
    """A base model with a chat template it never learned: it goes on after the label."""
    encoded, tokenizer = context.encode([]), context.base.tokenizer()
    if encoded is None:
        return
    if encoded.end is None:
        yield warning(
            f"answers under the template {context.template} have no end token: the model never "
            "stops",
            "use template: emotion or template: default",
        )
        return
    learned = {tokenizer.eos_token_id, *_generation_ends(context.base.name)}
    if encoded.end not in learned and not getattr(tokenizer, "chat_template", None):
        yield warning(
            f"the template {context.template} ends answers with {encoded.end_text}, which the "
            f"base model {context.model} has never learned: it goes on after the label",
            "use template: emotion (or default) with a base model, or the instruct model with its "
            "own template",
        )


def _generation_ends(model: str) -> list[int]:
    """Return the tokens at which the model's own generation settings stop; none if unknown."""
    from transformers import GenerationConfig

    with quiet_loading():
        try:
            ends = GenerationConfig.from_pretrained(model).eos_token_id
        except (OSError, ValueError):
            return []
    return ends if isinstance(ends, list) else [ends]


def check_own_template(context: Context) -> Iterator[Finding]:
    """A model that is asked with another template than its run's record names, or than it carries.

    Adapters first, as their training comes last.
    """
    if (template := context.template) is None:
        return
    named = filter(None, context.names("adapter_name_or_path"))
    adapters = [one for one in named if Path(one).is_dir()]
    for folder in filter(None, (*adapters, context.model)):
        if found := trained_template(folder):
            name, file = found
            if name != template:
                yield warning(
                    f"{file} says that the model was trained with the template {name}, and the "
                    f"recipe has {template}",
                    f"set template: {name}",
                )
            return
        model = context.base if folder == context.model else BaseModel(folder, context.base.options)
        # A base may be trained under another template than the one that it carries.
        if (adapters or context.is_on("do_predict")) and model.chat_template:
            yield from _other_than_carried(context, template, model)
            return


def _other_than_carried(context: Context, template: str, model: BaseModel) -> Iterator[Finding]:
    tokenizer = model.tokenizer()
    asked = context.base.tokenizer() or model.tokenizer()
    try:
        carried = read_chat_template(tokenizer)
        own, here = _turn(carried, tokenizer), _turn(own_template(asked, template), asked)
    except ModelError:
        return  # the one cannot be rendered, or the other lacks tokens
    if own != here:
        is_emotion = (carried.tail, carried.answer_prefix) == (ANSWER_CUE, ANSWER_PREFIX)
        yield warning(
            f"the chat template that {model.name} carries is not the template {template}: between "
            f"text and answer it has {own[0]!r} and not {here[0]!r}, and {own[1]} ends an answer, "
            f"not {here[1]}",
            "set template: emotion" if is_emotion else "name the template that it was trained with",
        )


def _turn(template: Template, tokenizer: Any) -> tuple[str, str]:
    """Return what a template writes between text and answer, and what ends the answer.

    Empty thoughts and white space, which copies of one template differ in, are left out.
    """
    between = template.tail + template.after + template.answer_prefix
    ends = tokenizer.convert_ids_to_tokens(list(template.end_ids))
    return re.sub(r"</?think>|\s", "", between), " ".join(map(str, ends))


def check_vocabulary(context: Context) -> Iterator[Finding]:
    """Token ids that the model has no embedding for: a run stops with an index error."""
    config = context.base.config
    if config is None or context.template is None or context.base.tokenizer_problem:
        return
    tokenizer, resizes = context.tokenizer()
    framed = encode(tokenizer, context.template, [])  # adds the template's own tokens
    encodings = [one for one in context.encodings.values() if not isinstance(one, str)]
    used = frozenset().union(*(one.tokens for one in (framed, *encodings)))
    size = getattr(config.get_text_config(), "vocab_size", None)
    ids = sorted(one for one in used if one is not None)
    missing = [one for one in ids if size and not resizes and one >= size]
    if None in used:
        yield error(
            f"the template {context.template} uses tokens that the tokenizer of {context.model} "
            "does not have",
            "use the model's own template, or template: emotion for a base model",
        )
    if missing:
        names = ", ".join(map(str, tokenizer.convert_ids_to_tokens(missing[:_SHOWN])))
        yield error(
            f"{context.model} has {size:,} token embeddings and none for {names} (id "
            f"{missing[0]}): the run stops with an index out of range",
            "use the model's own template, or template: emotion for a base model; resize_vocab: "
            "true adds them, untrained",
        )


def check_targets(context: Context) -> Iterator[Finding]:
    """LoRA targets and frozen layers that the model does not have."""
    model = context.base.skeleton if context.is_on("do_train") else None
    if model is None:
        return
    if context.value("finetuning_type") == "lora":
        named = ((name, type(module).__name__) for name, module in model.named_modules())
        linear = {name.rsplit(".", 1)[-1] for name, kind in named if kind in ("Linear", "Conv1D")}
        yield from _missing(context, "lora_target", linear, "has no layer of that name")
    elif context.value("finetuning_type") == "freeze":
        names = (name.partition(".0.")[2].split(".")[0] for name, _ in model.named_parameters())
        parts = set(filter(None, names))
        yield from _missing(
            context, "freeze_trainable_modules", parts, "has no such part in a block"
        )


def _missing(context: Context, key: str, there: Iterable[str], what: str) -> Iterator[Finding]:
    for name in context.names(key):
        if name not in (*there, "all"):
            yield error(
                f"{key} {name}: {context.model} {what}",
                f"use {key}: all, or of {', '.join(sorted(there))}",
            )
