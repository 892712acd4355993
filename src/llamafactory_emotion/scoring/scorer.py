"""Score every label of a task for every text: one prefill a text, the shared prefix computed once.

Stands on `prompts` (which ids) and `models` (which weights); gives `Scores` to `classifier` and
`predict`. Texts are padded on the right: a causal model never looks there, so no attention mask is
needed and every architecture numbers its positions by itself.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring.batches import LengthBatches, token_budget
from llamafactory_emotion.scoring.continuations import can_branch, label_log_likelihoods
from llamafactory_emotion.scoring.forward import build_forward
from llamafactory_emotion.scoring.models import LoadedModel, load_model
from llamafactory_emotion.scoring.prompts import EncodedPrompt, PromptEncoder
from llamafactory_emotion.scoring.scores import Scores, log_probabilities_of
from llamafactory_emotion.scoring.shared_cache import SharedCache
from llamafactory_emotion.scoring.sources import take_source
from llamafactory_emotion.scoring.templates import EMOTION_TEMPLATE
from llamafactory_emotion.task import EMOTION, Task

if TYPE_CHECKING:
    import numpy.typing as npt

NORMALIZATIONS = ("none", "tokens", "bytes")
# Inputs without content, as in Zhao et al. 2021, "Calibrate Before Use".
CONTENT_FREE_TEXTS = ("N/A", "[MASK]", "")


class LabelScorer(LengthBatches):
    """A loaded model, a task and a prompt, ready to score texts.

    Args:
        loaded: The model with its tokenizer.
        task: The labels and the instruction.
        template: `emotion`, or any other name for the model's own chat template.
        few_shot: Examples (text, label) for the shared prefix.
        cutoff_len: The longest prompt and answer in tokens; longer texts are cut in the text.
        normalize: `none`; `tokens` or `bytes` divide a label's log-likelihood by its length.
        calibrate: Divide by the probabilities that inputs without content get.
        log_likelihoods: Give full log-likelihoods where label logits would do.
        tokens_per_batch: The most tokens of texts in one forward pass; halved when memory runs out.

    Raises:
        CallError: An option is out of range.
        ModelError: The tokenizer cannot tell the labels apart.
    """

    def __init__(  # noqa: PLR0913 - each is one choice of the caller
        self,
        loaded: LoadedModel,
        task: Task = EMOTION,
        *,
        template: str = EMOTION_TEMPLATE,
        few_shot: Sequence[tuple[str, str]] = (),
        cutoff_len: int = 2048,
        normalize: str = "none",
        calibrate: bool = False,
        log_likelihoods: bool = False,
        tokens_per_batch: int | None = None,
    ) -> None:
        if normalize not in NORMALIZATIONS:
            raise CallError(f"normalize {normalize!r} is none of {', '.join(NORMALIZATIONS)}.")
        self.loaded = loaded
        self.task = task
        self.encoder = PromptEncoder(
            loaded.tokenizer,
            task,
            template=template,
            few_shot=few_shot,
            cutoff_len=cutoff_len,
            max_positions=loaded.max_positions,
        )
        loaded.check_ids([self.encoder.prefix_ids, *self.encoder.label_ids])
        self._lengths = _label_lengths(self.encoder, normalize)
        several = any(len(ids) > 1 for ids in self.encoder.label_ids)
        self.gives_log_likelihoods = log_likelihoods or several or normalize != "none"
        self.tokens_per_batch: int = token_budget(tokens_per_batch, loaded.model.device.type)
        self.forward = build_forward(loaded.model, self.encoder)
        self.forward.branches = can_branch(self.forward, self.encoder)
        self._cache = self.forward.cache_prefix(self.encoder.prefix_ids)
        self._correction = np.zeros(len(task.labels), dtype=np.float64)
        if calibrate:
            content_free = self.score(CONTENT_FREE_TEXTS).probabilities.mean(axis=0)
            self._correction = np.log(content_free)
        self.calibrated = calibrate

    @classmethod
    def from_pretrained(
        cls, model: str, task: Task = EMOTION, *, adapter: str | None = None, **options: Any
    ) -> "LabelScorer":
        """Load a model and score with it.

        Args:
            model: A folder or hub id; see `ModelSource`.
            task: The labels and the instruction.
            adapter: A LoRA adapter's folder or hub id.
            **options: Fields of `ModelSource` (`dtype`, `device`, `quantization_bit`, ...) and
                keywords of `LabelScorer`.
        """
        loaded = load_model(take_source(model, adapter, options))
        return cls(loaded, task, **options)

    @property
    def device(self) -> Any:
        """The torch device that texts are put on."""
        return self.forward.device

    @property
    def readout(self) -> str:
        """How logits come about; see `forward`."""
        return self.forward.readout

    @property
    def shared_prefix_tokens(self) -> int:
        """How many tokens at the start of every prompt are computed once."""
        return len(self.encoder.prefix_ids) if self.forward.caches else 0

    def encode_contents(self, contents: Sequence[str]) -> list[EncodedPrompt]:
        """Encode whole user contents (instruction and text)."""
        return self.encoder.encode_contents(contents)

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts.

        Args:
            texts: Any number of texts; an empty one is scored on the instruction alone.

        Raises:
            ModelError: Memory runs out with a single text in the batch.
        """
        return self.score_contents([self.task.user_content(text) for text in texts])

    def score_contents(self, contents: Sequence[str]) -> Scores:
        """Score whole user contents: the instruction and the text, as a data set's rows hold them.

        A content that does not begin with the task's instruction is scored without the cache.
        """
        prompts = self.encoder.encode_contents(contents)
        self.loaded.check_ids(prompt.ids for prompt in prompts)
        scores = np.empty((len(prompts), len(self.task.labels)), dtype=np.float32)
        for cached, rows in self._by_cache(prompts):
            self._score_rows(prompts, rows, scores, cached=cached)
        scores = (scores / self._lengths).astype(np.float32)
        if self._correction.any():
            scores = (log_probabilities_of(scores) - self._correction).astype(np.float32)
        return Scores.of_prompts(self.task.labels, scores, prompts)

    def _by_cache(self, prompts: Sequence[EncodedPrompt]) -> Iterator[tuple[bool, list[int]]]:
        """Part the rows into those that begin with the shared prefix and the others, by length."""
        prefix = self.encoder.prefix_ids
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row].ids))
        fits = [
            self._cache is not None
            and len(prompt.ids) > len(prefix)
            and prompt.ids[: len(prefix)] == prefix
            for prompt in prompts
        ]
        yield True, [row for row in order if fits[row]]
        yield False, [row for row in order if not fits[row]]

    def _score_rows(
        self,
        prompts: Sequence[EncodedPrompt],
        rows: list[int],
        scores: "npt.NDArray[np.float32]",
        *,
        cached: bool,
    ) -> None:
        cache = self._cache if cached else None
        shared = len(self.encoder.prefix_ids) if cached else 0
        lengths = [len(prompt.ids) for prompt in prompts]

        def score_batch(batch: Sequence[int]) -> "npt.NDArray[np.float32]":
            return self._score_batch([prompts[row].ids[shared:] for row in batch], cache)

        self.fill_by_length(scores, rows, lengths, score_batch, shared=shared)

    def _score_batch(
        self, ids: Sequence[Sequence[int]], cache: SharedCache | None
    ) -> "npt.NDArray[np.float32]":
        with torch.inference_mode():
            if self.gives_log_likelihoods:
                result = label_log_likelihoods(self.forward, ids, cache)
            else:
                hidden = self.forward.last_states(ids, cache)
                result = self.forward.label_logits(hidden)
        values: npt.NDArray[np.float32] = result.float().cpu().numpy()
        return values


def _label_lengths(encoder: PromptEncoder, normalize: str) -> "npt.NDArray[np.float64]":
    """Give what each label's log-likelihood is divided by."""
    if normalize == "tokens":
        return np.array([len(ids) for ids in encoder.label_ids], dtype=np.float64)
    if normalize == "bytes":
        return np.array([len(label.encode()) for label in encoder.task.labels], dtype=np.float64)
    return np.ones(len(encoder.task.labels))
