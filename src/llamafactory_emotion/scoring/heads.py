"""Classification heads: sequence classifiers of transformers, whole or as an adapter, and scored.

What `export_classifier` and `train_head` write, what transformers' trainer saves, and a LoRA
adapter whose folder holds the head beside the adapter's weights. A head reads the text alone. One
that `export_classifier` wrote has its prompt in the tokenizer, and is fed the ids that the language
model it came from would be fed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy import float32
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.run_record import BAKED_PROMPT
from llamafactory_emotion.scoring.batches import Scorer
from llamafactory_emotion.scoring.forward import Rows
from llamafactory_emotion.scoring.loading import ModelSource, as_model_error, hub_options
from llamafactory_emotion.scoring.models import (
    LoadedModel,
    attach_adapter,
    check_complete,
    load_weights,
    merge_adapter,
    read_adapter,
    read_config,
)
from llamafactory_emotion.scoring.prompts import (
    EncodedPrompt,
    longest_that_fits,
    special_token_pattern,
    valid_unicode,
)
from llamafactory_emotion.task import EMOTION, Task

# What a language model keeps free for an answer of one token and its end; `cutoff_len` counts it.
_ANSWER_TOKENS = 2


def is_head(source: ModelSource) -> bool:
    """Whether a source, its base named, is a sequence classifier or an adapter that holds one."""
    if source.adapter is not None:
        return bool(read_adapter(source.adapter, source).task_type == "SEQ_CLS")
    return is_classifier(read_config(source))


def is_classifier(config: Any) -> bool:
    """Whether a configuration is a sequence classifier's."""
    return any("ForSequenceClassification" in name for name in config.architectures or ())


def set_labels(config: Any, task: Task, *, padding: int) -> None:
    """Make a configuration that of a classifier with a task's labels."""
    config.num_labels = len(task.labels)
    config.id2label = dict(enumerate(task.labels))
    config.label2id = {label: number for number, label in enumerate(task.labels)}
    config.problem_type = "single_label_classification"
    config.pad_token_id = config.get_text_config().pad_token_id = padding


def load_head(source: ModelSource) -> LoadedModel:
    """Load a sequence classifier and its tokenizer from a source that `is_head`."""
    base, adapter = source.model, source.adapter
    name = adapter if adapter is not None and any(Path(adapter).glob("tokenizer*")) else base
    with as_model_error(f"the tokenizer of {name} cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_options(source))
    kind = AutoModelForSequenceClassification
    model, missing = load_weights(kind, source, _config_with_labels(source))
    peft_model, parameters = None, None
    if adapter is not None:
        from peft import get_peft_model_state_dict

        peft_model, parameters = attach_adapter(model, source)
        model = peft_model.get_base_model().eval()
        stored = get_peft_model_state_dict(peft_model)
        missing = [name for name in missing if f"base_model.model.{name}" not in stored]
    remedy = "name the folder that training or export wrote"
    check_complete(adapter or base, missing, of="its classifier", remedy=remedy)
    loaded = LoadedModel(model, tokenizer, peft_model, base, adapter, parameters, is_head=True)
    return merge_adapter(loaded)


def _config_with_labels(source: ModelSource) -> Any:
    """Read the configuration that names a head's labels.

    It is beside the adapter, in the folder of its run, or that of a base which has a head.
    """
    folders = [Path(source.adapter or source.model)]
    if folders[0].name.startswith("checkpoint-"):
        folders.append(folders[0].parent)
    named = next((str(one) for one in folders if (one / "config.json").is_file()), source.model)
    config = read_config(source, named)
    if named == source.model and not is_classifier(config):
        raise ModelError(
            f"the adapter {source.adapter} holds a classification head, and no config.json "
            "beside it names its labels; put the base model's config.json there, with id2label "
            "and label2id in the order it was trained with."
        )
    return config


def position_offset(model: Any) -> int:
    """Return how many positions a model keeps free: RoBERTa counts from behind its padding id."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings"):
            padding = getattr(module, "padding_idx", None)
            return 0 if padding is None else int(padding) + 1
    return 0


class HeadScorer(Scorer):
    """A loaded sequence classifier and a task, ready to score texts.

    The task's labels must be the head's, in whatever order. `cutoff_len` is the longest text in
    tokens; for a folder with a prompt in it, prompt and answer are counted, as for the language
    model it came from.
    """

    readout = "classification head"

    def __init__(
        self,
        loaded: LoadedModel,
        task: Task = EMOTION,
        *,
        cutoff_len: int = 2048,
        tokens_per_batch: int | None = None,
    ) -> None:
        super().__init__(loaded, task, tokens_per_batch)
        name = loaded.adapter or loaded.base
        self._columns = _label_columns(loaded.model.config, task, name)
        self._padding = _padding_token(loaded, name)
        self._baked: Mapping[str, Any] | None = getattr(loaded.model.config, BAKED_PROMPT, None)
        if self._baked is not None and self._baked["instruction"] != task.instruction:
            raise ModelError(
                f"{name} asks {self._baked['instruction']!r} and the data asks "
                f"{task.instruction!r}; the prompt of an exported folder cannot be changed: "
                "export the model again with that task."
            )
        self._special = special_token_pattern(loaded.tokenizer)
        limits = [cutoff_len if self._baked is None else cutoff_len - _ANSWER_TOKENS]
        limits.append(loaded.tokenizer.model_max_length)
        if loaded.max_positions is not None:
            limits.append(loaded.max_positions - position_offset(loaded.model))
        self._limit = int(min(limits))
        around = len(self._tokenize([""])[0])
        if self._limit <= around:
            raise CallError(
                f"cutoff_len {cutoff_len} leaves no room for a text: what the tokenizer puts "
                f"around it takes {around} tokens already; raise cutoff_len."
            )

    def encode_contents(self, contents: Sequence[str]) -> list[EncodedPrompt]:
        """Encode user contents; the task's instruction in front of a text is taken off."""
        opening = self.task.user_content("")
        texts = [valid_unicode(content).removeprefix(opening) for content in contents]
        return [
            self._finish(text, ids) for text, ids in zip(texts, self._tokenize(texts), strict=True)
        ]

    def _finish(self, text: str, ids: list[int]) -> EncodedPrompt:
        special = self._special.search(text) is not None
        truncated = len(ids) > self._limit
        if truncated and self._baked is None:
            # Fed what its training fed it: the first ids, as transformers truncates them.
            ids = self._tokenize([text], truncation=True, max_length=self._limit)[0]
        elif truncated:
            text = longest_that_fits(
                self.loaded.tokenizer,
                text,
                start=0,
                limit=self._limit,
                length=lambda part: len(self._tokenize([part])[0]),
            )
            ids = self._tokenize([text])[0]
        prompt = text
        if self._baked is not None:
            prompt = f"{self._baked['before']}{text}{self._baked['after']}"
        return EncodedPrompt(tuple(ids), prompt, truncated, special)

    def _tokenize(self, texts: Sequence[str], **options: Any) -> list[list[int]]:
        options |= {"split_special_tokens": True, "return_attention_mask": False, "verbose": False}
        encoded = self.loaded.tokenizer(list(texts), **options) if texts else {"input_ids": []}
        return [list(ids) for ids in encoded["input_ids"]]

    def score_batch(self, rows: Rows, *, after_prefix: bool) -> NDArray[float32]:  # noqa: ARG002
        """Run rows padded on the right, where a causal model does not look."""
        longest = max(len(row) for row in rows)
        gaps = [longest - len(row) for row in rows]
        ids = [[*row, *[self._padding] * gap] for row, gap in zip(rows, gaps, strict=True)]
        mask = [[1] * (longest - gap) + [0] * gap for gap in gaps]
        device = self.loaded.model.device
        with torch.inference_mode():
            logits = self.loaded.model(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
            ).logits
        values: NDArray[float32] = logits[:, self._columns].float().cpu().numpy()
        return values


def _label_columns(config: Any, task: Task, name: str) -> list[int]:
    """Find each label's column among a head's logits; refuse a head with other labels."""
    if config.problem_type in ("multi_label_classification", "regression"):
        raise ModelError(
            f"{name} was trained for {config.problem_type}, not to give one label of several; "
            "train a head for single_label_classification."
        )
    theirs = [str(config.id2label.get(number, "")) for number in range(config.num_labels)]
    keys = [label.strip().casefold() for label in theirs]
    wanted = [label.strip().casefold() for label in task.labels]
    if len(theirs) == len(wanted) and keys == [f"label_{number}" for number in range(len(keys))]:
        first, second, *_ = task.labels
        raise ModelError(
            f"the labels of {name} have no names ({theirs[0]} to {theirs[-1]}); write them into "
            "id2label and label2id of its config.json in the order it was trained with, such as "
            f'"id2label": {{"0": "{first}", "1": "{second}", ...}}.'
        )
    if sorted(keys) != sorted(wanted):
        raise ModelError(
            f"{name} has {len(theirs)} labels ({', '.join(theirs)}), and task {task.name!r} has "
            f"{len(wanted)} ({', '.join(task.labels)}); name its own task with task=FILE."
        )
    return [keys.index(label) for label in wanted]


def _padding_token(loaded: LoadedModel, name: str) -> int:
    """Set and return the id to pad with; a decoder's head knows by it where a text ends."""
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
