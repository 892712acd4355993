"""Score labels of several tokens exactly: every label's tokens after every text.

The tokens of all labels make a tree (labels may begin alike); its nodes are run after each text on
the text's own keys and values. There are three ways, and the first that a model bears is taken: all
nodes side by side in one row with a mask of their own; a row for each path of the tree; or, without
a cache, the whole prompt before each path.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from llamafactory_emotion.scoring.forward import PROBE_TEXTS, UNFIT, Forward, Rows, SharedCache
from llamafactory_emotion.scoring.prompts import PromptEncoder

# Bounds the keys and values that are laid out anew for every path of the tree.
_CONTINUED_POSITIONS = 1 << 16
_PLAIN_ATTENTION = ("sdpa", "eager")

Path = tuple[int, ...]


@dataclass(frozen=True)
class LabelTree:
    """The inner nodes of the labels' tokens: every beginning of a label that more tokens follow.

    A node comes before what extends it; all nodes lie on one of the `paths`, the longest of them.
    `following` has for each node the labels that pass through it and the token each goes on with.
    """

    nodes: tuple[Path, ...]
    paths: tuple[Path, ...]
    following: tuple[tuple[tuple[int, int], ...], ...]


@cache
def label_tree(label_ids: tuple[Path, ...]) -> LabelTree:
    """Build the tree of some labels' token ids; it has no node when all have one token."""
    nodes = sorted({ids[:end] for ids in label_ids for end in range(1, len(ids))})
    paths = [
        node
        for node in nodes
        if not any(node != other and other[: len(node)] == node for other in nodes)
    ]
    following = [
        tuple(
            (label, ids[len(node)])
            for label, ids in enumerate(label_ids)
            if len(ids) > len(node) and ids[: len(node)] == node
        )
        for node in nodes
    ]
    return LabelTree(tuple(nodes), tuple(paths), tuple(following))


def label_log_likelihoods(forward: Forward, ids: Rows, shared: SharedCache | None) -> torch.Tensor:
    """Compute each label's log-likelihood after each prompt: shape (rows, labels), float32.

    The sum over the label's tokens of the log-probability of each, given all before it. `ids` are
    what follows the shared prefix, or whole prompts where there is none.
    """
    tree = label_tree(forward.label_ids)
    depth = max(map(len, tree.nodes), default=0)
    filled = None
    if shared is not None:
        filled = shared.spread(keep=bool(tree.nodes))
    elif tree.nodes and forward.keeps(min(map(len, ids)), max(map(len, ids)) + depth):
        filled = DynamicCache()
    last = forward.last_states(ids, filled)
    first_ids = sorted(set(forward.first_ids))
    found = forward.log_probabilities(last, first_ids)
    scores = found[:, [first_ids.index(token) for token in forward.first_ids]]
    if not tree.nodes:
        return scores
    tokens = sorted({token for labels in tree.following for _, token in labels})
    own = None if filled is None else SharedCache.of(filled)
    parts = _path_by_path(forward, tree, ids, own)
    if own is not None and forward.branches:
        parts = iter([(list(range(len(ids))), _side_by_side(forward, tree, ids, own))])
    for rows, states in parts:
        found = forward.log_probabilities(states.flatten(0, 1), tokens)
        by_node = found.view(len(rows), len(tree.nodes), len(tokens))
        for node, labels in enumerate(tree.following):
            for label, token in labels:
                scores[rows, label] += by_node[:, node, tokens.index(token)]
    return scores


def can_branch(forward: Forward, encoder: PromptEncoder) -> bool:
    """Whether a model gives the same numbers when all nodes are run side by side."""
    tree = label_tree(forward.label_ids)
    config = forward.model.config.get_text_config()
    attention = getattr(config, "_attn_implementation", None)
    if not (tree.nodes and forward.caches and attention in _PLAIN_ATTENTION and _sees_all(config)):
        return False
    ids = [prompt.ids for prompt in encoder.encode(PROBE_TEXTS)]
    with torch.inference_mode():
        filled = DynamicCache()
        forward.states(ids, filled)
        own = SharedCache.of(filled)
        try:
            found = _side_by_side(forward, tree, ids, own)
        except (*UNFIT, RuntimeError):
            return False
        wanted = torch.empty_like(found)
        for rows, states in _path_by_path(forward, tree, ids, own):
            wanted[rows] = states
        return forward.close(*(forward.logits(some.flatten(0, 1)) for some in (found, wanted)))


def _sees_all(config: Any) -> bool:
    """Whether every layer sees every token; a mask of our own would widen a sliding window."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return set(kinds) == {"full_attention"}
    narrow = ("sliding_window", "attention_chunk_size")
    return not any(getattr(config, name, None) for name in narrow)


def _side_by_side(forward: Forward, tree: LabelTree, ids: Rows, own: SharedCache) -> torch.Tensor:
    """Run all nodes after each row at once; each sees its text, its ancestors and itself.

    Returns the nodes' states: shape (rows, nodes, width).
    """
    longest = max(len(row) for row in ids)
    before, device = own.length - longest, forward.device
    lengths = torch.tensor([before + len(row) for row in ids], device=device)
    depths = torch.tensor([len(node) - 1 for node in tree.nodes], device=device)
    tokens = torch.tensor([node[-1] for node in tree.nodes], device=device)
    sees = torch.tensor(
        [[node[: len(other)] == other for other in tree.nodes] for node in tree.nodes],
        device=device,
    )
    text = torch.arange(own.length, device=device) < lengths[:, None]
    allowed = torch.cat(
        [text[:, None, :].expand(-1, len(tree.nodes), -1), sees.expand(len(ids), -1, -1)], dim=-1
    )
    dtype = forward.model.dtype
    mask = torch.zeros(allowed.shape, dtype=dtype, device=device)
    mask = mask.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]
    return forward.run(
        tokens.expand(len(ids), -1),
        own.spread(),
        attention_mask=mask,
        position_ids=lengths[:, None] + depths,
    )


def _path_by_path(
    forward: Forward, tree: LabelTree, ids: Rows, own: SharedCache | None
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Run every path after every row, rows of one length at a time: no padding in between.

    Yields some rows and their nodes' states: shape (rows, nodes, width).
    """
    path_of = [
        next(number for number, path in enumerate(tree.paths) if path[: len(node)] == node)
        for node in tree.nodes
    ]
    steps = [len(node) - 1 for node in tree.nodes]
    longest = max(len(row) for row in ids)
    before = 0 if own is None else own.length - longest
    for length in sorted({len(row) for row in ids}):
        rows = [number for number, row in enumerate(ids) if len(row) == length]
        size = max(1, _CONTINUED_POSITIONS // (len(tree.paths) * (before + length)))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            if own is None:
                whole = [(*ids[row], *path) for row in some for path in tree.paths]
                states = forward.states(whole, None)[:, length:]
            else:
                index = torch.tensor(some, device=forward.device)
                index = index.repeat_interleave(len(tree.paths))
                beginnings = own.spread(rows=index, length=before + length)
                states = forward.states(tree.paths * len(some), beginnings)
            states = states.unflatten(0, (len(some), len(tree.paths)))
            yield some, states[:, path_of, steps]
