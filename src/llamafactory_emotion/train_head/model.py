"""Load what is trained: a tokenizer that pads, and a model with a row for each label.

Stands below `training`. What transformers raises is turned into one sentence here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainingArguments,
)

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring.heads import position_offset
from llamafactory_emotion.scoring.loading import (
    ModelSource,
    as_model_error,
    check_source,
    hub_options,
    quiet_loading,
)
from llamafactory_emotion.task import Task
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.blocks import find_blocks

_PACKAGE = "package:"
_CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class HeadModel:
    """A model that is ready to be trained.

    Attributes:
        model: The sequence classifier, with frozen blocks or an adapter where asked for.
        tokenizer: Has a padding token and pads on the right.
        longest: The most tokens of a text, special tokens counted.
        name: The folder or hub id it was loaded from.
    """

    model: Any
    tokenizer: Any
    longest: int
    name: str

    @property
    def trained_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    @property
    def all_parameters(self) -> int:
        """How many numbers there are; a quantised matrix is counted in its stored form."""
        return sum(p.numel() for p in self.model.parameters())


def resolve_model(source: ModelSource) -> str:
    """Give the folder or hub id that a source's name stands for.

    `package:NAME/FOLDER` is a folder inside an installed Python package.

    Raises:
        ModelError: The package, the folder or its `config.json` is not there, or the hub lacks it.
    """
    place = name = source.model
    if name.startswith(_PACKAGE):
        package, _, inner = name.removeprefix(_PACKAGE).partition("/")
        spec = find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"the package {package} of {name} is not installed; install it with "
                f"pip install {package.replace('_', '-')}, or name a folder or hub id."
            )
        place = str(Path(spec.submodule_search_locations[0]) / inner)
    folder = Path(place)
    if not folder.is_dir():
        if place != name:
            raise ModelError(f"the model folder {place} is not there; check the path.")
        check_source(source)
        return place
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{place} is an adapter; name the base model to be trained.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{place} holds no config.json, so it is no model folder.")
    return place


def load_tokenizer(name: str, arguments: HeadArguments) -> Any:
    """Load a tokenizer; see that it can pad, on the right.

    Raises:
        ModelError: It cannot be read, or has neither a padding nor an end token.
    """
    with as_model_error(f"the tokenizer of {name} cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_options(arguments.source))
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"the tokenizer of {name} has no padding token and no end token to pad with; add a "
                "pad_token to its tokenizer_config.json."
            )
        # GPT-2 and Llama have none. The last token that is no padding is what their heads read.
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def load_classifier(
    name: str,
    tokenizer: Any,
    task: Task,
    arguments: HeadArguments,
    training: TrainingArguments,
    quantization: Any = None,
) -> tuple[Any, list[str]]:
    """Load a model with a head for the task's labels.

    Args:
        name: The folder or hub id.
        tokenizer: Gives the padding token.
        task: Gives the labels, in the order of the head's rows.
        arguments: Where downloads come from, and whether LoRA is used.
        training: Gives the precision.
        quantization: A `BitsAndBytesConfig`, or None.

    Returns:
        The model, and the names of the weights that the checkpoint lacks: they start at random.

    Raises:
        ModelError: It cannot be read, or has a head for other labels.
    """
    options = hub_options(arguments.source)
    with as_model_error(f"the model {name} cannot be loaded"):
        config = AutoConfig.from_pretrained(name, **options)
        _check_labels(config, name, task)
        config.num_labels = len(task.labels)
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: number for number, label in enumerate(task.labels)}
        config.problem_type = "single_label_classification"
        config.pad_token_id = config.get_text_config().pad_token_id = tokenizer.pad_token_id
        config.get_text_config().use_cache = False
        if quantization is not None:
            options |= {"quantization_config": quantization, "device_map": _device_map(training)}
        with quiet_loading():
            model, found = AutoModelForSequenceClassification.from_pretrained(
                name,
                config=config,
                dtype=_dtype(arguments, training),
                output_loading_info=True,
                **options,
            )
    missing = sorted(found["missing_keys"])
    _check_weights(model, missing, name)
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer of {name} has {len(tokenizer):,} tokens, and the model has rows for "
            f"{rows:,} of them; name the tokenizer's own model."
        )
    return model, missing


def _device_map(training: TrainingArguments) -> dict[str, Any]:
    """Put a quantised model where its process works; it cannot be moved later."""
    return {"": training.device}


def _dtype(arguments: HeadArguments, training: TrainingArguments) -> torch.dtype:
    """Give the precision that weights are held in.

    Trained weights are held in float32, and fp16 or bf16 is the trainer's mixed precision. A base
    that is only read may be held in half.
    """
    if arguments.finetuning_type == "lora" and training.bf16:
        return torch.bfloat16
    if arguments.finetuning_type == "lora" and training.fp16:
        return torch.float16
    return torch.float32


def _check_labels(config: Any, name: str, task: Task) -> None:
    """Refuse a head that was trained for other labels.

    Raises:
        ModelError: It has another number of labels, other names, or another order.
    """
    if not any(_CLASSIFIER in kind for kind in config.architectures or ()):
        return
    theirs = [str(config.id2label[number]) for number in range(config.num_labels)]
    unnamed = theirs == [f"LABEL_{number}" for number in range(len(theirs))]
    if len(theirs) == len(task.labels) and (unnamed or theirs == list(task.labels)):
        return
    what = "other labels" if len(theirs) == len(task.labels) else "another number of labels"
    raise ModelError(
        f"{name} is a classifier with {what}: {len(theirs)} ({', '.join(theirs)}), and task "
        f"{task.name!r} has {len(task.labels)} ({', '.join(task.labels)}); name the base model it "
        "was trained from, or its own task."
    )


def _check_weights(model: Any, missing: Sequence[str], name: str) -> None:
    blocks, _ = find_blocks(model)
    lost = [key for key in missing if f"{blocks}." in key]
    if lost:
        raise ModelError(
            f"{name} lacks {len(lost)} weights of the model's blocks ({lost[0]}, ...), which would "
            "start at random; its config.json does not fit its weights."
        )


def longest_input(model: Any, tokenizer: Any, cutoff_len: int) -> int:
    """Give the most tokens of a text: `cutoff_len`, or less where the model has fewer positions.

    Raises:
        CallError: That leaves no token of a text beside those put around it.
    """
    config = model.config.get_text_config()
    limits = [cutoff_len, tokenizer.model_max_length]
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        limits.append(positions - position_offset(model))
    longest, around = int(min(limits)), tokenizer.num_special_tokens_to_add()
    if longest <= around:
        raise CallError(
            f"cutoff_len={cutoff_len} leaves no room for a text: {around} special tokens stand "
            "around it; raise cutoff_len."
        )
    return longest
