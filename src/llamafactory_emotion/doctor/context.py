"""A recipe and what it names, loaded when a check first asks for it.

Nothing here judges. What cannot be loaded is None, and why stands beside it, so that one missing
file is told once and not by every check that would have needed it. Weights are never loaded.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.dataset_folder import (
    EMOTION_FORMATTING,
    read_dataset_info,
    read_entry,
)
from llamafactory_emotion.data.entries import HUB, HubAddress, hub_class_names
from llamafactory_emotion.data.records import (
    ClassNames,
    Record,
    count_records,
    parquet_class_names,
    read_records,
)
from llamafactory_emotion.doctor.base_model import BaseModel
from llamafactory_emotion.doctor.machine import Machine
from llamafactory_emotion.errors import EmotionError
from llamafactory_emotion.files import open_text
from llamafactory_emotion.plugin import host
from llamafactory_emotion.task import Task

ROWS_READ = 20_000
_HUB_KEYS = (HUB, "ms_hub_url", "om_hub_url")


@dataclass(frozen=True)
class DataSet:
    """One data set of a recipe.

    Attributes:
        name: Its name in `dataset_info.json`.
        entry: What stands there.
        path: Its file, or None when it is on a hub.
        examples: Pairs of prompt and answer, of the first `ROWS_READ` rows; empty when they cannot
            be read.
        more_rows: How many rows there are beyond those.
        class_names: The names that it has for label ids, by column.
        problem: Why its rows cannot be read, or None.
    """

    name: str
    entry: Mapping[str, Any]
    path: Path | None
    examples: tuple[tuple[str, str], ...] = ()
    more_rows: int = 0
    class_names: ClassNames = field(default_factory=dict)
    problem: str | None = None

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


@dataclass
class Context:
    """What the checks of a recipe look at.

    Attributes:
        values: The recipe's keys, overridden by the command line's.
        machine: The machine that the recipe is judged for.
        recipe: The recipe's file, or None when keys alone were given.
        variables: The environment's variables.
        task: The task that the recipe is for, where one was named.
    """

    values: Mapping[str, Any]
    machine: Machine
    recipe: Path | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    task: Task | None = None

    @property
    def trains_or_predicts(self) -> bool:
        """Whether it is a recipe for `llamafactory-cli train`, not for `export` or `chat`."""
        steps = ("do_train", "do_predict", "do_eval", "stage", "output_dir")
        return "export_dir" not in self.values and any(key in self.values for key in steps)

    def value(self, key: str) -> Any:
        """Give what the recipe says, or what LLaMA-Factory takes when it says nothing."""
        if self.values.get(key) is not None:
            return self.values[key]
        known = host.arguments(training=True).get(key)
        return None if known is None else known.default

    def is_on(self, key: str) -> bool:
        """Say whether a switch is on."""
        return self.value(key) is True

    def number(self, key: str) -> float:
        """Give a number, or 0 where something else stands, infinity too."""
        value = self.value(key)
        try:
            number = float(value) if isinstance(value, int | float) else 0.0
        except OverflowError:
            return 0.0
        return number if isfinite(number) else 0.0

    def switched_on(self, variable: str) -> bool:
        """Say whether an environment variable is set, as LLaMA-Factory reads it."""
        return self.variables.get(variable, "0").lower() in ("true", "y", "1")

    @property
    def processes(self) -> int:
        """How many processes train: what is asked for, else one a GPU."""
        each = self.variables.get("NPROC_PER_NODE", "")
        nodes = self.variables.get("NNODES", "1")
        here = int(each) if each.isdigit() else max(1, len(self.machine.gpus))
        return here * (int(nodes) if nodes.isdigit() else 1)

    @cached_property
    def deepspeed_settings(self) -> Mapping[str, Any]:
        """The settings of deepspeed; empty when there are none or they cannot be read."""
        return self._deepspeed_parts[0]

    @property
    def deepspeed_problem(self) -> str | None:
        """Why the settings of deepspeed cannot be read."""
        return self._deepspeed_parts[1]

    @property
    def zero_stage(self) -> int:
        """How much deepspeed shares out: 3 the weights too; 0 without it."""
        zero = self.deepspeed_settings.get("zero_optimization")
        stage = zero.get("stage") if isinstance(zero, dict) else None
        return stage if isinstance(stage, int) else 0

    @cached_property
    def _deepspeed_parts(self) -> tuple[Mapping[str, Any], str | None]:
        value = self.value("deepspeed")
        if not value or isinstance(value, dict):
            return value or {}, None
        try:
            content = json.loads(Path(str(value)).read_text(encoding="utf-8"))
        except OSError:
            return {}, f"the deepspeed settings {value} cannot be read"
        except ValueError as problem:
            return {}, f"the deepspeed settings {value} are not valid JSON ({problem})"
        if not isinstance(content, dict):
            return {}, f"the deepspeed settings {value} are no JSON object"
        return content, None

    @property
    def model(self) -> str:
        """The base model's name or path."""
        return str(self.values.get("model_name_or_path") or "")

    def maker_of(self, folder: str) -> str | None:
        """Give what makes a folder that the recipe builds on, or None.

        That is a recipe beside it that writes there, or the command in the recipe's own header.
        """
        if self.recipe is None or folder not in self._written_values():
            return None
        for sibling in sorted(self.recipe.parent.glob("*.yaml")):
            text = sibling.read_text(encoding="utf-8", errors="replace")
            if re.search(rf"^(output|export)_dir:\s*{re.escape(folder)}\s*$", text, re.MULTILINE):
                return str(sibling)
        header = self.recipe.read_text(encoding="utf-8", errors="replace").split("\n###")[0]
        return f"what the head of {self.recipe} says" if f" {folder}\n" in header else None

    def _written_values(self) -> str:
        """Give the recipe's text: what the command line overrides is not the recipe's to make."""
        return "" if self.recipe is None else self.recipe.read_text("utf-8", errors="replace")

    def data_sets(self, key: str) -> list[str]:
        """Give the names under `dataset` or `eval_dataset`."""
        return [name for name in self.names(key) if name]

    def names(self, key: str) -> list[str]:
        """Give a list of names, as LLaMA-Factory reads it: a list, or text parted by commas."""
        value = self.value(key)
        parts = value if isinstance(value, list) else str(value or "").split(",")
        return [str(part).strip() for part in parts]

    @cached_property
    def base(self) -> BaseModel:
        """The base model's files, as far as they can be read."""
        return BaseModel(
            self.model,
            {
                "revision": self.value("model_revision"),
                "cache_dir": self.value("cache_dir"),
                "token": self.value("hf_hub_token"),
                "trust_remote_code": self.is_on("trust_remote_code"),
            },
        )

    @cached_property
    def registry_problem(self) -> str | None:
        """Why `dataset_info.json` cannot be read, or None."""
        try:
            return None if read_dataset_info(self.dataset_dir).text else "it is not there"
        except EmotionError as error:
            return str(error)

    @property
    def dataset_dir(self) -> Path:
        """The folder of `dataset_info.json`."""
        return Path(str(self.value("dataset_dir")))

    @cached_property
    def registry(self) -> Mapping[str, Any]:
        """The entries of `dataset_info.json`; empty when it cannot be read."""
        return {} if self.registry_problem else read_dataset_info(self.dataset_dir).entries

    @cached_property
    def loaded(self) -> Mapping[str, DataSet]:
        """Every data set that the recipe names and the registry knows, with its rows."""
        names = [*self.data_sets("dataset"), *self.data_sets("eval_dataset")]
        return {name: self._data_set(name) for name in names if name in self.registry}

    @cached_property
    def lengths(self) -> Mapping[str, tuple[int, ...]]:
        """Token counts of the examples, by data set; empty without a tokenizer and a template."""
        template = self.values.get("template")
        if self.base.tokenizer_problem or template not in host.templates():
            return {}
        return {
            name: host.encode(self.base.tokenizer(), str(template), data_set.examples).lengths
            for name, data_set in self.loaded.items()
            if data_set.examples
        }

    @property
    def packs(self) -> bool:
        """Whether rows are packed side by side."""
        return self.is_on("packing") or self.is_on("neat_packing")

    def of_first_rows(self, *keys: str) -> str:
        """Give what a sentence adds where the data sets under these keys were read in part."""
        names = [name for key in keys for name in self.data_sets(key) if name in self.loaded]
        in_part = [self.loaded[name] for name in names if self.loaded[name].more_rows]
        return f" of {in_part[0].extent}" if in_part else ""

    def _data_set(self, name: str) -> DataSet:
        try:
            entry = read_entry(self.registry, name, self.dataset_dir)
        except EmotionError as error:
            return DataSet(name, {}, None, problem=str(error))
        if any(key in entry for key in _HUB_KEYS):
            return DataSet(name, entry, None, class_names=self._hub_class_names(entry))
        if "file_name" not in entry:
            return DataSet(name, entry, None, problem="its entry names no file_name and no hub")
        path = self.dataset_dir / str(entry["file_name"])
        try:
            return _local_data_set(name, entry, path)
        except (EmotionError, KeyError, TypeError, IndexError) as error:
            reason = f"the column {error} is missing" if isinstance(error, KeyError) else str(error)
            return DataSet(name, entry, path, problem=reason)

    def _hub_class_names(self, entry: Mapping[str, Any]) -> ClassNames:
        elsewhere = self.switched_on("USE_MODELSCOPE_HUB") and "ms_hub_url" in entry
        if HUB not in entry or elsewhere or entry.get("formatting") != EMOTION_FORMATTING:
            return {}
        return hub_class_names(
            HubAddress.of_entry(entry),
            cache_dir=self.value("cache_dir"),
            token=self.value("hf_hub_token"),
        )


def _local_data_set(name: str, entry: Mapping[str, Any], path: Path) -> DataSet:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    rows = list(islice(chain.from_iterable(map(_fields, files)), ROWS_READ))
    more = sum(map(count_records, files)) - len(rows) if len(rows) == ROWS_READ else 0
    names = parquet_class_names(files[0]) if files and files[0].suffix == ".parquet" else {}
    examples = tuple(host.as_examples(rows, entry, name))
    return DataSet(name, entry, path, examples, more, names)


def _fields(path: Path) -> Iterator[Mapping[str, Any]]:
    """Give the rows as LLaMA-Factory's formattings get them: label ids without their names."""
    with open_text(path):  # says so when it is not there
        pass
    for record in read_records(path, name_labels=False):
        if not isinstance(record, Record):
            raise EmotionError(f"{path}:{record.line}: {record.reason}")
        yield record.fields
