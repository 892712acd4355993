"""Read what stands beside a file of predictions: `<name>.meta.json`, what is known of its run.

`writing` writes it for `predict`; whatever else wrote predictions may have put one there too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import STANDARD_STREAM, open_binary


@dataclass(frozen=True)
class Sidecar:
    """What is known of the run that wrote a predictions file; None where it was not written.

    Attributes:
        model: The base model's name or path.
        adapter: The adapter's path.
        recipe: The recipe that trained it.
        trained_parameters: The number of parameters that were trained.
        seconds: How long prediction took.
        rows_per_second: Rows scored in a second.
        seed: The seed of the run.
        hardware: The machine, in words.
        versions: Package to version.
        complete_rows: How many rows the run wrote; None while it had not ended, or where no
            program says so.
        everything: All keys of the file, as read.
    """

    model: str | None = None
    adapter: str | None = None
    recipe: str | None = None
    trained_parameters: int | None = None
    seconds: float | None = None
    rows_per_second: float | None = None
    seed: int | None = None
    hardware: object = None
    versions: Mapping[str, Any] = field(default_factory=dict)
    complete_rows: int | None = None
    everything: Mapping[str, Any] = field(default_factory=dict)


_SIDECAR_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "model": (str,),
        "adapter": (str,),
        "recipe": (str,),
        "trained_parameters": (int,),
        "seconds": (int, float),
        "rows_per_second": (int, float),
        "seed": (int,),
        "hardware": (object,),
        "versions": (dict,),
        "complete_rows": (int,),
    }
)


def read_sidecar(path: str | Path) -> Sidecar | None:
    """Read what stands beside a predictions file: `<name>.meta.json`; None where nothing does.

    `<name>` is the file's name with or without its ending.

    Raises:
        DataError: The sidecar is not a JSON object, or a value has the wrong type.
    """
    if str(path) == STANDARD_STREAM:
        return None
    sidecar = next((place for place in sidecar_paths(path) if place.is_file()), None)
    if sidecar is None:
        return None
    try:
        text = sidecar.read_bytes().decode("utf-8-sig")
        # NaN is no JSON, and no figure either.
        content = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{sidecar} is not readable JSON ({error}); mend or remove it.") from error
    if not isinstance(content, dict):
        raise DataError(f"{sidecar} is not a JSON object; mend or remove it.")
    known = {key: content[key] for key in _SIDECAR_TYPES if content.get(key) is not None}
    wrong = [key for key, value in known.items() if not _fits(value, _SIDECAR_TYPES[key])]
    if wrong:
        raise DataError(f"{sidecar}: {', '.join(wrong)} of the wrong type; mend or remove it.")
    return Sidecar(**known, everything=content)


def is_unfinished(path: str | Path, sidecar: Sidecar | None, rows: int) -> bool:
    """Say whether the run that wrote a file had not ended, or rows were cut off since.

    Args:
        path: The predictions file.
        sidecar: What stands beside it.
        rows: How many of its rows are known of.
    """
    if sidecar is None or "complete_rows" not in sidecar.everything:
        return False
    written = sidecar.complete_rows
    if written is None or rows >= written:
        return written is None
    # A row check may have set rows aside.
    with open_binary(path) as file:
        return sum(1 for _ in file) < written


def sidecar_paths(path: str | Path) -> Sequence[Path]:
    """List the paths where a predictions file's sidecar may be."""
    path = Path(path)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    names = (path.name, plain.name, plain.stem)
    return [path.with_name(f"{name}.meta.json") for name in names if name]


def _fits(value: object, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not (isinstance(value, bool) and object not in types)
