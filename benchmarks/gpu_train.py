"""Training Llama-3-8B on a GPU: rows, tokens, memory, and how much of the GPU is used.

    python benchmarks/gpu_train.py [--rows 2000] [--peak-tflops 989]
    python benchmarks/gpu_train.py --tiny

Builds Llama-3-8B from its published sizes with random weights (16 GB on disk, no download), and
runs emotion_lora.yaml and emotion_lora_packed.yaml on the demo's rows through LLaMA-Factory. Random
weights take as long as trained ones; the accuracy of such a run means nothing and is not printed.

    rows/s, tokens/s   of the rows and their own tokens, without padding, over `train_runtime`
    memory             the most that torch allocated on the GPU
    utilisation        model FLOPs over the GPU's peak: 4 a parameter and token for a LoRA (the
                       base's weights get no gradients), 6 where all weights are trained. Parameters
                       without the table of input embeddings, which is only looked up; what
                       gradient checkpointing computes twice counts once.

Without a GPU, or with --tiny, a tiny Llama takes its place on the CPU: this checks the script, and
its figures say nothing about a GPU. 989 TFLOPS is an H100's or H200's dense half-precision peak.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recipe_runs import (
    DEMO,
    NEITHER_SAVED_NOR_JUDGED,
    ON_A_CPU,
    read_training_rows,
    run,
    tokens_a_row,
    write_data,
)

from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.tiny.tokenizer import build_tokenizer
from llamafactory_emotion.tiny_model import write_tiny_model

RECIPES = ("emotion_lora.yaml", "emotion_lora_packed.yaml")
LORA_FLOPS, FULL_FLOPS = 4, 6
LLAMA_3_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
MEMORY = "memory.json"


@dataclass(frozen=True)
class Setting:
    """What is run and on what."""

    model: Path
    data: Path
    rows: int
    tokens_a_row: float
    parameters: int
    on_gpu: bool
    peak: float


def main() -> None:
    """Run the recipes and print a table."""
    options = _options()
    import torch

    on_gpu = torch.cuda.is_available() and not options.tiny
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows = read_training_rows(DEMO)[: options.rows]
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        write_data(folder / "data", {"rows": rows})
        texts = [row.text for row in rows]
        if on_gpu:
            parameters = _build_8b(folder / "model", texts)
        else:
            write_tiny_model(texts, folder / "model", epochs=0)
            parameters = _weights_that_multiply(folder / "model")
        setting = Setting(
            folder / "model",
            folder / "data",
            len(rows),
            tokens_a_row(folder / "model", rows),
            parameters,
            on_gpu,
            options.peak_tflops * 1e12,
        )
        name = torch.cuda.get_device_name() if on_gpu else "the CPU, a tiny model: a check only"
        print(f"{name}; {len(rows)} rows, {setting.tokens_a_row:.1f} tokens a row")
        print(f"{'':26} {'rows/s':>8} {'tokens/s':>9} {'GiB':>6} {'utilisation':>11}  attention")
        for recipe in RECIPES:
            print(_line(recipe, setting, folder / recipe))


def _line(recipe: str, setting: Setting, output: Path) -> str:
    results = run(
        [sys.executable, __file__, "--child"],
        recipe,
        f"model_name_or_path={setting.model}",
        f"dataset_dir={setting.data}",
        "dataset=rows",
        *(("eval_dataset=rows",) if "packed" in recipe else ()),
        *(() if setting.on_gpu else ON_A_CPU),
        "num_train_epochs=1",
        *NEITHER_SAVED_NOR_JUDGED,
        f"output_dir={output}",
    )
    rate = setting.rows / float(results["train_runtime"])
    tokens = rate * setting.tokens_a_row
    memory = json.loads((output / MEMORY).read_text(encoding="utf-8"))["gib"]
    flops = FULL_FLOPS if "full" in recipe else LORA_FLOPS
    used = flops * setting.parameters * tokens / setting.peak if setting.on_gpu else None
    attention = "FlashAttention-2" if "Using FlashAttention-2" in results["output"] else "torch's"
    return (
        f"{recipe:26} {rate:8.1f} {tokens:9.0f} "
        f"{f'{memory:6.1f}' if setting.on_gpu else '     -'} "
        f"{f'{100 * used:9.1f} %' if used is not None else '          -'}  {attention}"
    )


def _build_8b(folder: Path, texts: list[str]) -> int:
    """Save Llama-3-8B with random weights and a tokenizer; give the weights that multiply."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(texts, EMOTION)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig(**LLAMA_3_8B, **ends))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    parameters = int(model.num_parameters() - model.get_input_embeddings().weight.numel())
    del model
    torch.cuda.empty_cache()  # the runs are processes of their own and need the memory
    return parameters


def _weights_that_multiply(folder: Path) -> int:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    return int(model.num_parameters() - model.get_input_embeddings().weight.numel())


def _run_child(arguments: list[str]) -> None:
    """Train in this process, as `llamafactory-cli train` does, and write down the peak memory."""
    import torch
    from llamafactory.train.tuner import run_exp

    sys.argv = [sys.argv[0], *arguments]
    run_exp()
    peak = torch.cuda.max_memory_allocated() / (1 << 30) if torch.cuda.is_available() else 0.0
    output = next(word[11:] for word in arguments if word.startswith("output_dir="))
    (Path(output) / MEMORY).write_text(json.dumps({"gib": peak}), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--rows", type=int, default=2000)
    add("--peak-tflops", type=float, default=989.0, help="of the GPU, dense, half precision")
    add("--scratch", type=Path, help="a folder with 40 GB of space")
    add("--tiny", action="store_true", help="a tiny model on the CPU, to check the script")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _run_child(sys.argv[2:])
    else:
        main()
