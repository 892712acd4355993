"""Suggest answer words of one token, for labels that have several under a tokenizer.

Labels of several tokens are scored exactly too. Those of one are scored faster and can be exported
as a classifier, and a task's `words` make any label one of these.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby, product
from string import ascii_uppercase
from unicodedata import category

import yaml

from llamafactory_emotion.parsing.phrases import ORDINARY_WORDS
from llamafactory_emotion.task import ClassName, Task
from llamafactory_emotion.text import WITHOUT_SPACES, name_key

# Returns the token ids of each answer after the prompt, without an end token.
Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
_SPACELESS = re.compile(f"[{WITHOUT_SPACES}]")
_LONGEST_PART = 8
_SHORTEST = 3


def suggest_words(task: Task, encode: Encode) -> dict[str, str]:
    """Return `words` for a task with which labels of several tokens are trained as one.

    A label's word is the first of these that is one token and names no other label: a word of the
    label that no other label has (in scripts without spaces a part of it), one of its aliases, an
    initial, one or two letters, its own id. A label or word that is one token stays as it is.

    Returns:
        Label to word, those that the task has already included; empty where nothing is found.
    """
    known: dict[str, Sequence[int]] = {}

    def one_token(words: Sequence[str]) -> Iterator[tuple[str, int]]:
        new = [word for word in dict.fromkeys(words) if word not in known]
        known.update(zip(new, encode(new) if new else (), strict=True))
        yield from ((word, known[word][0]) for word in words if len(known[word]) == 1)

    taken: dict[int, str] = {}
    for word, token in one_token([task.word_of(label) for label in task.labels]):
        taken.setdefault(token, word)
    kept = {*taken.values()}
    counts = Counter(key for label in task.labels for key in {*map(name_key, _parts(label))})
    found: dict[str, str] = {}
    for label in (label for label in task.labels if task.word_of(label) not in kept):
        claimed = {*map(name_key, found.values())}
        for word, token in chain.from_iterable(map(one_token, _candidates(task, label, counts))):
            free = token not in taken and name_key(word) not in claimed
            if free and _is_free(task, label, word):
                found[label] = taken[token] = word
                break
    return {**task.words, **found} if found else {}


def words_line(words: Mapping[str, str]) -> str:
    """Write the line of a task's file that holds these answer words."""
    lines = yaml.safe_dump(
        {"words": dict(words)},
        allow_unicode=True,
        default_flow_style=None,
        sort_keys=False,
        width=float("inf"),
    )
    return str(lines).strip()


def _candidates(task: Task, label: str, counts: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """Yield groups of words that a label may have, the best first."""
    own = [part for part in _parts(label) if counts[name_key(part)] == 1]
    # A short word says little (`de`), a short part of a Chinese one does not.
    own = [part for part in own if len(part) >= _SHORTEST or _SPACELESS.match(part)]
    yield [spelt for part in own for spelt in (part, part.lower(), part.capitalize())]
    yield [alias for alias, meant in task.aliases.items() if meant == label]
    yield [part[0].upper() for part in _parts(label) if part[0].upper() != part[0].lower()]
    yield ascii_uppercase
    yield ["".join(pair) for pair in product(ascii_uppercase, repeat=2)]
    yield [str(task.labels.index(label))]


def _is_free(task: Task, label: str, word: str) -> bool:
    """Whether a word names no other label, is no number but the label's own, nor a common word."""
    meant = task.label_of(ClassName(word))
    if meant is None and any(map(str.isdigit, word)):
        return False
    return meant in (None, label) and name_key(word) not in ORDINARY_WORDS


def _parts(label: str) -> Iterator[str]:
    """Yield the words in a label; all parts, longest first, of what is written without spaces."""

    def kind(character: str) -> int:
        is_word = category(character)[0] in "LMN"
        return is_word + bool(is_word and _SPACELESS.match(character))

    for of_kind, run in groupby(label, kind):
        word = "".join(run)
        if of_kind == 1:
            yield word
        for size in range(min(len(word), _LONGEST_PART) if of_kind > 1 else 0, 0, -1):
            parts = (word[start : start + size] for start in range(len(word) - size + 1))
            yield from (part for part in parts if category(part[0])[0] != "M")
