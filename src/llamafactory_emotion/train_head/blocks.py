"""Find a model's transformer blocks, whatever its architecture calls them, and freeze some.

Stands below `model` and `adapters`.
"""

from typing import Any

from torch import nn

from llamafactory_emotion.errors import CallError, ModelError


def find_blocks(model: Any) -> tuple[str, nn.ModuleList]:
    """Give the name and the list of a model's transformer blocks: its longest list of modules.

    Raises:
        ModelError: There is none.
    """
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not lists:
        raise ModelError(f"{type(model).__name__} has no list of blocks; train it in full.")
    return max(lists, key=lambda item: (len(item[1]), -item[0].count(".")))


def freeze_blocks(model: Any, count: int) -> None:
    """Leave a model's embeddings and its first blocks as they are.

    Raises:
        CallError: It has fewer than `count` blocks.
    """
    name, blocks = find_blocks(model)
    if count > len(blocks):
        raise CallError(f"freeze_blocks={count} is more than the model's {len(blocks)} blocks.")
    for place, module in model.named_modules():
        first = any(place == f"{name}.{number}" for number in range(count))
        before = not place.startswith(name) and "embed" in place.lower()
        if first or before or isinstance(module, nn.Embedding):
            module.requires_grad_(requires_grad=False)
