"""Are a recipe's numbers ones that a run can use? LLaMA-Factory takes any of the right type."""

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from llamafactory_emotion.doctor.context import Context
from llamafactory_emotion.doctor.finding import Finding, error, warning
from llamafactory_emotion.plugin import host

_MORE_THAN_ZERO = math.ulp(0.0)
# Key to the least and the greatest value that makes sense.
_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "cutoff_len": (1, math.inf),
        "early_stopping_steps": (1, math.inf),
        "eval_steps": (_MORE_THAN_ZERO, math.inf),
        "gradient_accumulation_steps": (1, math.inf),
        "learning_rate": (_MORE_THAN_ZERO, math.inf),
        "logging_steps": (_MORE_THAN_ZERO, math.inf),
        "lora_alpha": (1, math.inf),
        "lora_dropout": (0, 1),
        "lora_rank": (1, math.inf),
        "max_new_tokens": (1, math.inf),
        "max_samples": (1, math.inf),
        "num_train_epochs": (_MORE_THAN_ZERO, math.inf),
        "per_device_eval_batch_size": (1, math.inf),
        "per_device_train_batch_size": (1, math.inf),
        "save_steps": (_MORE_THAN_ZERO, math.inf),
        "save_total_limit": (1, math.inf),
        "temperature": (0, math.inf),
        "val_size": (0, math.inf),
        "warmup_ratio": (0, 1),
        "warmup_steps": (0, math.inf),
        "weight_decay": (0, math.inf),
    }
)
_HIGHEST_RATE = 1e-2


def check_ranges(context: Context) -> Iterator[Finding]:
    """Batches of no rows, ranks below one, rates below zero."""
    for key, (least, most) in _RANGES.items():
        value = context.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not least <= value <= most:
            bound = "more than 0" if least == _MORE_THAN_ZERO else f"{least:g} or more"
            wanted = bound if most == math.inf else f"from {least:g} to {most:g}"
            yield error("number", f"{key}: {value}, and it must be {wanted}", f"change {key}")
    if context.number("learning_rate") > _HIGHEST_RATE:
        yield warning(
            "number",
            f"learning_rate {context.number('learning_rate'):g} is very high",
            "1e-5 to 1e-3 are usual",
        )
    if context.value("finetuning_type") == "freeze" and not context.number(
        "freeze_trainable_layers"
    ):
        yield error(
            "number",
            "freeze_trainable_layers: 0 leaves nothing to train",
            "say how many of the last blocks are trained",
        )


def check_empty(context: Context) -> Iterator[Finding]:
    """Keys without a value: LLaMA-Factory takes the nothing as it stands."""
    known = host.arguments(training=context.trains_or_predicts)
    for key, value in context.values.items():
        if value is None and key in known and not host.accepts(known[key].hint, None):
            yield error("value", f"{key} has no value", f"give it one, or remove {key}")


def check_length(context: Context) -> Iterator[Finding]:
    """A cutoff that is longer than the model reads."""
    text = context.base.config.get_text_config() if context.base.config is not None else None
    longest = getattr(text, "max_position_embeddings", None)
    cutoff = context.number("cutoff_len")
    if longest and cutoff > longest and context.value("rope_scaling") is None:
        yield warning(
            "number",
            f"cutoff_len {cutoff:.0f}, and {context.model} reads {longest} tokens at most",
            f"cutoff_len: {longest} or less",
        )
    if "max_length" in context.values and "cutoff_len" not in context.values:
        yield warning(
            "number",
            "max_length belongs to generation; what cuts rows is cutoff_len",
            f"write cutoff_len: {context.values['max_length']}",
        )


NUMBERS: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    check_ranges,
    check_empty,
    check_length,
)
