"""Look for what makes a data set lie: repeats, conflicts, leaks, imbalance, residue.

Texts are the same when they are equal character by character; normalised, when they are after
Unicode NFKC, case folding and joining runs of white space. Punctuation counts: `:)` is not `:(`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.text import SPECIAL_TOKEN

_CUTOFF = 512  # the cutoff in tokens of the recipes
_LINK = re.compile("http|href", re.IGNORECASE)


@dataclass(frozen=True)
class Repeat:
    """A text that a split has more than once: its lines and their labels, in order."""

    text: str
    lines: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def conflicts(self) -> bool:
        """Whether its labels differ."""
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Leak:
    """A text that two splits have, with its lines and labels in each."""

    text: str
    splits: tuple[str, str]
    lines: tuple[tuple[int, ...], ...]
    labels: tuple[tuple[str, ...], ...]

    @property
    def other_label(self) -> bool:
        """Whether the two splits do not label it the same."""
        return set(self.labels[0]) != set(self.labels[1])


@dataclass(frozen=True)
class Lengths:
    """Lengths in words, as white space separates them; a word is one token or more.

    `over_cutoff` counts texts of more words than the cutoff in tokens: these are surely cut. Others
    may be; only tokens tell.
    """

    mean: float
    median: float
    longest: int
    cutoff: int
    over_cutoff: int


@dataclass(frozen=True)
class SplitAudit:
    """What one split holds.

    Attributes:
        classes: Rows of each label of the task, in the task's order.
        normalised_repeats: How many normalised texts occur more than once (`repeats` included).
        links: Rows with link residue (`http` or `href`).
        special_tokens: Rows that name a special token such as `<|eot_id|>`.
    """

    name: str
    rows: int
    classes: Mapping[str, int]
    repeats: tuple[Repeat, ...]
    normalised_repeats: int
    lengths: Lengths
    links: int
    special_tokens: int

    @property
    def conflicts(self) -> tuple[Repeat, ...]:
        """The repeated texts whose labels differ."""
        return tuple(repeat for repeat in self.repeats if repeat.conflicts)

    @property
    def shares(self) -> dict[str, float]:
        """The share of each label, from 0 to 1."""
        return {label: count / self.rows for label, count in self.classes.items()}

    @property
    def majority_share(self) -> float:
        """The accuracy of always answering the most frequent label of this split."""
        return max(self.shares.values())

    @property
    def imbalance(self) -> float:
        """Rows of the largest class to one of the smallest that occurs; 1 is balanced."""
        present = [count for count in self.classes.values() if count]
        return max(present) / min(present)

    @property
    def missing_labels(self) -> tuple[str, ...]:
        """The labels that no row has."""
        return tuple(label for label, count in self.classes.items() if not count)


@dataclass(frozen=True)
class Audit:
    """What the splits hold, and the texts they share, once for each pair of splits."""

    splits: tuple[SplitAudit, ...]
    leaks: tuple[Leak, ...]
    normalised_leaks: int

    @property
    def leaks_other_label(self) -> tuple[Leak, ...]:
        """The leaks that the two splits label differently."""
        return tuple(leak for leak in self.leaks if leak.other_label)


def audit_splits(splits: Mapping[str, Sequence[Row]], labels: Sequence[str]) -> Audit:
    """Audit the rows of one split or more.

    Args:
        splits: Name to rows (one or more); every label is one of `labels`.
        labels: The task's labels.
    """
    keys = {name: [normalised(row.text) for row in rows] for name, rows in splits.items()}
    counts = {name: Counter(own) for name, own in keys.items()}
    by_text = {name: _shared_texts(name, rows, keys[name], counts) for name, rows in splits.items()}
    pairs = list(combinations(splits, 2))
    return Audit(
        splits=tuple(
            _audit_split(name, rows, labels, by_text[name], counts[name])
            for name, rows in splits.items()
        ),
        leaks=tuple(leak for pair in pairs for leak in _leaks(pair, by_text)),
        normalised_leaks=sum(
            len(counts[one].keys() & counts[other].keys()) for one, other in pairs
        ),
    )


def normalised(text: str) -> str:
    """Return the text as it is compared when width, case and white space do not count."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return text if folded == text else folded  # most are: one string in memory, not two


def conflict_pairs(repeats: Iterable[Repeat]) -> dict[tuple[str, str], int]:
    """Count the pairs of differing labels, each in alphabetical order, the most frequent first.

    A text with three different labels counts for each of its three pairs.
    """
    pairs = Counter(
        pair for repeat in repeats for pair in combinations(sorted(set(repeat.labels)), 2)
    )
    return dict(sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0])))


def _shared_texts(
    name: str, rows: Sequence[Row], keys: Sequence[str], counts: Mapping[str, Mapping[str, int]]
) -> dict[str, list[Row]]:
    """Group the rows of the texts that occur twice in a split or in another, first rows first.

    Most texts occur once, and of millions of those nothing is kept.
    """
    others = [found for other, found in counts.items() if other != name]
    shared: dict[str, list[Row]] = {}
    for row, key in zip(rows, keys, strict=True):
        if counts[name][key] > 1 or any(key in found for found in others):
            shared.setdefault(row.text, []).append(row)
    return shared


def _audit_split(
    name: str,
    rows: Sequence[Row],
    labels: Sequence[str],
    by_text: Mapping[str, Sequence[Row]],
    normalised_counts: Mapping[str, int],
) -> SplitAudit:
    classes = Counter(row.label for row in rows)
    words = [len(row.text.split()) for row in rows]
    return SplitAudit(
        name=name,
        rows=len(rows),
        classes={label: classes[label] for label in labels},
        repeats=tuple(
            Repeat(text, *_lines_and_labels(same)) for text, same in by_text.items() if same[1:]
        ),
        normalised_repeats=sum(count > 1 for count in normalised_counts.values()),
        lengths=Lengths(
            mean=fmean(words),
            median=float(median(words)),
            longest=max(words),
            cutoff=_CUTOFF,
            over_cutoff=sum(count > _CUTOFF for count in words),
        ),
        links=sum(_LINK.search(row.text) is not None for row in rows),
        special_tokens=sum(SPECIAL_TOKEN.search(row.text) is not None for row in rows),
    )


def _leaks(
    pair: tuple[str, str], by_text: Mapping[str, Mapping[str, Sequence[Row]]]
) -> Iterator[Leak]:
    first, second = (by_text[name] for name in pair)
    for text in (text for text in second if text in first):
        lines, labels = zip(*map(_lines_and_labels, (first[text], second[text])), strict=True)
        yield Leak(text, pair, lines, labels)


def _lines_and_labels(rows: Sequence[Row]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    return tuple(row.line for row in rows), tuple(row.label for row in rows)
