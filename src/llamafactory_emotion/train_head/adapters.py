"""LoRA on a sequence classifier, and a base in 8 or 4 bits under it.

Stands beside `model`. The head itself is trained in full and saved inside the adapter.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments
from transformers.pytorch_utils import Conv1D

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring import loading
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.blocks import find_blocks

# Names of heads in transformers: a quantised matrix cannot be trained, so these stay whole.
_HEADS = ("classifier", "pre_classifier", "score", "pooler", "classification_head", "logits_proj")


def quantization(arguments: HeadArguments, training: TrainingArguments) -> Any:
    """Give the setting for a base of 8 or 4 bits, or None.

    Raises:
        CallError: bitsandbytes is not installed.
    """
    bits = arguments.quantization_bit
    if bits is None:
        return None
    computed_in = torch.bfloat16 if training.bf16 else torch.float16 if training.fp16 else None
    return loading.quantization(bits, computed_in or torch.float32, whole=_HEADS)


def add_lora(
    model: Any, new_weights: Sequence[str], arguments: HeadArguments, training: TrainingArguments
) -> Any:
    """Put a LoRA adapter on the blocks' linear layers; the head is trained and saved with it.

    Args:
        model: The sequence classifier.
        new_weights: Names of weights that the checkpoint lacks. They are random, so their modules
            are trained and saved too: a pooler, say, that the base never had.
        arguments: Rank, scale, dropout and target.
        training: Says whether activations are recomputed.

    Raises:
        CallError: A target is not among the blocks' linear layers.
    """
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    if arguments.quantization_bit is not None:
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=training.gradient_checkpointing
        )
    elif training.gradient_checkpointing:
        model.enable_input_require_grads()
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha or 2 * arguments.lora_rank,
        lora_dropout=arguments.lora_dropout,
        target_modules=_targets(model, arguments.lora_target),
        modules_to_save=_head_modules(model, new_weights),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        # Half a number is too coarse to be trained, and fp16 gradients cannot be unscaled.
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def _targets(model: Any, wanted: str) -> str:
    """Give a pattern of the blocks' linear layers, all of them or those named.

    The pattern keeps to the blocks: a name such as `dense` stands in some heads as well.
    """
    name, blocks = find_blocks(model)
    there = {
        place.rpartition(".")[2]
        for place, module in blocks.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }
    chosen = there if wanted == "all" else {part.strip() for part in wanted.split(",")}
    if chosen - there:
        raise CallError(
            f"lora_target={','.join(sorted(chosen - there))} is no linear layer of the model's "
            f"blocks; they have {', '.join(sorted(there))}."
        )
    return rf".*{re.escape(name)}\.\d+\.(?:.*\.)?(?:{'|'.join(map(re.escape, sorted(chosen)))})"


def _head_modules(model: Any, new_weights: Sequence[str]) -> list[str]:
    heads = {
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    }
    new = {key.rpartition(".")[0] for key in new_weights}
    return sorted(heads | {name for name in new if name.partition(".")[0] not in heads})
