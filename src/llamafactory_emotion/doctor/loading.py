"""Load what a recipe names: the base model's configuration and tokenizer, and the data's rows.

Weights are never loaded.
"""

import copy
import csv
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import read_entry
from llamafactory_emotion.data.entries import HUB, unreachable
from llamafactory_emotion.errors import DataError, EmotionError
from llamafactory_emotion.plugin.host_data import LoadedRows, load_rows
from llamafactory_emotion.scoring.loading import hub_problem, is_path, quiet_loading

# What a look at a data set is bounded by; shorter files are loaded whole.
ROWS_READ = 20_000
BYTES_READ = 64 << 20
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


@dataclass
class BaseModel:
    """The model that a recipe names, by folder or hub id (empty when none is named)."""

    name: str
    options: Mapping[str, Any]  # `revision`, `cache_dir`, `token`, `trust_remote_code`

    @property
    def config(self) -> Any:
        """The configuration, or None; see `config_problem`."""
        return self._config[0]

    @property
    def config_problem(self) -> str | None:
        """Why the configuration cannot be read."""
        return self._config[1]

    def tokenizer(self) -> Any:
        """Return a fresh copy of the tokenizer, or None: templates change what they are given."""
        return copy.deepcopy(self._tokenizer[0])

    @property
    def tokenizer_problem(self) -> str | None:
        """Why the tokenizer cannot be read."""
        return self._tokenizer[1]

    @property
    def chat_template(self) -> str | None:
        """The chat template that its tokenizer carries."""
        return getattr(self._tokenizer[0], "chat_template", None)

    @cached_property
    def skeleton(self) -> Any:
        """The model laid out without memory for its weights, or None."""
        import torch
        from transformers import AutoModelForCausalLM

        if self.config is None:
            return None
        try:
            with torch.device("meta"), quiet_loading():
                return AutoModelForCausalLM.from_config(self.config)
        except (ValueError, ImportError, RuntimeError, AttributeError, TypeError):
            return None

    @cached_property
    def parameters(self) -> int | None:
        """How many parameters the model has, or None where it cannot be laid out."""
        if self.skeleton is None:
            return None
        return int(sum(one.numel() for one in self.skeleton.parameters()))

    @cached_property
    def _config(self) -> tuple[Any, str | None]:
        return self._loaded("AutoConfig")

    @cached_property
    def _tokenizer(self) -> tuple[Any, str | None]:
        return self._loaded("AutoTokenizer")

    def _loaded(self, kind: str) -> tuple[Any, str | None]:
        import transformers

        if self._absence is not None:
            return None, self._absence
        with quiet_loading():
            try:
                return getattr(transformers, kind).from_pretrained(self.name, **self.options), None
            except Exception as error:
                # For a broken file tokenizers raises a plain exception.
                return None, " ".join(str(error).split())

    @cached_property
    def _absence(self) -> str | None:
        if not self.name or Path(self.name).is_dir():
            return None if self.name else "no model is named"
        if is_path(self.name):
            return "it is not there"
        asked = {key: self.options[key] for key in ("revision", "token", "cache_dir")}
        return hub_problem(self.name, **asked)


@dataclass(frozen=True)
class DataSet:
    """One data set of a recipe, and its entry in `dataset_info.json`."""

    name: str
    entry: Mapping[str, Any]
    path: Path | None  # its file or folder; None when it is on a hub
    loaded: LoadedRows | None = None  # its first rows; None where LLaMA-Factory cannot load them
    problem: str | None = None  # why it cannot
    unasked: str | None = None  # why it was not tried: a hub that does not answer

    @cached_property
    def examples(self) -> tuple[tuple[str, str], ...]:
        """Last prompt and answer of the rows that have both."""
        rows = self.loaded.converted if self.loaded else ()
        return tuple(
            (str(row["_prompt"][-1]["content"]), str(row["_response"][0]["content"]))
            for row in rows
            if row["_prompt"] and row["_response"]
        )

    @cached_property
    def csv_rows(self) -> Sequence[Mapping[str | None, Any]]:
        """The rows of a CSV file as they are written; fields without a column are under None."""
        if self.path is None or self.path.suffix != ".csv":
            return ()
        # A field may be too long for this reader.
        with self.path.open(encoding="utf-8-sig", newline="") as file, suppress(csv.Error):
            return tuple(islice(csv.DictReader(file), ROWS_READ))
        return ()

    @property
    def ranks(self) -> bool:
        """Whether its rows have two answers, the better one first."""
        return self.entry.get("ranking") is True

    @property
    def rows_read(self) -> int:
        """How many rows were loaded."""
        return len(self.loaded.converted) if self.loaded else 0

    @property
    def rows(self) -> int | None:
        """How many rows there are; None where that is not known."""
        return self.loaded.total if self.loaded else None

    @property
    def more_rows(self) -> bool:
        """Whether there are more rows than were read."""
        return self.loaded is not None and self.rows != self.rows_read

    @property
    def drawn_rows(self) -> int:
        """How many of them a run draws; LLaMA-Factory repeats rows where more are asked for."""
        asked = self.entry.get("num_samples")
        return asked if self.rows and isinstance(asked, int) and asked > 0 else self.rows or 0

    @property
    def extent(self) -> str:
        """What sentences call the rows that were read."""
        return f"{'the first ' if self.more_rows else ''}{self.rows_read:,} rows"

    @property
    def described(self) -> str:
        """What sentences call these rows where they name the file too."""
        return f"{self.extent} of {self.name!r} ({self.path})"


def load_data_set(entries: Mapping[str, Any], name: str, folder: Path, **hub: Any) -> DataSet:
    """Load the first rows of an entry of `dataset_info.json` through LLaMA-Factory.

    `hub` is `cache_dir` and `hf_hub_token`.
    """
    try:
        entry = read_entry(entries, name, folder)
    except EmotionError as error:
        return DataSet(name, {}, None, problem=str(error))
    if not any(key in entry for key in ("file_name", *_ELSEWHERE)):
        return DataSet(name, entry, None, problem="its entry names no file_name and no hub")
    at_hub = any(key in entry for key in _ELSEWHERE)
    path = None if at_hub else folder / str(entry["file_name"])
    if at_hub and (unasked := data_hub_problem(entry, hub.get("hf_hub_token"))):
        return DataSet(name, entry, None, unasked=unasked)
    try:
        loaded = load_rows(
            name, entry, folder, rows=ROWS_READ, bytes_read=BYTES_READ, streaming=at_hub, **hub
        )
    except DataError as error:
        return DataSet(name, entry, path, problem=str(error).rstrip("."))
    return DataSet(name, entry, path, loaded)


def data_hub_problem(entry: Mapping[str, Any], token: str | None) -> str | None:
    """Return why a data set's hub is not asked for its rows, or None."""
    if HUB not in entry or (is_enabled("USE_MODELSCOPE_HUB") and "ms_hub_url" in entry):
        return "doctor asks the hub of Hugging Face alone"
    url = str(entry[HUB])
    offline = next((name for name in OFFLINE if is_enabled(name)), None)
    if offline and not Path(url).is_dir():
        return f"{offline}={os.environ[offline]}"
    return unreachable(url, token)


def is_enabled(variable: str) -> bool:
    """Whether an environment variable is set, as LLaMA-Factory and the hub's client read it."""
    return os.environ.get(variable, "0").lower() in ("true", "y", "yes", "on", "1")
