"""Run rows of like length together, as many as a budget of tokens allows.

What `scorer` and `head_scorer` share: the order, the size of a batch, and what happens when memory
runs out.
"""

import gc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from llamafactory_emotion.errors import CallError, ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

# Small batches waste less on padding and stay in a CPU's cache; a GPU wants many tokens at once.
_TOKENS_PER_BATCH = {"cpu": 512, "cuda": 4096}
# Keys and values of the prefix are laid out once for each row of a batch; this bounds them.
_CACHED_TOKENS_PER_BATCH_TOKEN = 32


class LengthBatches:
    """A scorer's batches.

    Attributes:
        tokens_per_batch: The most tokens of texts in one forward pass; halved when memory runs out.
    """

    tokens_per_batch: int

    def fill_by_length(
        self,
        scores: "npt.NDArray[np.float32]",
        rows: Sequence[int],
        lengths: Sequence[int],
        score_batch: Callable[[Sequence[int]], "npt.NDArray[np.float32]"],
        *,
        shared: int = 0,
    ) -> None:
        """Score rows batch by batch, longest first, and put each where it belongs.

        Args:
            scores: Array of shape (all rows, labels), filled in place.
            rows: The rows to score, sorted by length.
            lengths: The number of tokens of every row, shared ones included.
            score_batch: Scores some rows: shape (rows, labels).
            shared: How many tokens each row has in a cache already.

        Raises:
            ModelError: Memory runs out with a single text in the batch.
        """
        remaining = list(rows)
        while remaining:
            longest = lengths[remaining[-1]] - shared
            size = min(len(remaining), self._rows_that_fit(longest, shared))
            batch = remaining[-size:]
            try:
                scores[batch] = score_batch(batch)
            except RuntimeError as error:
                self._shrink_or_raise(error, size, longest + shared)
                continue
            del remaining[-size:]

    def _rows_that_fit(self, longest: int, shared: int) -> int:
        by_tokens = self.tokens_per_batch // max(1, longest)
        by_cache = (
            self.tokens_per_batch * _CACHED_TOKENS_PER_BATCH_TOKEN // max(1, longest + shared)
        )
        return max(1, min(by_tokens, by_cache))

    def _shrink_or_raise(self, error: RuntimeError, rows: int, length: int) -> None:
        make_room_or_raise(error, rows, length)
        # What fitted is what counts, not a budget that was never filled.
        self.tokens_per_batch = max(1, min(self.tokens_per_batch, rows * length) // 2)


def make_room_or_raise(error: RuntimeError, rows: int, length: int) -> None:
    """Free what a batch that did not fit into memory has left, so that a smaller one may.

    Args:
        error: What the batch raised; raised again when it is not for want of memory.
        rows: The rows of the batch.
        length: The tokens of its longest row.

    Raises:
        ModelError: The batch was a single text.
    """
    text = str(error).lower()
    if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in text:
        raise error
    if rows == 1:
        raise ModelError(
            f"memory does not suffice for a single text of {length} tokens; lower cutoff_len, "
            "or load the model in a smaller dtype or with quantization_bit."
        ) from error
    error.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def token_budget(tokens_per_batch: int | None, device: str) -> int:
    """Give the budget asked for, or the usual one of a kind of device.

    Raises:
        CallError: The budget is less than 1.
    """
    if tokens_per_batch is None:
        return _TOKENS_PER_BATCH["cpu" if device == "cpu" else "cuda"]
    if tokens_per_batch < 1:
        raise CallError(f"tokens_per_batch is {tokens_per_batch}; it must be 1 or more.")
    return tokens_per_batch
