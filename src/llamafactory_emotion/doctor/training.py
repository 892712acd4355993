"""Do precision, attention, packing, quantisation and batch go together?"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from llamafactory_emotion.doctor.context import Context
from llamafactory_emotion.doctor.finding import Finding, error, note, warning
from llamafactory_emotion.doctor.machine import FLASH_ATTENTION

_ZERO_3 = 3
# What each method makes of a model while it is loaded.
_BITS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 5, 6, 8), "eetq": (8,)}
)


def check_precision(context: Context) -> Iterator[Finding]:
    """bf16 and fp16 against each other and against the method."""
    fp16 = context.is_on("fp16")
    if context.is_on("bf16") and fp16:
        yield error("precision", "bf16 and fp16 exclude each other", "keep bf16")
    elif fp16 and context.is_on("do_train"):
        if context.value("finetuning_type") in ("full", "freeze"):
            yield warning(
                "precision",
                "fp16 with trained base weights: losses become NaN in many such runs",
                "use bf16: true",
            )
        else:
            yield note(
                "precision",
                "fp16 overflows to NaN more easily than bf16, which every GPU since 2020 has",
                "fp16=false bf16=true",
            )


def check_attention(context: Context) -> Iterator[Finding]:
    """FlashAttention in full precision, which it does not have."""
    half = any(context.is_on(key) for key in ("bf16", "fp16", "pure_bf16"))
    wanted = FLASH_ATTENTION.get(str(context.value("flash_attn")))
    if wanted is not None and context.is_on("do_train") and not half:
        yield warning(
            "attention",
            f"{wanted.name} computes in half precision only, and the recipe trains in full",
            "bf16: true, or flash_attn: sdpa",
        )


def check_packing(context: Context) -> Iterator[Finding]:
    """Packing: what it mixes up, and what FlashAttention takes of it."""
    if context.is_on("packing") and not context.is_on("neat_packing"):
        yield warning(
            "packing",
            "packing: true lets packed rows attend to one another",
            "neat_packing: true keeps them apart",
        )
    asked = context.value("flash_attn")
    if not context.is_on("neat_packing") or asked not in FLASH_ATTENTION:
        return
    if asked != "fa2":
        yield error(
            "packing",
            f"neat_packing: LLaMA-Factory tells fa2 where a pack's rows begin, and not {asked}",
            "flash_attn: fa2",
        )
        return
    evaluates = bool(context.data_sets("eval_dataset")) or context.number("val_size") > 0
    keys = ["per_device_train_batch_size"] + ["per_device_eval_batch_size"] * evaluates
    for key in keys:
        if context.number(key) > 1:
            yield error(
                "packing",
                f"neat_packing under FlashAttention-2 with {key} {context.number(key):.0f}: "
                "LLaMA-Factory stops at the first batch",
                f"set {key}: 1 and a longer cutoff_len",
            )


def check_quantization(context: Context) -> Iterator[Finding]:
    """4 and 8 bits: with what they go together."""
    if context.value("quantization_bit") is None:
        return
    if context.value("finetuning_type") not in ("lora", "oft") and context.is_on("do_train"):
        yield error(
            "quantization",
            f"quantization_bit with finetuning_type: {context.value('finetuning_type')}",
            "finetuning_type: lora",
        )
    bits, method = context.value("quantization_bit"), str(context.value("quantization_method"))
    allowed = _BITS.get(method)
    if allowed is None:
        yield warning(
            "quantization",
            f"quantization_bit with quantization_method: {method} quantises nothing",
            "quantization_method: bnb, or name a quantised model and remove quantization_bit",
        )
    elif bits not in allowed:
        yield error(
            "quantization",
            f"quantization_method: {method} does not make {bits} bits",
            f"quantization_bit: {' or '.join(map(str, allowed))}",
        )
    elif context.zero_stage == _ZERO_3 and (method, bits) != ("bnb", 4):
        yield error(
            "quantization",
            f"{bits} bits of {method} do not go with ZeRO-3",
            "quantization_bit: 4 with bnb, or ZeRO-2",
        )
    if context.values.get("export_dir") and context.values.get("adapter_name_or_path"):
        yield error(
            "quantization",
            "an adapter cannot be merged into a quantised base",
            "remove quantization_bit: merge into the base as it is",
        )
    if context.is_on("pure_bf16"):
        yield warning("quantization", "pure_bf16 with a quantised base", "bf16: true instead")


def check_deepspeed(context: Context) -> Iterator[Finding]:
    """The settings of deepspeed, and what ZeRO-3 does not go with."""
    if not context.value("deepspeed"):
        return
    if context.deepspeed_problem:
        yield error("deepspeed", context.deepspeed_problem, "name one of examples/deepspeed/*.json")
    if context.zero_stage != _ZERO_3:
        return
    if context.is_on("predict_with_generate"):
        yield error(
            "deepspeed",
            "LLaMA-Factory does not predict under ZeRO-3",
            "predict without deepspeed, or with `llamafactory_emotion.predict`",
        )
    if context.is_on("pure_bf16"):
        yield error("deepspeed", "pure_bf16 does not go with ZeRO-3", "bf16: true instead")


def check_output(context: Context) -> Iterator[Finding]:
    """An output folder that is taken."""
    folder = Path(str(context.values.get("output_dir") or ""))
    if context.is_on("do_train") and context.values.get("output_dir") and folder.is_dir():
        checkpoints = sorted(folder.glob("checkpoint-*"))
        if checkpoints and not context.is_on("overwrite_output_dir"):
            yield warning(
                "output",
                f"{folder} holds {checkpoints[-1].name}: LLaMA-Factory goes on from it, with the "
                "old run's optimizer and steps",
                "name another output_dir, unless that is what you want",
            )
        elif any(folder.glob("*.safetensors")) and not context.is_on("overwrite_output_dir"):
            yield error(
                "output", f"{folder} holds a trained model already", "name another output_dir"
            )


def check_resumption(context: Context) -> Iterator[Finding]:
    """A checkpoint to go on from that is not there."""
    named = context.values.get("resume_from_checkpoint")
    if isinstance(named, str) and not Path(named).is_dir():
        yield error(
            "output",
            f"resume_from_checkpoint: {named} is not there",
            "name a checkpoint-N folder, or remove the key: a run goes on by itself from the last "
            "checkpoint in its output_dir",
        )


def check_scheduler(context: Context) -> Iterator[Finding]:
    """Schedules that need a number more."""
    name = str(context.value("lr_scheduler_type"))
    if name.endswith("with_min_lr") and not context.values.get("lr_scheduler_kwargs"):
        yield error(
            "steps",
            f"lr_scheduler_type: {name} without the least rate",
            "add lr_scheduler_kwargs: {min_lr_rate: 0.1}",
        )


def check_template_settings(context: Context) -> Iterator[Finding]:
    """Settings that the template emotion does not go with."""
    if context.value("template") == "emotion" and context.is_on("split_special_tokens"):
        yield warning(
            "template",
            "split_special_tokens: true is saved with the tokenizer and then splits the begin "
            "token of the saved chat template; the template emotion reads texts as text by itself",
            "remove split_special_tokens",
        )


TRAINING: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    check_precision,
    check_attention,
    check_packing,
    check_quantization,
    check_deepspeed,
    check_output,
    check_resumption,
    check_scheduler,
    check_template_settings,
)
