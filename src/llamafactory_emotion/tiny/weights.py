"""The weights a tiny base starts with: random, but for a few heads that look a word or two back.

A model of this size that sees sixteen thousand texts does not find out by itself that neighbouring
words belong together; every trained model has heads that look at the token just before. Starting
with such heads (compare Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers",
ICML 2023) is worth more here than width or depth; `docs/tiny.md` has the figures.
"""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_ARCHITECTURE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "initializer_range": 0.05,
    "tie_word_embeddings": False,
}
# How many tokens back the first heads of the first layer look; the last head is left as it is.
LOOK_BACK = (1, 2, 0)
# The attention logit of the token looked at; 20 puts nearly all attention there.
_PEAK = 20.0
# Rotary pairs that turn fast enough to tell a token from its neighbour.
_PAIRS = 4
# What is left of such a head's random weights, so that words hardly sway where it looks.
_REST = 0.1


def build_model(tokenizer: "PreTrainedTokenizerFast", *, seed: int = 0) -> "LlamaForCausalLM":
    """Make a small Llama with random weights and heads that look back.

    Args:
        tokenizer: Gives the vocabulary's size and the begin and end tokens.
        seed: The same seed gives the same weights, to the bit.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = LlamaConfig(**vocabulary, **_ARCHITECTURE)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        constant = _add_constant(model)
        for head, distance in enumerate(LOOK_BACK):
            _look_back(model, head, distance, constant)
    return model


def _add_constant(model: "LlamaForCausalLM") -> float:
    """Give all embeddings the same first coordinate; return what it is after the first norm.

    A head can look at a place only by something that every token has: half of an embedding's length
    lies in that coordinate.
    """
    width = model.config.hidden_size
    embeddings: Any = model.get_input_embeddings().weight
    embeddings[:, 0] = model.config.initializer_range * math.sqrt(width)
    return math.sqrt(width / 2)


def _look_back(model: "LlamaForCausalLM", head: int, distance: int, constant: float) -> None:
    """Let a head of the first layer attend to the token `distance` places before.

    Query and key read the constant coordinate alone. Rotary embedding turns pair i of both by the
    position times its frequency; the key is turned on by `distance` times it, so that the product
    peaks where query and key stand that far apart.
    """
    attention = model.model.layers[0].self_attn
    size = attention.head_dim
    strength = math.sqrt(_PEAK / _PAIRS * math.sqrt(size)) / constant
    query, key = (
        _rows_of_head(layer, head, size) for layer in (attention.q_proj, attention.k_proj)
    )
    frequencies = model.model.rotary_emb.inv_freq
    for pair in range(_PAIRS):
        angle = distance * float(frequencies[pair])
        query[pair, 0] += strength
        key[pair, 0] += strength * math.cos(angle)
        key[pair + size // 2, 0] += strength * math.sin(angle)


def _rows_of_head(layer: Any, head: int, size: int) -> "torch.Tensor":
    rows: torch.Tensor = layer.weight[head * size : (head + 1) * size]
    rows *= _REST
    return rows
