"""What a call of `export_classifier` asks for: its keys, checked, all problems in one message.

Stands on `predicting.options`, whose grammar it shares: the keys of a training or merging recipe
that do not matter here are passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import real_place
from llamafactory_emotion.options import Call
from llamafactory_emotion.predict.options import below_one, model_problems, typed_values
from llamafactory_emotion.scoring.sources import ModelSource
from llamafactory_emotion.scoring.templates import EMOTION_TEMPLATE
from llamafactory_emotion.task import EMOTION

# What predict can do to scores and a head cannot.
_NO_HEAD = ("normalize", "calibrate", "generate", "log_likelihoods")
# What the call reads: none of it may lie in a folder that is replaced.
_READ = (
    "model_name_or_path",
    "adapter_name_or_path",
    "verify",
    "few_shot",
    "evaluation",
    "task",
)
_EXPORTED = (
    ".gitattributes",
    "README.md",
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class ExportOptions:
    """The keys that `export_classifier` follows; those of LLaMA-Factory first.

    Attributes:
        model_name_or_path: The model.
        adapter_name_or_path: A LoRA adapter for it, which is merged.
        template: `emotion`, or another one for the model's chat template.
        cutoff_len: The longest prompt and answer in tokens; the folder's tokenizer keeps it.
        infer_dtype: The type of the weights in the folder; `auto` keeps the checkpoint's.
        use_cpu: Run on the CPU even where there is a GPU.
        flash_attn: `auto`, `disabled`, `sdpa` or `fa2`, for the check.
        model_revision: The hub revision.
        cache_dir: Where downloads are kept.
        hf_hub_token: The hub token.
        trust_remote_code: Run code that comes with the model.
        seed: Of the draw of examples.
        task: A built-in task or a task's YAML file.
        few_shot: A labelled file to draw examples from; they become a part of the prompt.
        shots: How many examples of each label.
        output: The folder to write.
        verify: A file of texts on which the folder must give what `predict` gives.
        text_column: The column of its texts.
        tolerance: The largest difference of a probability there; what float32 rounds unless given.
        evaluation: What `evaluate --json` wrote, for the card.
        device: `cpu`, `cuda`, `cuda:1`, ...
        overwrite: Replace a model folder that exists.
    """

    model_name_or_path: str
    output: str
    adapter_name_or_path: str | None = None
    template: str = EMOTION_TEMPLATE
    cutoff_len: int = 2048
    infer_dtype: str = "auto"
    use_cpu: bool = False
    flash_attn: str = "auto"
    model_revision: str = "main"
    cache_dir: str | None = None
    hf_hub_token: str | None = None
    trust_remote_code: bool = False
    seed: int = 42
    task: str = EMOTION.name
    few_shot: str | None = None
    shots: int = 1
    verify: str | None = None
    text_column: str | None = None
    tolerance: str | None = None
    evaluation: str | None = None
    device: str | None = None
    overwrite: bool = False

    @property
    def source(self) -> ModelSource:
        """Where the model comes from and how it is held."""
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
    def allowed(self) -> float | None:
        """The largest difference of a probability on the rows to verify, where it was given."""
        return None if self.tolerance is None else float(self.tolerance)


def read_options(call: Call) -> ExportOptions:
    """Check a call's keys and values.

    Raises:
        CallError: Lists everything that is wrong.
    """
    values = {key: value for key, value in call.values.items() if value is not None}
    known = {key: value for key, value in values.items() if key not in _NO_HEAD}
    taken, problems = typed_values(Call(known, call.recipe), ExportOptions)
    problems += _contradictions(values)
    if problems:
        raise CallError("; ".join(problems) + ".")
    return ExportOptions(**taken)


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    yield from model_problems(values)
    if "output" not in values:
        yield "output is missing: name the folder to write"
    yield from (
        f"{key} cannot be put into a classifier's head; remove it, or use predict"
        for key in _NO_HEAD
        if values.get(key) not in (None, False, "none")
    )
    if values.get("quantization_bit"):
        yield "quantization_bit cannot be exported; name the base model and the adapter without it"
    yield from below_one(values, ("cutoff_len", "shots"))
    if "tolerance" in values and not _is_share(values["tolerance"]):
        yield f"tolerance={values['tolerance']} must be a number above 0 and below 1"
    yield from _bad_output(values)


def _is_share(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and 0 < float(value) < 1
    except (TypeError, ValueError):
        return False


def _bad_output(values: Mapping[str, Any]) -> Iterator[str]:
    """Refuse an output that would take something else away."""
    if not isinstance(values.get("output"), str):
        return
    output = Path(values["output"])
    for key in _READ:
        read = values.get(key)
        if not isinstance(read, str) or not Path(read).exists():
            continue
        if real_place(read).is_relative_to(real_place(output)):
            yield f"output={output} would write over {key}={read}; name another folder"
    if values.get("overwrite") is True and output.is_dir():
        foreign = sorted(place.name for place in output.iterdir() if not _is_exported(place))
        if foreign:
            yield (
                f"output={output} holds {foreign[0]}, which no export writes, so the folder is not "
                "replaced; name another one"
            )


def _is_exported(place: Path) -> bool:
    """Whether a file is one that an export, or a push of it to a hub, leaves in its folder."""
    return place.is_file() and any(fnmatch(place.name, pattern) for pattern in _EXPORTED)
