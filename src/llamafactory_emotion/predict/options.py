"""The keys of `predict`, and those that it shares with `export_classifier`.

LLaMA-Factory's keys that do not matter here are passed over, so that a training or prediction
recipe can be given as it is; those that would change what the model computes are refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.options import DataOptions, RecipeOptions, key
from llamafactory_emotion.scoring.loading import DTYPES, ModelSource, folder_with
from llamafactory_emotion.scoring.templates import EMOTION_TEMPLATE
from llamafactory_emotion.task import Task
from llamafactory_emotion.task_choice import KNOWING, LABELS_ABOUT, TASK_ABOUT, Sources, choose_task

_NOT_FOLLOWED = (
    *("add_special_tokens", "add_tokens", "default_system", "new_special_tokens"),
    *("resize_vocab", "rope_scaling", "train_from_scratch"),
)
PREDICTIONS = "generated_predictions.jsonl"
_OTHER_FORMATS = (".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".arrow", ".html", ".md")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(RecipeOptions, DataOptions):
    """The keys that name a model and its prompt."""

    model_name_or_path: str = key(
        about="the model's folder or hub id, or an adapter's folder", metavar="MODEL", host=True
    )
    adapter_name_or_path: str | None = key(
        None, about="a LoRA adapter for it", metavar="ADAPTER", host=True
    )
    template: str = key(
        EMOTION_TEMPLATE,
        about="emotion, a template of LLaMA-Factory, or chat_template for the model's own",
        host=True,
    )
    infer_dtype: str = key("auto", about="type of the weights", choices=DTYPES, host=True)
    use_cpu: bool = key(False, about="run on the CPU even where there is a GPU", host=True)
    flash_attn: str = key(
        "auto", about="attention", choices=("auto", "disabled", "sdpa", "fa2"), host=True
    )
    model_revision: str = key("main", about="the hub revision", host=True)
    cache_dir: str | None = key(None, about="where downloads are kept", metavar="DIR", host=True)
    hf_hub_token: str | None = key(None, about="the hub token", host=True, secret=True)
    trust_remote_code: bool = key(False, about="run code that comes with the model", host=True)
    seed: int = key(42, about="of the draw of examples", host=True)
    task: str | None = key(None, about=TASK_ABOUT)
    labels: str | None = key(None, about=LABELS_ABOUT)
    few_shot: str | None = key(
        None,
        about="where examples for the prompt are drawn from: a labelled file, or data sets by name",
        metavar="FILE",
    )
    shots: int = key(1, about="how many examples of each label", least=1)
    device: str | None = key(None, about="cpu, cuda, cuda:1, ..., auto")
    dataset_dir: str = key(
        "data", about="the folder of dataset_info.json", metavar="DIR", host=True
    )
    overwrite: bool = key(False, about="replace an output that exists")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say what is wrong with the keys that name a model and the examples in its prompt."""
        if "," in str(given.get("adapter_name_or_path", "")):
            yield "adapter_name_or_path names several adapters; merge them first"
        if "shots" in given and "few_shot" not in given:
            yield "shots needs few_shot=FILE, or data sets by name, with the examples"
        yield from (
            f"{name} is not followed here and would change the result; remove it, or predict with "
            "LLaMA-Factory"
            for name in _NOT_FOLLOWED
            if given.get(name)
        )

    @property
    def source(self) -> ModelSource:
        """Where the model comes from and how it is held in memory."""
        return ModelSource(
            self.model_name_or_path,
            self.adapter_name_or_path,
            dtype=self.infer_dtype,
            device="cpu" if self.use_cpu else self.device,
            attention=self.flash_attn,
            revision=self.model_revision,
            cache_dir=self.cache_dir,
            token=self.hf_hub_token,
            trust_remote_code=self.trust_remote_code,
        )

    @property
    def few_shot_datasets(self) -> str | None:
        """The data sets that `few_shot` names; None where it is a file."""
        name = self.few_shot
        is_file = name is None or name == STANDARD_STREAM or Path(name).exists()
        return None if is_file else name

    def choose_task(self, sources: Sources) -> Task:
        """Find the task, and say where it was found; `sources` names the data, or other models."""
        named = (self.adapter_name_or_path, self.model_name_or_path)
        own = [folder_with(KNOWING, one, self.source) for one in named]
        return choose_task(self.task, self.labels, replace(sources, models=[*sources.models, *own]))


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ModelOptions):
    """The keys of `predict`."""

    input: str | None = key(
        None,
        about="texts: JSON(L), chats, CSV, TSV, Excel, Parquet, Arrow, lines; - is stdin",
        metavar="FILE",
    )
    skip_empty: bool = key(False, about="leave out rows of input without a text")
    keep_columns: str | None = key(
        None, about="columns of input, with commas, to write beside each answer, as own ids"
    )
    output: str | None = key(
        None, about="where the predictions go; - is standard output", metavar="FILE"
    )
    checkpoints: str | None = key(
        None, about="predict with every checkpoint of a training run's folder", metavar="DIR"
    )
    generate: bool = key(False, about="free answers instead of scored labels")
    normalize: str = key(
        "none", about="scores per token or byte of the label", choices=("none", "tokens", "bytes")
    )
    calibrate: bool = key(False, about="even out what inputs without content would get")
    log_likelihoods: bool = key(False, about="write the labels' log-likelihoods too")
    margin: bool = key(False, about="write by how much the best label leads")
    tokens_per_batch: int | None = key(
        None, about="the most tokens of texts in one forward pass", least=1
    )
    chunk_rows: int = key(1024, about="the most rows between two writes", least=1)
    resume: bool = key(False, about="go on with what a killed run left")
    eval_dataset: str | None = key(
        None, about="data sets to predict, by name, instead of input", metavar="NAMES", host=True
    )
    cutoff_len: list[int] = key(
        [2048],
        about="the longest prompt and answer in tokens; several with commas (512,1024) write a "
        "file for each into the folder output, and a table",
        metavar="N",
        least=1,
        host=True,
    )
    max_samples: int | None = key(None, about="predict the first rows alone", least=1, host=True)
    output_dir: str | None = key(
        None, about="the folder of generated_predictions.jsonl, without output", host=True
    )
    max_new_tokens: int | None = key(
        None, about="the longest free answer (default: 8, or a label's length)", least=1, host=True
    )
    quantization_bit: int | None = key(None, about="8 or 4", host=True)
    bf16: bool = key(False, about="the same as infer_dtype=bfloat16", host=True)
    fp16: bool = key(False, about="the same as infer_dtype=float16", host=True)

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say what is missing and which keys exclude each other."""
        yield from super().problems(given)
        if not given.keys() & {"output", "output_dir", "checkpoints"}:
            yield "output is missing: name the predictions file, or - for standard output"
        if not given.keys() & {"input", "eval_dataset"}:
            yield "input is missing: name a file of texts, - for standard input, or an eval_dataset"
        if given.get("stage", "sft") != "sft":
            yield f"stage={given['stage']} has no answers to score; only sft has"
        for one, other in (("bf16", "fp16"), ("resume", "overwrite")):
            if given.get(one) is True and given.get(other) is True:
                yield f"{one} and {other} exclude each other"
        if str(given.get("output")).lower().endswith(_OTHER_FORMATS):
            yield (
                f"output={given['output']} would hold JSON Lines; name it .jsonl "
                "(pandas.json_normalize makes a table of its rows)"
            )
        if "keep_columns" in given and "input" not in given:
            yield "keep_columns needs an input; of a data set by its name only texts are read"
        if given.get("output") == "-" and given.get("resume") is True:
            yield "output=- is one stream and cannot be resumed"
        yield from _problems_of_several_files(given)

    @property
    def source(self) -> ModelSource:
        """Where the model comes from and how it is held in memory."""
        dtype = "bfloat16" if self.bf16 else "float16" if self.fp16 else self.infer_dtype
        return replace(super().source, dtype=dtype, quantization_bit=self.quantization_bit)

    @property
    def output_path(self) -> Path:
        """The predictions file, or the folder for several of them."""
        if self.output is not None:
            return Path(self.output)
        if self.checkpoints is not None:
            return Path(self.checkpoints) / "predictions"
        folder = Path(self.output_dir or ".")
        return folder if len(self.cutoff_len) > 1 else folder / PREDICTIONS


def _problems_of_several_files(given: Mapping[str, Any]) -> Iterator[str]:
    """Say what `checkpoints` and several lengths, a file for each, do not go with."""
    lengths, output = given.get("cutoff_len", []), given.get("output")
    if len(set(lengths)) < len(lengths):
        yield "cutoff_len names a length twice"
    if "checkpoints" in given and len(lengths) > 1:
        yield "several lengths do not go with checkpoints; study one of them at a time"
    if "checkpoints" not in given and len(lengths) < 2:
        return
    if given.get("input") == "-":
        yield "input=- can be read only once, and checkpoints and several lengths read it again"
    if output == "-":
        yield "output=- is one stream; name a folder for the files"
    elif output and (Path(output).is_file() or Path(output).suffix in (".json", ".jsonl")):
        yield f"output={output} must be a folder: each checkpoint or length gets its own file"
