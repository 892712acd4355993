"""What a call of `predict` asks for: its keys, checked, with every problem in one message.

Stands below `predict`, above `recipes`. Keys of LLaMA-Factory that do not matter here are passed
over, so that a training or prediction recipe can be given as it is; those that would change what
the model computes, and are not done here, are refused.
"""

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import Call, unknown_keys
from llamafactory_emotion.scoring.sources import ModelSource
from llamafactory_emotion.scoring.templates import EMOTION_TEMPLATE
from llamafactory_emotion.task import EMOTION

_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
_NOT_DONE = (
    "add_special_tokens",
    "add_tokens",
    "default_system",
    "new_special_tokens",
    "resize_vocab",
    "rope_scaling",
    "train_from_scratch",
)
_COUNTS = ("max_samples", "max_new_tokens", "chunk_rows", "cutoff_len", "shots")
# LLaMA-Factory takes a list here as well as text with commas.
_NAMES = "eval_dataset"
PREDICTIONS = "generated_predictions.jsonl"


@dataclass(frozen=True)
class PredictOptions:
    """The keys that `predict` follows; those of LLaMA-Factory first.

    Attributes:
        model_name_or_path: The model.
        adapter_name_or_path: A LoRA adapter for it.
        template: `emotion`, or another one for the model's chat template.
        dataset_dir: The folder of `dataset_info.json`.
        eval_dataset: Data sets to predict, by name.
        cutoff_len: The longest prompt and answer in tokens; for several see `length_study`.
        max_samples: Predict the first rows alone.
        output_dir: Where predictions go when `output` is not given.
        max_new_tokens: The longest answer when generating; None for 8, or more where a label is.
        quantization_bit: 8 or 4.
        infer_dtype: `auto`, `float32`, `bfloat16` or `float16`.
        bf16: The same as `infer_dtype=bfloat16`.
        fp16: The same as `infer_dtype=float16`.
        use_cpu: Run on the CPU even where there is a GPU.
        flash_attn: `auto`, `disabled`, `sdpa` or `fa2`.
        model_revision: The hub revision.
        cache_dir: Where downloads are kept.
        hf_hub_token: The hub token.
        trust_remote_code: Run code that comes with the model.
        seed: Of the draw of examples.
        input: A file of texts, or `-`.
        output: The predictions file, or `-`.
        text_column: The column of the texts.
        label_column: The column of the gold labels.
        task: A built-in task or a task's YAML file.
        few_shot: A labelled file to draw examples from.
        shots: How many examples of each label.
        checkpoints: A training run's folder: predict with each checkpoint in it.
        generate: Write free answers instead of scored labels.
        normalize: `none`, `tokens` or `bytes`.
        calibrate: Even out what inputs without content would get.
        log_likelihoods: Write the labels' log-likelihoods too.
        margin: Write by how much the best label leads.
        tokens_per_batch: The most tokens of texts in one forward pass.
        chunk_rows: The most rows between two writes.
        device: `cpu`, `cuda`, `cuda:1`, ..., `auto`.
        resume: Go on with a file that a killed run left.
        overwrite: Replace a file that exists.
    """

    model_name_or_path: str
    adapter_name_or_path: str | None = None
    template: str = EMOTION_TEMPLATE
    dataset_dir: str = "data"
    eval_dataset: str | None = None
    cutoff_len: int = 2048
    max_samples: int | None = None
    output_dir: str | None = None
    max_new_tokens: int | None = None
    quantization_bit: int | None = None
    infer_dtype: str = "auto"
    bf16: bool = False
    fp16: bool = False
    use_cpu: bool = False
    flash_attn: str = "auto"
    model_revision: str = "main"
    cache_dir: str | None = None
    hf_hub_token: str | None = None
    trust_remote_code: bool = False
    seed: int = 42
    input: str | None = None
    output: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    task: str = EMOTION.name
    few_shot: str | None = None
    shots: int = 1
    checkpoints: str | None = None
    generate: bool = False
    normalize: str = "none"
    calibrate: bool = False
    log_likelihoods: bool = False
    margin: bool = False
    tokens_per_batch: int | None = None
    chunk_rows: int = 1024
    device: str | None = None
    resume: bool = False
    overwrite: bool = False

    @property
    def source(self) -> ModelSource:
        """Where the model comes from and how it is held."""
        dtype = next((name for key, name in _DTYPES.items() if getattr(self, key)), None)
        return ModelSource(
            self.model_name_or_path,
            self.adapter_name_or_path,
            dtype=dtype or self.infer_dtype,
            device="cpu" if self.use_cpu else self.device,
            quantization_bit=self.quantization_bit,
            attention=self.flash_attn,
            revision=self.model_revision,
            cache_dir=self.cache_dir,
            token=self.hf_hub_token,
            trust_remote_code=self.trust_remote_code,
        )

    @property
    def place(self) -> str:
        """Where the predictions go; with `checkpoints` the folder for all of them."""
        if self.output is not None:
            return self.output
        if self.checkpoints is not None:
            return str(Path(self.checkpoints) / "predictions")
        return str(Path(self.output_dir or ".") / PREDICTIONS)


def read_options(call: Call) -> PredictOptions:
    """Check a call's keys and values.

    Raises:
        CallError: Lists everything that is wrong.
    """
    call = Call(_with_joined_names(call.values), call.recipe)
    taken, problems = typed_values(call, PredictOptions)
    problems += _contradictions({k: v for k, v in call.values.items() if v is not None})
    if problems:
        raise CallError("; ".join(problems) + ".")
    return PredictOptions(**taken)


def names_a_file(output: Path) -> bool:
    """Whether an output that must be a folder is a file, or is called like one."""
    return output.is_file() or output.suffix in (".json", ".jsonl")


def _with_joined_names(values: Mapping[str, Any]) -> dict[str, Any]:
    names = values.get(_NAMES)
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return {**values, _NAMES: ",".join(names)}
    return dict(values)


def typed_values(call: Call, options: type) -> tuple[dict[str, Any], list[str]]:
    """Give a call's values for the fields of a dataclass of options, and what is wrong with them.

    Keys of LLaMA-Factory's that are no field are passed over.
    """
    kinds = get_type_hints(options)
    own = {field.name for field in fields(options)}
    problems = unknown_keys(call.values, own)
    taken = {}
    for key, value in call.values.items():
        if key in own and value is not None:
            taken[key] = _typed(value, kinds[key])
            if taken[key] is None:
                problems.append(f"{key}={value!r} is not {_named(kinds[key])}")
    return taken, problems


def model_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the keys that name a model and the examples in its prompt."""
    if "model_name_or_path" not in values:
        yield "model_name_or_path is missing: name the model's folder or hub id"
    if "," in str(values.get("adapter_name_or_path", "")):
        yield "adapter_name_or_path names several adapters; merge them first"
    if "shots" in values and "few_shot" not in values:
        yield "shots needs few_shot=FILE, the examples' file"
    yield from (
        f"{key} is not followed here and would change the result; remove it, or predict with "
        "LLaMA-Factory"
        for key in _NOT_DONE
        if values.get(key)
    )


def below_one(values: Mapping[str, Any], keys: Iterable[str]) -> Iterator[str]:
    """Say which of the keys that count something are given and not positive."""
    for key in keys:
        if isinstance(values.get(key), int) and values[key] < 1:
            yield f"{key}={values[key]} must be 1 or more"


def _typed(value: Any, kind: Any) -> Any:
    """Give a value as its key's kind, or None when it is not of that kind."""
    wanted = _plain(kind)
    if wanted is str:
        return str(value) if isinstance(value, str | int | float) else None
    if wanted is bool or isinstance(value, bool):
        return value if wanted is bool and isinstance(value, bool) else None
    return value if isinstance(value, int) else None


def _plain(kind: Any) -> type:
    if isinstance(kind, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    plain: type = kind
    return plain


def _named(kind: Any) -> str:
    return {str: "text", int: "a whole number", bool: "true or false"}[_plain(kind)]


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    yield from model_problems(values)
    if not values.keys() & {"output", "output_dir", "checkpoints"}:
        yield "output is missing: name the predictions file, or - for standard output"
    if not values.keys() & {"input", "eval_dataset"}:
        yield "input is missing: name a file of texts, - for standard input, or an eval_dataset"
    yield from _exclusions(values)
    yield from below_one(values, _COUNTS)


def _exclusions(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("stage", "sft") != "sft":
        yield f"stage={values['stage']} has no answers to score; only sft has"
    if values.get("bf16") is True and values.get("fp16") is True:
        yield "bf16 and fp16 exclude each other"
    if values.get("resume") is True and values.get("overwrite") is True:
        yield "resume and overwrite exclude each other"
    if values.get("input") == "-" and "checkpoints" in values:
        yield "input=- can be read only once, and checkpoints reads it for each of them"
    if values.get("output") == "-" and ("checkpoints" in values or values.get("resume") is True):
        yield "output=- is one stream: it can neither be resumed nor hold several checkpoints"
