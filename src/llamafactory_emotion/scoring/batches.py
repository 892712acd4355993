"""What every scorer does: run texts of like length together, and return `Scores`.

`scorer` (language models) and `heads` (classification heads) fill in how a text is encoded and how
a batch is scored.
"""

import gc
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.scoring.forward import Rows, rope_switch
from llamafactory_emotion.scoring.models import LoadedModel
from llamafactory_emotion.scoring.prompts import EncodedPrompt
from llamafactory_emotion.task import Task

# Small batches waste less on padding and stay in a CPU's cache; a GPU wants many tokens at once.
_TOKENS_PER_BATCH = {"cpu": 512, "cuda": 4096}
# Keys and values of the prefix are laid out once for each row of a batch; this bounds them.
_CACHED_TOKENS_PER_BATCH_TOKEN = 32


@dataclass(frozen=True)
class Scores:
    """The scores of some texts, in their order; columns in the order of the task's labels.

    Attributes:
        log_scores: Array of shape (texts, labels), float32. Label logits; or log-likelihoods
            (natural logarithm, at most 0) where these were asked for or needed. Higher is likelier.

    Raises:
        ModelError: A score is infinite or NaN.
    """

    labels: tuple[str, ...]
    log_scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if not np.isfinite(self.log_scores).all():
            raise ModelError(
                "the model gives scores that are no finite numbers: its weights are damaged, or "
                "its precision is too low; load it with infer_dtype=float32 (dtype in Python)."
            )

    @property
    def log_probabilities(self) -> NDArray[np.float64]:
        """Natural logarithms of `probabilities`, computed without underflow."""
        result: NDArray[np.float64] = log_softmax(self.log_scores.astype(np.float64), axis=1)
        return result

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the scores over the labels: shape (texts, labels), each row sums to 1."""
        result: NDArray[np.float64] = softmax(self.log_scores.astype(np.float64), axis=1)
        return result

    @property
    def predictions(self) -> tuple[str, ...]:
        """The likeliest label of each text; of two that tie, the task's first."""
        return tuple(self.labels[index] for index in self.log_scores.argmax(axis=1))

    @property
    def margins(self) -> NDArray[np.float64]:
        """How far the likeliest label leads, in nats of log-probability; 0 is a tie."""
        ordered = np.sort(self.log_scores.astype(np.float64), axis=1)
        margins: NDArray[np.float64] = ordered[:, -1] - ordered[:, -2]
        return margins


class Scorer(ABC):
    """A loaded model and a task, ready to score texts.

    Attributes:
        tokens_per_batch: The most tokens of texts in one forward pass; halved when memory runs out.
        readout: Where the scores are read off, in words.
        shared_prefix_tokens: How many tokens at the start of every prompt are computed once.
        notices: What a user must know of the prompt, each a `note: ...` or `warning: ...`.
        switches: Lengths of prompts that only rows on one side of them share a batch.
    """

    readout: str
    shared_prefix_tokens: int = 0
    notices: tuple[str, ...] = ()
    switches: tuple[int, ...] = ()

    def __init__(self, loaded: LoadedModel, task: Task, tokens_per_batch: int | None) -> None:
        self.loaded = loaded
        self.task = task
        kind = "cpu" if loaded.model.device.type == "cpu" else "cuda"
        self.tokens_per_batch = tokens_per_batch or _TOKENS_PER_BATCH[kind]
        switch = rope_switch(loaded.model.config)
        self.switches = () if switch is None else (switch,)

    @abstractmethod
    def encode_contents(self, contents: Sequence[str]) -> list[EncodedPrompt]:
        """Encode whole user contents: the instruction and the text, as a data set's rows are."""

    @abstractmethod
    def score_batch(self, rows: Rows, *, after_prefix: bool) -> NDArray[np.float32]:
        """Score one batch of token ids, with `after_prefix` those behind the shared prefix."""

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; an empty one is scored on the instruction alone."""
        return self.score_prompts(self.encode(texts))

    def encode(self, texts: Sequence[str]) -> list[EncodedPrompt]:
        """Encode texts, each behind the task's instruction."""
        return self.encode_contents([self.task.user_content(text) for text in texts])

    def score_prompts(self, prompts: Sequence[EncodedPrompt]) -> Scores:
        """Score prompts; one that does not begin with the shared prefix is scored without it."""
        ids = [prompt.ids for prompt in prompts]
        self.loaded.check_ids(ids)
        scores = np.empty((len(ids), len(self.task.labels)), dtype=np.float32)
        by_length = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        groups = [(self.shared_tokens(row), self.length_class(len(row))) for row in ids]
        for group in sorted(set(groups), reverse=True):
            self._fill(scores, ids, [row for row in by_length if groups[row] == group], group[0])
        return Scores(self.task.labels, scores)

    def shared_tokens(self, ids: Sequence[int]) -> int:  # noqa: ARG002 - for what overrides it
        """Count the tokens at the start of a prompt that are in the cache."""
        return 0

    def length_class(self, length: int) -> int:
        """Count the `switches` that a prompt is longer than; a batch is of one class."""
        return sum(length > switch for switch in self.switches)

    def _fill(self, scores: NDArray[np.float32], ids: Rows, rows: list[int], shared: int) -> None:
        """Score rows, sorted by length, the longest first: if memory runs out, it does so early."""
        while rows:
            longest = len(ids[rows[-1]])
            by_tokens = self.tokens_per_batch // max(1, longest - shared)
            by_cache = self.tokens_per_batch * _CACHED_TOKENS_PER_BATCH_TOKEN // max(1, longest)
            batch = rows[-max(1, min(by_tokens, by_cache)) :]
            try:
                scores[batch] = self.score_batch(
                    [ids[row][shared:] for row in batch], after_prefix=shared > 0
                )
            except torch.OutOfMemoryError as error:
                make_room_or_raise(error, len(batch), longest)
                # What fitted is what counts, not a budget that was never filled.
                tried = min(self.tokens_per_batch, len(batch) * longest)
                self.tokens_per_batch = max(1, tried // 2)
                continue
            del rows[-len(batch) :]


def make_room_or_raise(error: torch.OutOfMemoryError, rows: int, length: int) -> None:
    """Free what a batch has left in memory; raise if it was a single text of `length` tokens."""
    if rows == 1:
        raise ModelError(
            f"memory does not suffice for a single text of {length} tokens; lower cutoff_len, "
            "or load the model in a smaller type with infer_dtype."
        ) from error
    error.__traceback__ = None  # its frames hold the batch's tensors
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA was never used
