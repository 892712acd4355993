"""Are numbers ones that a run can use, and do the settings of training and evaluation fit?"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning

# What each method makes of a model while it is loaded.
_BITS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 5, 6, 8), "eetq": (8,)}
)
_MORE_THAN_ZERO = math.ulp(0.0)
# The least and the greatest value that make sense; LLaMA-Factory takes any of the type.
_ONE_OR_MORE = (
    *("cutoff_len", "early_stopping_steps", "gradient_accumulation_steps", "lora_alpha"),
    *("lora_rank", "max_new_tokens", "max_samples", "per_device_eval_batch_size"),
    *("per_device_train_batch_size", "save_total_limit"),
)
_POSITIVE = ("eval_steps", "learning_rate", "logging_steps", "num_train_epochs", "save_steps")
_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys(_ONE_OR_MORE, (1, math.inf)),
        **dict.fromkeys(_POSITIVE, (_MORE_THAN_ZERO, math.inf)),
        **dict.fromkeys(("temperature", "val_size", "warmup_steps", "weight_decay"), (0, math.inf)),
        **dict.fromkeys(("lora_dropout", "warmup_ratio"), (0, 1)),
    }
)
_HIGHEST_RATE = 1e-2
_TIMES = ("runtime", "samples_per_second", "steps_per_second")
_LONG_ANSWER = 64  # a label is a few tokens


def check_number(context: Context) -> Iterator[Finding]:
    """Batches of no rows, ranks below one, rates below zero, a cutoff beyond what is read."""
    for key, (least, most) in _RANGES.items():
        value = context.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not least <= value <= most:
            bound = "more than 0" if least == _MORE_THAN_ZERO else f"{least:g} or more"
            wanted = bound if most == math.inf else f"from {least:g} to {most:g}"
            yield error(f"{key}: {value}, and it must be {wanted}", f"change {key}")
    rate, layers = context.number("learning_rate"), context.number("freeze_trainable_layers")
    if rate > _HIGHEST_RATE:
        yield warning(f"learning_rate {rate:g} is very high", "1e-5 to 1e-3 are usual")
    if context.value("finetuning_type") == "freeze" and not layers:
        yield error(
            "freeze_trainable_layers: 0 leaves nothing to train",
            "say how many of the last blocks are trained",
        )
    text = context.base.config.get_text_config() if context.base.config is not None else None
    longest, cutoff = getattr(text, "max_position_embeddings", None), context.number("cutoff_len")
    if longest and cutoff > longest and context.value("rope_scaling") is None:
        yield warning(
            f"cutoff_len {cutoff:.0f}, and {context.model} reads {longest} tokens at most",
            f"cutoff_len: {longest} or less",
        )
    if "max_length" in context.values and "cutoff_len" not in context.values:
        yield warning(
            "max_length belongs to generation; what cuts rows is cutoff_len",
            f"write cutoff_len: {context.values['max_length']}",
        )


def check_precision(context: Context) -> Iterator[Finding]:
    """bf16 and fp16 against each other and against the method."""
    fp16 = context.is_on("fp16")
    if context.is_on("bf16") and fp16:
        yield error("bf16 and fp16 exclude each other", "keep bf16")
    elif fp16 and context.is_on("do_train") and context.value("finetuning_type") != "lora":
        yield warning(
            "fp16 with trained base weights: losses become NaN in many such runs",
            "use bf16: true",
        )


def check_attention(context: Context) -> Iterator[Finding]:
    """FlashAttention in full precision, which it does not have."""
    half = any(map(context.is_on, ("bf16", "fp16", "pure_bf16")))
    if context.value("flash_attn") == "fa2" and context.is_on("do_train") and not half:
        yield warning(
            "FlashAttention-2 computes in half precision only, and the recipe trains in full",
            "bf16: true, or flash_attn: sdpa",
        )


def check_packing(context: Context) -> Iterator[Finding]:
    """Packing: what it mixes up, and what FlashAttention takes of it."""
    neat = context.is_on("neat_packing")
    if context.is_on("packing") and not neat:
        yield warning(
            "packing: true lets packed rows attend to one another",
            "neat_packing: true keeps them apart",
        )
    if neat and context.value("flash_attn") == "fa2":
        evaluates = context.data_sets("eval_dataset") or context.number("val_size") > 0
        evaluation = ["per_device_eval_batch_size"] if evaluates else []
        for key in ["per_device_train_batch_size", *evaluation]:
            if context.number(key) > 1:
                yield error(
                    f"neat_packing under FlashAttention-2 with {key} {context.number(key):.0f}: "
                    "LLaMA-Factory stops at the first batch",
                    f"set {key}: 1 and a longer cutoff_len",
                )


def check_quantization(context: Context) -> Iterator[Finding]:
    """4 and 8 bits: with what they go together."""
    bits, method = context.value("quantization_bit"), str(context.value("quantization_method"))
    if bits is None:
        return
    allowed = _BITS.get(method)
    if allowed is None:
        yield warning(
            f"quantization_bit with quantization_method: {method} quantises nothing",
            "quantization_method: bnb, or name a quantised model and remove quantization_bit",
        )
    elif bits not in allowed:
        yield error(
            f"quantization_method: {method} does not make {bits} bits",
            f"quantization_bit: {' or '.join(map(str, allowed))}",
        )
    elif context.is_zero_3 and (method, bits) != ("bnb", 4):
        yield error(
            f"{bits} bits of {method} do not go with ZeRO-3",
            "quantization_bit: 4 with bnb, or ZeRO-2",
        )
    if context.values.get("export_dir") and context.values.get("adapter_name_or_path"):
        yield error(
            "an adapter cannot be merged into a quantised base",
            "remove quantization_bit: merge into the base as it is",
        )


def check_deepspeed(context: Context) -> Iterator[Finding]:
    """The settings of deepspeed, and what ZeRO-3 does not go with."""
    problem = context.deepspeed[1]
    if problem:
        yield error(problem, "name one of examples/deepspeed/*.json")
    if context.is_zero_3 and context.is_on("predict_with_generate"):
        yield error(
            "LLaMA-Factory does not predict under ZeRO-3",
            "predict without deepspeed, or with `llamafactory_emotion.predict`",
        )
    if context.is_zero_3 and context.is_on("pure_bf16"):
        yield error("pure_bf16 does not go with ZeRO-3", "bf16: true instead")


def check_output(context: Context) -> Iterator[Finding]:
    """An output folder that is taken, a checkpoint to go on from that is not there."""
    named, resumed = (context.values.get(key) for key in ("output_dir", "resume_from_checkpoint"))
    folder = Path(str(named))
    goes_on = context.is_on("do_train") and not context.is_on("overwrite_output_dir")
    if goes_on and named and folder.is_dir():
        checkpoints = sorted(folder.glob("checkpoint-*"))
        if checkpoints:
            yield warning(
                f"{folder} holds {checkpoints[-1].name}: LLaMA-Factory goes on from it, with the "
                "old run's optimizer and steps",
                "name another output_dir, unless that is what you want",
            )
        elif any(folder.glob("*.safetensors")):
            yield error(f"{folder} holds a trained model already", "name another output_dir")
    if isinstance(resumed, str) and not Path(resumed).is_dir():
        yield error(
            f"resume_from_checkpoint: {resumed} is not there",
            "name a checkpoint-N folder, or remove the key: a run goes on by itself from the last "
            "checkpoint in its output_dir",
        )


def check_template(context: Context) -> Iterator[Finding]:
    """Settings that the template emotion does not go with."""
    if context.value("template") == "emotion" and context.is_on("split_special_tokens"):
        yield warning(
            "split_special_tokens: true is saved with the tokenizer and then splits the begin "
            "token of the saved chat template; the template emotion reads texts as text by itself",
            "remove split_special_tokens",
        )


def check_evaluation(context: Context) -> Iterator[Finding]:
    """What is evaluated, and what the best checkpoint is chosen by."""
    strategy = str(context.value("eval_strategy") or "no")
    best = str(context.value("metric_for_best_model") or "").removeprefix("eval_")
    keeps_best = context.is_on("load_best_model_at_end")
    if best and strategy != "no":
        yield from _best_metric(context, best)
    stops_early = context.value("early_stopping_steps") is not None
    if stops_early and (strategy == "no" or not (best or keeps_best)):
        yield error(
            "early_stopping_steps without an evaluation to stop by: the run ends at its start",
            "add eval_strategy, save_strategy, load_best_model_at_end: true and "
            "metric_for_best_model",
        )
    if context.is_on("compute_accuracy") and context.value("template") != "emotion":
        yield note(
            "LLaMA-Factory's own accuracy counts the end token, which is always right, as well",
            "template: emotion counts whole labels",
        )
    seen = set(context.data_sets("dataset")) & set(context.data_sets("eval_dataset"))
    evaluates = strategy != "no" or context.is_on("do_eval")
    if context.is_on("do_train") and evaluates and seen:
        yield warning(
            f"{', '.join(sorted(seen))} is trained on and evaluated: the figures say how well it "
            "is remembered",
            "name another eval_dataset",
        )


def _best_metric(context: Context, best: str) -> Iterator[Finding]:
    computed = _metrics(context)
    if best not in computed:
        yield error(
            f"metric_for_best_model: there is no {best}",
            f"name one of {', '.join(one for one in computed if not one.endswith(_TIMES))}"
            "; compute_accuracy: true adds accuracy, and template: emotion f1_macro",
        )
    elif best.endswith(("accuracy", "f1_macro")) and context.value("greater_is_better") is False:
        yield warning(
            f"greater_is_better: false with {best}: the worst checkpoint is kept",
            "remove greater_is_better",
        )


def _metrics(context: Context) -> list[str]:
    """Return the names of what is computed, without `eval_`."""
    generates, ours = context.is_on("predict_with_generate"), context.value("template") == "emotion"
    own = ["loss", *_TIMES]
    own += ["rouge-1", "rouge-2", "rouge-l", "bleu-4"] if generates else []
    own += ["accuracy"] if (ours and generates) or context.is_on("compute_accuracy") else []
    own += ["f1_macro"] if ours and "accuracy" in own else []
    own += ["invalid"] if ours and generates else []
    if not context.is_on("eval_on_each_dataset"):
        return own
    return [f"{name}_{one}" for name in context.data_sets("eval_dataset") for one in own]


def check_prediction(context: Context) -> Iterator[Finding]:
    """Sampling left on, and answers of a thousand tokens."""
    if not context.is_on("do_predict"):
        return
    if context.value("do_sample") is not False:
        yield warning(
            "sampling is on (LLaMA-Factory's default): every run gives other answers",
            "do_sample: false",
        )
    if (longest := context.number("max_new_tokens")) > _LONG_ANSWER:
        yield warning(
            f"answers may have {longest:.0f} tokens; a label has a few, and a model that does not "
            "stop writes on for minutes",
            "max_new_tokens: 8",
        )
