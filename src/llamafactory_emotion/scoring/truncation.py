"""Cut a text that is too long for its prompt, between two of its tokens.

For `prompts` and for the texts of classification heads.
"""

from collections.abc import Callable
from typing import Any


def longest_that_fits(
    tokenizer: Any, text: str, *, start: int, limit: int, length: Callable[[str], int]
) -> str:
    """Give the longest beginning of a text that fits, cut between two of its tokens.

    Args:
        tokenizer: Says where tokens begin.
        text: The text; at least its first `start` characters are kept.
        start: Where cutting may begin.
        limit: The most tokens the whole prompt may have.
        length: Gives the number of tokens of the prompt around a part of the text.
    """
    ends = _possible_ends(tokenizer, text, start, limit)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if length(text[: ends[middle]]) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[: ends[low]]


def _possible_ends(tokenizer: Any, text: str, start: int, limit: int) -> list[int]:
    """Give the places to cut at: where a token begins; any character without a fast tokenizer."""
    if not tokenizer.is_fast:
        return list(range(start, len(text)))
    offsets = tokenizer(
        [text],
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )["offset_mapping"][0]
    # No cut text that fits has more tokens than the limit; a byte-level token may begin
    # inside a character, and what a normalizer adds to a text lies on a character's place.
    ends, past = [start], start
    for begin, end in offsets[: limit + 1]:
        if begin >= past and begin > start:
            ends.append(begin)
        past = max(past, end)
    return ends
