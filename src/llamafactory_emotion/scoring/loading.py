"""Where a model comes from and how it is held in memory: what every loader needs.

Light to import: torch, transformers and the hub's client are imported when they are needed. What
they raise becomes one sentence (`as_model_error`).
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llamafactory_emotion.errors import CallError, EmotionError, ModelError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
# LLaMA-Factory's names for what transformers calls the attention implementation.
_ATTENTION = {"auto": None, "disabled": "eager", "sdpa": "sdpa", "fa2": "flash_attention_2"}
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_HUB_SECONDS = 5.0
# What of a file of weights is read to know it again: all of a small one.
_SAMPLES, _SAMPLE_BYTES = 2_048, 8_192
_GATED = "it is gated"
# Errors without a connection: httpx's, and those of requests, which huggingface_hub 0.x has.
_UNREACHABLE = ("ConnectError", "ConnectTimeout", "ConnectionError")


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from and how it is held in memory.

    Attributes:
        model: A folder or hub id. A folder that holds only an adapter means the base model that
            the adapter names, with the adapter on top.
        dtype: `auto` is float32 on a CPU and the checkpoint's own type on a GPU.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` spreads the model over all GPUs; None takes
            the first GPU if there is one.
        quantization_bit: 8 or 4 to load through bitsandbytes.
        attention: LLaMA-Factory's `flash_attn`.
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


def is_path(name: str) -> bool:
    """Whether a name is a folder's: a hub id has one slash at most and no dots in front."""
    return Path(name).is_absolute() or name.startswith((".", "~", "saves/")) or name.count("/") > 1


def check_source(source: ModelSource) -> None:
    """Check that model and adapter exist; the libraries would retry for a minute first."""
    parts = [("model", source.model, source.revision, "config.json")]
    if source.adapter is not None:
        parts.append(("adapter", source.adapter, "main", "adapter_config.json"))
    for what, name, revision, file in parts:
        if Path(name).is_dir():
            continue
        if is_path(name):
            raise ModelError(f"the {what} folder {name} is not there; check the path.")
        _check_on_hub(what, name, revision, file, source.token, source.cache_dir)


@cache  # a model is checked once; an error is not cached, so a second try asks again
def _check_on_hub(
    what: str, name: str, revision: str, file: str, token: str | None, cache_dir: str | None
) -> None:
    problem = hub_problem(
        name, revision=revision, token=token, cache_dir=cache_dir, file=file, patient=True
    )
    if problem == _GATED:
        raise ModelError(
            f"the {what} {name} is gated: accept its terms on the hub, and give your token with "
            "`hf auth login` or hf_hub_token."
        )
    if problem is not None:
        raise ModelError(
            f"{name} is no folder here, and {problem}; check the path, or name a folder that has "
            f"the {what}."
        )


def hub_problem(
    name: str,
    *,
    revision: str = "main",
    token: str | None = None,
    cache_dir: str | None = None,
    file: str = "config.json",
    patient: bool = False,
) -> str | None:
    """Ask the hub, for a few seconds, why a model cannot be read; None when it can be.

    If `file` is in the cache the hub is not asked. With `patient`, slow answers and errors of the
    hub's own, which may pass, are no reason.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    answers = {
        GatedRepoError: _GATED,  # before its parent
        RepositoryNotFoundError: "the hub has no such model, or it is private",
        RevisionNotFoundError: "the hub's model has no such revision",
        HFValidationError: "the hub has no such model: this is no id of one",
    }
    api = HfApi(token=token)
    try:
        cached = try_to_load_from_cache(name, file, cache_dir=cache_dir, revision=revision)
        if not isinstance(cached, str):
            api.model_info(name, revision=revision, timeout=_HUB_SECONDS)
            api.auth_check(name)
    except (HTTPError, OSError, HFValidationError) as error:
        for kind, answer in answers.items():
            if isinstance(error, kind):
                return answer
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if patient and kinds.isdisjoint(_UNREACHABLE):
            return None
        return f"the hub cannot be reached ({type(error).__name__})"
    return None


def folder_with(names: Sequence[str], name: str | None, source: ModelSource) -> str | None:
    """Return a model's folder; for a hub id, one with those of its files that have these names."""
    if name is None or is_path(name) or Path(name).exists():
        return name
    from httpx import HTTPError
    from huggingface_hub import snapshot_download

    revision = source.revision if name == source.model else "main"
    # What is wrong with the id is said when the model is loaded.
    with quiet_loading(), suppress(OSError, ValueError, HTTPError):
        return snapshot_download(
            name,
            revision=revision,
            cache_dir=source.cache_dir,
            token=source.token,
            allow_patterns=list(names),
            etag_timeout=_HUB_SECONDS,
        )
    return name


def fingerprint(name: str | None) -> str | None:
    """Compute a digest that tells a folder's weights from another training's; None for a hub id.

    Names, sizes and samples all along the files are read (16 MiB of each), so that another layer
    anywhere is seen and a model of 16 GB costs little.
    """
    if name is None or not Path(name).is_dir():
        return None
    digest = sha256()
    for pattern in ("*.safetensors", "*.bin", "*config.json"):
        for path in sorted(Path(name).glob(pattern)):
            size = path.stat().st_size
            digest.update(f"{path.name} {size} ".encode())
            step = max(_SAMPLE_BYTES, size // _SAMPLES)
            with path.open("rb") as file:
                for start in (*range(0, size, step), max(0, size - _SAMPLE_BYTES)):
                    file.seek(start)
                    digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def find_checkpoints(folder: Path) -> dict[int, Path]:
    """Find the checkpoints in a training run's folder, by step in ascending order."""
    if not folder.is_dir():
        return {}
    found = ((_CHECKPOINT.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match and path.is_dir()))


def device_of(source: ModelSource) -> str:
    """Return the device that a model goes to."""
    import torch

    if source.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if source.device.startswith("cuda") and not torch.cuda.is_available():
        raise CallError(f"device={source.device}, and torch sees no GPU; leave the key out.")
    try:
        torch.empty(0, device=None if source.device == "auto" else source.device)
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise CallError(
            f"device={source.device} is none that torch has here; write cpu, cuda, cuda:1 or auto."
        ) from error
    return source.device


def hub_options(source: ModelSource) -> dict[str, Any]:
    """Return the keywords of `from_pretrained` that say where something comes from."""
    return {
        "revision": source.revision,
        "cache_dir": source.cache_dir,
        "token": source.token,
        "trust_remote_code": source.trust_remote_code,
    }


def loading_options(source: ModelSource, config: Any, device: str) -> dict[str, Any]:
    """Return the keywords of `from_pretrained` for a model."""
    options = hub_options(source)
    options["dtype"] = _dtype(source, config, device)
    if _ATTENTION[source.attention] is not None:
        options["attn_implementation"] = _ATTENTION[source.attention]
    if source.quantization_bit is not None:
        options["quantization_config"] = quantization(source.quantization_bit, options["dtype"])
    if device == "auto" or source.quantization_bit is not None:
        options["device_map"] = "auto" if device in ("auto", "cuda") else {"": device}
    return options


def _dtype(source: ModelSource, config: Any, device: str) -> "torch.dtype":
    import torch

    if source.dtype != "auto":
        return cast("torch.dtype", getattr(torch, source.dtype))
    stored = config.get_text_config().dtype
    if device == "cpu" or stored is None:
        return torch.float32
    cuda = torch.cuda
    if stored == torch.bfloat16 and cuda.is_available() and not cuda.is_bf16_supported():
        return torch.float16
    return cast("torch.dtype", stored)


def quantization(bits: int, compute_dtype: "torch.dtype", *, whole: Sequence[str] = ()) -> Any:
    """Return transformers' setting to hold a model in 8 or 4 bits, all but the modules `whole`."""
    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise CallError(
            f"quantization_bit {bits} needs bitsandbytes; "
            "install it with pip install 'llamafactory-emotion[bnb]'."
        )
    return BitsAndBytesConfig(
        load_in_8bit=bits == 8,
        load_in_4bit=bits == 4,
        bnb_4bit_compute_dtype=compute_dtype,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_quant_type="nf4",
        llm_int8_skip_modules=list(whole) or None,
    )


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide transformers' progress bars and warnings: missing weights are checked by the caller."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


@contextmanager
def as_model_error(what: str) -> Iterator[None]:
    """Raise what a library says while it reads something as a `ModelError` of one sentence."""
    try:
        yield
    except EmotionError:
        raise
    except Exception as error:  # for a broken file safetensors and tokenizers raise no better
        if "weights_only" in str(error):  # torch goes on to advise how to run it
            raise ModelError(
                f"{what}: its weights are a pickle that holds code, which is not run; save them as "
                "safetensors."
            ) from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2])[:300].rstrip(".") if lines else type(error).__name__
        raise ModelError(f"{what}: {reason}.") from error
