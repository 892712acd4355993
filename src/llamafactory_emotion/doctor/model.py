"""Are model and adapter there, and do labels and end token fit them?"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import EMOTION_FORMATTING
from llamafactory_emotion.doctor.context import Context
from llamafactory_emotion.doctor.finding import Finding, error, note, warning
from llamafactory_emotion.plugin import host
from llamafactory_emotion.scoring.loading import is_path
from llamafactory_emotion.task import EMOTION

_GATED = ("meta-llama/", "google/gemma", "mistralai/Mistral-Large")
_LABELS_AT_MOST = 200
_NO_LANGUAGE_MODELS = (
    *("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"),
    *("ForQuestionAnswering", "ForMultipleChoice", "ForPreTraining"),
)
_SHOWN = 3


def check_model(context: Context) -> Iterator[Finding]:
    """A model that is not there, or that needs a licence and a token."""
    model = context.model
    if not model:
        return
    folder = Path(model)
    if not folder.is_dir() and is_path(model):
        yield _not_there(context, "model", model)
    elif folder.is_dir() and not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        yield error(
            "model",
            f"{model} holds no config.json" + (": it is an adapter" if adapter else ""),
            "name the base model, and the adapter with adapter_name_or_path"
            if adapter
            else "name the folder that training or export wrote",
        )
    elif context.base.config is None and folder.is_dir():
        yield error(
            "model", f"{model} cannot be read: {context.base.config_problem}", "write it again"
        )
    elif context.base.config is None:
        yield _unreachable(context)
    elif context.base.tokenizer_problem:
        reason = context.base.tokenizer_problem
        yield error("model", f"the tokenizer of {model} cannot be read: {reason}", "write it again")
    elif (kind := _other_kind(context.base.config)) is not None:
        yield error(
            "model",
            f"{model} was saved as {kind}: the layer that writes text would be random",
            "name a language model; for a classification head there is `train_head`",
        )


def _other_kind(config: Any) -> str | None:
    """Give what a checkpoint is when it is no language model; code of its own may be anything."""
    if getattr(config, "auto_map", None):
        return None
    saved_as = getattr(config, "architectures", None) or ()
    others = (name for name in saved_as if name.endswith(_NO_LANGUAGE_MODELS))
    return next((name for name in others if not name.endswith("LMHeadModel")), None)


def _not_there(context: Context, kind: str, folder: str) -> Finding:
    if (maker := context.maker_of(folder)) is not None:
        return note(kind, f"the {kind} folder {folder} is not there yet", f"first run {maker}")
    return error(
        kind,
        f"the {kind} folder {folder} is not there",
        "train or export it first, or name another one",
    )


def _unreachable(context: Context) -> Finding:
    """Judge a model of the hub: gated or not there is an error, no network is not the recipe's."""
    reason = context.base.config_problem or ""
    if "gated" in reason:
        return error(
            "model",
            f"{context.model} is given out with a licence, and no token here opens it",
            "ask for access on its page, then run `hf auth login`",
        )
    if "no such model" in reason:
        return error("model", f"{context.model}: {reason}", "check the name")
    known = context.model.startswith(_GATED)
    return note(
        "model",
        f"{context.model}: {reason}, so labels, end token and memory are not checked",
        "it is given out with a licence: ask for access on its page and run `hf auth login`"
        if known
        else "",
    )


def check_adapter(context: Context) -> Iterator[Finding]:
    """An adapter that is not there, or was trained on another base."""
    named = context.values.get("adapter_name_or_path")
    for adapter in str(named).split(",") if named else []:
        folder = Path(adapter.strip())
        if not folder.is_dir():
            if is_path(adapter.strip()):
                yield _not_there(context, "adapter", adapter.strip())
            continue
        try:
            content = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            yield error(
                "adapter",
                f"{adapter} holds no readable adapter_config.json",
                "name the output_dir of a LoRA run; a fully trained model goes under "
                "model_name_or_path",
            )
            continue
        base = content.get("base_model_name_or_path")
        if base and Path(base).name != Path(context.model).name:
            yield warning(
                "adapter",
                f"{adapter} was trained on {base}, and the base here is {context.model}",
                f"set model_name_or_path: {base}",
            )


def check_labels(context: Context) -> Iterator[Finding]:
    """How many tokens each label has under this tokenizer, and whether they can be told apart."""
    tokenizer, template = context.base.tokenizer(), context.values.get("template")
    if tokenizer is None or template not in host.templates():
        return
    labels = _labels(context)
    if not labels:
        return
    encoded = host.encode(tokenizer, str(template), [("x", label) for label in labels])
    ends = set(encoded.end_tokens)
    answers = {
        label: tuple(token for token in answer if token not in ends)
        for label, answer in zip(labels, encoded.answers, strict=True)
    }
    same = [ids for ids, count in Counter(answers.values()).items() if count > 1]
    if same:
        alike = [label for label, ids in answers.items() if ids == same[0]]
        yield error(
            "labels",
            f"the labels {', '.join(map(repr, alike))} are the same tokens under this tokenizer",
            "rename one of them",
        )
    longer = [label for label, ids in answers.items() if len(ids) > 1]
    seen = context.of_first_rows("dataset", "eval_dataset") if context.task is None else ""
    if not longer:
        yield note(
            "labels", f"each of the {len(labels)} labels{seen} is one token under this tokenizer"
        )
        return
    firsts = len({ids[0] for ids in answers.values() if ids})
    yield note(
        "labels",
        f"{len(longer)} of {len(labels)} labels{seen} are several tokens "
        f"({', '.join(longer[:_SHOWN])}{', ...' if len(longer) > _SHOWN else ''});"
        f" {firsts} different first tokens",
        "nothing must be done: they are scored exactly, a little slower; `export_classifier` needs "
        "labels of one token",
    )


def _labels(context: Context) -> Sequence[str]:
    if context.task is not None:
        return context.task.labels
    answers = {
        answer.strip() for one in context.loaded.values() for _, answer in one.examples if answer
    }
    if 0 < len(answers) <= _LABELS_AT_MOST:
        return sorted(answers)
    named = [context.registry.get(name) for name in context.data_sets("dataset")]
    if any(isinstance(one, dict) and one.get("formatting") == EMOTION_FORMATTING for one in named):
        return EMOTION.labels
    return ()


def check_end_token(context: Context) -> Iterator[Finding]:
    """A base model with a chat template it never learned: it goes on after the label."""
    tokenizer, template = context.base.tokenizer(), context.values.get("template")
    if tokenizer is None or template not in host.templates():
        return
    learned = {tokenizer.eos_token_id, *context.base.generation_ends}
    has_chat_template = bool(getattr(tokenizer, "chat_template", None))
    encoded = host.encode(tokenizer, str(template), [])
    if not encoded.end_tokens:
        yield warning(
            "end-token",
            f"answers under the template {template} have no end token: the model never stops",
            "use template: emotion or template: default",
        )
    elif encoded.end_tokens[0] not in learned and not has_chat_template:
        yield warning(
            "end-token",
            f"the template {template} ends answers with {encoded.end_texts[0]}, which the base "
            f"model {context.model} has never learned: it goes on after the label",
            "use template: emotion (or default) with a base model, or the instruct model with its "
            "own template",
        )


def check_targets(context: Context) -> Iterator[Finding]:
    """LoRA targets and frozen layers that the model does not have."""
    if context.base.config is None or not context.is_on("do_train"):
        return
    layers = getattr(context.base.config.get_text_config(), "num_hidden_layers", None)
    asked = int(abs(context.number("freeze_trainable_layers")))
    if context.value("finetuning_type") == "freeze" and layers and asked > layers:
        yield error(
            "targets",
            f"freeze_trainable_layers {asked}, and the model has {layers} layers",
            f"train {max(1, layers - 2)} of them, say",
        )
    if context.value("finetuning_type") == "lora":
        yield from _missing_targets(context)
    elif context.value("finetuning_type") == "freeze" and context.base.skeleton is not None:
        parts = {
            name.split(".0.", 1)[1].split(".")[0]
            for name, _ in context.base.skeleton.named_parameters()
            if ".0." in name
        }
        for module in context.names("freeze_trainable_modules"):
            if module not in (*parts, "all"):
                yield error(
                    "targets",
                    f"freeze_trainable_modules {module}: a block of {context.model} has no such "
                    "part",
                    f"all, or of {', '.join(sorted(parts))}",
                )


def _missing_targets(context: Context) -> Iterator[Finding]:
    targets = context.names("lora_target")
    if targets == ["all"] or context.base.skeleton is None:
        return
    linear = sorted(
        {
            name.rsplit(".", 1)[-1]
            for name, module in context.base.skeleton.named_modules()
            if type(module).__name__ in ("Linear", "Conv1D")
        }
    )
    for target in targets:
        if target not in linear:
            yield error(
                "targets",
                f"lora_target {target}: {context.model} has no layer of that name",
                f"use lora_target: all, or of {', '.join(linear)}",
            )


MODEL: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    check_model,
    check_adapter,
    check_labels,
    check_end_token,
    check_targets,
)
