"""Does the machine have what the recipe needs? Reported apart from faults of the recipe itself."""

import importlib.util
from collections.abc import Iterator
from types import MappingProxyType

from packaging.version import Version

from llamafactory_emotion.doctor.context import (
    AMPERE,
    GIB,
    Context,
    Finding,
    error,
    note,
    warning,
)
from llamafactory_emotion.doctor.environment import (
    import_failure,
    is_outside,
    required_by,
    version_of,
)
from llamafactory_emotion.doctor.loading import is_enabled
from llamafactory_emotion.plugin import host

# What LLaMA-Factory asks of Ray for each GPU there is, whatever a worker needs.
RAY_CPUS_PER_GPU = 10
_LOGGERS = ("wandb", "tensorboard", "mlflow", "swanlab", "comet_ml", "trackio")
# Bytes a parameter when it is trained: weights, gradients and Adam's two states.
_TRAINED_BYTES, _TRAINED_BYTES_PURE_HALF = 16, 8
_QUANTIZED_BYTES = MappingProxyType({4: 0.6, 8: 1.1})
_HALF_PRECISION_BYTES = 2.0
_LITTLE_LEFT = 0.9


def check_precision(context: Context) -> Iterator[Finding]:
    """Half precision without a GPU that has it."""
    name = next(filter(context.is_on, ("pure_bf16", "bf16", "fp16")), None)
    old = [gpu.name for gpu in context.machine.gpus if gpu.capability < AMPERE]
    if name and (not context.machine.gpus or context.is_on("use_cpu")):
        yield error(
            f"{name} needs a GPU, and there is none",
            f"{name}=false trains in full precision on the CPU, or run it on a machine with a GPU "
            "(assume_gpu=24 judges it for one)",
        )
    elif name in ("pure_bf16", "bf16") and old:
        yield error(f"{old[0]} does not compute in bfloat16", "use fp16: true")


def check_attention(context: Context) -> Iterator[Finding]:
    """The attention that will really run: LLaMA-Factory falls back without stopping."""
    asked = context.value("flash_attn")
    if asked == "fa3" and not host.loads_attention("fa3"):
        yield error(
            f"LLaMA-Factory {version_of('llamafactory')} takes flash_attn: fa3 and stops when it "
            "loads the model",
            "flash_attn: fa2",
        )
    # gpt-oss gets an attention of its own, whatever is asked for.
    if asked != "fa2" or getattr(context.base.config, "model_type", None) == "gpt_oss":
        return
    old = [gpu.name for gpu in context.machine.gpus if gpu.capability < AMPERE]
    found, ours = version_of("transformers"), required_by("llamafactory-emotion")
    if not context.machine.gpus:
        yield note("flash_attn: fa2 without a GPU: torch's own attention will run")
    elif old:
        yield error(f"{old[0]} is older than FlashAttention-2 needs", "flash_attn: sdpa")
    elif not context.machine.assumed and (failure := import_failure("flash_attn")):
        yield warning(
            f"flash_attn: fa2, and flash_attn does not import ({failure}): LLaMA-Factory goes on "
            "with torch's own attention",
            "pip install 'llamafactory-emotion[fa2]', or flash_attn: sdpa",
        )
    elif (required := ours.get("transformers")) and is_outside(found, required):
        # Our requirement keeps it out, and somebody installed it nevertheless.
        yield error(
            f"flash_attn: fa2 with transformers {found}: the first step stops with "
            "\"'NoneType' object has no attribute 'to'\"",
            # LLaMA-Factory is named so that pip keeps to its range of transformers.
            f'pip install "{required}" llamafactory, or flash_attn=sdpa',
        )


def check_packages(context: Context) -> Iterator[Finding]:
    """Packages that the recipe's settings need, really imported."""
    quantizes = context.value("quantization_bit") is not None
    wanted = [("deepspeed", "deepspeed")] if context.value("deepspeed") else []
    if quantizes and context.value("quantization_method") == "bnb":
        wanted.append(("bnb", "bitsandbytes"))
    for extra, module in () if context.machine.assumed else wanted:
        if failure := import_failure(module):
            yield error(
                f"the recipe needs {module}, and {failure}",
                f"pip install 'llamafactory-emotion[{extra}]'",
            )
    for name in map(str.strip, str(context.values.get("report_to") or "").split(",")):
        if name in _LOGGERS and importlib.util.find_spec(name) is None:
            yield error(f"report_to: {name} is not installed", f"pip install {name}")


def check_packing(context: Context) -> Iterator[Finding]:
    """Packing with a LLaMA-Factory that cannot."""
    version = version_of("llamafactory")
    if context.is_on("neat_packing") and version and Version(version) < Version("0.9.5"):
        yield error(
            f"LLaMA-Factory {version} does not pack rows with the transformers it brings",
            "pip install 'llamafactory>=0.9.5', or neat_packing: false",
        )


def check_launcher(context: Context) -> Iterator[Finding]:
    """What starts the run: torchrun for deepspeed, Ray's processors."""
    one_process = len(context.machine.gpus) < 2 and not context.machine.assumed
    if one_process and not is_enabled("FORCE_TORCHRUN"):
        if context.value("deepspeed"):
            yield error(
                "deepspeed is started through torchrun alone, and LLaMA-Factory does so by itself "
                "only where it sees several GPUs",
                "put FORCE_TORCHRUN=1 before the command",
            )
        elif context.value("fsdp"):
            yield error(
                "fsdp needs several processes, and there is one",
                "several GPUs, and FORCE_TORCHRUN=1 before the command",
            )
    if is_enabled("USE_RAY") and version_of("ray") is None:
        yield error(
            "USE_RAY=1, and ray is not installed", "pip install 'llamafactory-emotion[ray]'"
        )
    elif is_enabled("USE_RAY") and not context.machine.assumed:
        yield from _ray_resources(context)


def _ray_resources(context: Context) -> Iterator[Finding]:
    gpus, cpus = len(context.machine.gpus), context.machine.cpus
    workers = max(1, int(context.number("ray_num_workers")))
    told = context.value("ray_init_kwargs")
    if isinstance(told, dict) and isinstance(told.get("num_cpus"), int):
        cpus = told["num_cpus"]
    needed = gpus * RAY_CPUS_PER_GPU
    if not gpus:
        yield error(
            "USE_RAY=1 without a GPU: LLaMA-Factory then asks Ray for ten times the processors "
            "there are, and waits for ever",
            "unset USE_RAY, or run it on a machine with a GPU",
        )
    elif workers > gpus:
        yield error(
            f"ray_num_workers {workers}, and there are {gpus} GPUs: LLaMA-Factory stops",
            f"ray_num_workers: {gpus}, or start Ray on more machines first",
        )
    elif needed > cpus:
        yield error(
            f"LLaMA-Factory asks Ray for {RAY_CPUS_PER_GPU} processors for each GPU, {needed} in "
            f"all, and there are {cpus}: it waits for ever",
            f'tell Ray of more (ray_init_kwargs: {{"num_cpus": {needed}}}), or unset USE_RAY',
        )


def check_memory(context: Context) -> Iterator[Finding]:
    """Whether weights and what training adds fit the GPU."""
    needed, parameters = memory_needed(context), context.base.parameters
    if needed is None or parameters is None or not context.machine.gpus:
        return
    gpu = min(context.machine.gpus, key=lambda one: one.memory_gib)
    sentence = (
        f"{context.model} has {parameters / 1e9:.2f} billion parameters; weights, gradients and "
        f"optimizer take about {needed:.0f} GiB a GPU, and {gpu.name} has {gpu.memory_gib:.0f}"
    )
    if needed > gpu.memory_gib:
        yield warning(
            sentence,
            "quantization_bit: 4 with finetuning_type: lora, more GPUs with deepspeed, or a "
            "smaller model",
        )
    elif needed > gpu.memory_gib * _LITTLE_LEFT:
        yield note(f"{sentence}: little is left for activations")


def memory_needed(context: Context) -> float | None:
    """Compute the GiB that each GPU needs for weights, gradients and optimizer; None if unknown.

    Activations and an adapter's own few weights are left out. Of what deepspeed and FSDP share out
    a GPU has its part: ZeRO-3 and FSDP all of it, ZeRO-1 and ZeRO-2 all but the weights.
    """
    parameters = context.base.parameters
    if parameters is None:
        return None
    # Without a word on precision LLaMA-Factory loads in half precision too, where there is a GPU.
    weight = _QUANTIZED_BYTES.get(int(context.number("quantization_bit")), _HALF_PRECISION_BYTES)
    all_bytes = _bytes_a_parameter(context, weight)
    if context.is_zero_3 or context.value("fsdp"):
        own = all_bytes / context.processes
    elif context.zero_stage:
        own = weight + (all_bytes - weight) / context.processes
    else:
        own = all_bytes
    return float(parameters * own / GIB)


def _bytes_a_parameter(context: Context, weight: float) -> float:
    if not context.is_on("do_train") or context.value("finetuning_type") == "lora":
        return weight
    share = 1.0
    if context.value("finetuning_type") == "freeze":
        layers = getattr(context.base.config.get_text_config(), "num_hidden_layers", 0) or 1
        share = min(1.0, abs(context.number("freeze_trainable_layers")) / layers)
    trained = _TRAINED_BYTES_PURE_HALF if context.is_on("pure_bf16") else _TRAINED_BYTES
    return share * trained + (1 - share) * weight
