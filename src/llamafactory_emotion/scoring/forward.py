"""Run a causal model over prompts that share a prefix: token ids in, logits and log-probabilities.

There are three ways to read logits (the label rows of the output matrix alone, the whole output
layer at the last position, the model's own forward) and two to run (on the prefix's cached keys and
values, or on whole prompts). `build_forward` tries them against the model's own plain forward and
takes the fastest pair that gives the same numbers: an unknown architecture costs speed, not truth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import DynamicCache, DynamicLayer

from llamafactory_emotion.scoring.prompts import PromptEncoder

LABEL_ROWS, WHOLE_HEAD, OWN_FORWARD = "label rows", "whole head", "own forward"
# The largest difference to the plain forward, in standard deviations of its logits.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
_TOLERANCE_QUANTIZED = 0.3
_LOGIT_ELEMENTS = 1 << 26
_ROPE_OF_THE_LENGTH = ("longrope", "su", "dynamic")
PROBE_TEXTS = ("I did not know what to say.", "So glad")
# What a model raises when it does not know a cache or an argument.
UNFIT = (TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError)

Rows = Sequence[Sequence[int]]


class SharedLayer(DynamicLayer):
    """One layer's keys and values that several rows begin with, joined with each row's own.

    What is stored never grows: a batch's own keys live no longer than its forward pass, unless
    `keep` holds them for the labels' continuations.
    """

    def __init__(
        self, keys: torch.Tensor, values: torch.Tensor, *, rows: torch.Tensor | None, keep: bool
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.rows, self.keep = rows, keep
        self.joined: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the joined keys and values of a batch; the shared ones do not change."""
        joined = self._join(self.keys, key_states), self._join(self.values, value_states)
        if self.keep:
            self.joined = joined
        return joined

    def _join(self, shared: Any, own: torch.Tensor) -> torch.Tensor:
        if self.rows is None:
            spread = shared.expand(own.shape[0], *shared.shape[1:])
        else:
            spread = shared[self.rows.to(shared.device)]
        return torch.cat([spread, own], dim=-2)


@dataclass(frozen=True)
class SharedCache:
    """Keys and values of one or several beginnings, layer by layer; each of shape (rows, ...)."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @classmethod
    def of(cls, cache: DynamicCache) -> "SharedCache":
        """Take the keys and values out of a cache that a forward pass has filled."""
        layers: list[Any] = list(cache.layers)
        pairs: list[Any] = [
            layer.joined if isinstance(layer, SharedLayer) else (layer.keys, layer.values)
            for layer in layers
        ]
        return cls(tuple(pairs))

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.layers[0][0].shape[-2]

    def spread(
        self, *, rows: torch.Tensor | None = None, length: int | None = None, keep: bool = False
    ) -> DynamicCache:
        """Return a cache for a batch, whose rows continue the beginnings `rows` (or the only one).

        With `length` only so many positions are used; with `keep` the joined keys and values are
        held for `SharedCache.of`.
        """
        cache = DynamicCache()
        cache.layers = [
            SharedLayer(keys[..., :length, :], values[..., :length, :], rows=rows, keep=keep)
            for keys, values in self.layers
        ]
        return cache


class Forward:
    """A model's forward pass, split into hidden states and what is read off them.

    `caches`: whether keys and values of a prefix may be reused with this architecture; `branches`:
    whether all continuations of a text may be run side by side in one row; `switch`: see
    `rope_switch`.
    """

    def __init__(self, model: Any, label_ids: Rows, readout: str) -> None:
        self.model = model
        self.label_ids = tuple(tuple(ids) for ids in label_ids)
        self.first_ids = [ids[0] for ids in label_ids]
        self.readout = readout
        self.caches = True
        self.branches = False
        self.switch = rope_switch(model.config)
        self.device = model.get_input_embeddings().weight.device
        self._decoder = _decoder(model)
        self._head = model.get_output_embeddings()
        self._label_rows = self._rows_of(self.first_ids) if readout == LABEL_ROWS else None

    def cache_prefix(self, prefix_ids: Sequence[int]) -> SharedCache | None:
        """Compute the shared prefix once; None when nothing is shared or cannot be reused."""
        if not prefix_ids or not self.caches:
            return None
        with torch.inference_mode():
            cache = DynamicCache()
            self.states([prefix_ids], cache)
            return SharedCache.of(cache)

    def keeps(self, before: int, end: int) -> bool:
        """Whether keys and values of `before` tokens hold in a row of `end` tokens."""
        return self.caches and (self.switch is None or not before <= self.switch < end)

    def run(
        self, input_ids: torch.Tensor, cache: DynamicCache | None, **own: torch.Tensor
    ) -> torch.Tensor:
        """Return the states of tokens that follow a cache: shape (rows, positions, width).

        `own` are a mask and positions where the model's own are not right.
        """
        options: dict[str, Any] = {"use_cache": cache is not None, **own}
        if cache is not None:
            options["past_key_values"] = cache
        if self.readout == OWN_FORWARD:
            logits: torch.Tensor = self.model(input_ids=input_ids, **options).logits
            return logits
        states: torch.Tensor = self._decoder(input_ids=input_ids, **options).last_hidden_state
        return states

    def states(self, ids: Rows, cache: DynamicCache | None) -> torch.Tensor:
        """Return the states of every position of rows of different lengths."""
        # Padded on the right with each row's own last token: causal models never look there.
        longest = max(len(row) for row in ids)
        rows = [[*row, *[row[-1]] * (longest - len(row))] for row in ids]
        return self.run(torch.tensor(rows, device=self.device), cache)

    def last_states(self, ids: Rows, cache: DynamicCache | None) -> torch.Tensor:
        """Return the states of each row's last token: shape (rows, width)."""
        states = self.states(ids, cache)
        ends = torch.tensor([len(row) - 1 for row in ids], device=states.device)
        return states[torch.arange(len(ids), device=states.device), ends]

    def label_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits of each label's first token in float32: shape (states, labels)."""
        if self._label_rows is None:
            return self.logits(states)[:, self.first_ids]
        return self._row_logits(states, *self._label_rows)

    def log_probabilities(self, states: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
        """Return log-probabilities over the whole vocabulary for some tokens: (states, tokens)."""
        width = self.model.config.get_text_config().vocab_size
        wanted, found = list(tokens), []
        for chunk in torch.split(states, max(1, _LOGIT_ELEMENTS // width)):
            logits = self.logits(chunk)
            if self.readout == LABEL_ROWS and chunk.dtype != torch.float32:
                # The output layer rounds to the model's type; the tokens asked for are not rounded.
                logits[:, wanted] = self._row_logits(chunk, *self._rows_of(wanted))
            found.append(logits[:, wanted] - logits.logsumexp(dim=-1, keepdim=True))
        return torch.cat(found)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits over the whole vocabulary in float32: shape (states, vocabulary)."""
        if self.readout == OWN_FORWARD:
            return states.float()
        return self._scale(self._head(states).float())

    def _rows_of(self, tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
        weight, bias = self._head.weight, self._head.bias
        return weight[tokens].float(), None if bias is None else bias[tokens].float()

    def _row_logits(
        self, states: torch.Tensor, rows: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        # A few rows cost nothing in float64, and leave out the largest rounding of a label's logit.
        exact = torch.float64 if rows.device.type in ("cpu", "cuda") else torch.float32
        added = None if bias is None else bias.to(exact)
        logits = functional.linear(states.to(rows.device, exact), rows.to(exact), added)
        return self._scale(logits).float()

    def _scale(self, logits: torch.Tensor) -> torch.Tensor:
        config = self.model.config.get_text_config()
        factor = logit_factor(config)
        if factor != 1.0:
            logits = logits * factor
        bend = getattr(config, "final_logit_softcapping", None)  # Gemma 2
        return logits if bend is None else torch.tanh(logits / bend) * bend

    def close(self, found: torch.Tensor, wanted: torch.Tensor) -> bool:
        """Whether logits equal plain ones within what the model's type allows.

        The spread of the plain logits, which are over the whole vocabulary, is the scale.
        """
        quantized = getattr(self.model, "quantization_method", None) is not None
        tolerance = _TOLERANCE_QUANTIZED if quantized else _TOLERANCE.get(self.model.dtype, 1e-3)
        difference = (found - wanted.to(found.device)).abs().max()
        return bool(difference <= tolerance * wanted.std().clamp_min(1e-6).to(found.device))


def build_forward(model: Any, encoder: PromptEncoder) -> Forward:
    """Find the fastest way to run a model that agrees with its own plain forward."""
    prompts = [prompt.ids for prompt in encoder.encode(PROBE_TEXTS)]
    with torch.inference_mode():
        plain = _plain_logits(model, prompts)
        for readout in _possible_readouts(model):
            forward = Forward(model, encoder.label_ids, readout)
            if readout == OWN_FORWARD or _reads_alike(forward, prompts, plain):
                break
        forward.caches = _caches_alike(forward, prompts, encoder.prefix_ids, plain)
    return forward


def rope_switch(config: Any) -> int | None:
    """Return the length beyond which a model's RoPE follows the longest row of a batch, or None.

    LongRoPE (Phi-3, Phi-4-mini) turns every position of a longer row by other angles: rows on
    either side share neither a batch nor a prefix.
    """
    text = config.get_text_config()
    given = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    found = [
        part.get("original_max_position_embeddings")
        or getattr(text, "original_max_position_embeddings", text.max_position_embeddings)
        for part in (given, *given.values())  # of each kind of layer, in some architectures
        if isinstance(part, dict) and part.get("rope_type", part.get("type")) in _ROPE_OF_THE_LENGTH
    ]
    return min(found, default=None)


def logit_factor(config: Any) -> float:
    """Return what a model's logits are multiplied by: Cohere multiplies, Granite divides."""
    scale: float = getattr(config, "logit_scale", None) or 1.0
    divisor: float = getattr(config, "logits_scaling", None) or 1.0
    return scale / divisor


def _plain_logits(model: Any, prompts: Rows) -> torch.Tensor:
    device = model.get_input_embeddings().weight.device
    rows = [
        model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0, -1]
        for ids in prompts
    ]
    return torch.stack(rows).float()


def _decoder(model: Any) -> Any:
    """Return the model below the output layer; the model itself when it cannot be told apart."""
    found = model.base_model
    if found is model and hasattr(model, "get_decoder"):
        found = model.get_decoder()
    return model if found is None else found


def _possible_readouts(model: Any) -> Iterator[str]:
    head = model.get_output_embeddings()
    if head is not None and _decoder(model) is not model:
        # An adapter on the output layer, or a quantised one, is of another class.
        if type(head) is torch.nn.Linear and head.weight.device.type != "meta":
            yield LABEL_ROWS
        yield WHOLE_HEAD
    yield OWN_FORWARD


def _reads_alike(forward: Forward, prompts: Rows, plain: torch.Tensor) -> bool:
    try:
        states = torch.cat([forward.last_states([ids], None) for ids in prompts])
        first = forward.label_logits(states)
        whole = forward.logits(states)
    except UNFIT:
        return False
    if whole.shape != plain.shape:
        return False
    combined = whole.clone()
    combined[:, forward.first_ids] = first
    return forward.close(whole, plain) and forward.close(combined, plain)


def _caches_alike(
    forward: Forward, prompts: Rows, prefix: Sequence[int], plain: torch.Tensor
) -> bool:
    if any(tuple(ids[: len(prefix)]) != tuple(prefix) for ids in prompts):
        return False
    try:
        shared = forward.cache_prefix(prefix)
        if shared is None:
            return False
        own = [ids[len(prefix) :] for ids in prompts]
        states = forward.last_states(own, shared.spread())
    except torch.OutOfMemoryError:
        raise
    except (*UNFIT, RuntimeError):
        return False
    return forward.close(forward.logits(states), plain)
