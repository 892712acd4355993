"""Open whatever can be scored: a language model, its adapter, or a classification head.

Stands above `scorer` and `head_scorer`; `predict` and `classifier` come through here and need not
know which of the two they hold.
"""

from collections.abc import Mapping
from typing import Any

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring.head_models import find_head, load_head
from llamafactory_emotion.scoring.head_scorer import HeadScorer
from llamafactory_emotion.scoring.models import LoadedModel, load_model
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.scoring.scores import Scorer
from llamafactory_emotion.scoring.sources import ModelSource, take_source
from llamafactory_emotion.task import Task

_HEAD_OPTIONS = ("cutoff_len", "tokens_per_batch")
# What a head cannot do, with the value that asks for nothing.
_NOT_FOR_HEADS: Mapping[str, Any] = {
    "few_shot": (),
    "normalize": "none",
    "calibrate": False,
    "log_likelihoods": False,
}


def open_model(source: ModelSource) -> LoadedModel:
    """Load a language model or a classification head, whichever a source is.

    Raises:
        CallError: The device is not there or a package is missing.
        ModelError: Model, tokenizer or adapter cannot be read or do not fit together.
    """
    place = find_head(source)
    return load_model(source) if place is None else load_head(source, place)


def scorer_of(loaded: LoadedModel, task: Task, **options: Any) -> Scorer:
    """Give the scorer of a loaded model.

    Args:
        loaded: The model.
        task: The labels and the instruction.
        **options: Keywords of `LabelScorer`; a head takes those that mean something to it.

    Raises:
        CallError: An option is out of range, or asks of a head what only a language model does.
        ModelError: The labels do not fit the model.
    """
    if not loaded.is_head:
        return LabelScorer(loaded, task, **options)
    refused = [
        key for key, unset in _NOT_FOR_HEADS.items() if _unlike(options.get(key, unset), unset)
    ]
    if refused:
        raise CallError(
            f"{loaded.adapter or loaded.base} is a classification head, which gives its labels' "
            f"probabilities and nothing else; remove {', '.join(refused)}."
        )
    return HeadScorer(
        loaded, task, **{key: options[key] for key in _HEAD_OPTIONS if key in options}
    )


def _unlike(value: Any, unset: Any) -> bool:
    return bool(value) if unset == () else value != unset


def open_scorer(model: str, task: Task, *, adapter: str | None = None, **options: Any) -> Scorer:
    """Load a model or a classification head and give its scorer.

    Args:
        model: A folder or hub id; see `ModelSource`.
        task: The labels and the instruction.
        adapter: A LoRA adapter's folder or hub id.
        **options: Fields of `ModelSource` (`dtype`, `device`, ...) and keywords of `LabelScorer`.
    """
    loaded = open_model(take_source(model, adapter, options))
    return scorer_of(loaded, task, **options)
