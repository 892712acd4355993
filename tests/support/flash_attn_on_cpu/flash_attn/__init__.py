"""flash-attn's two functions computed with torch's products, in the precision of what they get.

With the folder above on PYTHONPATH the FlashAttention-2 code of transformers and LLaMA-Factory runs
on a CPU. Names, shapes and meanings are flash-attn's: (batch, tokens, heads, width) or, for packed
sequences, (tokens, heads, width); query heads may share a key head; a causal mask and a window are
aligned at the last token. Every call appends a line to the file that FLASH_ATTN_CALLS names: its
kind, `fixed`, `cached` or `varlen`, and the number of sequences.
"""

import os
from pathlib import Path

import torch


def flash_attn_func(
    q, k, v, *, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,
    deterministic=False,
):  # fmt: skip
    """Attend within sequences of one length, whose first keys may come from a cache."""
    _record("fixed" if q.shape[1] == k.shape[1] else "cached", len(q))
    return _attend(q, k, v, dropout_p, softmax_scale, softcap, (causal, window_size))


def flash_attn_varlen_func(
    q, k, v, *, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0,
    softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, deterministic=False,
):  # fmt: skip
    """Attend within sequences that lie one after another.

    Raises:
        ValueError: Bounds that the kernel would not take, or trust and read beyond.
    """
    _record("varlen", len(cu_seqlens_q) - 1)
    for bounds, longest in ((cu_seqlens_q, max_seqlen_q), (cu_seqlens_k, max_seqlen_k)):
        if bounds.dtype != torch.int32 or bounds.diff().max() > longest:
            raise ValueError(f"{bounds} are not bounds of sequences of {longest} tokens at most")
    lengths, key_lengths = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
    each = ((q, lengths), (k, key_lengths), (v, key_lengths))
    sequences = zip(*(states[None].split(sizes, dim=1) for states, sizes in each), strict=True)
    options = (dropout_p, softmax_scale, softcap, (causal, window_size))
    return torch.cat([_attend(*sequence, *options)[0] for sequence in sequences])


def flash_attn_with_kvcache(*_, **__):
    """Refuse: transformers imports this one, and only its own server calls it."""
    raise NotImplementedError


def _attend(q, k, v, dropout_p, softmax_scale, softcap, sight):
    q, k, v = (states.transpose(1, 2) for states in (q, k, v))
    k, v = (states.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for states in (k, v))
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    seen = _seen(*scores.shape[-2:], *sight).to(scores.device)
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return (torch.dropout(weights, dropout_p, train=True) @ v).transpose(1, 2)


def _seen(queries, keys, causal, window_size):
    """Return which keys each query sees; the last query is level with the last key."""
    left, right = (keys if size < 0 else size for size in window_size)
    distance = torch.arange(keys) - torch.arange(keys - queries, keys)[:, None]
    return (distance >= -left) & (distance <= (0 if causal else right))


def _record(kind, sequences):
    if file := os.environ.get("FLASH_ATTN_CALLS"):
        with Path(file).open("a", encoding="utf-8") as calls:
            calls.write(f"{kind} {sequences}\n")
