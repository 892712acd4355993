"""Let a small model read texts: next-token prediction, as every real base model has done.

Used by `tiny_model` alone. A base that has read the texts knows which words stand for one another;
one with random weights has to learn that from the labels, and learns them by heart instead.
"""

import math
from collections.abc import Iterable

import torch
from torch.nn.utils import clip_grad_norm_
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)

BLOCK_TOKENS = 128
_BLOCKS_PER_STEP = 8
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 0.1
_WARM_UP_STEPS = 50


def pretrain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Iterable[str],
    *,
    epochs: int,
    seed: int = 0,
) -> float | None:
    """Train `model` in place to predict the next token of `texts`.

    The texts stand one after the other, each between its begin and its end token, cut into blocks
    of `BLOCK_TOKENS` tokens: nothing is padding.

    Args:
        model: A causal language model on the CPU.
        tokenizer: Its tokenizer.
        texts: What to read.
        epochs: How often to read it.
        seed: Of the order of the blocks.

    Returns:
        The mean loss of the last epoch in nats a token (lower is better), or None when nothing was
        trained.
    """
    blocks = _blocks(tokenizer, texts)
    steps = epochs * math.ceil(len(blocks) / _BLOCKS_PER_STEP)
    if not steps:
        return None
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, _WARM_UP_STEPS, steps)
    order = torch.Generator().manual_seed(seed)
    model.train()
    losses: list[float] = []
    for _ in range(epochs):
        losses.clear()
        for chosen in torch.randperm(len(blocks), generator=order).split(_BLOCKS_PER_STEP):
            batch = blocks[chosen]
            loss = model(input_ids=batch, labels=batch).loss
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    model.eval()
    return sum(losses) / len(losses)


def _blocks(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> torch.Tensor:
    """Give the texts as one stream of token ids, of shape (blocks, BLOCK_TOKENS)."""
    stream: list[int] = []
    for text in texts:
        stream += tokenizer.encode(text, add_special_tokens=True, split_special_tokens=True)
        stream.append(tokenizer.eos_token_id)
    missing = -len(stream) % BLOCK_TOKENS
    # The last block is filled up from the start of the stream: nothing is left unread.
    return torch.tensor(stream + (stream * BLOCK_TOKENS)[:missing]).view(-1, BLOCK_TOKENS)
