"""Do precision, attention, packing, batch and evaluation go together?"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llamafactory_emotion.checks.context import Context
from llamafactory_emotion.checks.finding import Finding, error, note, warning

# What LLaMA-Factory asks of Ray for each worker, whatever the worker needs.
RAY_CPUS_PER_WORKER = 10
_LOGGERS = {
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
}
_HIGHEST_RATE = 1e-2
_ZERO_3 = 3


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
    """FlashAttention-2 in full precision, which it does not have."""
    half = any(context.is_on(key) for key in ("bf16", "fp16", "pure_bf16"))
    if context.value("flash_attn") == "fa2" and context.is_on("do_train") and not half:
        yield warning(
            "attention",
            "FlashAttention-2 computes in half precision only, and the recipe trains in full",
            "bf16: true, or flash_attn: sdpa",
        )


def check_packing(context: Context) -> Iterator[Finding]:
    """Packing: what it mixes up, and what FlashAttention-2 asserts."""
    if context.is_on("packing") and not context.is_on("neat_packing"):
        yield warning(
            "packing",
            "packing: true lets packed rows attend to one another",
            "neat_packing: true keeps them apart",
        )
    if not context.is_on("neat_packing") or context.value("flash_attn") != "fa2":
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
    if context.is_on("pure_bf16"):
        yield warning("quantization", "pure_bf16 with a quantised base", "bf16: true instead")


def check_deepspeed(context: Context) -> Iterator[Finding]:
    """The settings of deepspeed, and what ZeRO-3 does not go with."""
    if not context.value("deepspeed"):
        return
    settings, problem = _deepspeed_settings(context.value("deepspeed"))
    if problem:
        yield error("deepspeed", problem, "name one of examples/deepspeed/*.json")
    if _stage(settings) != _ZERO_3:
        return
    if context.is_on("predict_with_generate"):
        yield error(
            "deepspeed",
            "LLaMA-Factory does not predict under ZeRO-3",
            "predict without deepspeed, or with `llamafactory_emotion.predict`",
        )
    if context.is_on("pure_bf16"):
        yield error("deepspeed", "pure_bf16 does not go with ZeRO-3", "bf16: true instead")


def _deepspeed_settings(value: Any) -> tuple[dict[str, Any], str | None]:
    if isinstance(value, dict):
        return value, None
    try:
        content = json.loads(Path(str(value)).read_text(encoding="utf-8"))
    except OSError:
        return {}, f"the deepspeed settings {value} cannot be read"
    except ValueError as problem:
        return {}, f"the deepspeed settings {value} are not valid JSON ({problem})"
    if not isinstance(content, dict):
        return {}, f"the deepspeed settings {value} are no JSON object"
    return content, None


def _stage(settings: dict[str, Any]) -> int:
    zero = settings.get("zero_optimization")
    stage = zero.get("stage") if isinstance(zero, dict) else None
    return stage if isinstance(stage, int) else 0


def check_steps(context: Context) -> Iterator[Finding]:
    """The effective batch, how many steps there are, and what does not fit into them."""
    if not context.is_on("do_train"):
        return
    batch = (
        max(1, int(context.number("per_device_train_batch_size")))
        * max(1, int(context.number("gradient_accumulation_steps")))
        * context.processes
    )
    if (rate := context.number("learning_rate")) > _HIGHEST_RATE:
        yield warning("steps", f"learning_rate {rate:g} is very high", "1e-5 to 1e-3 are usual")
    names = context.data_sets("dataset")
    rows = [len(context.loaded[name].examples) for name in names if name in context.loaded]
    if len(rows) < len(names) or not all(rows):
        yield note("steps", f"effective batch {batch} rows")
        return
    count = sum(rows)
    if context.value("max_samples"):
        count = min(count, int(context.number("max_samples")) * len(rows))
    per_epoch = math.ceil(count / batch)
    steps = math.ceil(per_epoch * context.number("num_train_epochs"))
    steps = int(context.number("max_steps")) if context.number("max_steps") > 0 else steps
    if context.is_on("packing") or context.is_on("neat_packing"):
        yield note("steps", f"effective batch {batch} packs of up to cutoff_len tokens")
        return
    yield note("steps", f"effective batch {batch} rows, {steps:,} steps over {count:,} rows")
    for key in ("warmup_steps", "save_steps", "eval_steps"):
        given = context.values.get(key)
        if isinstance(given, int) and not isinstance(given, bool) and given >= steps:
            yield warning("steps", f"{key} {given}, and there are {steps} steps", f"lower {key}")


def check_evaluation(context: Context) -> Iterator[Finding]:
    """The best checkpoint, and the metric it is chosen by."""
    strategy = str(context.value("eval_strategy") or "no")
    best = str(context.value("metric_for_best_model") or "")
    accuracy = best.removeprefix("eval_").endswith(("accuracy", "f1_macro"))
    if context.is_on("load_best_model_at_end"):
        saved = str(context.value("save_strategy") or "steps")
        if saved not in ("best", strategy):
            yield error(
                "evaluation",
                f"load_best_model_at_end with eval_strategy {strategy} and save_strategy {saved}",
                "make both the same",
            )
    if accuracy and not context.is_on("compute_accuracy"):
        yield error(
            "evaluation",
            f"metric_for_best_model: {best} is not computed",
            "add compute_accuracy: true",
        )
    if best.endswith("f1_macro") and context.value("template") != "emotion":
        yield error(
            "evaluation",
            f"{best} is computed under the template emotion only",
            "template: emotion, or metric_for_best_model: accuracy",
        )
    if context.is_on("compute_accuracy") and context.value("template") != "emotion":
        yield note(
            "evaluation",
            "LLaMA-Factory's own accuracy counts the end token, which is always right, as well",
            "template: emotion counts whole labels",
        )


def check_prediction(context: Context) -> Iterator[Finding]:
    """Sampling left on, and answers of a thousand tokens."""
    if not context.is_on("do_predict"):
        return
    if not context.is_on("predict_with_generate"):
        yield error("prediction", "do_predict without predict_with_generate", "set it to true")
    if context.value("do_sample") is not False:
        yield warning(
            "prediction",
            "sampling is on (LLaMA-Factory's default): every run gives other answers",
            "do_sample: false",
        )
    if context.number("max_new_tokens") > 64:  # a label is a few tokens
        yield warning(
            "prediction",
            f"answers may have {context.number('max_new_tokens'):.0f} tokens; a label has a few, "
            "and a model that does not stop writes on for minutes",
            "max_new_tokens: 8",
        )


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
    check_steps,
    check_evaluation,
    check_prediction,
    check_output,
    check_template_settings,
)
