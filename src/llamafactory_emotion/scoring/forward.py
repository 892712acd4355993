"""Run a causal model over prompts that share a prefix, and read off what labels need.

Stands below `continuations` and knows no task: token ids in, logits and log-probabilities out.
Three ways to read logits (the label rows of the output matrix alone, the whole output layer at the
last position, the model's own forward) and two to run (on the prefix's cached keys and values, or
on whole prompts) are tried against the model's own plain forward when a model is loaded. The
fastest pair that gives the same numbers is taken: an unknown architecture costs speed, not truth.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import DynamicCache

from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.scoring.shared_cache import SharedCache, collect

LABEL_ROWS, WHOLE_HEAD, OWN_FORWARD = "label rows", "whole head", "own forward"
# The largest difference to the plain forward, in standard deviations of its logits.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
_TOLERANCE_QUANTIZED = 0.3
_LOGIT_ELEMENTS = 1 << 26
PROBE_TEXTS = ("I did not know what to say.", "So glad")
# What a model raises when it does not know a cache or an argument.
UNFIT = (TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError)

Rows = Sequence[Sequence[int]]


class Forward:
    """A model's forward pass, split into hidden states and what is read off them.

    Attributes:
        caches: Whether keys and values of a prefix may be reused with this architecture.
        branches: Whether all continuations of a text may be run side by side in one row.
        readout: How logits come about: `label rows`, `whole head` or `own forward`.
    """

    def __init__(self, model: Any, first_ids: Sequence[int], label_ids: Rows, end: str) -> None:
        self.model = model
        self.first_ids = list(first_ids)
        self.label_ids = [tuple(ids) for ids in label_ids]
        self.readout = end
        self.caches = True
        self.branches = False
        self.device = model.get_input_embeddings().weight.device
        self._decoder = _decoder(model)
        self._head = model.get_output_embeddings()
        self._scale = _logit_scaling(model.config.get_text_config())
        self._label_rows = self._rows_of(self.first_ids) if end == LABEL_ROWS else None

    def cache_prefix(self, prefix_ids: Sequence[int]) -> SharedCache | None:
        """Compute the shared prefix once; None when nothing is shared or cannot be reused."""
        if not prefix_ids or not self.caches:
            return None
        with torch.inference_mode():
            cache = DynamicCache()
            self._run(self._padded([prefix_ids]), cache)
            return collect(cache)

    def states(self, ids: Rows, cache: DynamicCache | None) -> torch.Tensor:
        """Give the states of every position: shape (rows, longest row, width)."""
        return self._run(self._padded(ids), cache)

    def last_states(self, ids: Rows, shared: SharedCache | None) -> torch.Tensor:
        """Give the states of each row's last token: shape (rows, width)."""
        states = self.states(ids, None if shared is None else shared.spread())
        return at_ends(states, ids)

    def label_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Give the logits of each label's first token in float32: shape (states, labels)."""
        if self._label_rows is None:
            return self.logits(states)[:, self.first_ids]
        return self._row_logits(states, *self._label_rows)

    def log_probabilities(self, states: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
        """Give log-probabilities over the whole vocabulary for some tokens: (states, tokens)."""
        width = self.model.config.get_text_config().vocab_size
        chunks = torch.split(states, max(1, _LOGIT_ELEMENTS // width))
        return torch.cat([self._token_log_probabilities(chunk, tokens) for chunk in chunks])

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Give the logits over the whole vocabulary in float32: shape (states, vocabulary)."""
        if self.readout == OWN_FORWARD:
            return states.float()
        return self._scale(self._head(states).float())

    def _token_log_probabilities(self, states: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
        logits = self.logits(states)
        wanted = list(tokens)
        if self.readout == LABEL_ROWS and states.dtype != torch.float32:
            # The output layer rounds to the model's type; the tokens asked for are not rounded.
            logits[:, wanted] = self._row_logits(states, *self._rows_of(wanted))
        return logits[:, wanted] - logits.logsumexp(dim=-1, keepdim=True)

    def _rows_of(self, tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
        weight, bias = self._head.weight, self._head.bias
        wanted = list(tokens)
        return weight[wanted].float(), None if bias is None else bias[wanted].float()

    def _row_logits(
        self, states: torch.Tensor, rows: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        # A few rows cost nothing in float64, and leave out the largest rounding of a label's logit.
        exact = torch.float64 if rows.device.type in ("cpu", "cuda") else torch.float32
        added = None if bias is None else bias.to(exact)
        logits = functional.linear(states.to(rows.device, exact), rows.to(exact), added)
        return self._scale(logits).float()

    def _padded(self, ids: Rows) -> torch.Tensor:
        """Pad on the right with each row's own last token: causal models never look there."""
        longest = max(len(row) for row in ids)
        rows = [[*row, *[row[-1]] * (longest - len(row))] for row in ids]
        return torch.tensor(rows, device=self.device)

    def continued(
        self, tokens: torch.Tensor, cache: DynamicCache, mask: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """Run tokens after a cache with a mask and positions of their own."""
        return self._run(tokens, cache, attention_mask=mask, position_ids=positions)

    def _run(
        self, input_ids: torch.Tensor, cache: DynamicCache | None, **own: torch.Tensor
    ) -> torch.Tensor:
        options: dict[str, Any] = {"use_cache": cache is not None, **own}
        if cache is not None:
            options["past_key_values"] = cache
        if self.readout == OWN_FORWARD:
            logits: torch.Tensor = self.model(input_ids=input_ids, **options).logits
            return logits
        states: torch.Tensor = self._decoder(input_ids=input_ids, **options).last_hidden_state
        return states


def build_forward(model: Any, encoder: PromptEncoder) -> Forward:
    """Find the fastest way to run this model that agrees with its own plain forward.

    Args:
        model: A causal language model of transformers in evaluation mode.
        encoder: Says which tokens are asked for and what prompts share.
    """
    first_ids = [ids[0] for ids in encoder.label_ids]
    prompts = [prompt.ids for prompt in encoder.encode(PROBE_TEXTS)]
    with torch.inference_mode():
        plain = _plain_logits(model, prompts)
        for readout in _possible_readouts(model):
            forward = Forward(model, first_ids, encoder.label_ids, readout)
            if readout == OWN_FORWARD or _reads_alike(forward, prompts, plain):
                break
        forward.caches = _caches_alike(forward, prompts, encoder.prefix_ids, plain)
    return forward


def at_ends(states: torch.Tensor, ids: Rows) -> torch.Tensor:
    """Give the states of each row's last token."""
    ends = torch.tensor([len(row) - 1 for row in ids], device=states.device)
    return states[torch.arange(len(ids), device=states.device), ends]


def logit_factor(config: Any) -> float:
    """Give what a model's logits are multiplied by: Cohere multiplies, Granite divides."""
    scale: float = getattr(config, "logit_scale", None) or 1.0
    divisor: float = getattr(config, "logits_scaling", None) or 1.0
    return scale / divisor


def _logit_scaling(config: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give what a model does to its logits after the output layer.

    Gemma 2 bends them (`final_logit_softcapping`); for factors see `logit_factor`.
    """
    bend = getattr(config, "final_logit_softcapping", None)
    factor = logit_factor(config)

    def scale(logits: torch.Tensor) -> torch.Tensor:
        if factor != 1.0:
            logits = logits * factor
        return logits if bend is None else torch.tanh(logits / bend) * bend

    return scale


def _plain_logits(model: Any, prompts: Rows) -> torch.Tensor:
    """Give the last token's logits of each prompt by the model's own forward, one by one."""
    device = model.get_input_embeddings().weight.device
    rows = [
        model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0, -1]
        for ids in prompts
    ]
    return torch.stack(rows).float()


def _decoder(model: Any) -> Any:
    """Give the model below the output layer; the model itself when it cannot be told apart."""
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
    return close(forward, whole, plain) and close(forward, combined, plain)


def _caches_alike(
    forward: Forward, prompts: Rows, prefix: Sequence[int], plain: torch.Tensor
) -> bool:
    if any(tuple(ids[: len(prefix)]) != tuple(prefix) for ids in prompts):
        return False
    try:
        shared = forward.cache_prefix(prefix)
        states = forward.last_states([ids[len(prefix) :] for ids in prompts], shared)
    except (*UNFIT, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return False
    return shared is not None and close(forward, forward.logits(states), plain)


def close(forward: Forward, found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Say whether logits are the same within what the model's type allows.

    Args:
        forward: The model.
        found: What a shortcut gave.
        wanted: What a plainer way gives, over the whole vocabulary; its spread is the scale.
    """
    quantized = getattr(forward.model, "quantization_method", None) is not None
    tolerance = _TOLERANCE_QUANTIZED if quantized else _TOLERANCE.get(forward.model.dtype, 1e-3)
    difference = (found - wanted.to(found.device)).abs().max()
    return bool(difference <= tolerance * wanted.std().clamp_min(1e-6).to(found.device))
