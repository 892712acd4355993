"""What every check looks at, a recipe and a machine, and what it reports: findings.

What a recipe names is loaded when a check first asks for it. What cannot be loaded is None or
empty, with the reason beside it, so that one missing file is reported once.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any

from llamafactory_emotion.data.dataset_folder import FILE_NAME, read_dataset_info, task_of_entry
from llamafactory_emotion.doctor.loading import BaseModel, DataSet, load_data_set
from llamafactory_emotion.errors import DataError, EmotionError
from llamafactory_emotion.plugin import host
from llamafactory_emotion.plugin.host_encoding import (
    Encoding,
    converted_row,
    encode,
    prepare_tokenizer,
)
from llamafactory_emotion.task import Task
from llamafactory_emotion.task_choice import tasks_of_models

GIB = 1 << 30
AMPERE = (8, 0)  # compute capability from which a GPU has bfloat16 and FlashAttention-2


class Level(StrEnum):
    """How bad it is: `error` stops a run or spoils it, `warning` may, `note` is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing found: how bad it is, what and where, what to do, and which check found it."""

    level: Level
    sentence: str
    remedy: str = ""
    check: str = ""


def error(sentence: str, remedy: str) -> Finding:
    """Report what stops a run or spoils its result."""
    return Finding(Level.ERROR, sentence, remedy)


def warning(sentence: str, remedy: str) -> Finding:
    """Report what may spoil a run."""
    return Finding(Level.WARNING, sentence, remedy)


def note(sentence: str, remedy: str = "") -> Finding:
    """Report what is good to know."""
    return Finding(Level.NOTE, sentence, remedy)


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, memory in GiB and CUDA compute capability."""

    name: str
    memory_gib: float
    capability: tuple[int, int] = AMPERE


@dataclass(frozen=True)
class Machine:
    """The machine a recipe is judged for: its GPUs, its cores, and whether it is another one."""

    gpus: tuple[Gpu, ...]
    cpus: int
    assumed: bool = False


def this_machine() -> Machine:
    """Return what this machine has, as torch sees it."""
    import torch

    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    gpus = (Gpu(one.name, one.total_memory / GIB, (one.major, one.minor)) for one in properties)
    return Machine(tuple(gpus), os.cpu_count() or 1)


def assumed_machine(memory_gib: float) -> Machine:
    """Return a machine with one recent GPU of that much memory."""
    gpu = Gpu(f"an assumed GPU with {memory_gib:g} GiB", memory_gib)
    return Machine((gpu,), os.cpu_count() or 1, assumed=True)


@dataclass
class Context:
    """What the checks of a recipe look at.

    Attributes:
        values: The recipe's keys and values.
        machine: The machine that the recipe is judged for.
        recipe: The recipe's file, or None when keys alone were given.
        task: The task that all data should be of, where the call names one.
        trained: What the recipe's model was trained for, as far as its record says it.
        record_problem: Why the record cannot be read.
    """

    values: Mapping[str, Any]
    machine: Machine
    recipe: Path | None = None
    task: Task | None = None
    trained: Sequence[Task] = ()
    record_problem: str | None = None

    @property
    def trains_or_predicts(self) -> bool:
        """Whether it is a recipe for `llamafactory-cli train`, not for `export` or `chat`."""
        steps = ("do_train", "do_predict", "do_eval", "stage", "output_dir")
        return "export_dir" not in self.values and any(key in self.values for key in steps)

    def value(self, key: str) -> Any:
        """Return what the recipe says, or what LLaMA-Factory takes when it says nothing."""
        if self.values.get(key) is not None:
            return self.values[key]
        known = host.arguments(training=True).get(key)
        return None if known is None else known.default

    def is_on(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.value(key) is True

    def number(self, key: str) -> float:
        """Return a number, or 0 where the value is none or not finite."""
        value = self.value(key)
        try:
            number = float(value) if isinstance(value, int | float) else 0.0
        except OverflowError:
            return 0.0
        return number if isfinite(number) else 0.0

    def names(self, key: str) -> list[str]:
        """Return a list of names, as LLaMA-Factory reads it: a list, or text with commas."""
        return names_in(self.value(key))

    def data_sets(self, *keys: str) -> list[str]:
        """Return the names under `dataset`, `eval_dataset` or both."""
        return [name for key in keys for name in self.names(key) if name]

    @property
    def model(self) -> str:
        """The base model's folder or hub id."""
        return str(self.values.get("model_name_or_path") or "")

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

    @property
    def template(self) -> str | None:
        """The template's name, where it is one that LLaMA-Factory knows."""
        name = self.values.get("template")
        return name if isinstance(name, str) and name in host.templates() else None

    def encode(self, answers: Iterable[str]) -> Encoding | None:
        """Encode answers as the run will; None without a tokenizer or a template."""
        if self.template is None or self.base.tokenizer_problem:
            return None
        rows = [converted_row("x", answer) for answer in answers]
        return encode(self.tokenizer()[0], self.template, rows)

    def tokenizer(self) -> tuple[Any, bool]:
        """Return a tokenizer with the recipe's own tokens, and whether the embedding is resized."""
        tokenizer = self.base.tokenizer()
        return tokenizer, prepare_tokenizer(tokenizer, self.values)

    @property
    def packs(self) -> bool:
        """Whether rows are packed side by side."""
        return self.is_on("packing") or self.is_on("neat_packing")

    @property
    def processes(self) -> int:
        """How many processes train: what is asked for, else one a GPU."""
        each, nodes = os.environ.get("NPROC_PER_NODE", ""), os.environ.get("NNODES", "1")
        here = int(each) if each.isdigit() else max(1, len(self.machine.gpus))
        return here * (int(nodes) if nodes.isdigit() else 1)

    @cached_property
    def deepspeed(self) -> tuple[Mapping[str, Any], str | None]:
        """The settings of deepspeed, empty without any, and why they cannot be read."""
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
    def zero_stage(self) -> int:
        """How much deepspeed shares out: 3 the weights too; 0 without it."""
        zero = self.deepspeed[0].get("zero_optimization")
        stage = zero.get("stage") if isinstance(zero, dict) else None
        return stage if isinstance(stage, int) else 0

    @property
    def is_zero_3(self) -> bool:
        """Whether deepspeed shares out the weights too."""
        return self.zero_stage == 3

    @property
    def dataset_dir(self) -> Path:
        """The folder of `dataset_info.json`."""
        return Path(str(self.value("dataset_dir")))

    @property
    def registry_file(self) -> Path:
        """The path of `dataset_info.json`."""
        return self.dataset_dir / FILE_NAME

    @cached_property
    def registry(self) -> tuple[Mapping[str, Any], str | None]:
        """The entries of `dataset_info.json`, and why they cannot be read."""
        try:
            info = read_dataset_info(self.dataset_dir)
        except EmotionError as problem:
            return {}, str(problem)
        return info.entries, None if info.text else f"{self.registry_file} is not there"

    def own_task(self, name: str) -> Task | None:
        """Return the task that a data set's entry names.

        Raises:
            DataError: The file that it names is gone, or no task.
        """
        entries = self.registry[0]
        task = task_of_entry(entries, name, self.dataset_dir) if name in entries else None
        return task and replace(task, origin=f"as {FILE_NAME} says")

    def task_of(self, name: str) -> Task | None:
        """Return the task that a data set should be of: the call's, the model's or its own.

        A run may train a model for a task that is new to it: there the data set's own comes first.

        Raises:
            DataError: The file that its entry names is gone, or no task.
        """
        if self.task is not None:
            return self.task
        own = self.own_task(name)
        trained = self.trained[0] if len(self.trained) == 1 else None
        return (own or trained) if self.is_on("do_train") else (trained or own)

    @cached_property
    def loaded(self) -> Mapping[str, DataSet]:
        """Every data set that the recipe names and the registry knows, with its rows."""
        entries = self.registry[0]
        names = self.data_sets("dataset", "eval_dataset")
        hub = {key: self.value(key) for key in ("cache_dir", "hf_hub_token")}
        return {
            n: load_data_set(entries, n, self.dataset_dir, **hub) for n in names if n in entries
        }

    def generates(self, name: str) -> bool:
        """Whether a data set's answers are generated, so that its rows need none of their own."""
        return name not in self.data_sets("dataset") and self.is_on("predict_with_generate")

    @cached_property
    def encodings(self) -> Mapping[str, Encoding | str]:
        """The rows as they will be read, by data set, or why they cannot be encoded.

        Empty without a tokenizer or a template.
        """
        if self.template is None or self.base.tokenizer_problem or self.value("stage") != "sft":
            return {}
        found: dict[str, Encoding | str] = {}
        for name, data_set in self.loaded.items():
            if data_set.loaded is None:
                continue
            try:
                found[name] = encode(
                    self.tokenizer()[0],
                    self.template,
                    data_set.loaded.converted,
                    values=self.values,
                    cutoff=max(1, int(self.number("cutoff_len")) - self.packs),
                    generates=self.generates(name),
                )
            except EmotionError as problem:
                found[name] = str(problem)
        return found

    @property
    def lengths(self) -> Mapping[str, tuple[int, ...]]:
        """Token counts of the rows that are used, by data set; empty without a tokenizer."""
        return {
            name: one.lengths
            for name, one in self.encodings.items()
            if isinstance(one, Encoding) and one.lengths
        }

    def of_first_rows(self, *keys: str) -> str:
        """Return what a sentence adds where the data sets under these keys were read in part."""
        loaded = [self.loaded[name] for name in self.data_sets(*keys) if name in self.loaded]
        return next((f" of {one.extent}" for one in loaded if one.more_rows), "")


def names_in(value: object) -> list[str]:
    """Return the names in a value, as LLaMA-Factory reads it: a list, or text with commas."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(part).strip() for part in parts]


def trained_tasks(values: Mapping[str, Any]) -> tuple[list[Task], str | None]:
    """Return what a recipe's adapter or model was trained for, and why that cannot be read.

    It is in the record of a run, in a folder here; a base has none.
    """
    adapters = names_in(values.get("adapter_name_or_path"))
    folders = [*adapters, str(values.get("model_name_or_path") or "")]
    try:
        found = [replace(task, origin=origin) for task, origin in tasks_of_models(folders)]
    except DataError as problem:
        return [], str(problem)
    except OSError:  # a name too long for a folder's
        return [], None
    return found, None


def run_checks(module: ModuleType, context: Context) -> list[Finding]:
    """Run the checks of a module: its functions named `check_...`, as they are written.

    Each finding bears the name of its function, `check_end_token` as `end-token`.
    """
    checks = {
        name.removeprefix("check_").replace("_", "-"): function
        for name, function in vars(module).items()
        if name.startswith("check_") and function.__module__ == module.__name__
    }
    return [
        replace(finding, check=name) for name, check in checks.items() for finding in check(context)
    ]
