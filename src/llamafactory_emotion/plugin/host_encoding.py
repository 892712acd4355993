"""Ask LLaMA-Factory to encode, mix, split and pack rows, as a run would.

Its own template, processor and knapsack do it, so that lengths, ends and cuts are not foretold.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.plugin.host import quiet
from llamafactory_emotion.plugin.host_data import reason_of

# What changes token ids or the trained part of a row, besides `template` and `cutoff_len`.
_ENCODING_KEYS = (
    *("train_on_prompt", "mask_history", "tool_format", "default_system"),
    *("enable_thinking", "preserve_thinking"),
)
_MEDIA = ("_images", "_videos", "_audios")
_UNCUT = 1 << 30


class EncodedRow(NamedTuple):
    """A row as the run will read it.

    Attributes:
        length: Tokens of prompt and answer before the cutoff.
        answer: Token ids that are trained (or compared with, in a prediction) after it.
        is_cut: Whether the cutoff takes something of the answer.
    """

    length: int
    answer: tuple[int, ...]
    is_cut: bool


@dataclass(frozen=True)
class Encoding:
    """Rows under a template and a tokenizer.

    Attributes:
        rows: Each row, or None where LLaMA-Factory drops it.
        tokens: All ids that the model would look up; None for a token that does not exist.
        end: The token that closes an answer, or None.
        end_text: Its text.
    """

    rows: tuple[EncodedRow | None, ...]
    tokens: frozenset[int | None]
    end: int | None
    end_text: str

    @property
    def lengths(self) -> tuple[int, ...]:
        """Token counts of the rows that are not dropped, before the cutoff."""
        return tuple(row.length for row in self.rows if row is not None)

    @property
    def answers(self) -> tuple[tuple[int, ...], ...]:
        """Token ids of their answers, the end token included."""
        return tuple(row.answer for row in self.rows if row is not None)


def converted_row(prompt: str, answer: str) -> Mapping[str, Any]:
    """Return a prompt and its answer as LLaMA-Factory's converters do."""
    turns = {"_prompt": [{"role": "user", "content": prompt}]}
    turns["_response"] = [{"role": "assistant", "content": answer}]
    return turns | dict.fromkeys(("_system", "_tools"), "") | dict.fromkeys(_MEDIA)


def prepare_tokenizer(tokenizer: Any, values: Mapping[str, Any]) -> bool:
    """Add a recipe's own tokens to a tokenizer; return whether the embedding grows with them."""
    keys = ("resize_vocab", "add_tokens", "add_special_tokens", "new_special_tokens_config")
    asked = {key: values[key] for key in keys if values.get(key)}
    with quiet():
        from llamafactory.hparams import ModelArguments
        from llamafactory.model.patcher import patch_tokenizer

        try:
            settings = ModelArguments(model_name_or_path=".", **asked)
        except (ValueError, TypeError):
            return False  # the host refuses the values, which another check reports
        patch_tokenizer(tokenizer, settings)
    return bool(settings.resize_vocab)


def encode(
    tokenizer: Any,
    template: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    values: Mapping[str, Any] = MappingProxyType({}),
    cutoff: int = _UNCUT,
    generates: bool = False,
) -> Encoding:
    """Encode converted rows as LLaMA-Factory does, for training or for a prediction.

    Args:
        tokenizer: A copy, which is changed as LLaMA-Factory changes it.
        template: A template that LLaMA-Factory knows.
        rows: What `load_rows` converted.
        values: The recipe.
        cutoff: The longest row; what is longer is cut.
        generates: Whether answers are generated: then a row needs none of its own.

    Raises:
        DataError: A row cannot be encoded.
    """
    with quiet():
        from llamafactory.data.template import get_template_and_fix_tokenizer

        settings = _data_arguments(template, cutoff, values)
        uncut_settings = dataclasses.replace(settings, cutoff_len=_UNCUT)
        framing = get_template_and_fix_tokenizer(tokenizer, settings)
        cut = _encoder(settings, framing, tokenizer, generates=generates)
        uncut = _encoder(uncut_settings, framing, tokenizer, generates=generates)
        encoded: list[EncodedRow | None] = []
        tokens: set[int | None] = set()
        for number, row in enumerate([converted_row("x", "x"), *rows]):
            try:
                if (made := uncut(row)) is None:
                    encoded.append(None)
                    continue
                length = len(made[0]) + len(made[1]) * generates
                ids, kept = (cut(row) or ([], ())) if length > cutoff else made
            except Exception as error:
                raise DataError(f"row {number} cannot be encoded: {reason_of(error)}") from error
            encoded.append(EncodedRow(length, kept, kept != made[1]))
            tokens.update(ids, () if generates else kept)
        frame, *rest = encoded
        special = set(tokenizer.all_special_ids)
        end = next((one for one in (frame.answer if frame else ()) if one in special), None)
        text = "" if end is None else str(tokenizer.convert_ids_to_tokens(end))
    return Encoding(tuple(rest), frozenset(tokens), end, text)


def _data_arguments(template: str, cutoff: int, values: Mapping[str, Any]) -> Any:
    from llamafactory.hparams import DataArguments

    known = {field.name for field in dataclasses.fields(DataArguments)}
    asked = {key: values[key] for key in known.intersection(_ENCODING_KEYS, values)}
    asked = {key: value for key, value in asked.items() if value is not None}
    with contextlib.suppress(ValueError):
        return DataArguments(template=template, cutoff_len=cutoff, **asked)
    # The host refuses these keys together, which another check reports.
    return DataArguments(template=template, cutoff_len=cutoff)


def _encoder(
    settings: Any, framing: Any, tokenizer: Any, *, generates: bool
) -> Callable[[Mapping[str, Any]], tuple[list[int], tuple[int, ...]] | None]:
    """Return what makes a row's ids and those of them that are trained; None for a dropped row."""
    from llamafactory.data.loader import _get_dataset_processor
    from llamafactory.extras.constants import IGNORE_INDEX

    processor = _get_dataset_processor(
        settings, "sft", framing, tokenizer, None, do_generate=generates
    )

    def encoded(row: Mapping[str, Any]) -> tuple[list[int], tuple[int, ...]] | None:
        made = processor.preprocess_dataset({key: [value] for key, value in row.items()})
        if not made:
            return None
        return made["input_ids"][0], tuple(one for one in made["labels"][0] if one != IGNORE_INDEX)

    return encoded


def training_rows(
    data_sets: Mapping[str, Sequence[int]], *, val_size: float, seed: int, **mixing: Any
) -> list[int]:
    """Merge data sets and split the evaluation's rows off, as LLaMA-Factory does.

    Data sets are the token counts of their rows; so is the result, in the order of training.
    `mixing` is `mix_strategy` and `interleave_probs`.

    Raises:
        ValueError: LLaMA-Factory refuses to mix or split them so.
    """
    with quiet():
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
    with quiet():
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
