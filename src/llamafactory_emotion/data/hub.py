"""Data sets of the Hugging Face hub: their records, and the names of their label ids.

Stands beside the files of `records`, below `entries`. Label ids are given as the names that the
data set has for them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.parquet import ClassNames, with_class_names
from llamafactory_emotion.data.records import Record
from llamafactory_emotion.errors import DataError

HUB = "hf_hub_url"
_SECONDS = 5.0


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


def load_hub_records(
    address: HubAddress, name: str, *, cache_dir: str | None = None, token: str | None = None
) -> Iterator[Record]:
    """Load a data set and give its records, label ids by their names.

    Args:
        address: Where it is.
        name: What messages call it.
        cache_dir: Where downloads are kept.
        token: The hub token.

    Raises:
        DataError: It cannot be loaded.
    """
    from datasets import load_dataset

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
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"{name} cannot be loaded: {lines[0].rstrip('.')}; without a network, name a file "
            "instead."
        ) from error
    names = _class_names(rows.features)
    named = (with_class_names(fields, names) for fields in rows)
    return (Record(row, fields) for row, fields in enumerate(named, start=1))


def hub_class_names(
    address: HubAddress, *, cache_dir: str | None = None, token: str | None = None
) -> ClassNames:
    """Give the names of a data set's label ids by column, without its rows.

    Empty where it does not say them before it is loaded, or the hub does not answer in seconds.
    """
    return _names_of_all_splits(replace(address, split=HubAddress.split), cache_dir, token)


@cache
def _names_of_all_splits(
    address: HubAddress, cache_dir: str | None, token: str | None
) -> ClassNames:
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi

    try:
        if not Path(address.url).is_dir():
            HfApi(token=token).dataset_info(address.url, timeout=_SECONDS)
        builder = load_dataset_builder(
            address.url,
            name=address.subset,
            data_dir=address.folder,
            cache_dir=cache_dir,
            token=token,
        )
    except _failures():
        return {}
    return _class_names(builder.info.features)


def _failures() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError
    from httpx import HTTPError

    return OSError, ValueError, RuntimeError, DatasetsError, HTTPError


def _class_names(features: Mapping[str, Any] | None) -> ClassNames:
    names = {column: getattr(one, "names", None) for column, one in (features or {}).items()}
    return {column: known for column, known in names.items() if known}
