"""Load what a recipe names: the base model's configuration and tokenizer, and the data's rows.

Weights are never loaded.
"""

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import read_entry
from llamafactory_emotion.data.records import Record, count_records, read_records
from llamafactory_emotion.errors import EmotionError
from llamafactory_emotion.files import open_text
from llamafactory_emotion.plugin import host
from llamafactory_emotion.scoring.loading import hub_problem, is_path

ROWS_READ = 20_000
_HUB_KEYS = ("hf_hub_url", "ms_hub_url", "om_hub_url")


@dataclass
class BaseModel:
    """The model that a recipe names, by folder or hub id (empty when none is named)."""

    name: str
    options: Mapping[str, Any]  # `revision`, `cache_dir`, `token`, `trust_remote_code`

    @property
    def config(self) -> Any:
        """The configuration, or None."""
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

    @cached_property
    def skeleton(self) -> Any:
        """The model laid out without memory for its weights, or None."""
        import torch
        from transformers import AutoModelForCausalLM

        if self.config is None:
            return None
        try:
            with torch.device("meta"), silent_transformers():
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
        from transformers import AutoConfig

        return self._loaded(AutoConfig)

    @cached_property
    def _tokenizer(self) -> tuple[Any, str | None]:
        from transformers import AutoTokenizer

        return self._loaded(AutoTokenizer)

    def _loaded(self, kind: Any) -> tuple[Any, str | None]:
        if not self.name:
            return None, "no model is named"
        if not Path(self.name).is_dir():
            problem = "it is not there" if is_path(self.name) else self._hub_problem
            if problem:
                return None, problem
        with silent_transformers():
            try:
                return kind.from_pretrained(self.name, **self.options), None
            except Exception as error:
                # For a broken file tokenizers raises a plain exception.
                return None, " ".join(str(error).split())

    @cached_property
    def _hub_problem(self) -> str | None:
        asked = {key: self.options[key] for key in ("revision", "token", "cache_dir")}
        return hub_problem(self.name, **asked)


@contextlib.contextmanager
def silent_transformers() -> Iterator[None]:
    """Keep warnings and transformers' log off the screen."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


@dataclass(frozen=True)
class DataSet:
    """One data set of a recipe."""

    name: str
    entry: Mapping[str, Any]
    path: Path | None  # None when it is on a hub
    examples: tuple[tuple[str, str], ...] = ()  # prompt and answer, of the first ROWS_READ rows
    more_rows: int = 0  # beyond those
    problem: str | None = None  # why its rows cannot be read

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.examples) + self.more_rows

    @property
    def drawn_rows(self) -> int:
        """How many of them a run draws; LLaMA-Factory repeats rows where more are asked for."""
        asked = self.entry.get("num_samples")
        return asked if self.rows and isinstance(asked, int) and asked > 0 else self.rows

    @property
    def extent(self) -> str:
        """What sentences call the rows that were read."""
        first, count = ("the first ", ROWS_READ) if self.more_rows else ("", len(self.examples))
        return f"{first}{count:,} rows"


def load_data_set(entries: Mapping[str, Any], name: str, folder: Path) -> DataSet:
    """Load one of the entries of `dataset_info.json` as LLaMA-Factory converts it."""
    try:
        entry = read_entry(entries, name, folder)
    except EmotionError as error:
        return DataSet(name, {}, None, problem=str(error))
    if any(key in entry for key in _HUB_KEYS):
        return DataSet(name, entry, None)
    if "file_name" not in entry:
        return DataSet(name, entry, None, problem="its entry names no file_name and no hub")
    path = folder / str(entry["file_name"])
    try:
        files = data_files(path)
        rows = list(islice(chain.from_iterable(map(_fields, files)), ROWS_READ))
        more = sum(map(count_records, files)) - len(rows) if len(rows) == ROWS_READ else 0
        return DataSet(name, entry, path, tuple(host.as_examples(rows, entry, name)), more)
    except (EmotionError, KeyError, TypeError, IndexError) as error:
        reason = f"the column {error} is missing" if isinstance(error, KeyError) else str(error)
        return DataSet(name, entry, path, problem=reason)


def data_files(path: Path) -> list[Path]:
    """Return the files of a data set: LLaMA-Factory takes a folder for all that is in it."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _fields(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows as LLaMA-Factory's formattings get them: label ids without their names."""
    with open_text(path):  # says so when it is not there
        pass
    for record in read_records(path, name_labels=False):
        if not isinstance(record, Record):
            raise EmotionError(f"{path}:{record.line}: {record.reason}")
        yield record.fields
