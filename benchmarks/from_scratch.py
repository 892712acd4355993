"""How far does a Llama of 2.2 million parameters come that has read the training texts alone?

    python benchmarks/from_scratch.py --data FOLDER --output saves/from_scratch [--seed 0]

FOLDER holds train.jsonl and test.jsonl. A tiny Llama is made whose first heads look a word or two
back; it reads the training texts without their labels; LLaMA-Factory trains it on the labels with
from_scratch.yaml and writes its greedy answers; `evaluate` judges these beside a tf-idf SVM.
docs/from_scratch.md has what was tried, and the figures.
"""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from recipe_runs import train, write_data
from tiny_llama import build_model, build_tokenizer
from torch.nn.utils import clip_grad_norm_
from transformers import (
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)

from llamafactory_emotion.data.reading import read_rows
from llamafactory_emotion.task import EMOTION

RECIPE = str(Path(__file__).with_suffix(".yaml"))
# glibc gives the large tensors of every step back to the system and asks for them again; keeping
# them makes training on a CPU a sixth faster and changes no figure.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
    "MALLOC_TOP_PAD_": str(2**26),
}
BLOCK_TOKENS, BLOCKS_A_STEP = 128, 8
LEARNING_RATE, WEIGHT_DECAY, WARM_UP_STEPS = 2e-3, 0.1, 50
# How many tokens back the first heads of the first layer look; the last head is left as it is.
LOOK_BACK = (1, 2, 0)
# The attention logit of the token looked at; 20 puts nearly all attention there.
PEAK = 20.0
# Rotary pairs that turn fast enough to tell a token from its neighbour.
PAIRS = 4
# What is left of such a head's random weights, so that words hardly sway where it looks.
REST = 0.1


def main() -> None:
    """Make the model, train it and print how good it is."""
    options = _options()
    os.environ |= KEEP_MEMORY | {"HF_HUB_OFFLINE": "1"}
    data, base, model, answers = (
        options.output / name for name in ("data", "base", "model", "predict")
    )
    rows = {
        split: list(read_rows(options.data / f"{split}.jsonl", EMOTION))
        for split in ("train", "test")
    }
    write_data(data, rows)
    loss = write_base([row.text for row in rows["train"]], base, options.epochs, options.seed)
    print(f"{base}: read {options.epochs} times, a loss of {loss:.2f} nats a token", flush=True)
    train(
        RECIPE,
        f"model_name_or_path={base}",
        f"dataset_dir={data}",
        "dataset=train",
        f"seed={options.seed}",
        f"output_dir={model}",
    )
    train(
        "emotion_predict.yaml",
        f"model_name_or_path={model}",
        f"dataset_dir={data}",
        "eval_dataset=test",
        f"output_dir={answers}",
    )
    command = [sys.executable, "-m", "llamafactory_emotion.evaluate"]
    command += [str(answers / "generated_predictions.jsonl"), "--floor", str(data / "train.jsonl")]
    subprocess.run(command, check=True)


def write_base(texts: list[str], folder: Path, epochs: int, seed: int) -> float:
    """Save a model that looks back and has read the texts; return its loss in nats a token."""
    tokenizer = build_tokenizer(texts)
    model = build_model(tokenizer, seed=seed)
    let_heads_look_back(model)
    loss = read(model, tokenizer, texts, epochs=epochs, seed=seed)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return loss


def read(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    texts: Iterable[str],
    *,
    epochs: int,
    seed: int,
) -> float:
    """Train `model` in place to predict the next token, as every base model has been trained.

    Returns:
        The mean loss of the last epoch in nats a token; lower is better.
    """
    blocks = _blocks(tokenizer, texts)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    steps = epochs * math.ceil(len(blocks) / BLOCKS_A_STEP)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARM_UP_STEPS, steps)
    order = torch.Generator().manual_seed(seed)
    model.train()
    losses: list[float] = [math.nan]
    for _ in range(epochs):
        losses.clear()
        for chosen in torch.randperm(len(blocks), generator=order).split(BLOCKS_A_STEP):
            batch = blocks[chosen]
            loss = model(input_ids=batch, labels=batch).loss
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def _blocks(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> torch.Tensor:
    """Return the texts as one stream of token ids, cut into blocks: nothing is padding."""
    stream: list[int] = []
    for text in texts:
        stream += tokenizer.encode(text, add_special_tokens=True, split_special_tokens=True)
        stream.append(tokenizer.eos_token_id)
    missing = -len(stream) % BLOCK_TOKENS
    # The last block is filled up from the start of the stream, so that all of it is read.
    return torch.tensor(stream + (stream * BLOCK_TOKENS)[:missing]).view(-1, BLOCK_TOKENS)


@torch.no_grad()
def let_heads_look_back(model: LlamaForCausalLM) -> None:
    """Let the first heads of the first layer attend to the token itself, one or two before.

    A head can find a position only by something that every token has: half of an embedding's length
    is put into one coordinate. Compare Trockman and Kolter, "Mimetic Initialization of
    Self-Attention Layers", ICML 2023.
    """
    width = model.config.hidden_size
    embeddings: Any = model.get_input_embeddings().weight
    embeddings[:, 0] = model.config.initializer_range * math.sqrt(width)
    after_the_norm = math.sqrt(width / 2)
    for head, distance in enumerate(LOOK_BACK):
        _look_back(model, head, distance, after_the_norm)


def _look_back(model: LlamaForCausalLM, head: int, distance: int, constant: float) -> None:
    """Let a head attend to the token `distance` positions before.

    Query and key read the constant coordinate alone. Rotary embedding turns pair i of both by the
    position times its frequency; the key is turned on by `distance` times it, so that the product
    peaks where query and key are that far apart.
    """
    attention = model.model.layers[0].self_attn
    size = attention.head_dim
    rows = slice(head * size, (head + 1) * size)
    query, key = attention.q_proj.weight[rows], attention.k_proj.weight[rows]
    query *= REST
    key *= REST
    strength = math.sqrt(PEAK / PAIRS * math.sqrt(size)) / constant
    frequencies = model.model.rotary_emb.inv_freq
    for pair in range(PAIRS):
        angle = distance * float(frequencies[pair])
        query[pair, 0] += strength
        key[pair, 0] += strength * math.cos(angle)
        key[pair + size // 2, 0] += strength * math.sin(angle)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a folder with train.jsonl and test.jsonl")
    add("--output", type=Path, required=True, help="a folder for the base, the model, the answers")
    add("--epochs", type=int, default=4, help="how often the texts are read without labels")
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
