"""A byte-level vocabulary learned from texts, with Llama-3's special tokens and word splitting.

Each one-word label is, with its leading space, one token, as in Llama-3's own vocabulary.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY_SIZE = 6144
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
            f"{','.join(split)} as one token each; give more texts."
        )
