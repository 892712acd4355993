"""Records out of binary tables: Parquet, Arrow, `save_to_disk` folders and Excel workbooks.

Parquet and Arrow are read in batches; a saved folder is mapped into memory. A workbook is held
whole: no sheet has more than 1,048,576 rows.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import open_binary
from llamafactory_emotion.task import ClassName

ClassNames = Mapping[str, Sequence[str]]
Numbered = Iterator[tuple[int, Mapping[str, Any]]]

WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
_BATCH_ROWS = 4096
_BUFFER_BYTES = 2**20
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"


def parquet_rows(path: str | Path) -> Numbered:
    """Yield number and fields of the rows of a Parquet file."""
    from pyarrow import parquet

    with open_binary(path) as binary, _readable(path, "Parquet file"):
        # By default whole row groups are read ahead, and a file may be one.
        file = parquet.ParquetFile(binary, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        yield from _numbered(file.iter_batches(batch_size=_BATCH_ROWS), file.schema_arrow)


def arrow_rows(path: str | Path) -> Numbered:
    """Yield number and fields of the rows of an Arrow file, in the file or the stream format."""
    from pyarrow import ipc

    with open_binary(path) as binary, _readable(path, "Arrow file"):
        is_file = binary.read(6) == b"ARROW1"
        binary.seek(0)
        if is_file:
            reader = ipc.open_file(binary)
            batches = map(reader.get_batch, range(reader.num_record_batches))
        else:
            batches = reader = ipc.open_stream(binary)
        yield from _numbered(batches, reader.schema)


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any((folder / name).is_file() for name in (_SAVED, _SAVED_SPLITS))


def saved_rows(folder: Path) -> Numbered:
    """Yield number and fields of the rows of a folder that `save_to_disk` wrote.

    Raises:
        CallError: The folder holds several splits.
        DataError: It is broken.
    """
    if (folder / _SAVED_SPLITS).is_file():
        splits = sorted(str(path.parent) for path in folder.glob(f"*/{_SAVED}"))
        raise CallError(
            f"{folder} holds a data set's splits; name one of them: {', '.join(splits) or 'none'}."
        )
    from datasets import load_from_disk

    with _readable(folder, "folder of save_to_disk"):
        rows = load_from_disk(str(folder)).with_format("arrow")
        yield from _numbered(rows.iter(batch_size=_BATCH_ROWS), rows.data.schema)


def _numbered(batches: Iterable[Any], schema: Any) -> Numbered:
    names = schema_class_names(schema)
    parts = (  # a file may be one batch, which is much larger as Python objects
        batch.slice(start, _BATCH_ROWS)
        for batch in batches
        for start in range(0, len(batch), _BATCH_ROWS)
    )
    rows = itertools.chain.from_iterable(part.to_pylist() for part in parts)
    for number, fields in enumerate(rows, start=1):
        yield number, with_class_names(fields, names)


@contextlib.contextmanager
def _readable(path: str | Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not a readable {kind} ({reason}); write it again.") from error


def read_sheet(path: str | Path, sheet: str | None) -> tuple[Iterator[list[str]], list[str]]:
    """Return the rows of a workbook's sheet, cells as text as in a CSV, and all sheets' names.

    Args:
        path: A workbook of Excel or OpenDocument.
        sheet: Name of the sheet; by default the first.

    Raises:
        CallError: It has no such sheet, or no package that reads workbooks is installed.
        DataError: It cannot be read.
    """
    with open_binary(path):  # says so when it is not there
        import pandas
    try:
        engine = "calamine" if find_spec("python_calamine") else None
        with pandas.ExcelFile(path, engine=engine) as book:
            names = [str(name) for name in book.sheet_names]
            wanted = names[0] if sheet is None else sheet
            # Nothing is turned into a missing value: "NA" and "None" may be labels.
            options = {"header": None, "dtype": object, "na_filter": False}
            cells = (
                pandas.read_excel(book, sheet_name=wanted, **options) if wanted in names else None
            )
    except ImportError as error:
        raise CallError(
            f"{path} is an Excel workbook, and no package that reads it is installed; install "
            "python-calamine (pip install python-calamine), or save the sheet as CSV."
        ) from error
    except Exception as error:
        # Each engine has errors of its own, some without a common class.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} cannot be read as an Excel workbook ({reason}); is it encrypted or another "
            "kind of file? Save the sheet as CSV."
        ) from error
    if cells is None:
        raise CallError(f"{path} has no sheet {sheet!r}; name one of {', '.join(names)}.")
    rows = cells.itertuples(index=False, name=None)
    return (["" if cell is None else str(cell) for cell in row] for row in rows), names


def schema_class_names(schema: Any) -> ClassNames:
    """Return the names of label ids by column, from the schema of a file that `datasets` wrote."""
    # Few files have names, and importing `datasets` takes a second.
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    from datasets import Features

    return class_names(Features.from_arrow_schema(schema))


def class_names(features: Mapping[str, Any]) -> ClassNames:
    """Return the names of label ids by column, from the features of a data set."""
    return {column: one.names for column, one in features.items() if getattr(one, "names", None)}


def with_class_names(fields: Mapping[str, Any], names: ClassNames) -> dict[str, Any]:
    """Return a row with its label ids replaced by their names; an id without a name stays.

    Ids mean what the data set says, not what the task's order happens to be.
    """
    named = dict(fields)
    for column, known in names.items():
        value = named.get(column)
        if isinstance(value, int) and 0 <= value < len(known):
            named[column] = ClassName(known[value])
    return named
