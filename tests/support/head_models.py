"""Small bases with random weights for classification heads, rows to train on, and the call."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from random_models import TEXTS, tokenizer_of
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM

from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.__main__ import main

# Sizes that bitsandbytes can repack, as in `random_models`.
_ENCODER = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 130,
    "pad_token_id": 1,
    "initializer_range": 0.2,
}
_DECODER = _ENCODER | {"pad_token_id": None, "bos_token_id": 0, "eos_token_id": 1}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", _ENCODER),
    "roberta": ("RobertaConfig", _ENCODER),
    "distilbert": (
        "DistilBertConfig",
        {"dim": 64, "hidden_dim": 128, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 130},
    ),
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 3, "n_head": 2, "n_positions": 130}),
    "opt": (
        "OPTConfig",
        _DECODER | {"ffn_dim": 128, "word_embed_proj_dim": 64, "pad_token_id": 1},
    ),
    "llama": ("LlamaConfig", _DECODER | {"num_key_value_heads": 1}),
}
DECODERS = ("gpt2", "opt", "llama")
# As few steps as show that something is learned.
QUICK = ("max_steps=3", "per_device_train_batch_size=8", "learning_rate=0.01", "save_strategy=no")


def write_base(folder: Path, kind: str, *, seed: int = 0, auto: Any = None) -> Path:
    """Write a base model as the hub has them: without a head, without a padding token."""
    name, settings = BASES[kind]
    config = getattr(transformers, name)(vocab_size=len(tokenizer_of()), **settings)
    torch.manual_seed(seed)
    auto = auto or (AutoModelForCausalLM if kind in DECODERS else AutoModel)
    auto.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer_of().save_pretrained(folder)
    return folder


def write_rows(path: Path, count: int, *, labels: tuple[str, ...] = EMOTION.labels) -> Path:
    """Write labelled rows: the texts of `TEXTS`, each with a number and a label's name in it."""
    rows = []
    for number in range(count):
        label = labels[number % len(labels)]
        text = f"{TEXTS[number % len(TEXTS)]} {number} {label}"
        rows.append({"text": text, "label": label})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def train(*words: str | Path) -> None:
    assert main([*map(str, words), "use_cpu=true"]) == 0


def refused(capsys: Any, *words: object) -> str:
    """Call the command, which must fail; return its sentence."""
    capsys.readouterr()
    assert main([*map(str, words), "use_cpu=true"]) in (1, 2)
    message: str = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    return message


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")
