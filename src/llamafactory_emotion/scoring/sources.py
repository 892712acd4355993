"""Say where a model comes from and how it is held in memory: what every loader needs.

Stands below `models` and `head_models`; imports torch and transformers only when something is
loaded. What those libraries raise is turned into one sentence here.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.errors import CallError, EmotionError, ModelError
from llamafactory_emotion.scoring.places import check_place

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_ATTENTION = {"auto": None, "disabled": "eager", "sdpa": "sdpa", "fa2": "flash_attention_2"}


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from and how it is held in memory.

    Attributes:
        model: A folder or the id of a model on the hub. A folder that holds only an adapter stands
            for the base model that the adapter names, with the adapter on top.
        adapter: The folder or id of a LoRA adapter, or None.
        dtype: `auto`, `float32`, `bfloat16` or `float16`. `auto` is float32 on a CPU and the
            checkpoint's own type on a GPU.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` spreads the model over all GPUs; None takes
            the first GPU if there is one.
        quantization_bit: 8 or 4 to load through bitsandbytes, or None.
        attention: LLaMA-Factory's `flash_attn`: `auto`, `disabled`, `sdpa` or `fa2`.
        revision: The hub revision.
        cache_dir: Where downloads are kept.
        token: The hub token.
        trust_remote_code: Run model code that comes with the checkpoint. Off unless asked for.
    """

    model: str
    adapter: str | None = None
    dtype: str = "auto"
    device: str | None = None
    quantization_bit: int | None = None
    attention: str = "auto"
    revision: str = "main"
    cache_dir: str | None = None
    token: str | None = field(default=None, repr=False)
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.dtype not in DTYPES:
            problems.append(f"dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        if self.quantization_bit not in (None, 4, 8):
            problems.append(f"quantization_bit {self.quantization_bit!r} is neither 4 nor 8")
        if self.attention not in _ATTENTION:
            problems.append(f"flash_attn {self.attention!r} is none of {', '.join(_ATTENTION)}")
        if problems:
            raise CallError("; ".join(problems) + ".")


def take_source(model: str, adapter: str | None, options: dict[str, Any]) -> ModelSource:
    """Take a source's own keywords out of `options` and give the source; the others stay."""
    names = ModelSource.__dataclass_fields__
    own = {key: options.pop(key) for key in list(options) if key in names}
    return ModelSource(model, adapter, **own)


def device_of(source: ModelSource) -> str:
    """Give the device a model goes to.

    Raises:
        CallError: A GPU was asked for and none is there.
    """
    import torch

    if source.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if source.device.startswith("cuda") and not torch.cuda.is_available():
        raise CallError(f"device {source.device} was asked for, but torch sees no GPU.")
    return source.device


def hub_options(source: ModelSource) -> dict[str, Any]:
    """Give the keywords that say where something of the hub comes from."""
    return {
        "revision": source.revision,
        "cache_dir": source.cache_dir,
        "token": source.token,
        "trust_remote_code": source.trust_remote_code,
    }


def check_source(source: ModelSource) -> None:
    """Refuse a source whose model or adapter is nowhere.

    Raises:
        ModelError: Says which, and where it was looked for.
    """
    token, cache_dir = source.token, source.cache_dir
    check_place(source.model, revision=source.revision, token=token, cache_dir=cache_dir)
    if source.adapter is not None:
        check_place(source.adapter, what="adapter", token=token, cache_dir=cache_dir)


def loading_options(source: ModelSource, config: Any, device: str) -> dict[str, Any]:
    """Give the keywords that a model is loaded with; `device_map` is one where it places itself."""
    options = hub_options(source)
    options["dtype"] = _dtype(source, config, device)
    if _ATTENTION[source.attention] is not None:
        options["attn_implementation"] = _ATTENTION[source.attention]
    if source.quantization_bit is not None:
        options["quantization_config"] = quantization(source.quantization_bit, options["dtype"])
    if device == "auto" or source.quantization_bit is not None:
        options["device_map"] = "auto" if device in ("auto", "cuda") else {"": device}
    return options


@contextmanager
def quiet_loading(*, warnings: bool = True) -> Iterator[None]:
    """Load without progress bars; without `warnings` where the caller checks what is missing."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    if not warnings:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _dtype(source: ModelSource, config: Any, device: str) -> "torch.dtype":
    import torch

    if source.dtype != "auto":
        chosen: torch.dtype = getattr(torch, source.dtype)
        return chosen
    if device == "cpu":
        return torch.float32
    stored = getattr(config.get_text_config(), "dtype", None) or torch.float32
    if (
        stored == torch.bfloat16
        and torch.cuda.is_available()
        and not torch.cuda.is_bf16_supported()
    ):
        return torch.float16
    return stored if isinstance(stored, torch.dtype) else torch.float32


def stored_dtype(base: str, source: ModelSource) -> str:
    """Give the type that a checkpoint's weights are stored in.

    Raises:
        ModelError: Its configuration cannot be read.
    """
    from transformers import AutoConfig

    with as_model_error(f"the model {base} cannot be loaded"):
        config = AutoConfig.from_pretrained(base, **hub_options(source))
    name = str(getattr(config.get_text_config(), "dtype", None)).removeprefix("torch.")
    return name if name in DTYPES else "float32"


def quantization(bits: int, compute_dtype: "torch.dtype", *, whole: Sequence[str] = ()) -> Any:
    """Give the setting that holds a model in 8 or 4 bits.

    Args:
        bits: 8 or 4.
        compute_dtype: What 4-bit weights are computed in.
        whole: Names of modules that stay as they are.

    Raises:
        CallError: bitsandbytes is not installed.
    """
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise CallError(
            f"quantization_bit {bits} needs bitsandbytes; "
            "install it with pip install 'llamafactory-emotion[bnb]'."
        )
    settings: dict[str, Any] = {"load_in_8bit": True}
    if bits == 4:
        settings = {
            "load_in_4bit": True,
            "bnb_4bit_compute_dtype": compute_dtype,
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_quant_type": "nf4",
        }
    return BitsAndBytesConfig(**settings, llm_int8_skip_modules=list(whole) or None)


def find_checkpoints(folder: Path) -> dict[int, Path]:
    """Give the checkpoints in a training run's folder by their steps, in the order of the steps."""
    if not folder.is_dir():
        return {}
    found = ((_CHECKPOINT.fullmatch(place.name), place) for place in folder.iterdir())
    return dict(sorted((int(m[1]), place) for m, place in found if m and place.is_dir()))


@contextmanager
def as_model_error(what: str) -> Iterator[None]:
    """Turn what the libraries raise while something is read into one sentence.

    For a broken file safetensors and tokenizers raise plain exceptions of their own.
    """
    try:
        yield
    except EmotionError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2])[:300].rstrip(".") if lines else type(error).__name__
        raise ModelError(f"{what}: {reason}.") from error
