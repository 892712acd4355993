"""Load a classification head: a sequence classifier of transformers, whole or as an adapter.

Stands on `sources` and `models`, below `head_scorer`. It takes what `export_classifier` and
`train_head` write, what transformers' trainer saves, and a LoRA adapter whose folder holds the
head beside the adapter's weights.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import EmotionError, ModelError
from llamafactory_emotion.scoring.models import (
    LoadedModel,
    attach_adapter,
    base_of_adapter,
    check_whole,
    merge_adapter,
)
from llamafactory_emotion.scoring.sources import (
    ModelSource,
    as_model_error,
    check_source,
    device_of,
    hub_options,
    loading_options,
    quiet_loading,
)

_CLASSIFIER = "ForSequenceClassification"
_ADAPTER, _CONFIG = "adapter_config.json", "config.json"


@dataclass(frozen=True)
class HeadPlace:
    """Where a head lies.

    Attributes:
        base: The folder or hub id of the model.
        adapter: The adapter that holds the head, or None when the model itself does.
        configured: The folder or hub id whose configuration names the labels.
    """

    base: str
    adapter: str | None
    configured: str


def find_head(source: ModelSource) -> HeadPlace | None:
    """Say where the head of a source lies; None when it is a language model, or nothing at all.

    Raises:
        ModelError: The model or the adapter is nowhere.
    """
    check_source(source)
    adapter = source.adapter
    if adapter is None and (Path(source.model) / _ADAPTER).is_file():
        adapter = source.model
    if adapter is not None:
        if _adapter_task(adapter) != "SEQ_CLS":
            return None
        base = base_of_adapter(adapter, source) if adapter == source.model else source.model
        return HeadPlace(base, adapter, _configured_in(adapter) or base)
    architectures = _architectures(source)
    if not any(_CLASSIFIER in name for name in architectures):
        return None
    return HeadPlace(source.model, None, source.model)


def load_head(source: ModelSource, place: HeadPlace) -> LoadedModel:
    """Load a sequence classifier and its tokenizer.

    Raises:
        CallError: The device is not there or a package for quantisation is missing.
        ModelError: Model, tokenizer or adapter cannot be read, do not fit, or lack the head.
    """
    device = device_of(source)
    tokenizer = _load_tokenizer(source, place)
    model, missing = _load_classifier(source, place, device)
    if place.adapter is None:
        _check_whole(place.base, missing)
        return LoadedModel(model.eval(), tokenizer, None, place.base, None, is_head=True)
    peft_model, parameters = attach_adapter(model, place.base, place.adapter, source)
    _check_whole(place.adapter, _not_in_adapter(missing, peft_model))
    model = peft_model.get_base_model().eval()
    return merge_adapter(
        LoadedModel(
            model, tokenizer, peft_model, place.base, place.adapter, parameters, is_head=True
        )
    )


def _adapter_task(adapter: str) -> str | None:
    """Give the task an adapter was made for; None when that cannot be read, which loading says."""
    place = Path(adapter) / _ADAPTER
    try:
        if place.is_file():
            task = json.loads(place.read_text(encoding="utf-8")).get("task_type")
        elif Path(adapter).is_dir():
            return None
        else:
            from peft import PeftConfig

            task = PeftConfig.from_pretrained(adapter).task_type
    except (OSError, ValueError, AttributeError):
        return None
    return None if task is None else str(getattr(task, "value", task))


def _configured_in(adapter: str) -> str | None:
    """Give the folder that names the labels: the adapter's, or its run's for a checkpoint."""
    folder = Path(adapter)
    places = [folder, folder.parent] if folder.name.startswith("checkpoint-") else [folder]
    return next((str(place) for place in places if (place / _CONFIG).is_file()), None)


def _architectures(source: ModelSource) -> Sequence[str]:
    from transformers import AutoConfig

    folder = Path(source.model)
    if folder.is_dir() and not (folder / _CONFIG).is_file():
        return ()
    try:
        with as_model_error(f"the model {source.model} cannot be loaded"):
            config = AutoConfig.from_pretrained(source.model, **hub_options(source))
    except EmotionError:
        return ()  # the loader of language models says what is wrong
    return config.architectures or ()


def _load_tokenizer(source: ModelSource, place: HeadPlace) -> Any:
    from transformers import AutoTokenizer

    own = place.adapter is not None and any(Path(place.adapter).glob("tokenizer*"))
    name = str(place.adapter) if own else place.base
    with as_model_error(f"the tokenizer of {name} cannot be read"):
        return AutoTokenizer.from_pretrained(name, **hub_options(source))


def _load_classifier(
    source: ModelSource, place: HeadPlace, device: str
) -> tuple[Any, Sequence[str]]:
    """Load the weights; give the model and the names of those that the checkpoint lacks."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with as_model_error(f"the classifier {place.base} cannot be loaded"):
        config = AutoConfig.from_pretrained(place.configured, **hub_options(source))
        _check_named(place, config)
        options = loading_options(source, config, device)
        with quiet_loading(warnings=False):
            model, found = AutoModelForSequenceClassification.from_pretrained(
                place.base, config=config, output_loading_info=True, **options
            )
        if "device_map" not in options:
            model = model.to(device)
    return model, sorted(found["missing_keys"])


def _check_named(place: HeadPlace, config: Any) -> None:
    """Refuse an adapter whose head's labels stand nowhere: its base is no classifier."""
    own = place.adapter is None or place.configured != place.base
    if not own and not any(_CLASSIFIER in name for name in config.architectures or ()):
        raise ModelError(
            f"the adapter {place.adapter} holds a classification head, and no config.json beside "
            "it names its labels; put the base model's config.json there, with id2label and "
            "label2id in the order it was trained with."
        )


def _not_in_adapter(missing: Sequence[str], peft_model: Any) -> list[str]:
    """Give the weights that neither the base nor the adapter has."""
    from peft import get_peft_model_state_dict

    stored = {
        name.removeprefix("base_model.model.") for name in get_peft_model_state_dict(peft_model)
    }
    return [name for name in missing if name not in stored]


def _check_whole(name: str, missing: Sequence[str]) -> None:
    remedy = "name the folder that training or export wrote"
    check_whole(name, missing, of="its classifier", remedy=remedy)


def position_offset(model: Any) -> int:
    """Give how many positions a model keeps free: RoBERTa counts from behind its padding id."""
    for place, module in model.named_modules():
        if place.endswith("position_embeddings"):
            padding = getattr(module, "padding_idx", None)
            return 0 if padding is None else int(padding) + 1
    return 0
