"""What a call of `export_classifier` asks for.

The keys of a training or merging recipe that do not matter here are passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from llamafactory_emotion.files import real_place
from llamafactory_emotion.options import key
from llamafactory_emotion.predict.options import ModelOptions
from llamafactory_emotion.scoring.loading import ModelSource

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


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ModelOptions):
    """What a call of `export_classifier` asks for."""

    output: str = key(about="the folder to write", metavar="DIR")
    verify: str | None = key(
        None, about="rows on which the folder must give what predict gives", metavar="FILE"
    )
    tolerance: float | None = key(
        None,
        about="by how much a probability may differ there (default: what float32 rounds)",
        metavar="1e-5",
    )
    evaluation: str | None = key(
        None, about="what evaluate json=FILE wrote, for the model card", metavar="FILE"
    )
    cutoff_len: int = key(2048, about="the longest prompt and answer in tokens", least=1, host=True)

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Accept LLaMA-Factory's keys, and those of `predict` to say why they do not work."""
        return name in _NO_HEAD or super().accepts(name)

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """Say what cannot be exported, and which outputs would take something else away."""
        yield from super().problems(given)
        yield from (
            f"{name} cannot be put into a classifier's head; remove it, or use predict"
            for name in _NO_HEAD
            if given.get(name) not in (None, False, "false", "none")
        )
        if given.get("quantization_bit"):
            yield "quantization_bit cannot be exported; name base model and adapter without it"
        tolerance = given.get("tolerance")
        if tolerance is not None and not 0 < tolerance < 1:
            yield f"tolerance={tolerance} must be a number above 0 and below 1"
        yield from _bad_output(given)

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


def _bad_output(values: Mapping[str, Any]) -> Iterator[str]:
    """Refuse an output that would take something else away."""
    if not isinstance(values.get("output"), str):
        return
    output = Path(values["output"])
    for name in _READ:
        read = values.get(name)
        if not isinstance(read, str) or not Path(read).exists():
            continue
        if real_place(read).is_relative_to(real_place(output)):
            yield f"output={output} would write over {name}={read}; name another folder"
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
