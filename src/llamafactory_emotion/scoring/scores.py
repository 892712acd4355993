"""What scoring gives, and what everything that scores offers.

Stands below `scorer` (a language model) and `head_scorer` (a classification head), which both
give `Scores`, so that `predict` and `classifier` need not know which of the two they hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.special import log_softmax

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.scoring.models import LoadedModel
from llamafactory_emotion.scoring.prompts import EncodedPrompt
from llamafactory_emotion.task import Task

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """What scoring found for some texts, in the order of the texts.

    Attributes:
        labels: The task's labels; the order of the columns.
        log_scores: Array of shape (texts, labels), float32. Label logits; or log-likelihoods
            (natural logarithm, at most 0) where these were asked for or needed. Higher is likelier.
        prompts: The prompt of each text as the model read it.
        cut: Whether each text was cut to fit the cutoff.
        special_tokens: How many texts hold the name of a special token (which stayed text).
    """

    labels: tuple[str, ...]
    log_scores: "npt.NDArray[np.float32]"
    prompts: tuple[str, ...]
    cut: tuple[bool, ...]
    special_tokens: int

    @property
    def truncated(self) -> int:
        """How many texts were cut to fit the cutoff."""
        return sum(self.cut)

    @classmethod
    def of_prompts(
        cls,
        labels: tuple[str, ...],
        log_scores: "npt.NDArray[np.float32]",
        prompts: Sequence[EncodedPrompt],
    ) -> "Scores":
        """Put scores beside the encoded prompts they were found for.

        Raises:
            ModelError: A score is infinite or no number.
        """
        if not np.isfinite(log_scores).all():
            raise ModelError(
                "the model gives scores that are no finite numbers: its weights are damaged, or "
                "its precision is too low; load it with infer_dtype=float32 (dtype in Python)."
            )
        return cls(
            labels=labels,
            log_scores=log_scores,
            prompts=tuple(prompt.prompt for prompt in prompts),
            cut=tuple(prompt.truncated for prompt in prompts),
            special_tokens=sum(prompt.special_tokens for prompt in prompts),
        )

    @property
    def log_probabilities(self) -> "npt.NDArray[np.float64]":
        """Natural logarithms of `probabilities`, computed without underflow."""
        return log_probabilities_of(self.log_scores)

    @property
    def probabilities(self) -> "npt.NDArray[np.float64]":
        """Softmax of the scores over the labels: shape (texts, labels), each row sums to 1."""
        probabilities = np.exp(self.log_probabilities)
        total: npt.NDArray[np.float64] = probabilities.sum(axis=1, keepdims=True)
        normalized: npt.NDArray[np.float64] = probabilities / total
        return normalized

    @property
    def predictions(self) -> tuple[str, ...]:
        """The likeliest label of each text; of two that tie, the one that stands first."""
        return tuple(self.labels[index] for index in self.log_scores.argmax(axis=1))

    @property
    def margins(self) -> "npt.NDArray[np.float64]":
        """How far the likeliest label leads, in nats of log-probability; 0 is a tie."""
        ordered = np.sort(self.log_scores.astype(np.float64), axis=1)
        margins: npt.NDArray[np.float64] = ordered[:, -1] - ordered[:, -2]
        return margins


def log_probabilities_of(scores: "npt.NDArray[Any]") -> "npt.NDArray[np.float64]":
    """Give the logarithms of each row's softmax, computed without underflow."""
    result: npt.NDArray[np.float64] = log_softmax(scores.astype(np.float64), axis=1)
    return result


class Scorer(Protocol):
    """A loaded model and a task, ready to score texts."""

    loaded: LoadedModel
    task: Task

    @property
    def device(self) -> Any:
        """The torch device that texts are put on."""

    @property
    def readout(self) -> str:
        """Where the scores are read off, in words."""

    @property
    def shared_prefix_tokens(self) -> int:
        """How many tokens at the start of every prompt are computed once."""

    def encode_contents(self, contents: Sequence[str]) -> list[EncodedPrompt]:
        """Encode whole user contents (instruction and text)."""

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts."""

    def score_contents(self, contents: Sequence[str]) -> Scores:
        """Score whole user contents: the instruction and the text."""
