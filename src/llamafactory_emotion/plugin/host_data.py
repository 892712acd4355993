"""Ask LLaMA-Factory to load and convert a data set's rows, as a run would.

Rows are read by the host's loader, converter and template themselves, so that what they cast, drop
or refuse is seen and not foretold.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
        path = read = (folder / attributes.dataset_name).absolute()
        cache, more = hub.get("cache_dir"), 0
        if attributes.load_from == "file":
            cache = str(Path(scratch) / "cache")
            read, more = _shortened(path, Path(scratch) / "data", bytes_read)
            attributes.dataset_name = str(read)
        tokens = {
            "hf_hub_token": hub.get("hf_hub_token"),
            "ms_hub_token": None,
            "om_hub_token": None,
        }
        model = SimpleNamespace(cache_dir=cache, **tokens)
        data = DataArguments(
            dataset_dir=str(folder),
            media_dir=str(folder),
            streaming=streaming,
            overwrite_cache=True,
        )
        training = SimpleNamespace(local_process_index=0, dataloader_num_workers=0)
        try:
            with _unconverted(loader):
                dataset = loader._load_single_dataset(attributes, model, data, training)
            total = None if streaming else len(dataset) + more
            first = dataset.take(rows if streaming else min(rows, len(dataset)))
            return _converted(first, total, attributes, data, training)
        except Exception as error:
            # Whatever stops the host's loader is its refusal.
            reason = str(error) if isinstance(error, DataError) else reason_of(error)
            raise DataError(reason.replace(str(read), str(path))) from error


def _converted(first: Any, total: int | None, attributes: Any, *settings: Any) -> LoadedRows:
    named = {word: getattr(attributes, word) for word in _COLUMNS}
    features = first.features or {}
    loaded = LoadedRows(
        types={column: _type_name(kind) for column, kind in features.items()},
        columns={word: str(column) for word, column in named.items() if column is not None},
        names={column: kind.names for column, kind in features.items() if hasattr(kind, "names")},
        raw=list(first),
        converted=(),
        total=total,
    )
    converted = list(_aligned(first, loaded, attributes, *settings))
    return dataclasses.replace(loaded, converted=converted)


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
        raise DataError(reason_of(problem)) from problem


def _unfit(error: Exception, loaded: LoadedRows, number: int) -> str:
    """Return what about a row does not fit its formatting."""
    row = loaded.raw[number - 1]
    missing = error.args[0] if isinstance(error, KeyError) else None
    if isinstance(error, KeyError) and missing is None:
        return "its entry names no column for a part that its formatting reads"
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
    return f"row {number}: {reason_of(error)}"


def _type_name(kind: Any) -> str:
    if getattr(kind, "names", None):
        return "label ids"
    return str(getattr(kind, "dtype", None) or kind)


def reason_of(error: BaseException) -> str:
    """Return the first cause of an error in one line; `datasets` wraps it in an empty sentence."""
    from datasets.arrow_writer import SchemaInferenceError

    if isinstance(error, StopIteration):
        return "it has no rows"
    told = error
    while (cause := told.__cause__) is not None and str(cause).strip():
        told = cause
    text = " ".join(" ".join(map(str, told.args)).split()) or str(told)
    if isinstance(told, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte 0x{told.object[told.start]:02x}); save it as UTF-8"
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


def _shortened(path: Path, scratch: Path, most: int) -> tuple[Path, int]:
    """Cut long text files after a whole row, in another folder; return it and the rows left out."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    sizes = {file: file.stat().st_size for file in files if file.is_file()}
    if sum(sizes.values()) <= most or not all(file.suffix in _LINES for file in files):
        return path, 0
    more = 0
    scratch.mkdir()
    for file in files:
        target = scratch / file.name
        with file.open("rb") as source:
            head = source.read(most // len(files))
            if file.suffix == ".json" and head.lstrip().startswith(b"["):
                target.symlink_to(file)  # a list cannot be cut
                continue
            end = head.rfind(b"\n") + 1
            while file.suffix == ".csv" and head.count(b'"', 0, end) % 2:
                end = head.rfind(b"\n", 0, end - 1) + 1
            end = end if len(head) < sizes[file] else len(head)
            target.write_bytes(head[:end])
            source.seek(end)
            while block := source.read(1 << 20):
                more += block.count(b"\n")
    return scratch if path.is_dir() else scratch / path.name, more
