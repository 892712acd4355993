"""Ask LLaMA-Factory itself: which arguments it takes, what it refuses, how its templates encode.

`doctor` asks here, so that what it says is the host's own word and not a copy of it that grows old.
"""

import contextlib
import dataclasses
import enum
import io
import json
import logging
import sys
import tempfile
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llamafactory_emotion.errors import DataError

# What depends on the machine that asks, and what would touch it: judged by the checks instead.
_NEUTRAL: Mapping[str, Any] = MappingProxyType(
    {"fp16": False, "bf16": False, "pure_bf16": False, "report_to": "none", "use_cpu": True}
)
_LEFT_OUT = ("deepspeed", "fsdp", "fsdp_config", "tf32", "resume_from_checkpoint", "plot_loss")
# What LLaMA-Factory reads from an entry of `dataset_info.json` beside the fields of `DatasetAttr`.
_MORE_ENTRY_KEYS = (
    *("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "cloud_file_name", "script_url"),
    *("columns", "tags"),
)


@dataclass(frozen=True)
class Argument:
    """One key of a recipe: its type hint and the value it has when it is not given."""

    hint: Any
    default: Any


@dataclass(frozen=True)
class Encoded:
    """How a template frames answers."""

    end_tokens: tuple[int, ...]  # what closes an answer
    end_texts: tuple[str, ...]
    prompt_lengths: tuple[int, ...]  # token counts
    answers: tuple[tuple[int, ...], ...]  # token ids, end token included

    @property
    def lengths(self) -> tuple[int, ...]:
        """Token counts of whole rows, prompt and answer."""
        return tuple(map(sum, zip(self.prompt_lengths, map(len, self.answers), strict=True)))


@cache
def arguments(*, training: bool) -> Mapping[str, Argument]:
    """Return the keys of `llamafactory-cli train`, or those of `export`, `chat` and `api`."""
    with _quiet():
        from llamafactory import hparams

        classes = [
            hparams.ModelArguments,
            hparams.DataArguments,
            hparams.FinetuningArguments,
            hparams.GeneratingArguments,
        ]
        classes += [hparams.TrainingArguments] if training else []
        hints = [typing.get_type_hints(kind) for kind in classes]
    return {
        field.name: Argument(hints_of_kind[field.name], _default(field))
        for kind, hints_of_kind in zip(classes, hints, strict=True)
        for field in dataclasses.fields(kind)
        if field.init
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if isinstance(field.default, enum.Enum):
        return field.default.value
    return None if field.default is dataclasses.MISSING else field.default


def misfit(hint: Any, value: Any) -> str | None:
    """Return why a value of a recipe is not of a key's type, or None; nothing is converted."""
    from pydantic import ValidationError

    names = choices(hint)
    if names and isinstance(value, str):  # transformers' hints take any text beside an enumeration
        return None if value in names else "it is none of the choices"
    try:
        # As JSON: pydantic's strict mode then takes the names of an enumeration and no others.
        _adapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return "; ".join(dict.fromkeys(one["msg"] for one in error.errors()))
    return None


def converted(hint: Any, value: str) -> Any:
    """Convert a text to a key's type, as far as pydantic can; None otherwise."""
    from pydantic import ValidationError

    try:
        return _adapter(hint).validate_python(value)
    except ValidationError:
        return None


@cache
def _adapter(hint: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(hint, config={"arbitrary_types_allowed": True})


def choices(hint: Any) -> tuple[str, ...]:
    """Return the words a key takes, or nothing when it takes any."""
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is typing.Literal:
            return tuple(map(str, typing.get_args(part)))
        if isinstance(part, type) and issubclass(part, enum.Enum):
            return tuple(str(member.value) for member in part)
    return ()


def refusal(values: Mapping[str, Any], *, training: bool) -> str | None:
    """Return LLaMA-Factory's own reason not to take a recipe, or None.

    Precision, launcher and output folder depend on the machine and are left out.
    """
    asked = {key: value for key, value in values.items() if key not in _LEFT_OUT}
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        from llamafactory.hparams import get_infer_args, get_train_args

        if training:
            asked |= {**_NEUTRAL, "output_dir": str(Path(folder) / "output")}
        try:
            (get_train_args if training else get_infer_args)(asked)
        except Exception as error:
            # Whatever stops its parser is its refusal.
            return " ".join(str(error).split()) or type(error).__name__
    return None


def templates() -> frozenset[str]:
    """Return the names of all templates that LLaMA-Factory knows in this process."""
    with _quiet():
        from llamafactory.data.template import TEMPLATES

        return frozenset(TEMPLATES)


def encode(tokenizer: Any, template: str, examples: Sequence[tuple[str, str]]) -> Encoded:
    """Encode pairs of prompt and answer as LLaMA-Factory would with a template that it knows.

    The tokenizer is changed as LLaMA-Factory changes it: hand in a copy.
    """
    with _quiet():
        from llamafactory.data.template import get_template_and_fix_tokenizer
        from llamafactory.hparams import DataArguments

        known = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=template))
        (_, framed), *pairs = (
            known.encode_oneturn(
                tokenizer,
                [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}],
            )
            for prompt, answer in [("x", "x"), *examples]
        )
    # Such templates close the whole row instead of every answer.
    at_end = [tokenizer.eos_token_id] if known.efficient_eos else []
    closing = [*(one for one in framed if one in set(tokenizer.all_special_ids)), *at_end][:1]
    return Encoded(
        end_tokens=tuple(closing),
        end_texts=tuple(tokenizer.convert_ids_to_tokens(closing)),
        prompt_lengths=tuple(len(prompt) for prompt, _ in pairs),
        answers=tuple((*answer, *at_end) for _, answer in pairs),
    )


@cache
def entry_keys() -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys an entry of `dataset_info.json` may have, and those of its `columns`."""
    with _quiet():
        from llamafactory.data.parser import DatasetAttr

    names = frozenset(field.name for field in dataclasses.fields(DatasetAttr))
    return names.union(_MORE_ENTRY_KEYS), names


def as_examples(
    rows: Sequence[Mapping[str, Any]], entry: Mapping[str, Any], name: str
) -> list[tuple[str, str]]:
    """Convert rows of a data set as LLaMA-Factory does; return last prompt and answer of each.

    Raises:
        EmotionError: A row is not what the formatting needs, or the formatting is not known.
        KeyError: A column is missing.
    """
    with _quiet():
        from llamafactory.data.converter import DATASET_CONVERTERS, get_dataset_converter
        from llamafactory.data.parser import DatasetAttr
        from llamafactory.hparams import DataArguments

        attributes = DatasetAttr("file", dataset_name=name)
        attributes.join(dict(entry))
        if attributes.formatting not in tuple(DATASET_CONVERTERS):
            raise DataError(
                f"its formatting {attributes.formatting!r} is not known; write "
                f"{', '.join(DATASET_CONVERTERS)}."
            )
        convert = get_dataset_converter(attributes.formatting, attributes, DataArguments())
        converted_rows = [convert(dict(row)) for row in rows]
    return [
        (one["_prompt"][-1]["content"], one["_response"][0]["content"])
        for one in converted_rows
        if one["_prompt"] and one["_response"]
    ]


@cache
def loads_attention(name: str) -> bool:
    """Whether a model is loaded with this `flash_attn`: 0.9.5 lists fa3 and stops at it."""
    with _quiet():
        from llamafactory.extras.constants import AttentionFunction
        from llamafactory.model.model_utils.attention import configure_attn_implementation

        asked = types.SimpleNamespace(flash_attn=AttentionFunction(name))
        try:
            configure_attn_implementation(types.SimpleNamespace(model_type="llama"), asked)
        except NotImplementedError:
            return False
    return True


def training_rows(
    data_sets: Mapping[str, Sequence[int]], *, val_size: float, seed: int, **mixing: Any
) -> list[int]:
    """Merge data sets and split the evaluation's rows off, as LLaMA-Factory does.

    Data sets are the token counts of their rows; so is the result, in the order of training.
    `mixing` is `mix_strategy` and `interleave_probs`.

    Raises:
        ValueError: LLaMA-Factory refuses to mix or split them so.
    """
    with _quiet():
        from datasets import Dataset
        from llamafactory.data.data_utils import merge_dataset, split_dataset
        from llamafactory.hparams import DataArguments

        settings = DataArguments(dataset=",".join(data_sets), val_size=val_size, **mixing)
        parts = [Dataset.from_dict({"length": lengths}) for lengths in data_sets.values()]
        merged = merge_dataset(parts, settings, seed)
        return list(split_dataset(merged, None, settings, seed)[0]["train"]["length"])


def count_packs(lengths: Sequence[int], *, cutoff: int, batch: int, workers: int) -> int:
    """Count the packs that LLaMA-Factory makes of rows of these token counts, in this order.

    `batch` rows (`preprocessing_batch_size`) are packed together, and each of the `workers`
    (`preprocessing_num_workers`) packs an equal part of the rows.
    """
    with _quiet():
        from datasets import Dataset
        from llamafactory.data.processor.processor_utils import greedy_knapsack
        from llamafactory.hparams import DataArguments

        room = DataArguments(cutoff_len=cutoff, packing=True).cutoff_len
        rows = Dataset.from_dict({"length": [min(length, room) for length in lengths]})
        shares = min(workers, len(rows))
        return sum(
            len(greedy_knapsack(list(part["length"]), room))
            for worker in range(shares)
            for part in rows.shard(shares, worker, contiguous=True).iter(batch)
        )


def warmup_steps(values: Mapping[str, Any], steps: int) -> int:
    """Return how many of a run's steps are warm-up, as transformers counts them."""
    given = {key: values[key] for key in ("warmup_steps", "warmup_ratio") if values.get(key)}
    with _quiet():
        from transformers import TrainingArguments

        try:
            settings = TrainingArguments(output_dir=".", use_cpu=True, report_to="none", **given)
            return min(int(settings.get_warmup_steps(steps)), steps)
        except (ValueError, OverflowError):
            # A number out of its range, which is reported by its own check.
            return 0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the host's log and its prints off the screen while it is asked."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    arguments_before = sys.argv
    sys.argv = ["llamafactory-cli"]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.argv = arguments_before
        logging.disable(before)
