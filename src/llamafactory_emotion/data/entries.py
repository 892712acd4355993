"""Data sets by their names in `dataset_info.json`, read without LLaMA-Factory.

Stands between `dataset_folder` and those who want the rows of such data sets: `predict` and
`train_head`. Files and data sets of the hub are given as records of one kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import (
    ALPACA_FORMATTING,
    EMOTION_FORMATTING,
    FILE_NAME,
    read_dataset_info,
    read_entry,
)
from llamafactory_emotion.data.hub import HUB, HubAddress, load_hub_records
from llamafactory_emotion.data.records import Source, open_source
from llamafactory_emotion.errors import CallError

_FILE = "file_name"


@dataclass(frozen=True)
class Entry:
    """A data set that `dataset_info.json` names.

    Attributes:
        name: Its name there.
        formatting: `alpaca` or `emotion`.
        columns: LLaMA-Factory's word for a column to its name; empty where none is named.
        place: Its file, or where it is on the hub.
    """

    name: str
    formatting: str
    columns: Mapping[str, str | None]
    place: Path | HubAddress

    @property
    def prompt(self) -> str | None:
        """The column of the texts; of an alpaca data set with inputs, of the instructions."""
        return self.columns.get("prompt")

    @property
    def query(self) -> str | None:
        """The column of an alpaca data set's inputs; the formatting `emotion` has none."""
        return self.columns.get("query") if self.formatting == ALPACA_FORMATTING else None

    @property
    def response(self) -> str | None:
        """The column of the labels."""
        return self.columns.get("response")

    def open(self, *, cache_dir: str | None = None, token: str | None = None) -> Source:
        """Open its records; label ids that it has names for are given as these.

        Args:
            cache_dir: Where data sets of the hub are kept.
            token: The hub token.

        Raises:
            CallError: Its file is of no known format.
            DataError: It cannot be loaded from the hub.
        """
        if isinstance(self.place, Path):
            return open_source(self.place)
        name = f"the data set {self.name!r} ({self.place})"
        records = load_hub_records(self.place, name, cache_dir=cache_dir, token=token)
        return Source(name, records, lambda row: f"{name}: row {row}")


def read_entries(names: str, folder: Path) -> list[Entry]:
    """Give the entries of data sets by their names.

    Args:
        names: One name, or several with commas between them.
        folder: The folder that holds `dataset_info.json`.

    Raises:
        CallError: A name is not there, or its entry is of a kind that is not read here.
        DataError: The file or an entry is not what LLaMA-Factory reads.
    """
    entries = read_dataset_info(folder).entries
    found = []
    for name in (part.strip() for part in names.split(",")):
        if name not in entries:
            known = ", ".join(entries) or "it has none"
            raise CallError(
                f"{name!r} is no data set of {folder / FILE_NAME} ({known}); name one of these, "
                "another folder with dataset_dir, or a file that is there."
            )
        found.append(_entry(name, read_entry(entries, name, folder), folder))
    return found


def _entry(name: str, entry: Mapping[str, Any], folder: Path) -> Entry:
    formatting = entry.get("formatting", ALPACA_FORMATTING)
    if formatting not in (ALPACA_FORMATTING, EMOTION_FORMATTING):
        raise CallError(
            f"the data set {name!r} has the formatting {formatting!r}, and alpaca and emotion are "
            "read here; convert it, or name a file of its texts."
        )
    if entry.get("num_samples"):
        raise CallError(
            f"the data set {name!r} asks for num_samples, a random draw that only LLaMA-Factory "
            "can repeat; remove it, or use max_samples for the first rows."
        )
    columns = entry.get("columns", {})
    unread = [key for key in ("system", "history") if columns.get(key)]
    if unread:
        raise CallError(
            f"{name!r} names a column for {' and '.join(unread)}, which would stand in the prompt "
            "and is not read here; predict it with llamafactory-cli."
        )
    return Entry(name, formatting, columns, _place(name, entry, folder))


def _place(name: str, entry: Mapping[str, Any], folder: Path) -> Path | HubAddress:
    if HUB in entry:
        return HubAddress.of_entry(entry)
    if _FILE not in entry:
        raise CallError(
            f"the data set {name!r} has neither {_FILE} nor {HUB}; download it and name a file of "
            "its texts."
        )
    path = folder / str(entry[_FILE])
    if path.is_dir():
        raise CallError(f"the data set {name!r} is a folder of files; name one of them instead.")
    return path
