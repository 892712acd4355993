"""The keys of `train_head`, ours and those of transformers' `TrainingArguments`."""

import json
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import Call, DataOptions, key
from llamafactory_emotion.scoring.loading import ModelSource
from llamafactory_emotion.task_choice import LABELS_ABOUT, TASK_ABOUT

if TYPE_CHECKING:
    from transformers import TrainingArguments

_METRICS = ("loss", "accuracy", "f1_macro")
_RESUME = "resume_from_checkpoint"
_SAMPLING = "train_sampling_strategy"
# What transformers and torch find out too late, or say badly; the rest they say well.
_LATE = (
    ("gradient_accumulation_steps", 1, inf, "1 or more"),
    ("per_device_eval_batch_size", 1, inf, "1 or more"),
    ("label_smoothing_factor", 0, 1, "from 0 to 1"),
    ("seed", 0, 2**32 - 1, f"from 0 to {2**32 - 1}"),
)


@dataclass(frozen=True, kw_only=True)
class HeadArguments(DataOptions):
    """Our keys; where LLaMA-Factory has the same thing, under its name."""

    model_name_or_path: str = key(
        about="a folder, a hub id, or package:NAME/FOLDER inside an installed package",
        metavar="MODEL",
    )
    train: str = key(
        about="a labelled file, or data sets of dataset_dir by name", metavar="FILE|NAMES"
    )
    validation: str | None = key(None, about="the same, for choosing", metavar="FILE|NAMES")
    validation_size: float | None = key(
        None,
        about="rows (200) or share (0.1) to take from train where validation is none",
        least=0,
    )
    test: str | None = key(None, about="predicted once, at the end", metavar="FILE|NAMES")
    task: str | None = key(None, about=TASK_ABOUT)
    labels: str | None = key(None, about=LABELS_ABOUT)
    dataset_dir: str = key("data", about="the folder of dataset_info.json", metavar="DIR")
    max_samples: int | None = key(None, about="the first rows of train alone", least=1)
    cutoff_len: int = key(512, about="the longest text in tokens", least=1)
    finetuning_type: str = key(
        "full", about="all weights, or an adapter and the head", choices=("full", "lora")
    )
    freeze_blocks: int = key(0, about="leave embeddings and the first blocks as they are", least=0)
    lora_rank: int = key(8, about="rank of the adapter", least=1)
    lora_alpha: int | None = key(None, about="scale (default: twice the rank)", least=1)
    lora_dropout: float = key(0.0, about="dropout in front of the adapter", least=0, most=1)
    lora_target: str = key("all", about="linear layers of the blocks, with commas; all of them")
    quantization_bit: int | None = key(None, about="8 or 4, with LoRA")
    class_weights: str = key(
        "none", about="weigh labels by the inverse of their share", choices=("none", "balanced")
    )
    early_stopping_patience: int | None = key(
        None, about="stop after so many evaluations without a better one", least=1
    )
    model_revision: str = key("main", about="the hub revision")
    cache_dir: str | None = key(None, about="where downloads are kept", metavar="DIR")
    hf_hub_token: str | None = key(None, about="the hub token", secret=True)
    trust_remote_code: bool = key(False, about="run a checkpoint's own code")
    overwrite: bool = key(False, about="use an output_dir that holds files")

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Whether a key is one of transformers' trainer."""
        from transformers import TrainingArguments

        return name in {one.name for one in fields(TrainingArguments)} | {_SAMPLING}

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is missing and which keys exclude each other."""
        lora = given.get("finetuning_type") == "lora"
        if "output_dir" not in given:
            yield "output_dir is missing: name the folder that receives the model"
        if "quantization_bit" in given and given["quantization_bit"] not in (4, 8):
            yield f"quantization_bit={given['quantization_bit']} is neither 4 nor 8"
        elif "quantization_bit" in given and not lora:
            yield "quantization_bit needs finetuning_type=lora: quantised weights cannot be trained"
        if lora and given.get("freeze_blocks"):
            excluded = "freeze_blocks and finetuning_type=lora exclude each other"
            yield f"{excluded}: LoRA freezes all blocks"
        if "validation" in given and given.get("validation_size"):
            yield "validation and validation_size exclude each other; keep one"
        if given.get("overwrite") is True and given.get(_RESUME):
            yield f"overwrite and {_RESUME} exclude each other"
        evaluates = given.get("eval_strategy", "no") not in ("no", False)
        if evaluates and "validation" not in given and not given.get("validation_size"):
            yield "eval_strategy needs rows to evaluate: give validation or validation_size"
        keeps_best = evaluates and given.get("load_best_model_at_end") is True
        if "early_stopping_patience" in given and not keeps_best:
            yield "early_stopping_patience needs eval_strategy and load_best_model_at_end=true"
        metric = str(given.get("metric_for_best_model", "loss")).removeprefix("eval_")
        if metric not in _METRICS:
            yield f"metric_for_best_model={metric} is none of {', '.join(_METRICS)}"

    @property
    def source(self) -> ModelSource:
        """Where the model comes from."""
        return ModelSource(
            self.model_name_or_path,
            revision=self.model_revision,
            cache_dir=self.cache_dir,
            token=self.hf_hub_token,
            trust_remote_code=self.trust_remote_code,
        )


def read_training_arguments(call: Call) -> "TrainingArguments":
    """Read transformers' keys of a call with its own parser, which knows each key's type."""
    import torch
    from transformers import HfArgumentParser, TrainingArguments

    values = {name: value for name, value in call.others.items() if value is not None}
    if values.get(_RESUME) is False:
        del values[_RESUME]
    if not hasattr(TrainingArguments, _SAMPLING):
        values = _for_transformers_4(values)
    # A mapping, which the parser of transformers 4 cannot read.
    schedule = values.pop("lr_scheduler_kwargs", None)
    values.setdefault("disable_tqdm", not sys.stderr.isatty())
    values.setdefault("dataloader_pin_memory", torch.accelerator.is_available())
    flags: list[str] = []
    for name, value in values.items():
        if isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif value is False and name.endswith("_strategy"):
            flags.append(f"--{name}=no")  # which YAML reads as false
        else:
            plain = isinstance(value, str)
            flags.append(f"--{name}={value if plain else json.dumps(value, default=str)}")
    kinds: Any = TrainingArguments
    training: TrainingArguments
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = HfArgumentParser(kinds, exit_on_error=False)
            (training,) = parser.parse_args_into_dataclasses(flags, look_for_args_file=False)
    except (ArgumentError, ValueError, TypeError, ImportError, NotImplementedError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise CallError(f"transformers refuses these settings; change them: {reason}.") from error
    if schedule is not None:
        training.lr_scheduler_kwargs = schedule
    problems = [
        f"{name}={getattr(training, name)} must be {wanted}"
        for name, least, most, wanted in _LATE
        if not least <= (getattr(training, name) or 0) <= most
    ]
    if problems:
        raise CallError("; ".join(problems) + ".")
    return training


def _for_transformers_4(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys of transformers 5 as its predecessor calls them: order of rows, warm-up."""
    found = dict(values)
    order, warmup = found.pop(_SAMPLING, "random"), found.get("warmup_steps")
    if order not in ("random", "group_by_length"):
        raise CallError(f"{_SAMPLING}={order} needs transformers 5; write random.")
    found |= {"group_by_length": True} if order == "group_by_length" else {}
    if isinstance(warmup, float) and warmup < 1:
        found["warmup_ratio"] = found.pop("warmup_steps")
    return found
