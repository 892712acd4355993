"""Data sets by their names in `dataset_info.json`, files or on the hub, without LLaMA-Factory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llamafactory_emotion.data.dataset_folder import (
    ALPACA_FORMATTING,
    EMOTION_FORMATTING,
    FILE_NAME,
    read_dataset_info,
    read_entry,
)
from llamafactory_emotion.data.records import BrokenRecord, Record, Source, open_source
from llamafactory_emotion.data.tables import class_names, with_class_names
from llamafactory_emotion.errors import CallError, DataError

HUB = "hf_hub_url"
_FILE = "file_name"
_SECONDS = 5.0
SHAREGPT_FORMATTING = "sharegpt"
CONVERSATION = "conversations"
# LLaMA-Factory's names for the parts of a turn, where an entry has no `tags`.
_TAGS: Mapping[str, str] = MappingProxyType(
    {
        "role_tag": "from",
        "content_tag": "value",
        "system_tag": "system",
        "user_tag": "human",
        "assistant_tag": "gpt",
    }
)


@dataclass(frozen=True)
class HubAddress:
    """What an entry of `dataset_info.json` says of a data set on the hub.

    Attributes:
        url: Its id, or a folder of the same shape.
        subset: Its configuration, or None for the default one.
        split: The split.
        folder: The folder of its files, or None for all.
    """

    url: str
    subset: str | None = None
    split: str = "train"
    folder: str | None = None

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> "HubAddress":
        """Read the address out of an entry that has `hf_hub_url`."""
        split = entry.get("split") or cls.split
        return cls(str(entry[HUB]), entry.get("subset"), split, entry.get("folder"))

    def __str__(self) -> str:
        return f"{self.url}, split {self.split}"


@dataclass(frozen=True)
class Entry:
    """A data set that `dataset_info.json` names.

    Attributes:
        name: Its name there.
        formatting: `alpaca`, `emotion` or `sharegpt`.
        columns: LLaMA-Factory's word for a column to its name; empty where none is named.
        location: Its file, or where it is on the hub.
        tags: What turns of a conversation call their parts.
    """

    name: str
    formatting: str
    columns: Mapping[str, str | None]
    location: Path | HubAddress
    tags: Mapping[str, str]

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
        """Open its records; label ids that it has names for become these.

        A conversation is in the column `CONVERSATION`, with OpenAI's names of roles and keys.

        Raises:
            CallError: Its file is of no known format.
            DataError: It cannot be loaded from the hub.
        """
        if isinstance(self.location, Path):
            source = open_source(self.location)
        else:
            source = self._open_at_hub(self.location, cache_dir, token)
        if self.formatting != SHAREGPT_FORMATTING:
            return source
        return replace(source, records=map(self._as_conversation, source.records))

    def _as_conversation(self, record: Record | BrokenRecord) -> Record | BrokenRecord:
        if isinstance(record, BrokenRecord):
            return record
        column, tags = self.columns.get("messages") or CONVERSATION, self.tags
        roles = {tags[f"{role}_tag"]: role for role in ("user", "assistant", "system")}
        turns = record.fields.get(column)
        if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
            return BrokenRecord(record.line, f"no list of turns in the column {column!r}")
        told = [(str(turn.get(tags["role_tag"])), turn.get(tags["content_tag"])) for turn in turns]
        renamed = [{"role": roles.get(role, role), "content": text} for role, text in told]
        return Record(record.line, {CONVERSATION: renamed})

    def _open_at_hub(self, address: HubAddress, cache_dir: str | None, token: str | None) -> Source:
        from datasets import load_dataset
        from huggingface_hub import constants

        name = f"the data set {self.name!r} ({address})"
        # `load_dataset` tries a dead hub again and again, for minutes.
        if not constants.HF_HUB_OFFLINE and (problem := unreachable(address.url, token)):
            raise DataError(
                f"{name}: {problem}; name a file, or set HF_HUB_OFFLINE=1 if it is in the cache."
            )
        try:
            rows = load_dataset(
                address.url,
                name=address.subset,
                data_dir=address.folder,
                split=address.split,
                cache_dir=cache_dir,
                token=token,
            )
        except _failures() as error:
            reason = [*str(error).strip().splitlines(), type(error).__name__][0].rstrip(".")
            raise DataError(
                f"{name} cannot be loaded: {reason}; without a network, name a file instead."
            ) from error
        names = class_names(rows.features)
        records = (
            Record(number, with_class_names(fields, names))
            for number, fields in enumerate(rows, start=1)
        )
        return Source(name, records, lambda row: f"{name}: row {row}")


def read_entries(names: str, folder: Path) -> list[Entry]:
    """Find data sets by their names.

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
        entry = read_entry(entries, name, folder)
        _check_readable(name, entry)
        formatting = entry.get("formatting", ALPACA_FORMATTING)
        location = HubAddress.of_entry(entry) if HUB in entry else folder / str(entry[_FILE])
        tags = {**_TAGS, **entry.get("tags", {})}
        found.append(Entry(name, formatting, entry.get("columns", {}), location, tags))
    return found


def _check_readable(name: str, entry: Mapping[str, Any]) -> None:
    """Refuse what LLaMA-Factory reads and we do not."""
    formatting = entry.get("formatting", ALPACA_FORMATTING)
    unread = [key for key in ("system", "history", "tools") if entry.get("columns", {}).get(key)]
    if formatting not in (ALPACA_FORMATTING, EMOTION_FORMATTING, SHAREGPT_FORMATTING):
        raise CallError(
            f"the data set {name!r} has the formatting {formatting!r}, and alpaca, sharegpt and "
            "emotion are read here; name its file itself."
        )
    if entry.get("num_samples"):
        raise CallError(
            f"the data set {name!r} asks for num_samples, a random draw that only LLaMA-Factory "
            "can repeat; remove it, or use max_samples for the first rows."
        )
    if unread:
        raise CallError(
            f"{name!r} names a column for {' and '.join(unread)}, which belongs to the prompt "
            "and is not read here; predict it with llamafactory-cli."
        )
    if HUB not in entry and _FILE not in entry:
        raise CallError(
            f"the data set {name!r} has neither {_FILE} nor {HUB}; download it and name a file of "
            "its texts."
        )


def unreachable(url: str, token: str | None) -> str | None:
    """Return why a hub does not hand out a data set, or None; a folder is taken for one."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    if Path(url).is_dir():
        return None
    try:
        HfApi(token=token).dataset_info(url, timeout=_SECONDS)
    except RepositoryNotFoundError:
        return "the hub has no such data set, or it is private"
    except _failures() as error:
        return f"the hub cannot be reached ({type(error).__name__})"
    return None


def _failures() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError
    from httpx import HTTPError

    return OSError, ValueError, RuntimeError, DatasetsError, HTTPError
