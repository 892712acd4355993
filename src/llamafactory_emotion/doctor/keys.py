"""Are the recipe's keys and values ones that LLaMA-Factory takes?"""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from llamafactory_emotion.doctor.context import Context
from llamafactory_emotion.doctor.finding import Finding, error, warning
from llamafactory_emotion.plugin import host

_PREDICT_ONLY = frozenset(
    {"input", "output", "text_column", "label_column", "task", "checkpoints", "few_shot", "shots"}
)
# What LLaMA-Factory reads as a list or as text parted by commas.
_LISTS = frozenset(
    {
        "dataset",
        "eval_dataset",
        "freeze_trainable_modules",
        "freeze_extra_modules",
        "lora_target",
        "additional_target",
    }
)
_NAMES_SHOWN = 12
_OLD_NAMES = MappingProxyType(
    {
        "evaluation_strategy": "eval_strategy",
        "max_seq_length": "cutoff_len",
        "lora_r": "lora_rank",
        "batch_size": "per_device_train_batch_size",
        "num_epochs": "num_train_epochs",
        "load_in_4bit": "quantization_bit",
        "load_in_8bit": "quantization_bit",
        "val_dataset": "eval_dataset",
        "group_by_length": "train_sampling_strategy: group_by_length",
        "max_source_length": "cutoff_len",
        "max_seq_len": "cutoff_len",
        "bits": "quantization_bit",
        "lora_target_modules": "lora_target",
        "model_name": "model_name_or_path",
        "use_lora": "finetuning_type: lora",
    }
)


def check_known(context: Context) -> Iterator[Finding]:
    """Keys that LLaMA-Factory does not know: it stops at them."""
    known = host.arguments(training=context.trains_or_predicts)
    for key in context.values:
        if key in known:
            continue
        if key in _PREDICT_ONLY:
            yield error(
                "unknown-key",
                f"{key} is a key of `llamafactory_emotion.predict`, not of LLaMA-Factory",
                "give it on predict's command line"
                + (" (doctor itself takes --task FILE)" if key == "task" else ""),
            )
            continue
        near = get_close_matches(key, known, n=1)
        name = _OLD_NAMES.get(key) or (near[0] if near else None)
        if not context.trains_or_predicts and key in host.arguments(training=True):
            yield error(
                "unknown-key",
                f"{key} belongs to training; `llamafactory-cli export` and `chat` stop at it",
                f"remove {key}",
            )
        else:
            yield error(
                "unknown-key",
                f"LLaMA-Factory does not know the key {key}",
                f"write {name}" if name else f"remove {key}",
            )


def check_values(context: Context) -> Iterator[Finding]:
    """Values of the wrong type: LLaMA-Factory converts nothing that stands in a recipe."""
    known = host.arguments(training=context.trains_or_predicts)
    for key in ill_typed(context):
        hint, value = known[key].hint, context.values[key]
        yield error("value", f"{key}: {value!r} {_misfit(hint, value)}", _remedy(key, value, hint))


def ill_typed(context: Context) -> list[str]:
    """Give the keys whose values are of the wrong type."""
    known = host.arguments(training=context.trains_or_predicts)
    return [
        key
        for key, value in context.values.items()
        if key in known
        and value is not None
        and not host.accepts(known[key].hint, value)
        and not (key in _LISTS and _is_list_of_text(value))
    ]


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _misfit(hint: Any, value: Any) -> str:
    names = host.choices(hint)
    if names:
        near = [*get_close_matches(str(value), names, n=_NAMES_SHOWN, cutoff=0.3), *names]
        shown = names if len(names) <= _NAMES_SHOWN else list(dict.fromkeys(near))[:_NAMES_SHOWN]
        return f"is none of {', '.join(shown)}{', ...' if len(shown) < len(names) else ''}"
    if isinstance(value, str) and _as_number(value) is not None:
        return "is text, and a number is needed"
    return f"is not of the kind {_kind(hint)}"


def _remedy(key: str, value: Any, hint: Any) -> str:
    names = host.choices(hint)
    if isinstance(value, bool) and ("no" in names or "yes" in names):
        return f'quote it: {key}: "no" (YAML reads a bare no as false)'
    begun = [name for name in names if name.startswith(str(value))]
    if near := begun or get_close_matches(str(value), names, n=1):
        return f"write {key}: {near[0]}"
    if isinstance(value, str) and (number := _as_number(value)) is not None:
        return f"write {key}: {number}, without quotes"
    if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no", "on", "off"):
        return f"write {key}: {'true' if value.lower() in ('true', 'yes', 'on') else 'false'}"
    return f"see LLaMA-Factory's description of {key}: llamafactory-cli train -h"


def _as_number(text: str) -> str | None:
    """Give the number that a text holds, as YAML has it, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return text.strip() if text.strip().lstrip("+-").isdigit() else repr(number)


def _kind(hint: Any) -> str:
    names = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    return names.get(hint, str(hint).replace("typing.", "").replace(" | None", ""))


def check_complete(context: Context) -> Iterator[Finding]:
    """Keys without which nothing runs."""
    values = context.values
    if not values.get("model_name_or_path"):
        yield error("missing-key", "no model is named", "add model_name_or_path: FOLDER or hub id")
    if context.trains_or_predicts and not any(
        context.is_on(key) for key in ("do_train", "do_eval", "do_predict")
    ):
        yield warning(
            "missing-key",
            "neither do_train nor do_predict is on: LLaMA-Factory loads everything and ends",
            "add do_train: true or do_predict: true",
        )
    if context.is_on("do_train") and not context.data_sets("dataset"):
        yield error("missing-key", "do_train without a dataset", "add dataset: NAME")
    if not values.get("template"):
        yield warning(
            "missing-key",
            "no template is named: LLaMA-Factory guesses one from the tokenizer",
            "add template: emotion, for a base model, or the model's own",
        )
    has_evaluation = bool(context.data_sets("eval_dataset")) or context.number("val_size") > 0
    wants = [
        key for key in ("do_eval", "do_predict", "predict_with_generate") if context.is_on(key)
    ]
    if str(context.value("eval_strategy") or "no") not in ("no", "False"):
        wants.append("eval_strategy")
    if wants and not has_evaluation:
        yield error(
            "missing-key",
            f"{wants[0]} without anything to evaluate on",
            "add eval_dataset: NAME (or val_size)",
        )


def check_template(context: Context) -> Iterator[Finding]:
    """A template that does not exist."""
    name = context.values.get("template")
    known = host.templates()
    if not isinstance(name, str) or name in known:
        return
    near = get_close_matches(name, known, n=1)
    yield error(
        "template",
        f"there is no template {name!r}",
        f"write template: {near[0]}" if near else "write template: emotion",
    )


def host_verdict(context: Context) -> Iterator[Finding]:
    """What LLaMA-Factory's own parser says; asked when nothing above has an error."""
    values: Mapping[str, Any] = dict(context.values)
    reason = host.refusal(values, training=context.trains_or_predicts)
    if reason:
        yield error("refused", f"LLaMA-Factory refuses the recipe: {reason}", "mend that key")


KEYS: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    check_known,
    check_values,
    check_complete,
    check_template,
)
