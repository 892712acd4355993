"""Score a task's labels with a classification head: texts in, the head's logits out.

A sibling of `scorer` for models that are sequence classifiers already; stands on `head_models`.
A head reads the text alone. One that `export_classifier` wrote has its prompt in the tokenizer,
and is fed the ids that the language model it came from would be fed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring.batches import LengthBatches, token_budget
from llamafactory_emotion.scoring.head_models import position_offset
from llamafactory_emotion.scoring.models import LoadedModel
from llamafactory_emotion.scoring.prompts import (
    EncodedPrompt,
    special_token_pattern,
    valid_unicode,
)
from llamafactory_emotion.scoring.scores import Scores
from llamafactory_emotion.scoring.truncation import longest_that_fits
from llamafactory_emotion.task import EMOTION, Task

if TYPE_CHECKING:
    import numpy.typing as npt

# The key of config.json under which `export_classifier` keeps the prompt of a folder.
BAKED_PROMPT = "baked_prompt"
READOUT = "classification head"
# What a language model keeps free for an answer of one token and its end; `cutoff_len` counts it.
_ANSWER_TOKENS = 2


class HeadScorer(LengthBatches):
    """A loaded sequence classifier and a task, ready to score texts.

    Args:
        loaded: The classifier with its tokenizer.
        task: The labels; each must be one of the head's, in whatever order.
        cutoff_len: The longest text in tokens; longer ones are cut. For a folder with a prompt in
            it, prompt and answer are counted, as for the language model it came from.
        tokens_per_batch: The most tokens of texts in one forward pass; halved when memory runs out.

    Raises:
        CallError: `cutoff_len` leaves no room for a text.
        ModelError: The head has other labels, or its tokenizer cannot pad.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        task: Task = EMOTION,
        *,
        cutoff_len: int = 2048,
        tokens_per_batch: int | None = None,
    ) -> None:
        self.loaded = loaded
        self.task = task
        self.device: Any = loaded.model.device
        self.tokens_per_batch: int = token_budget(tokens_per_batch, self.device.type)
        name = loaded.adapter or loaded.base
        self._columns = _label_columns(loaded.model.config, task, name)
        self._padding = _padding_token(loaded, name)
        self._baked: Mapping[str, Any] | None = getattr(loaded.model.config, BAKED_PROMPT, None)
        self._check_instruction(name)
        self._special = special_token_pattern(loaded.tokenizer)
        self._limit = self._text_limit(cutoff_len)

    @property
    def readout(self) -> str:
        """Where the scores are read off, in words."""
        return READOUT

    @property
    def shared_prefix_tokens(self) -> int:
        """How many tokens are computed once for all texts: a head shares none."""
        return 0

    def encode_contents(self, contents: Sequence[str]) -> list[EncodedPrompt]:
        """Encode user contents; the task's instruction in front of a text is taken off."""
        opening = self.task.user_content("")
        texts = [valid_unicode(content).removeprefix(opening) for content in contents]
        return [
            self._finish(text, ids) for text, ids in zip(texts, self._tokenize(texts), strict=True)
        ]

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts.

        Raises:
            ModelError: Memory runs out with a single text in the batch.
        """
        return self.score_contents([self.task.user_content(text) for text in texts])

    def score_contents(self, contents: Sequence[str]) -> Scores:
        """Score user contents, as a data set's rows hold them."""
        prompts = self.encode_contents(contents)
        self.loaded.check_ids(prompt.ids for prompt in prompts)
        scores = np.empty((len(prompts), len(self.task.labels)), dtype=np.float32)
        lengths = [len(prompt.ids) for prompt in prompts]
        rows = sorted(range(len(prompts)), key=lengths.__getitem__)

        def score_batch(batch: Sequence[int]) -> "npt.NDArray[np.float32]":
            return self._score_batch([prompts[row].ids for row in batch])

        self.fill_by_length(scores, rows, lengths, score_batch)
        return Scores.of_prompts(self.task.labels, scores, prompts)

    def _score_batch(self, rows: Sequence[Sequence[int]]) -> "npt.NDArray[np.float32]":
        """Run rows padded on the right, where a causal model does not look."""
        longest = max(len(row) for row in rows)
        gaps = [longest - len(row) for row in rows]
        ids = [[*row, *[self._padding] * gap] for row, gap in zip(rows, gaps, strict=True)]
        mask = [[1] * (longest - gap) + [0] * gap for gap in gaps]
        with torch.inference_mode():
            logits = self.loaded.model(
                input_ids=torch.tensor(ids, device=self.device),
                attention_mask=torch.tensor(mask, device=self.device),
            ).logits
        values: npt.NDArray[np.float32] = logits[:, self._columns].float().cpu().numpy()
        return values

    def _finish(self, text: str, ids: list[int]) -> EncodedPrompt:
        special = self._special is not None and self._special.search(text) is not None
        truncated = len(ids) > self._limit
        if truncated:
            text, ids = self._cut(text)
        frame = self._baked or {"before": "", "after": ""}
        prompt = f"{frame['before']}{text}{frame['after']}"
        return EncodedPrompt(tuple(ids), prompt, truncated, special)

    def _cut(self, text: str) -> tuple[str, list[int]]:
        """Cut a text that is too long: between two of its tokens, so that a prompt stays whole.

        A head without a prompt is fed what its training fed it: the first ids, as transformers
        truncates them.
        """
        if self._baked is None:
            ids = self._tokenize([text], truncation=True, max_length=self._limit)[0]
            return text, ids
        kept = longest_that_fits(
            self.loaded.tokenizer,
            text,
            start=0,
            limit=self._limit,
            length=lambda part: len(self._tokenize([part])[0]),
        )
        return kept, self._tokenize([kept])[0]

    def _tokenize(self, texts: Sequence[str], **options: Any) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.loaded.tokenizer(
            list(texts),
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
            **options,
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def _text_limit(self, cutoff_len: int) -> int:
        limits = [cutoff_len if self._baked is None else cutoff_len - _ANSWER_TOKENS]
        limits.append(self.loaded.tokenizer.model_max_length)
        positions = self.loaded.max_positions
        if positions is not None:
            limits.append(positions - position_offset(self.loaded.model))
        limit = int(min(limits))
        needed = len(self._tokenize([""])[0]) + 1
        if limit < needed:
            raise CallError(
                f"cutoff_len {cutoff_len} leaves no room for a text: what the tokenizer puts "
                f"around it takes {needed - 1} tokens already; raise cutoff_len."
            )
        return limit

    def _check_instruction(self, name: str) -> None:
        if self._baked is not None and self._baked["instruction"] != self.task.instruction:
            raise ModelError(
                f"{name} asks {self._baked['instruction']!r} and the data asks "
                f"{self.task.instruction!r}; the prompt of an exported folder cannot be changed: "
                "export the model again with that task."
            )


def _label_columns(config: Any, task: Task, name: str) -> list[int]:
    """Give, for each label of a task, its place among a head's logits.

    Raises:
        ModelError: The head's labels are not the task's, or have no names.
    """
    theirs = [str(config.id2label.get(number, "")) for number in range(config.num_labels)]
    if config.problem_type in ("multi_label_classification", "regression"):
        raise ModelError(
            f"{name} was trained for {config.problem_type}, not to give one label of several; "
            "train a head for single_label_classification."
        )
    keys = [label.strip().casefold() for label in theirs]
    wanted = [label.strip().casefold() for label in task.labels]
    if len(theirs) == len(wanted) and keys == [f"label_{number}" for number in range(len(keys))]:
        raise ModelError(
            f"the labels of {name} have no names ({theirs[0]} to {theirs[-1]}); write them into "
            f"id2label and label2id of its config.json in the order it was trained with, such as "
            f'"id2label": {_json_example(task)}.'
        )
    if sorted(keys) != sorted(wanted):
        raise ModelError(
            f"{name} has {len(theirs)} labels ({', '.join(theirs)}), and task {task.name!r} has "
            f"{len(wanted)} ({', '.join(task.labels)}); name its own task with task=FILE."
        )
    return [keys.index(label) for label in wanted]


def _json_example(task: Task) -> str:
    """Show what `id2label` would be if a head had a task's labels in the task's order."""
    first, second, *_ = task.labels
    return f'{{"0": "{first}", "1": "{second}", ...}}'


def _padding_token(loaded: LoadedModel, name: str) -> int:
    """Give the id to pad with; a decoder's head knows by it where a text ends."""
    config = loaded.model.config
    found = [config.get_text_config().pad_token_id, loaded.tokenizer.pad_token_id]
    known = [number for number in found if number is not None]
    if not known:
        raise ModelError(
            f"the tokenizer of {name} has no padding token, so texts cannot be put into batches; "
            "set pad_token in its tokenizer_config.json (its end token, say) and pad_token_id in "
            "its config.json."
        )
    padding = int(known[0])
    config.pad_token_id = config.get_text_config().pad_token_id = padding
    return padding
