"""Are model and adapter there, and do labels, end token and trained layers fit them?"""

import filecmp
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning
from llamafactory_emotion.doctor.data import possible_answers, tasks_of
from llamafactory_emotion.doctor.loading import BaseModel
from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.plugin import host_data
from llamafactory_emotion.plugin.host_template import own_template
from llamafactory_emotion.scoring.loading import is_path, quiet_loading
from llamafactory_emotion.scoring.templates import (
    Template,
    read_chat_template,
    trained_template,
)
from llamafactory_emotion.scoring.words import Encode, suggest_words, words_line
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
    header = text.split("\n###")[0]
    return f"what the head of {recipe} says" if f" {folder}\n" in header else None


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


def check_labels(context: Context) -> Iterator[Finding]:
    """How many tokens each label has under this tokenizer, and whether they can be told apart."""
    labels, encode = possible_answers(context), _answer_encoder(context)
    if not labels or encode is None:
        return
    answers = dict(zip(labels, encode(labels), strict=True))
    same = [ids for ids, count in Counter(answers.values()).items() if count > 1]
    longer = [label for label, ids in answers.items() if len(ids) > 1]
    words: dict[str, str] = {}
    for task in tasks_of(context):
        words |= suggest_words(task, encode)
    remedy = f"write into the task's file  {words_line(words)}" if words else ""
    if same:
        alike = [label for label, ids in answers.items() if ids == same[0]]
        yield error(
            f"the labels {', '.join(map(repr, alike))} are the same tokens under this tokenizer",
            remedy or "rename one of them, or give it a word (`words:` in a task's file)",
        )
    seen = context.of_first_rows("dataset", "eval_dataset") if context.task is None else ""
    if not longer:
        yield note(f"each of the {len(labels)} labels{seen} is one token under this tokenizer")
        return
    firsts = len({ids[0] for ids in answers.values() if ids})
    yield note(
        f"{len(longer)} of {len(labels)} labels{seen} are several tokens "
        f"({', '.join(longer[:_SHOWN])}{', ...' if len(longer) > _SHOWN else ''});"
        f" {firsts} different first tokens; they are scored exactly, a little slower, and "
        "`export_classifier` needs labels of one token",
        remedy or "nothing must be done; `words:` in a task's file gives them words of one token",
    )


def _answer_encoder(context: Context) -> Encode | None:
    """Return what encodes answers as the run will, without their end token."""
    if context.encode([]) is None:
        return None

    def encode(answers: Sequence[str]) -> list[tuple[int, ...]]:
        if (encoded := context.encode(answers)) is None:
            return []
        # A line break may follow the end token, which is no part of the answer.
        return [tuple(takewhile(lambda one: one != encoded.end, ids)) for ids in encoded.answers]

    return encode


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
    framed = host_data.encode(tokenizer, context.template, [])  # adds the template's own tokens
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
    if context.base.config is None or not context.is_on("do_train"):
        return
    if context.value("finetuning_type") == "freeze":
        yield from _frozen_layers(context)
    elif context.value("finetuning_type") == "lora" and context.base.skeleton is not None:
        linear = {
            name.rsplit(".", 1)[-1]
            for name, module in context.base.skeleton.named_modules()
            if type(module).__name__ in ("Linear", "Conv1D")
        }
        for target in context.names("lora_target"):
            if target not in (*linear, "all"):
                yield error(
                    f"lora_target {target}: {context.model} has no layer of that name",
                    f"use lora_target: all, or of {', '.join(sorted(linear))}",
                )


def _frozen_layers(context: Context) -> Iterator[Finding]:
    if context.base.skeleton is None:
        return
    parts = {
        name.split(".0.", 1)[1].split(".")[0]
        for name, _ in context.base.skeleton.named_parameters()
        if ".0." in name
    }
    for module in context.names("freeze_trainable_modules"):
        if module not in (*parts, "all"):
            yield error(
                f"freeze_trainable_modules {module}: a block of {context.model} has no such part",
                f"all, or of {', '.join(sorted(parts))}",
            )
