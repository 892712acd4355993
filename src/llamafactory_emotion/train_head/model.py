"""Load the model to train: a tokenizer that pads, a row of the head for each label, LoRA or not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainingArguments,
)
from transformers.pytorch_utils import Conv1D

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring.heads import is_classifier, position_offset, set_labels
from llamafactory_emotion.scoring.loading import (
    ModelSource,
    as_model_error,
    check_source,
    hub_options,
    quantization,
    quiet_loading,
)
from llamafactory_emotion.scoring.models import check_complete, max_positions
from llamafactory_emotion.task import Task
from llamafactory_emotion.train_head.arguments import HeadArguments

# What transformers calls the modules of heads: a quantised matrix cannot be trained.
_HEADS = ("classifier", "pre_classifier", "score", "pooler", "classification_head", "logits_proj")


@dataclass(frozen=True)
class HeadModel:
    """A model to train, from the folder or hub id `name`; `longest` is a text's most tokens."""

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


def load_model(arguments: HeadArguments, training: TrainingArguments, task: Task) -> HeadModel:
    """Load tokenizer and model, freeze what is to be frozen, add LoRA."""
    name = _find_model(arguments.source)
    tokenizer = _load_tokenizer(name, arguments)
    model, new_weights = _load_classifier(name, tokenizer, task, arguments, training)
    longest = _longest_input(model, tokenizer, arguments.cutoff_len)
    if arguments.freeze_blocks:
        _freeze_blocks(model, arguments.freeze_blocks)
    if arguments.finetuning_type == "lora":
        model = _add_lora(model, new_weights, arguments, training)
    return HeadModel(model, tokenizer, longest, name)


def _find_model(source: ModelSource) -> str:
    """Return the folder or hub id of a model; `package:NAME/FOLDER` is in an installed package."""
    path = source.model
    if path.startswith("package:"):
        package, _, inner = path.removeprefix("package:").partition("/")
        spec = find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"the package {package} of {path} is not installed; install it with "
                f"pip install {package.replace('_', '-')}, or name a folder or hub id."
            )
        path = str(Path(spec.submodule_search_locations[0]) / inner)
    check_source(replace(source, model=path))
    if (Path(path) / "adapter_config.json").is_file():
        raise ModelError(f"{path} is an adapter; name the base model to be trained.")
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise ModelError(
            f"{path} holds no config.json; name the folder that training or export wrote."
        )
    return path


def _load_tokenizer(name: str, arguments: HeadArguments) -> Any:
    with as_model_error(f"the tokenizer of {name} cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_options(arguments.source))
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"the tokenizer of {name} has no padding token and no end token to pad with; add a "
                "pad_token to its tokenizer_config.json."
            )
        # GPT-2 and Llama have none. Their heads read the last token that is no padding.
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def _load_classifier(
    name: str, tokenizer: Any, task: Task, arguments: HeadArguments, training: TrainingArguments
) -> tuple[Any, list[str]]:
    """Return a model with a head for the task's labels, and the names of its random weights."""
    half = torch.bfloat16 if training.bf16 else torch.float16 if training.fp16 else torch.float32
    options = hub_options(arguments.source)
    with as_model_error(f"the model {name} cannot be loaded"):
        config = AutoConfig.from_pretrained(name, **options)
        _check_labels(config, name, task)
        set_labels(config, task, padding=tokenizer.pad_token_id)
        config.get_text_config().use_cache = False
        if (bits := arguments.quantization_bit) is not None:
            # A quantised model cannot be moved later: it is loaded where its process works.
            options["device_map"] = {"": training.device}
            options["quantization_config"] = quantization(bits, half, whole=_HEADS)
        with quiet_loading():
            model, found = AutoModelForSequenceClassification.from_pretrained(
                name,
                config=config,
                # Trained weights are held in float32; a base under LoRA is only read.
                dtype=half if arguments.finetuning_type == "lora" else torch.float32,
                output_loading_info=True,
                **options,
            )
    missing = sorted(found["missing_keys"])
    blocks, _ = _find_blocks(model)
    check_complete(
        name,
        [key for key in missing if f"{blocks}." in key],
        of="the model's blocks",
        remedy="its config.json does not fit its weights",
    )
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer of {name} has {len(tokenizer):,} tokens, and the model has rows for "
            f"{rows:,} of them; name the tokenizer's own model."
        )
    return model, missing


def _check_labels(config: Any, name: str, task: Task) -> None:
    """Refuse a head that was trained for other labels, or for the same in another order."""
    if not is_classifier(config):
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


def _longest_input(model: Any, tokenizer: Any, cutoff_len: int) -> int:
    """Return `cutoff_len`, or the model's positions where these are fewer."""
    limits = [cutoff_len, tokenizer.model_max_length]
    if (positions := max_positions(model)) is not None:
        limits.append(positions - position_offset(model))
    longest, around = int(min(limits)), tokenizer.num_special_tokens_to_add()
    if longest <= around:
        raise CallError(
            f"cutoff_len={cutoff_len} leaves no room for a text: {around} special tokens are "
            "around it; raise cutoff_len."
        )
    return longest


def _find_blocks(model: Any) -> tuple[str, nn.ModuleList]:
    """Find the transformer blocks: the longest list of modules, whatever it is called."""
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not lists:
        raise ModelError(f"{type(model).__name__} has no list of blocks; train it in full.")
    return max(lists, key=lambda item: (len(item[1]), -item[0].count(".")))


def _freeze_blocks(model: Any, count: int) -> None:
    blocks_name, blocks = _find_blocks(model)
    if count > len(blocks):
        raise CallError(
            f"freeze_blocks={count} is more than the model's {len(blocks)} blocks; give fewer."
        )
    for block in blocks[:count]:
        block.requires_grad_(requires_grad=False)
    for name, module in model.named_modules():
        in_front = not name.startswith(blocks_name) and "embed" in name.lower()
        if in_front or isinstance(module, nn.Embedding):
            module.requires_grad_(requires_grad=False)


def _add_lora(
    model: Any, new_weights: Sequence[str], arguments: HeadArguments, training: TrainingArguments
) -> Any:
    """Put a LoRA adapter on the blocks' linear layers.

    The head, and whatever else the checkpoint lacks (a pooler, say), is random: it is trained in
    full and saved inside the adapter.
    """
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    if arguments.quantization_bit is not None:
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=training.gradient_checkpointing
        )
    elif training.gradient_checkpointing:
        model.enable_input_require_grads()
    heads = {
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    }
    new = {key.rpartition(".")[0] for key in new_weights}
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha or 2 * arguments.lora_rank,
        lora_dropout=arguments.lora_dropout,
        target_modules=_lora_targets(model, arguments.lora_target),
        modules_to_save=sorted(heads | {n for n in new if n.partition(".")[0] not in heads}),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        # Half precision is too coarse for trained weights, and fp16 gradients cannot be unscaled.
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def _lora_targets(model: Any, wanted: str) -> str:
    """Return a pattern of the blocks' linear layers; some heads have a `dense` of their own."""
    blocks_name, blocks = _find_blocks(model)
    linear = {
        name.rpartition(".")[2]
        for name, module in blocks.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }
    chosen = linear if wanted == "all" else {part.strip() for part in wanted.split(",")}
    if chosen - linear:
        raise CallError(
            f"lora_target={','.join(sorted(chosen - linear))} is no linear layer of the model's "
            f"blocks; name some of {', '.join(sorted(linear))}."
        )
    layers = "|".join(map(re.escape, sorted(chosen)))
    return rf".*{re.escape(blocks_name)}\.\d+\.(?:.*\.)?(?:{layers})"
