"""Ask LLaMA-Factory about data: load, convert, encode, mix and pack rows as a run would.

Rows are read by the host's loader, converter and template themselves, so that what they cast, drop
or refuse is seen and not foretold.
"""

import contextlib
import dataclasses
import tempfile
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.plugin.host import quiet

# What LLaMA-Factory reads from an entry of `dataset_info.json` beside the fields of `DatasetAttr`.
_MORE_ENTRY_KEYS = (
    *("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "cloud_file_name", "script_url"),
    *("columns", "tags"),
)
_LINES = (".jsonl", ".json", ".csv", ".txt")
_COLUMNS = (
    *("prompt", "query", "response", "history", "messages", "system", "tools"),
    *("images", "videos", "audios", "chosen", "rejected", "kto_tag"),
)
# What changes token ids or the trained part of a row, besides `template` and `cutoff_len`.
_ENCODING_KEYS = (
    *("train_on_prompt", "mask_history", "tool_format", "default_system"),
    *("enable_thinking", "preserve_thinking"),
)
_UNCUT = 1 << 30


@cache
def entry_keys() -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys an entry of `dataset_info.json` may have, and those of its `columns`."""
    with quiet():
        from llamafactory.data.parser import DatasetAttr

    names = frozenset(field.name for field in dataclasses.fields(DatasetAttr))
    return names.union(_MORE_ENTRY_KEYS), names


@dataclass(frozen=True)
class LoadedRows:
    """The first rows of a data set as LLaMA-Factory's loader and converter hand them on.

    Attributes:
        types: What each column of the file became, as Arrow names it.
        columns: LLaMA-Factory's word for a column (`prompt`, `response`, ...) to its name.
        names: The names of label ids by column, where the data set has them.
        raw: The rows before the conversion.
        converted: The rows after it: `_prompt`, `_response`, `_system`, `_tools`, media.
        total: The rows of the whole data set; None where that is not known before it is loaded.
    """

    types: Mapping[str, str]
    columns: Mapping[str, str]
    names: Mapping[str, Sequence[str]]
    raw: Sequence[Mapping[str, Any]]
    converted: Sequence[Mapping[str, Any]]
    total: int | None


def load_rows(
    name: str,
    entry: Mapping[str, Any],
    folder: Path,
    *,
    rows: int,
    bytes_read: int,
    streaming: bool = False,
    **hub: Any,
) -> LoadedRows:
    """Load the first rows of a data set through LLaMA-Factory's own loader and converter.

    Everything is cached in a scratch folder that is removed again.

    Args:
        name: Its name in `dataset_info.json`.
        entry: What `dataset_info.json` says of it.
        folder: The folder of `dataset_info.json`.
        rows: The most rows that are converted.
        bytes_read: Of longer text files only so many bytes are read.
        streaming: Fetch from a hub no more than is needed.
        hub: `cache_dir` and `hf_hub_token` for a data set on a hub.

    Raises:
        DataError: LLaMA-Factory would stop; the message is its reason.
    """
    with quiet(), tempfile.TemporaryDirectory() as scratch:
        from llamafactory.data import loader
        from llamafactory.data.converter import DATASET_CONVERTERS
        from llamafactory.data.parser import get_dataset_list
        from llamafactory.hparams import DataArguments

        attributes = get_dataset_list([name], {name: dict(entry)})[0]
        if attributes.formatting not in tuple(DATASET_CONVERTERS):
            raise DataError(
                f"its formatting {attributes.formatting!r} is not known; write "
                f"{', '.join(DATASET_CONVERTERS)}"
            )
        attributes.num_samples = None  # a random draw: the first rows are looked at instead
        is_file = attributes.load_from == "file"
        source, more = (folder, 0)
        if is_file:
            source, more = _shortened(folder, attributes.dataset_name, Path(scratch), bytes_read)
        data = DataArguments(
            dataset_dir=str(source),
            media_dir=str(folder),
            streaming=streaming,
            overwrite_cache=True,
        )
        model = types.SimpleNamespace(
            cache_dir=str(Path(scratch) / "cache") if is_file else hub.get("cache_dir"),
            hf_hub_token=hub.get("hf_hub_token"),
            ms_hub_token=None,
            om_hub_token=None,
        )
        training = types.SimpleNamespace(local_process_index=0, dataloader_num_workers=0)
        try:
            with _unconverted(loader):
                dataset = loader._load_single_dataset(attributes, model, data, training)
            total = None if streaming else len(dataset) + more
            first = dataset.take(rows if streaming else min(rows, len(dataset)))
            raw = list(first)
            columns = {
                word: str(column)
                for word in _COLUMNS
                if (column := getattr(attributes, word)) is not None
            }
            features = first.features or {}
            loaded = LoadedRows(
                {column: _type_name(kind) for column, kind in features.items()},
                columns,
                {column: kind.names for column, kind in features.items() if hasattr(kind, "names")},
                raw,
                (),
                total,
            )
            aligned = _aligned(first, loaded, attributes, data, training)
            loaded = dataclasses.replace(loaded, converted=list(aligned))
        except DataError:
            raise
        except Exception as error:
            # Whatever stops the host's loader is its refusal.
            reason = _reason(error).replace(str(source), str(folder))
            raise DataError(reason) from error
    return loaded


def _aligned(first: Any, loaded: LoadedRows, *arguments: Any) -> Iterator[Mapping[str, Any]]:
    """Convert rows; where one stops the conversion, say which and why.

    Raises:
        DataError: A row or a column is not what the formatting needs.
    """
    from llamafactory.data.converter import align_dataset, get_dataset_converter

    if not loaded.raw:
        raise DataError("it has no rows")
    try:
        yield from align_dataset(first, *arguments)
    except DataError:
        raise  # the formatting `emotion` says what and where by itself
    except Exception as problem:
        attributes, data, _ = arguments
        convert = get_dataset_converter(attributes.formatting, attributes, data)
        for number, row in enumerate(loaded.raw, start=1):
            try:
                convert(row)
            except Exception as error:
                raise DataError(_unfit(error, loaded, number)) from error
        raise DataError(_reason(problem)) from problem


def _unfit(error: Exception, loaded: LoadedRows, number: int) -> str:
    """Return what about a row does not fit its formatting."""
    row = loaded.raw[number - 1]
    missing = error.args[0] if isinstance(error, KeyError) else None
    word = next((word for word, column in loaded.columns.items() if column == missing), None)
    if missing is not None and word is not None and missing not in row:
        known = ", ".join(map(repr, row))
        more = "; a set to predict may leave response out" if word == "response" else ""
        return f"the column {missing!r} ({word}) is missing; it has {known}{more}"
    if missing is not None:
        return f"row {number}: a turn has no {missing!r}; name the keys of turns under `tags`"
    for word in ("prompt", "query", "messages", "history"):
        column = loaded.columns.get(word, "")
        if row.get(column) is not None and not isinstance(row[column], str | list):
            return (
                f"the column {column!r} ({word}) holds {loaded.types.get(column)} and not text "
                f"(row {number}: {row[column]!r})"
            )
    return f"row {number}: {_reason(error)}"


def _type_name(kind: Any) -> str:
    if getattr(kind, "names", None):
        return "label ids"
    return str(getattr(kind, "dtype", None) or kind)


def _reason(error: BaseException) -> str:
    """Return the first cause of an error in one line; `datasets` wraps it in an empty sentence."""
    from datasets.arrow_writer import SchemaInferenceError

    if isinstance(error, StopIteration):
        return "it has no rows"
    told = error
    while (cause := told.__cause__) is not None and str(cause).strip():
        told = cause
    text = " ".join(" ".join(map(str, told.args)).split()) or str(told)
    # How `datasets` calls a file and a split without rows.
    if isinstance(told, SchemaInferenceError) or "corresponds to no data" in text:
        return "it has no rows"
    if isinstance(told, KeyError):
        text = f"there is no {text}"
    return text.rstrip(".") or type(told).__name__


@contextlib.contextmanager
def _unconverted(loader: Any) -> Iterator[None]:
    """Let the host's loader return rows as they were read, with their columns and types."""
    align = loader.align_dataset
    loader.align_dataset = lambda dataset, *_: dataset
    try:
        yield
    finally:
        loader.align_dataset = align


def _shortened(folder: Path, name: str, scratch: Path, most: int) -> tuple[Path, int]:
    """Return a folder in which long text files are cut after a whole row, and the rows left out."""
    path = folder / name
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    sizes = {file: file.stat().st_size for file in files if file.is_file()}
    if sum(sizes.values()) <= most or not all(file.suffix in _LINES for file in files):
        return folder, 0
    more = 0
    for file in files:
        target = scratch / "data" / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as source:
            head = source.read(most // len(files))
            if file.suffix == ".json" and head.lstrip().startswith(b"["):
                target.symlink_to(file.absolute())  # a list cannot be cut
                continue
            end = head.rfind(b"\n") + 1
            while file.suffix == ".csv" and head.count(b'"', 0, end) % 2:
                end = head.rfind(b"\n", 0, end - 1) + 1
            end = end if len(head) < sizes[file] else len(head)
            target.write_bytes(head[:end])
            source.seek(end)
            while block := source.read(1 << 20):
                more += block.count(b"\n")
    return scratch / "data", more


@dataclass(frozen=True)
class Encoded:
    """How a template frames answers."""

    end_tokens: tuple[int, ...]  # what closes an answer
    end_texts: tuple[str, ...]
    frame: tuple[int | None, ...]  # all ids of a short row
    prompt_lengths: tuple[int, ...]  # token counts
    answers: tuple[tuple[int, ...], ...]  # token ids, end token included

    @property
    def lengths(self) -> tuple[int, ...]:
        """Token counts of whole rows, prompt and answer."""
        return tuple(map(sum, zip(self.prompt_lengths, map(len, self.answers), strict=True)))


def encode(tokenizer: Any, template: str, examples: Sequence[tuple[str, str]]) -> Encoded:
    """Encode pairs of prompt and answer as LLaMA-Factory would with a template that it knows.

    The tokenizer is changed as LLaMA-Factory changes it: hand in a copy.
    """
    with quiet():
        from llamafactory.data.template import get_template_and_fix_tokenizer
        from llamafactory.hparams import DataArguments

        known = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=template))
        (opening, framed), *pairs = (
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
        frame=(*opening, *framed),
        prompt_lengths=tuple(len(prompt) for prompt, _ in pairs),
        answers=tuple((*answer, *at_end) for _, answer in pairs),
    )


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
        tokens: All ids that the model would look up.
    """

    rows: tuple[EncodedRow | None, ...]
    tokens: frozenset[int | None]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Token counts of the rows that are not dropped, before the cutoff."""
        return tuple(row.length for row in self.rows if row is not None)


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


def encode_rows(
    tokenizer: Any,
    values: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    template: str,
    cutoff: int,
    generates: bool,
) -> Encoding:
    """Encode converted rows as LLaMA-Factory does, for training or for a prediction.

    Args:
        tokenizer: A copy, which is changed as LLaMA-Factory changes it.
        values: The recipe.
        rows: What `load_rows` converted.
        template: A template that LLaMA-Factory knows.
        cutoff: The longest row; what is longer is cut.
        generates: Whether answers are generated: then a row needs none of its own.

    Raises:
        DataError: A row cannot be encoded.
    """
    asked = {key: values[key] for key in _ENCODING_KEYS if values.get(key) is not None}
    with quiet():
        from llamafactory.data.loader import _get_dataset_processor
        from llamafactory.data.template import get_template_and_fix_tokenizer
        from llamafactory.extras.constants import IGNORE_INDEX
        from llamafactory.hparams import DataArguments

        known = {field.name for field in dataclasses.fields(DataArguments)}
        asked = {key: value for key, value in asked.items() if key in known}
        try:
            cutting = DataArguments(template=template, cutoff_len=cutoff, **asked)
        except ValueError:  # the host refuses these keys together, which another check reports
            cutting = DataArguments(template=template, cutoff_len=cutoff)
        framing = get_template_and_fix_tokenizer(tokenizer, cutting)
        whole = dataclasses.replace(cutting, cutoff_len=_UNCUT)
        cut, uncut = (
            _get_dataset_processor(one, "sft", framing, tokenizer, None, do_generate=generates)
            for one in (cutting, whole)
        )
        encoded: list[EncodedRow | None] = []
        tokens: set[int | None] = set()
        for number, row in enumerate(rows, start=1):
            batch = {key: [value] for key, value in row.items()}
            try:
                made = uncut.preprocess_dataset(batch)
                if not made:
                    encoded.append(None)
                    continue
                ids, answer = _trained(made, IGNORE_INDEX)
                length = len(ids) + len(answer) * generates
                kept_ids, kept = ids, answer
                if length > cutoff:
                    kept_ids, kept = _trained(cut.preprocess_dataset(batch), IGNORE_INDEX)
            except Exception as error:
                raise DataError(f"row {number} cannot be encoded: {_reason(error)}") from error
            encoded.append(EncodedRow(length, kept, kept != answer))
            tokens.update(kept_ids, () if generates else kept)
    return Encoding(tuple(encoded), frozenset(tokens))


def _trained(made: Mapping[str, Any], ignored: int) -> tuple[list[int], tuple[int, ...]]:
    """Return a row's ids, and those of its labels that count."""
    return made["input_ids"][0], tuple(one for one in made["labels"][0] if one != ignored)
