"""A tiny Llama made from nothing but texts: a vocabulary learned from them, and random weights.

No benchmark itself: `from_scratch` trains it, and tests take it where a base model must be there
and need not know anything.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, EMOTION, Task

VOCABULARY_SIZE = 6144
BEGIN_OF_TEXT = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
# Llama-3's, so that its chat template works on this model too.
SPECIAL_TOKENS = (
    BEGIN_OF_TEXT,
    END_OF_TEXT,
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
# Words as Llama-3 splits them before merging bytes: contractions, words with one leading character,
# numbers of up to three digits, punctuation, line breaks, spaces.
_WORD_PATTERN = "|".join(
    (
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def write_tiny_llama(texts: Iterable[str], folder: Path, task: Task = EMOTION) -> None:
    """Save a tokenizer and a random model for it in `folder`."""
    tokenizer = build_tokenizer(texts, task)
    tokenizer.save_pretrained(folder)
    build_model(tokenizer).save_pretrained(folder)


def build_tokenizer(texts: Iterable[str], task: Task = EMOTION) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with Llama-3's special tokens and word splitting.

    Each word of the task's answers is, with its leading space, one token. Like Llama-3's, the
    tokenizer adds the begin token and has no padding token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
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
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN_OF_TEXT,
        eos_token=END_OF_TEXT,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def _corpus(texts: Iterable[str], task: Task) -> Iterator[str]:
    """Yield each text and after it the prompt's frame, so that the frame's words merge first."""
    labels = "".join(ANSWER_PREFIX + task.word_of(label) for label in task.labels)
    for text in texts:
        yield text
        yield task.user_content("") + ANSWER_CUE + labels


def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int = 0) -> LlamaForCausalLM:
    """Build a Llama of about two million random weights; the same seed gives the same."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.05,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
