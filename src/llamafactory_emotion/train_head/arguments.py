"""What a call of `train_head` asks for: our keys and transformers' own, checked before any work.

Every key of `TrainingArguments` can be in a recipe and is explained in transformers' documentation.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NoReturn

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import Call, Options, key
from llamafactory_emotion.scoring.loading import ModelSource

if TYPE_CHECKING:
    from transformers import TrainingArguments

METHODS = ("full", "lora")
CLASS_WEIGHTS = ("none", "balanced")
METRICS = ("loss", "accuracy", "f1_macro")
_RESUME = "resume_from_checkpoint"


@dataclass(frozen=True, kw_only=True)
class HeadArguments(Options):
    """The keys of `train_head` beside those of transformers' `TrainingArguments`.

    Names are LLaMA-Factory's wherever it has the same thing.
    """

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
    task: str = key("emotion", about="a built-in task or a task's YAML file")
    dataset_dir: str = key("data", about="the folder of dataset_info.json", metavar="DIR")
    text_column: str | None = key(None, about="the column of the texts (default: guessed)")
    label_column: str | None = key(None, about="the column of the labels (default: guessed)")
    max_samples: int | None = key(None, about="the first rows of train alone", least=1)
    cutoff_len: int = key(512, about="the longest text in tokens", least=1)
    finetuning_type: str = key(
        "full", about="all weights, or an adapter and the head", choices=METHODS
    )
    freeze_blocks: int = key(0, about="leave embeddings and the first blocks as they are", least=0)
    lora_rank: int = key(8, about="rank of the adapter", least=1)
    lora_alpha: int | None = key(None, about="scale (default: twice the rank)", least=1)
    lora_dropout: float = key(0.0, about="dropout in front of the adapter", least=0, most=1)
    lora_target: str = key("all", about="linear layers of the blocks, with commas; all of them")
    quantization_bit: int | None = key(None, about="8 or 4, with LoRA")
    class_weights: str = key(
        "none", about="weigh labels by the inverse of their share", choices=CLASS_WEIGHTS
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
        """Accept the keys of transformers' trainer."""
        from transformers import TrainingArguments

        return name in {one.name for one in fields(TrainingArguments)}

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say what is missing and which keys exclude each other."""
        if "output_dir" not in given:
            yield "output_dir is missing: name the folder that receives the model"
        yield from _contradictions(given)

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
    """Let transformers read its keys of a call.

    Raises:
        CallError: Gives transformers' own reason.
    """
    from transformers import HfArgumentParser, TrainingArguments

    class Parser(HfArgumentParser):
        """Says what is wrong instead of leaving the program."""

        def error(self, message: str) -> NoReturn:
            raise CallError(re.sub(r"^argument --(\w+)\S*:", r"\1:", message).rstrip(".") + ".")

    values = {name: value for name, value in call.others.items() if value is not None}
    if values.get(_RESUME) is False:
        del values[_RESUME]
    values = _machine_defaults() | values
    kinds: Any = TrainingArguments
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (training,) = Parser(kinds).parse_args_into_dataclasses(
                args=[part for item in values.items() for part in _as_flags(*item)],
                look_for_args_file=False,
            )
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise CallError(f"transformers refuses these settings: {reason.rstrip('.')}.") from error
    return training


def _machine_defaults() -> dict[str, Any]:
    """Give what follows from where the run is: no bar in a log, no pinned memory without a GPU."""
    import torch

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
# Those that transformers takes as they are, only to fail or train nothing later.
_RANGES = {
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, inf),
    "data_seed": (0, 2**32 - 1),
    "dataloader_num_workers": (0, inf),
    "eval_accumulation_steps": (1, inf),
    "gradient_accumulation_steps": (1, inf),
    "label_smoothing_factor": (0, 1),
    "learning_rate": (0, inf),
    "max_grad_norm": (0, inf),
    "neftune_noise_alpha": (0, inf),
    "num_train_epochs": (0, inf),
    "per_device_eval_batch_size": (1, inf),
    "per_device_train_batch_size": (1, inf),
    "seed": (0, 2**32 - 1),
    "weight_decay": (0, inf),
}


def _out_of_range(values: Mapping[str, Any]) -> Iterator[str]:
    for name, (least, most) in _RANGES.items():
        try:
            number = float(values.get(name, least))
        except OverflowError:
            number = inf
        except (TypeError, ValueError):
            continue  # the parser says what it is not
        if not (isfinite(number) and least <= number <= most):
            wanted = f"{least} or more" if most == inf else f"from {least} to {most}"
            finite = "" if isfinite(number) else "finite and "
            yield f"{name}={str(values[name])[:_SHOWN]} must be {finite}{wanted}"


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
