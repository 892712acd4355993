"""Load a causal language model, its tokenizer and its adapter, ready to be scored."""

import platform
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from llamafactory_emotion import __version__
from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.scoring.loading import (
    DTYPES,
    ModelSource,
    as_model_error,
    check_source,
    device_of,
    hub_options,
    loading_options,
    quiet_loading,
)
from llamafactory_emotion.scoring.templates import saved_chat_template

# The packages whose arithmetic a score depends on.
_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy")


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with its tokenizer, and the names of base and adapter.

    An adapter is merged into `model`, or injected in its layers and held by `peft_model`.
    """

    model: Any
    tokenizer: Any
    peft_model: Any
    base: str
    adapter: str | None
    adapter_parameters: int | None = None
    is_head: bool = False

    @property
    def max_positions(self) -> int | None:
        """The most tokens the model can read, or None."""
        return max_positions(self.model)

    def check_ids(self, ids: Iterable[Sequence[int]]) -> None:
        """Check that the model has an embedding for every token."""
        rows = self.model.get_input_embeddings().weight.shape[0]
        highest = max((max(one) for one in ids if one), default=0)
        if highest >= rows:
            raise ModelError(
                f"the tokenizer of {self.base} gives the token {highest} and the model has rows "
                f"for {rows} alone; put the model's own tokenizer into its folder."
            )


def max_positions(model: Any) -> int | None:
    """Return the most tokens a model can read, or None when its configuration names no limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def load_model(source: ModelSource, *, merge: bool = True) -> LoadedModel:
    """Load a model, its tokenizer and its adapter, which is merged where that is exact."""
    source = with_base(source)
    tokenizer = load_tokenizer(source)
    model, missing = load_weights(AutoModelForCausalLM, source, read_config(source))
    remedy = "name a model that was trained to write text"
    check_complete(source.model, missing, of="a language model", remedy=remedy)
    if source.adapter is None:
        return LoadedModel(model, tokenizer, None, source.model, None)
    peft_model, numbers = attach_adapter(model, source)
    model = peft_model.get_base_model().eval()
    loaded = LoadedModel(model, tokenizer, peft_model, source.model, source.adapter, numbers)
    return merge_adapter(loaded) if merge else loaded


def stored_dtype(source: ModelSource) -> str:
    """Return the type that a checkpoint's weights are stored in."""
    name = str(read_config(with_base(source)).get_text_config().dtype).removeprefix("torch.")
    return name if name in DTYPES else "float32"


def read_config(source: ModelSource, folder: str | None = None) -> Any:
    """Read a model's configuration, or the one in another folder."""
    with as_model_error(f"the model {source.model} cannot be loaded"):
        return AutoConfig.from_pretrained(folder or source.model, **hub_options(source))


def with_base(source: ModelSource) -> ModelSource:
    """Check a source; for an adapter's folder name the base model, which is checked too."""
    check_source(source)
    name, folder = source.model, Path(source.model)
    is_adapter = (folder / "adapter_config.json").is_file()
    if not is_adapter and (not folder.is_dir() or (folder / "config.json").is_file()):
        return source
    if not is_adapter:
        raise ModelError(
            f"{name} holds neither config.json nor adapter_config.json, so it is no model "
            "folder; name the folder that training or export wrote."
        )
    if source.adapter is not None:
        raise ModelError(f"{name} is an adapter and so is {source.adapter}; name the base model.")
    base = read_adapter(name, source).base_model_name_or_path
    if not base:
        raise ModelError(f"the adapter {name} does not name its base model; name it yourself.")
    found = replace(source, model=str(base), adapter=name)
    check_source(found)
    return found


def read_adapter(adapter: str, source: ModelSource) -> Any:
    """Read an adapter's `PeftConfig`."""
    from peft import PeftConfig

    with as_model_error(f"the adapter {adapter} cannot be read"):
        return PeftConfig.from_pretrained(adapter, token=source.token, cache_dir=source.cache_dir)


def load_tokenizer(source: ModelSource) -> Any:
    """Load a model's tokenizer, with the chat template that its adapter was trained with."""
    with as_model_error(f"the tokenizer of {source.model} cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(source.model, **hub_options(source))
    # LLaMA-Factory writes the template it trained with beside the adapter.
    if (trained := saved_chat_template(source.adapter)) is not None:
        tokenizer.chat_template = trained
    return tokenizer


def load_weights(kind: Any, source: ModelSource, config: Any) -> tuple[Any, list[str]]:
    """Load a model with one of transformers' Auto classes, in evaluation mode.

    Returns:
        The model, and the names of the weights that the checkpoint lacks.
    """
    device = device_of(source)
    options = loading_options(source, config, device)
    with as_model_error(f"the model {source.model} cannot be loaded"), quiet_loading():
        model, found = kind.from_pretrained(
            source.model, config=config, output_loading_info=True, **options
        )
    if "device_map" not in options:
        model = model.to(device)
    return model.eval(), sorted(found["missing_keys"])


def check_complete(name: str, missing: Sequence[str], *, of: str, remedy: str) -> None:
    """Refuse a checkpoint that lacks weights: transformers fills them with random numbers."""
    if missing:
        raise ModelError(
            f"{name} lacks {len(missing)} weights of {of} ({missing[0]}, ...), which would be "
            f"random; {remedy}."
        )


def merge_adapter(loaded: LoadedModel, *, rounded: bool = False) -> LoadedModel:
    """Merge an adapter into the weights of its model where that is exact.

    In float32 probabilities stay the same within 1e-5, and each layer costs one multiplication
    instead of three. Half precision would round the sum, so such a model keeps its adapter beside
    its weights unless `rounded` (as LLaMA-Factory merges), and so does a quantised one.
    """
    model = loaded.model
    quantized = getattr(model, "quantization_method", None) is not None
    exact = model.dtype == torch.float32 and not quantized
    if loaded.peft_model is None or not (exact or rounded):
        return loaded
    _untie_adapted(model)
    with as_model_error(f"the adapter {loaded.adapter} cannot be merged into {loaded.base}"):
        merged = loaded.peft_model.merge_and_unload()
    return replace(loaded, model=merged.eval(), peft_model=None)


def _untie_adapted(model: Any) -> None:
    """Copy the output layer's weights where input and output share them and one has an adapter.

    Merging it into one of the two would change the other as well.
    """
    config = model.config.get_text_config()
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    adapted = any(type(layer).__module__.startswith("peft") for layer in (inputs, outputs))
    if outputs is None or not (adapted and config.tie_word_embeddings):
        return
    shared = {id(weight) for weight in inputs.parameters()}
    for module in outputs.modules():
        weight = module._parameters.get("weight")
        if id(weight) in shared:
            module.weight = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)
    config.tie_word_embeddings = False


def attach_adapter(model: Any, source: ModelSource) -> tuple[Any, int]:
    """Put a source's adapter on its model; return peft's wrapper and how many numbers that has."""
    from peft import PeftModel

    adapter = str(source.adapter)
    config = read_adapter(adapter, source)
    if config.is_prompt_learning:
        raise ModelError(
            f"the adapter {adapter} is of the kind {config.peft_type}, which puts learned tokens "
            "before the prompt; name an adapter of the weights (LoRA and its relatives)."
        )
    options = {"token": source.token, "cache_dir": source.cache_dir}
    misfit = f"the adapter {adapter} does not fit the base model {source.model}"
    with as_model_error(misfit), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for training; missing weights are checked below
        peft_model = PeftModel.from_pretrained(model, adapter, config=config, **options)
    return peft_model, _count_used(peft_model, adapter, misfit, options)


def _count_used(peft_model: Any, adapter: str, misfit: str, options: dict[str, Any]) -> int:
    """Count an adapter's numbers; refuse weights that peft drops or leaves at their start."""
    from peft import get_peft_model_state_dict
    from peft.utils import load_peft_weights

    stored = load_peft_weights(adapter, device="cpu", **options)
    used = set(get_peft_model_state_dict(peft_model, save_embedding_layers=False))
    prefix = getattr(peft_model.base_model, "prefix", "lora_")
    unused = sorted(name for name in stored.keys() - used if prefix in name)
    if unused:
        raise ModelError(
            f"{misfit}: {len(unused)} of its {len(stored)} weights have no layer "
            f"({unused[0]}, ...); name the base model that it was trained on."
        )
    if any(prefix in name for name in used - stored.keys()):
        raise ModelError(
            f"{misfit}: some layers have no weights; name the base that it was trained on."
        )
    return sum(weight.numel() for weight in stored.values())


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and those whose arithmetic counts."""
    ours = {"python": platform.python_version(), "llamafactory_emotion": __version__}
    return ours | {package: version(package) for package in _PACKAGES}


def hardware(model: torch.nn.Module) -> str:
    """Name the GPUs that a model lies on, or the processor and the threads torch uses of it."""
    gpus = {weight.device for weight in model.parameters() if weight.device.type == "cuda"}
    if gpus:
        names = Counter(torch.cuda.get_device_name(gpu) for gpu in gpus)
        return ", ".join(name if n == 1 else f"{n} x {name}" for name, n in names.items())
    known = Path("/proc/cpuinfo")
    text = known.read_text(encoding="utf-8", errors="replace") if known.is_file() else ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    processor = named[1] if named else platform.processor() or platform.machine()
    return f"{processor}, {torch.get_num_threads()} threads"
