"""Load a causal language model, its tokenizer and an adapter, ready to be scored.

Stands below `scoring`; imports torch, transformers and peft only when something is loaded. What
those libraries raise is turned into one sentence here.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.errors import CallError, ModelError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
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


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with its tokenizer.

    Attributes:
        model: The transformers model; an adapter is merged into it or injected in its layers.
        tokenizer: The base model's tokenizer; with the adapter's chat template if it has none.
        peft_model: The wrapper that holds unmerged adapters, or None.
        base: The name or path of the base model.
        adapter: The adapter's name or path, or None.
        adapter_parameters: How many numbers the adapter has, or None without one.
    """

    model: Any
    tokenizer: Any
    peft_model: Any
    base: str
    adapter: str | None
    adapter_parameters: int | None = None

    @property
    def max_positions(self) -> int | None:
        """The most tokens the model can read, or None when its configuration names no limit."""
        config = self.model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None)
        return limit if isinstance(limit, int) and limit > 0 else None


def load_model(source: ModelSource, *, merge: bool = True) -> LoadedModel:
    """Load a model, its tokenizer and its adapter.

    Args:
        source: What to load and how.
        merge: Fold the adapter into the weights, as LLaMA-Factory does when it predicts; faster,
            but the adapter cannot be exchanged then. A quantised model is never merged.

    Raises:
        CallError: The device is not there or a package for quantisation is missing.
        ModelError: The model, tokenizer or adapter cannot be read, or they do not fit together.
    """
    base, adapter = _base_and_adapter(source)
    device = _device(source)
    tokenizer = _load_tokenizer(base, adapter, source)
    model = _load_base(base, source, device)
    peft_model = parameters = None
    if adapter is not None:
        peft_model, parameters = _attach(model, base, adapter, source)
        if merge and source.quantization_bit is None and not _adapts_shared_weights(model):
            with _as_model_error(f"the adapter {adapter} cannot be merged into {base}"):
                model, peft_model = peft_model.merge_and_unload(), None
        else:
            model = peft_model.get_base_model()
    return LoadedModel(model.eval(), tokenizer, peft_model, base, adapter, parameters)


def _adapts_shared_weights(model: Any) -> bool:
    """Say whether an adapter sits on an input or output layer that share their weights.

    Merging it into one of them would change the other as well.
    """
    if not model.config.get_text_config().tie_word_embeddings:
        return False
    layers = model.get_input_embeddings(), model.get_output_embeddings()
    return any(type(layer).__module__.startswith("peft") for layer in layers)


def exchange_adapter(loaded: LoadedModel, adapter: str, source: ModelSource) -> LoadedModel:
    """Put another adapter on a model that was loaded with `merge=False` (or without an adapter)."""
    if loaded.peft_model is None:
        base = loaded.model
    else:
        base = loaded.peft_model.unload()
        # peft leaves its mark on an unloaded base and warns of several adapters when it finds it.
        if hasattr(base, "peft_config"):
            del base.peft_config
    peft_model, parameters = _attach(base, loaded.base, adapter, source)
    model = peft_model.get_base_model().eval()
    return LoadedModel(model, loaded.tokenizer, peft_model, loaded.base, adapter, parameters)


def _base_and_adapter(source: ModelSource) -> tuple[str, str | None]:
    folder = Path(source.model)
    if not folder.is_dir():
        if folder.is_absolute() or source.model.startswith((".", "~")):
            raise ModelError(f"the model folder {source.model} is not there; check the path.")
        return source.model, source.adapter
    if (folder / "config.json").is_file():
        return source.model, source.adapter
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{source.model} holds neither config.json nor adapter_config.json, so it is no model "
            "folder; name the folder that training or export wrote."
        )
    if source.adapter is not None:
        raise ModelError(
            f"{source.model} is an adapter and so is {source.adapter}; name the base model."
        )
    return _base_of_adapter(source.model), source.model


def _base_of_adapter(adapter: str) -> str:
    from peft import PeftConfig

    with _as_model_error(f"the adapter {adapter} cannot be read"):
        base = PeftConfig.from_pretrained(adapter).base_model_name_or_path
    if not base:
        raise ModelError(f"the adapter {adapter} does not name its base model; name it yourself.")
    return str(base)


def _device(source: ModelSource) -> str:
    import torch

    if source.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if source.device.startswith("cuda") and not torch.cuda.is_available():
        raise CallError(f"device {source.device} was asked for, but torch sees no GPU.")
    return source.device


def _hub_options(source: ModelSource) -> dict[str, Any]:
    return {
        "revision": source.revision,
        "cache_dir": source.cache_dir,
        "token": source.token,
        "trust_remote_code": source.trust_remote_code,
    }


def _load_tokenizer(base: str, adapter: str | None, source: ModelSource) -> Any:
    from transformers import AutoTokenizer

    with _as_model_error(f"the tokenizer of {base} cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(base, **_hub_options(source))
    saved = adapter is not None and any(Path(adapter).glob("tokenizer*"))
    if saved and not getattr(tokenizer, "chat_template", None):
        with _as_model_error(f"the tokenizer of {adapter} cannot be read"):
            own = AutoTokenizer.from_pretrained(adapter, trust_remote_code=source.trust_remote_code)
        tokenizer.chat_template = getattr(own, "chat_template", None)
    return tokenizer


def _load_base(base: str, source: ModelSource, device: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    options = _hub_options(source)
    with _as_model_error(f"the model {base} cannot be loaded"):
        config = AutoConfig.from_pretrained(base, **options)
        options["dtype"] = _dtype(source, config, device)
        if _ATTENTION[source.attention] is not None:
            options["attn_implementation"] = _ATTENTION[source.attention]
        if source.quantization_bit is not None:
            options["quantization_config"] = _quantization(source.quantization_bit, options)
        if device == "auto" or source.quantization_bit is not None:
            options["device_map"] = "auto" if device in ("auto", "cuda") else {"": device}
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(base, config=config, **options)
        finally:
            if shown:
                logging.enable_progress_bar()
        return model if "device_map" in options else model.to(device)


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


def _quantization(bits: int, options: dict[str, Any]) -> Any:
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
            "bnb_4bit_compute_dtype": options["dtype"],
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_quant_type": "nf4",
        }
    return BitsAndBytesConfig(**settings)


def _attach(model: Any, base: str, adapter: str, source: ModelSource) -> tuple[Any, int]:
    """Put an adapter on a model; give the wrapper and how many numbers the adapter has."""
    from peft import PeftConfig, PeftModel

    if not Path(adapter).is_dir() and Path(adapter).is_absolute():
        raise ModelError(f"the adapter folder {adapter} is not there; check the path.")
    options = {"token": source.token, "cache_dir": source.cache_dir}
    with _as_model_error(f"the adapter {adapter} cannot be read"):
        config = PeftConfig.from_pretrained(adapter, **options)
    if config.is_prompt_learning:
        raise ModelError(
            f"the adapter {adapter} is of the kind {config.peft_type}, which puts learned tokens "
            "before the prompt; only adapters of the weights (LoRA and its relatives) are scored."
        )
    misfit = f"the adapter {adapter} does not fit the base model {base}"
    with _as_model_error(misfit), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        peft_model = PeftModel.from_pretrained(model, adapter, config=config, **options)
    # peft only warns when weights are missing; a half-loaded adapter is a wrong model. What else
    # it warns of is advice for training.
    if any("missing adapter keys" in str(warning.message) for warning in warned):
        raise ModelError(f"{misfit}: it has no weights for some of the model's layers.")
    return peft_model, _count_used(peft_model, base, adapter, options)


def _count_used(peft_model: Any, base: str, adapter: str, options: dict[str, Any]) -> int:
    """Count an adapter's numbers; refuse those for layers the base lacks, which peft drops."""
    from peft import get_peft_model_state_dict
    from peft.utils import load_peft_weights

    stored = load_peft_weights(adapter, device="cpu", **options)
    used = set(get_peft_model_state_dict(peft_model, save_embedding_layers=False))
    unused = sorted(name for name in set(stored) - used if "lora_" in name)
    if unused:
        raise ModelError(
            f"the adapter {adapter} does not fit the base model {base}: {len(unused)} of its "
            f"{len(stored)} weights find no place ({unused[0]}, ...); name the base model that it "
            "was trained on."
        )
    return sum(weight.numel() for weight in stored.values())


@contextmanager
def _as_model_error(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2])[:300].rstrip(".") if lines else type(error).__name__
        raise ModelError(f"{what}: {reason}.") from error
