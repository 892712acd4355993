"""Make a small base model of the Llama-3 architecture from nothing but texts.

It stands in for a downloaded base model: the embedded default recipe trains it on a CPU, and every
other recipe is tried on it. It has Llama-3's special tokens and word splitting, and each one-word
label is, with its leading space, one token, as in Llama-3's own vocabulary. Its weights are random
at first; then it reads the texts (`pretraining`), as a base model has.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.console import printable, run_command
from llamafactory_emotion.data.reading import read_texts
from llamafactory_emotion.errors import CallError, DataError, ModelError
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, EMOTION, Task, load_task

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY_SIZE = 4096
EPOCHS = 4
_ARCHITECTURE: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
BEGIN_OF_TEXT = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
SPECIAL_TOKENS = (
    BEGIN_OF_TEXT,
    END_OF_TEXT,
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
# Words as Llama-3 splits them before merging bytes: contractions, words with one leading character,
# numbers of up to three digits, punctuation, line breaks, spaces.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD_PATTERN = "|".join(
    (
        _CONTRACTIONS,
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def build_tokenizer(
    texts: Iterable[str], task: Task, *, vocabulary_size: int = VOCABULARY_SIZE
) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE tokenizer with Llama-3's special tokens and word splitting.

    Args:
        texts: The texts to learn the merges from.
        task: Its instruction and labels become whole words of the vocabulary.
        vocabulary_size: The most tokens the vocabulary may have, special tokens included.

    Returns:
        The tokenizer; like Llama-3's it adds the begin token and has no padding token.

    Raises:
        ModelError: The vocabulary is too small to hold each word of a label as one token.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(texts, task), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN_OF_TEXT} $A",
        pair=f"{BEGIN_OF_TEXT} $A {BEGIN_OF_TEXT} $B",
        special_tokens=[(BEGIN_OF_TEXT, tokenizer.token_to_id(BEGIN_OF_TEXT))],
    )
    finished = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN_OF_TEXT,
        eos_token=END_OF_TEXT,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
    _check_labels(finished, task)
    return finished


def _corpus(texts: Iterable[str], task: Task) -> Iterator[str]:
    """Give each text followed by the prompt's frame, so that the frame's words merge first."""
    labels = "".join(ANSWER_PREFIX + label for label in task.labels)
    for text in texts:
        yield text
        yield task.user_content("") + ANSWER_CUE + labels


def _check_labels(tokenizer: "PreTrainedTokenizerFast", task: Task) -> None:
    words = [ANSWER_PREFIX + label for label in task.labels if label.isalpha()]
    split = [word for word in words if len(tokenizer.encode(word, add_special_tokens=False)) > 1]
    if split:
        raise ModelError(
            f"a vocabulary of {len(tokenizer)} tokens is too small to hold the labels"
            f"{','.join(split)} as one token each; give more texts or a larger vocabulary."
        )


def build_model(tokenizer: "PreTrainedTokenizerFast", *, seed: int = 0) -> "LlamaForCausalLM":
    """Make a small Llama with random weights.

    Args:
        tokenizer: Gives the vocabulary's size and the begin and end tokens.
        seed: The same seed gives the same weights, to the bit.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **_ARCHITECTURE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def write_tiny_model(
    texts: Iterable[str],
    output: Path,
    *,
    task: Task = EMOTION,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> str:
    """Build tokenizer and model from `texts` and save both in the folder `output`.

    Args:
        texts: The texts to learn the vocabulary and the language from.
        output: A folder that is not there or empty.
        task: Its instruction and labels become words of the vocabulary.
        epochs: How often the model reads the texts; 0 leaves its weights random.
        seed: Of the weights and the order of reading.

    Returns:
        A sentence that says what was made.

    Raises:
        CallError: `output` holds files already.
        DataError: There is no text.
        ModelError: The vocabulary cannot hold the labels.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CallError(f"{output} exists and is not an empty folder; remove it or name another.")
    texts = list(texts)
    if not texts:
        raise DataError("there is no text to build a vocabulary from; name a file with texts.")
    from llamafactory_emotion.pretraining import pretrain

    tokenizer = build_tokenizer(texts, task)
    model = build_model(tokenizer, seed=seed)
    loss = pretrain(model, tokenizer, texts, epochs=epochs, seed=seed) if epochs else None
    output.parent.mkdir(parents=True, exist_ok=True)
    # Saved beside the target and moved into place: a killed run leaves no half-written model.
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        built = Path(folder) / output.name
        tokenizer.save_pretrained(built)
        model.save_pretrained(built)
        if output.exists():
            output.rmdir()
        built.replace(output)
    trained = "random weights" if loss is None else f"a loss of {loss:.2f} nats a token"
    return f"{output}: a Llama of {model.num_parameters():,} parameters with {trained}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `python -m llamafactory_emotion.tiny_model`."""
    parser = argparse.ArgumentParser(
        prog="python -m llamafactory_emotion.tiny_model", description=__doc__
    )
    parser.add_argument("--texts", nargs="+", required=True, metavar="FILE", help="texts to learn")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--epochs",
        type=int,
        default=EPOCHS,
        help=f"how often to read the texts (default {EPOCHS}); 0 leaves the weights random",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same model (default 0)")
    parser.add_argument("--task", default=EMOTION.name, help="a task's name or YAML file")
    parser.add_argument("--text-column", help="the texts' column, where it cannot be guessed")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _run(arguments), debug=arguments.debug)


def _run(arguments: argparse.Namespace) -> int:
    task = load_task(arguments.task)
    texts = (
        text
        for file in arguments.texts
        for _, text, _ in read_texts(file, text_column=arguments.text_column)
    )
    if arguments.epochs < 0:
        raise CallError("--epochs cannot be negative.")
    made = write_tiny_model(
        texts, arguments.output, task=task, epochs=arguments.epochs, seed=arguments.seed
    )
    print(printable(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
