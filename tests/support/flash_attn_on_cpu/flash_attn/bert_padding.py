"""The module of this name in flash-attn, as far as transformers imports it."""

import torch
from torch.nn.functional import pad


def unpad_input(hidden_states, attention_mask):
    """Return the tokens that the mask keeps, their indices, the sequences' bounds and lengths."""
    lengths = attention_mask.sum(-1, dtype=torch.int32)
    indices = attention_mask.flatten().nonzero().flatten()
    bounds = pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return hidden_states.flatten(0, 1)[indices], indices, bounds, int(lengths.max()), lengths


def pad_input(hidden_states, indices, batch, seqlen):
    """Undo `unpad_input`; padded positions become 0."""
    padded = hidden_states.new_zeros(batch * seqlen, *hidden_states.shape[1:])
    return padded.index_copy(0, indices.long(), hidden_states).unflatten(0, (batch, seqlen))
