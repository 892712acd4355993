"""Read the rows of Parquet files, and what the `datasets` library leaves beside their label ids.

Stands below `records`.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import open_binary
from llamafactory_emotion.task import ClassName

_BATCH_ROWS = 4096

ClassNames = Mapping[str, Sequence[str]]


def read_parquet_rows(path: str | Path, *, name_labels: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file one after another.

    Args:
        path: The file.
        name_labels: Give names in place of label ids that the file names.

    Raises:
        DataError: It is not a readable Parquet file.
    """
    with _opened(path) as file:
        names = _class_names(file.schema_arrow.metadata) if name_labels else {}
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for fields in batch.to_pylist():
                yield with_class_names(fields, names)


def count_parquet_rows(path: str | Path) -> int:
    """Give the number of rows that the file's own footer says.

    Raises:
        DataError: It is not a readable Parquet file.
    """
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def parquet_class_names(path: str | Path) -> ClassNames:
    """Give the names of label ids by column; empty where the file has none.

    Raises:
        DataError: It is not a readable Parquet file.
    """
    with _opened(path) as file:
        return _class_names(file.schema_arrow.metadata)


def with_class_names(fields: Mapping[str, Any], names: ClassNames) -> dict[str, Any]:
    """Give a row with the names of its label ids; an id without a name stays.

    Ids mean what the data set says, not what the task's order happens to be.
    """
    named = dict(fields)
    for column, known in names.items():
        value = named.get(column)
        if isinstance(value, int) and 0 <= value < len(known):
            named[column] = ClassName(known[value])
    return named


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    with open_binary(path) as binary:
        try:
            yield parquet.ParquetFile(binary)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{path} is not a readable Parquet file ({reason}); write it again."
            ) from error


def _class_names(metadata: Mapping[bytes, bytes] | None) -> ClassNames:
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: entry["names"] for name, entry in features.items() if "names" in entry}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
