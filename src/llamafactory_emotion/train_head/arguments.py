"""What a call of `train_head` asks for: our keys and transformers' own, checked before any work.

Stands above `recipes`. Both groups of keys are dataclasses that `HfArgumentParser` reads, so every
key of `TrainingArguments` can stand in a recipe and is explained in transformers' documentation.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from math import inf, isfinite
from typing import Any, NoReturn

import torch
from transformers import HfArgumentParser, TrainingArguments

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import Call, keys_outside
from llamafactory_emotion.scoring.sources import ModelSource

METHODS = ("full", "lora")
CLASS_WEIGHTS = ("none", "balanced")
METRICS = ("loss", "accuracy", "f1_macro")
_RESUME = "resume_from_checkpoint"


@dataclass
class HeadArguments:
    """The keys of `train_head` beside those of transformers' `TrainingArguments`.

    Names are LLaMA-Factory's wherever it has the same thing.
    """

    model_name_or_path: str = field(
        metadata={"help": "a folder, a hub id, or package:NAME/FOLDER inside an installed package"}
    )
    train: str = field(metadata={"help": "a labelled file, or data sets of dataset_dir by name"})
    validation: str | None = field(default=None, metadata={"help": "the same, for choosing"})
    validation_size: str | None = field(
        default=None, metadata={"help": "rows or share to take from train where validation is none"}
    )
    test: str | None = field(default=None, metadata={"help": "predicted once, at the end"})
    task: str = field(default="emotion", metadata={"help": "a built-in task or a task's YAML file"})
    dataset_dir: str = field(default="data", metadata={"help": "folder of dataset_info.json"})
    text_column: str | None = field(default=None, metadata={"help": "the column of the texts"})
    label_column: str | None = field(default=None, metadata={"help": "the column of the labels"})
    max_samples: int | None = field(default=None, metadata={"help": "the first rows of train only"})
    cutoff_len: int = field(default=512, metadata={"help": "the longest text in tokens"})
    finetuning_type: str = field(default="full", metadata={"choices": METHODS})
    freeze_blocks: int = field(
        default=0, metadata={"help": "leave embeddings and the first blocks as they are"}
    )
    lora_rank: int = field(default=8, metadata={"help": "rank of the adapter"})
    lora_alpha: int | None = field(default=None, metadata={"help": "scale; twice the rank if none"})
    lora_dropout: float = field(default=0.0, metadata={"help": "dropout in front of the adapter"})
    lora_target: str = field(
        default="all", metadata={"help": "linear layers of the blocks, with commas; all of them"}
    )
    quantization_bit: int | None = field(default=None, metadata={"help": "8 or 4, with LoRA"})
    class_weights: str = field(default="none", metadata={"choices": CLASS_WEIGHTS})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after so many evaluations without a better one"}
    )
    model_revision: str = field(default="main", metadata={"help": "the hub revision"})
    cache_dir: str | None = field(default=None, metadata={"help": "where downloads are kept"})
    hf_hub_token: str | None = field(default=None, repr=False, metadata={"help": "the hub token"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run a checkpoint's own code"})
    overwrite: bool = field(default=False, metadata={"help": "use an output_dir that holds files"})

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


class _Parser(HfArgumentParser):
    """Says what is wrong instead of leaving the program."""

    def error(self, message: str) -> NoReturn:
        raise CallError(re.sub(r"^argument --(\w+)\S*:", r"\1:", message).rstrip(".") + ".")


def read_arguments(call: Call) -> tuple[HeadArguments, TrainingArguments]:
    """Check a call's keys and values.

    Raises:
        CallError: Lists what is wrong with our keys, or gives transformers' own reason.
    """
    values = {key: value for key, value in call.values.items() if value is not None}
    known = {one.name for kind in (HeadArguments, TrainingArguments) for one in fields(kind)}
    problems = [*keys_outside(values, known), *_missing(values), *_contradictions(values)]
    if problems:
        raise CallError("; ".join(problems) + ".")
    if values.get(_RESUME) is False:
        del values[_RESUME]
    values = _machine_defaults() | values
    kinds: Any = (HeadArguments, TrainingArguments)
    parser = _Parser(kinds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            head, training = parser.parse_args_into_dataclasses(
                args=[part for item in values.items() for part in _as_flags(*item)],
                look_for_args_file=False,
            )
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise CallError(f"transformers refuses these settings: {reason.rstrip('.')}.") from error
    return head, training


def _machine_defaults() -> dict[str, Any]:
    """Give what follows from where the run is: no bar in a log, no pinned memory without a GPU."""
    return {
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.accelerator.is_available(),
    }


def _as_flags(key: str, value: Any) -> list[str]:
    """Give a key as the command-line flag that `argparse` reads; it knows each key's kind."""
    if value is False and key.endswith("_strategy"):
        value = "no"  # which a command line's YAML reads as false
    if isinstance(value, list):
        return [f"--{key}", *map(str, value)]
    if isinstance(value, dict):
        return [f"--{key}={json.dumps(value)}"]
    return [f"--{key}={str(value).lower() if isinstance(value, bool) else value}"]


def _missing(values: Mapping[str, Any]) -> Iterator[str]:
    needed = {
        "model_name_or_path": "name the model's folder or hub id",
        "train": "name a labelled file or a data set",
        "output_dir": "name the folder that receives the model",
    }
    yield from (f"{key} is missing: {what}" for key, what in needed.items() if key not in values)


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    lora = values.get("finetuning_type") == "lora"
    if "quantization_bit" in values and values["quantization_bit"] not in (4, 8):
        yield f"quantization_bit={values['quantization_bit']} is neither 4 nor 8"
    elif "quantization_bit" in values and not lora:
        yield "quantization_bit needs finetuning_type=lora: quantised weights cannot be trained"
    if lora and values.get("freeze_blocks"):
        yield "freeze_blocks and finetuning_type=lora exclude each other: LoRA freezes all blocks"
    if "validation" in values and values.get("validation_size"):
        yield "validation and validation_size exclude each other; keep one"
    if values.get("overwrite") is True and values.get(_RESUME):
        yield f"overwrite and {_RESUME} exclude each other"
    yield from _out_of_range(values)
    yield from _evaluation_problems(values)


_SHOWN = 30
# Ours, and those that transformers takes as they are, only to fail or train nothing later.
_RANGES = {
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, inf),
    "cutoff_len": (1, inf),
    "data_seed": (0, 2**32 - 1),
    "dataloader_num_workers": (0, inf),
    "early_stopping_patience": (1, inf),
    "eval_accumulation_steps": (1, inf),
    "freeze_blocks": (0, inf),
    "gradient_accumulation_steps": (1, inf),
    "label_smoothing_factor": (0, 1),
    "learning_rate": (0, inf),
    "lora_alpha": (1, inf),
    "lora_dropout": (0, 1),
    "lora_rank": (1, inf),
    "max_grad_norm": (0, inf),
    "max_samples": (1, inf),
    "neftune_noise_alpha": (0, inf),
    "num_train_epochs": (0, inf),
    "per_device_eval_batch_size": (1, inf),
    "per_device_train_batch_size": (1, inf),
    "seed": (0, 2**32 - 1),
    "weight_decay": (0, inf),
}


def _out_of_range(values: Mapping[str, Any]) -> Iterator[str]:
    for key, (least, most) in _RANGES.items():
        try:
            number = float(values.get(key, least))
        except OverflowError:
            number = inf
        except (TypeError, ValueError):
            continue  # the parser says what it is not
        if not (isfinite(number) and least <= number <= most):
            wanted = f"{least} or more" if most == inf else f"from {least} to {most}"
            finite = "" if isfinite(number) else "finite and "
            yield f"{key}={str(values[key])[:_SHOWN]} must be {finite}{wanted}"


def _evaluation_problems(values: Mapping[str, Any]) -> Iterator[str]:
    evaluates = values.get("eval_strategy", "no") not in ("no", False)
    if evaluates and "validation" not in values and not values.get("validation_size"):
        yield "eval_strategy needs rows to evaluate: give validation or validation_size"
    if "early_stopping_patience" in values and not (
        evaluates and values.get("load_best_model_at_end") is True
    ):
        yield "early_stopping_patience needs eval_strategy and load_best_model_at_end=true"
    metric = str(values.get("metric_for_best_model", METRICS[0])).removeprefix("eval_")
    if metric not in METRICS:
        yield f"metric_for_best_model={metric} is none of {', '.join(METRICS)}"
