"""Keys and values of a beginning that rows share: computed once, joined with each row's own.

For `forward` and `continuations`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer


class SharedLayer(DynamicLayer):
    """One layer's keys and values that several rows begin with, joined with each row's own.

    What is stored never grows: a batch's own keys live no longer than its forward pass, unless
    `keep` holds them for the labels' continuations.
    """

    def __init__(
        self,
        keys: torch.Tensor,
        values: torch.Tensor,
        *,
        rows: torch.Tensor | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.rows, self.keep = rows, keep
        self.joined: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the joined keys and values of a batch; what is shared stays as it is."""
        keys = self._join(self.keys, key_states)
        values = self._join(self.values, value_states)
        if self.keep:
            self.joined = keys, values
        return keys, values

    def _join(self, shared: torch.Tensor | None, own: torch.Tensor) -> torch.Tensor:
        if shared is None:
            return own
        if self.rows is None:
            spread = shared.expand(own.shape[0], *shared.shape[1:])
        else:
            spread = shared[self.rows.to(shared.device)]
        return torch.cat([spread, own], dim=-2)


@dataclass(frozen=True)
class SharedCache:
    """Keys and values of one or several beginnings, layer by layer; each of shape (rows, ...)."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.layers[0][0].shape[-2]

    def spread(
        self, *, rows: torch.Tensor | None = None, length: int | None = None, keep: bool = False
    ) -> DynamicCache:
        """Give a cache for a batch.

        Args:
            rows: Which beginning each row of the batch continues; None where there is only one.
            length: Use only so many positions of the beginnings.
            keep: Hold the joined keys and values for `collect`.
        """
        cache = DynamicCache()
        cache.layers = [
            SharedLayer(keys[..., :length, :], values[..., :length, :], rows=rows, keep=keep)
            for keys, values in self.layers
        ]
        return cache


def collect(cache: DynamicCache) -> SharedCache:
    """Take the keys and values out of a cache that a forward pass has filled."""
    layers: list[Any] = list(cache.layers)
    pairs: list[Any] = [
        layer.joined if isinstance(layer, SharedLayer) else (layer.keys, layer.values)
        for layer in layers
    ]
    return SharedCache(tuple(pairs))
