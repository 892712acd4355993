"""What is known of the run that wrote a file of predictions: `<name>.meta.json` beside it.

`predict` and `train_head` write it; whatever else wrote predictions may have put one there too.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import STANDARD_STREAM, open_binary, write_whole


@dataclass(frozen=True)
class Sidecar:
    """What is known of a run; None where it was not written.

    `complete_rows`, the number of rows written, is None too while the run had not ended;
    `everything` holds all keys of the file, as read.
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


_KINDS: Mapping[type | tuple[type, ...], tuple[str, ...]] = {
    str: ("model", "adapter", "recipe"),
    int: ("trained_parameters", "seed", "complete_rows"),
    (int, float): ("seconds", "rows_per_second"),
    dict: ("versions",),
}


def sidecar_path(path: Path) -> Path:
    """Return the path of the sidecar that we write for a predictions file."""
    return path.parent / f"{path.name}.meta.json"


def read_sidecar(path: str | Path) -> Sidecar | None:
    """Read the sidecar of a predictions file; None where it has none.

    It is named after the file with or without its ending.

    Raises:
        DataError: The sidecar is not a JSON object, or a value has the wrong type.
    """
    if str(path) == STANDARD_STREAM:
        return None
    sidecar = next((one for one in sidecar_paths(path) if one.is_file()), None)
    if sidecar is None:
        return None
    try:
        # NaN is no JSON and no figure either, nor is what overflows to infinity.
        content = json.loads(
            sidecar.read_bytes(),
            parse_constant=lambda _: None,
            parse_float=lambda text: number if isfinite(number := float(text)) else None,
        )
    except (ValueError, OSError) as error:
        raise DataError(f"{sidecar} is not readable JSON ({error}); mend or remove it.") from error
    if not isinstance(content, dict):
        raise DataError(f"{sidecar} is not a JSON object; mend or remove it.")
    given = {key: value for key, value in content.items() if value is not None}
    wrong = [
        key
        for kind, keys in _KINDS.items()
        for key in keys
        if key in given and (not isinstance(given[key], kind) or isinstance(given[key], bool))
    ]
    if wrong:
        raise DataError(f"{sidecar}: {', '.join(wrong)} of the wrong type; mend or remove it.")
    known = {one.name: given[one.name] for one in fields(Sidecar) if one.name in given}
    return Sidecar(**{**known, "everything": content})


def write_sidecar(
    path: Path, content: Mapping[str, Any], *, before_it_appears: Callable[[], object] = bool
) -> None:
    """Write the sidecar of a predictions file, whole or not at all."""
    with write_whole(sidecar_path(path), overwrite=True) as file:
        json.dump(content, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        before_it_appears()


def is_unfinished(path: str | Path, sidecar: Sidecar | None, rows: int) -> bool:
    """Whether the run that wrote a file had not ended, or rows were cut off since.

    `rows` of the file are known of; there may be more, set aside by a row check.
    """
    if sidecar is None or "complete_rows" not in sidecar.everything:
        return False
    written = sidecar.complete_rows
    if written is None:
        return True
    if rows >= written:
        return False
    with open_binary(path) as file:
        return sum(1 for _ in file) < written


def sidecar_paths(path: str | Path) -> list[Path]:
    """List the paths where a predictions file's sidecar may be."""
    path = Path(path)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    names = (path.name, plain.name, plain.stem)
    return [path.with_name(f"{name}.meta.json") for name in names if name]


def check_same_run(path: Path, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to go on with settings under which something else would come out.

    Args:
        path: What was begun, for the message.
        before: What it was begun with; a setting that it lacks is not compared.
        settings: What it would be resumed with.

    Raises:
        CallError: Names every setting that differs.
    """
    changed = [
        f"{key} was {before[key]!r} and is {value!r}"
        for key, value in settings.items()
        if key in before and before[key] != value
    ]
    if changed:
        raise CallError(
            f"{path} was begun with other settings ({'; '.join(changed)}); resume with the same "
            "ones, or name another output."
        )
