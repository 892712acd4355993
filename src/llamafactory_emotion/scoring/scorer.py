"""Score every label of a task for every text: one prefill a text, the shared prefix computed once.

`open_scorer` takes whatever can be scored, a language model (`LabelScorer`) or a classification
head (`heads.HeadScorer`). Texts are padded on the right: a causal model never looks there, so no
attention mask is needed and every architecture numbers its positions by itself.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring.batches import Scorer, Scores
from llamafactory_emotion.scoring.continuations import can_branch, label_log_likelihoods
from llamafactory_emotion.scoring.forward import Rows, build_forward
from llamafactory_emotion.scoring.heads import HeadScorer, is_head, load_head
from llamafactory_emotion.scoring.loading import ModelSource
from llamafactory_emotion.scoring.models import LoadedModel, load_model, with_base
from llamafactory_emotion.scoring.prompts import EncodedPrompt, PromptEncoder
from llamafactory_emotion.scoring.templates import EMOTION_TEMPLATE, WARNING, template_notices
from llamafactory_emotion.task import EMOTION, Task

# Inputs without content, as in Zhao et al. 2021, "Calibrate Before Use".
CONTENT_FREE_TEXTS = ("N/A", "[MASK]", "")
_NOT_FOR_HEADS = ("few_shot", "normalize", "calibrate", "log_likelihoods")
_UNSET: tuple[Any, ...] = (None, (), [], False, "none")


class LabelScorer(Scorer):
    """A loaded language model, a task and a prompt, ready to score texts.

    Args:
        template: `emotion`, the name of a template of LLaMA-Factory, or `chat_template` for the
            model's own.
        few_shot: Examples (text, label) for the shared prefix.
        cutoff_len: The longest prompt and answer in tokens; longer texts are cut in the text.
        normalize: `none`; `tokens` or `bytes` divide a label's log-likelihood by its length.
        calibrate: Divide by the probabilities that inputs without content get.
        log_likelihoods: Compute full log-likelihoods where label logits would do.
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
        super().__init__(loaded, task, tokens_per_batch)
        self.encoder = PromptEncoder(
            loaded.tokenizer,
            task,
            template=template,
            few_shot=few_shot,
            cutoff_len=cutoff_len,
            max_positions=loaded.max_positions,
        )
        loaded.check_ids([self.encoder.prefix_ids, *self.encoder.label_ids])
        self.notices = tuple(
            template_notices(
                template,
                self.encoder.template,
                loaded.tokenizer,
                base=loaded.base,
                adapter=loaded.adapter,
            )
        )
        tokens = [len(ids) for ids in self.encoder.label_ids]
        lengths = {
            "none": [1] * len(tokens),
            "tokens": tokens,
            "bytes": [len(task.word_of(label).encode()) for label in task.labels],
        }
        if normalize not in lengths:
            raise CallError(f"normalize={normalize} is no rule; write one of {', '.join(lengths)}.")
        self._lengths = np.array(lengths[normalize], dtype=np.float64)
        self.gives_log_likelihoods = log_likelihoods or max(tokens) > 1 or normalize != "none"
        self.forward = build_forward(loaded.model, self.encoder)
        self.forward.branches = can_branch(self.forward, self.encoder)
        # Prompts whose labels alone reach beyond the switch are a class of their own.
        self._label_steps = max(tokens) - 1
        self.switches += tuple(switch - self._label_steps for switch in self.switches)
        self.readout = self.forward.readout
        self._cache = self.forward.cache_prefix(self.encoder.prefix_ids)
        if self._cache is not None:
            self.shared_prefix_tokens = len(self.encoder.prefix_ids)
        self._content_free: NDArray[np.float64] | None = None
        if calibrate:
            self._content_free = np.log(self.score(CONTENT_FREE_TEXTS).probabilities.mean(axis=0))

    def encode_contents(self, contents: Sequence[str]) -> list[EncodedPrompt]:
        """Encode whole user contents (instruction and text)."""
        return self.encoder.encode_contents(contents)

    def score_prompts(self, prompts: Sequence[EncodedPrompt]) -> Scores:
        """Score prompts; divide by lengths and correct as was asked for."""
        scores = super().score_prompts(prompts)
        divided = (scores.log_scores / self._lengths).astype(np.float32)
        scores = replace(scores, log_scores=divided)
        if self._content_free is None:
            return scores
        corrected = (scores.log_probabilities - self._content_free).astype(np.float32)
        return replace(scores, log_scores=corrected)

    def score_batch(self, rows: Rows, *, after_prefix: bool) -> NDArray[np.float32]:
        """Score one batch: label logits, or log-likelihoods where labels have several tokens."""
        cache = self._cache if after_prefix else None
        with torch.inference_mode():
            if self.gives_log_likelihoods:
                result = label_log_likelihoods(self.forward, rows, cache)
            else:
                spread = None if cache is None else cache.spread()
                result = self.forward.label_logits(self.forward.last_states(rows, spread))
        values: NDArray[np.float32] = result.float().cpu().numpy()
        return values

    def shared_tokens(self, ids: Sequence[int]) -> int:
        """Count the tokens of the shared prefix, or none where a prompt begins otherwise."""
        shared = self.shared_prefix_tokens
        begins = len(ids) > shared and tuple(ids[:shared]) == self.encoder.prefix_ids[:shared]
        return shared if begins and self.forward.keeps(shared, len(ids) + self._label_steps) else 0


def open_model(source: ModelSource) -> LoadedModel:
    """Load a language model or a classification head, whichever a source is."""
    source = with_base(source)
    return load_head(source) if is_head(source) else load_model(source)


def scorer_of(loaded: LoadedModel, task: Task, **options: Any) -> Scorer:
    """Return the scorer of a loaded model; `options` are keywords of `LabelScorer`."""
    if not loaded.is_head:
        return LabelScorer(loaded, task, **options)
    refused = [key for key in _NOT_FOR_HEADS if options.get(key) not in _UNSET]
    if refused:
        raise CallError(
            f"{loaded.adapter or loaded.base} is a classification head, which gives its labels' "
            f"probabilities and nothing else; remove {', '.join(refused)}."
        )
    taken = {key: options[key] for key in ("cutoff_len", "tokens_per_batch") if key in options}
    return HeadScorer(loaded, task, **taken)


def open_scorer(
    model: str, task: Task = EMOTION, *, adapter: str | None = None, **options: Any
) -> Scorer:
    """Load a model or a classification head and return its scorer.

    `options` are fields of `ModelSource` (`dtype`, `device`, ...) and keywords of `LabelScorer`.
    """
    held = [name for name in options if name in ModelSource.__dataclass_fields__]
    source = ModelSource(model, adapter, **{name: options.pop(name) for name in held})
    scorer = scorer_of(open_model(source), task, **options)
    for notice in scorer.notices:
        if notice.startswith(WARNING):
            warnings.warn(notice.removeprefix(WARNING), stacklevel=2)
    return scorer
