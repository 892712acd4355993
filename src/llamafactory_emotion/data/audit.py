"""Look for what makes a data set lie: repeats, conflicts, leaks, imbalance, residue.

Takes the rows that `data` read and gives one frozen result; `report.audit` shows it. Texts are the
same when they are equal character by character; normalised, when they are after Unicode NFKC, case
folding and joining runs of white space. Punctuation counts: `:)` is not `:(`.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

from llamafactory_emotion.task import LabelledRow

CUTOFF_LENGTH = 512
_LINK = re.compile("http|href", re.IGNORECASE)
# Control tokens by name: Llama 3's and ChatML's <|...|>, Llama 2's and BERT's.
_SPECIAL_TOKEN = re.compile(
    r"<\|[^\s<>|]{1,64}\|>|</?s>|<(?:unk|pad|mask)>|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|PAD|MASK)\]"
)


@dataclass(frozen=True)
class Repeat:
    """A text that stands more than once in a split: its lines and their labels, in order."""

    text: str
    lines: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def conflicts(self) -> bool:
        """Whether its labels differ."""
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Leak:
    """A text that stands in two splits, with the lines and labels it has in each."""

    text: str
    splits: tuple[str, str]
    lines: tuple[tuple[int, ...], tuple[int, ...]]
    labels: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def other_label(self) -> bool:
        """Whether the two splits do not label it the same."""
        return set(self.labels[0]) != set(self.labels[1])


@dataclass(frozen=True)
class Lengths:
    """Lengths in words, as white space separates them; a word is one token or more.

    Attributes:
        mean: Words a text on average.
        median: The middle one.
        longest: The most words in a text.
        cutoff: The cutoff they are held against, in tokens.
        over_cutoff: Texts of more words than that: surely cut. Others may be; only tokens tell.
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
        name: The split's name.
        rows: How many rows.
        classes: Rows of each label of the task, in the task's order.
        repeats: The texts that stand more than once.
        normalised_repeats: How many normalised texts stand more than once (these included).
        lengths: Lengths in words.
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
    """What the splits hold and share.

    Attributes:
        splits: One audit a split.
        leaks: The texts that stand in two splits, once for each pair of splits.
        normalised_leaks: The same count for normalised texts (these included).
    """

    splits: tuple[SplitAudit, ...]
    leaks: tuple[Leak, ...]
    normalised_leaks: int

    @property
    def leaks_other_label(self) -> tuple[Leak, ...]:
        """The leaks that the two splits label differently."""
        return tuple(leak for leak in self.leaks if leak.other_label)


def audit_splits(
    splits: Mapping[str, Sequence[LabelledRow]],
    labels: Sequence[str],
    *,
    cutoff: int = CUTOFF_LENGTH,
) -> Audit:
    """Audit the rows of one split or more.

    Args:
        splits: Name to rows (one or more); every label is one of `labels`.
        labels: The task's labels.
        cutoff: The length in tokens that training will cut at.
    """
    counts = {name: Counter(row.text for row in rows) for name, rows in splits.items()}
    normalised_counts = {name: _normalised_counts(counts[name]) for name in splits}
    pairs = list(combinations(splits, 2))
    return Audit(
        splits=tuple(
            _audit_split(name, rows, labels, counts[name], normalised_counts[name], cutoff)
            for name, rows in splits.items()
        ),
        leaks=tuple(leak for pair in pairs for leak in _leaks(pair, splits, counts)),
        normalised_leaks=sum(
            len(normalised_counts[first].keys() & normalised_counts[second].keys())
            for first, second in pairs
        ),
    )


def normalised(text: str) -> str:
    """Give the text as it is compared when width, case and white space do not count."""
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


def _normalised_counts(counts: Mapping[str, int]) -> Counter[str]:
    total: Counter[str] = Counter()
    for text, count in counts.items():
        total[normalised(text)] += count
    return total


def _audit_split(
    name: str,
    rows: Sequence[LabelledRow],
    labels: Sequence[str],
    counts: Mapping[str, int],
    normalised_counts: Mapping[str, int],
    cutoff: int,
) -> SplitAudit:
    classes = Counter(row.label for row in rows)
    repeated = _rows_of((text for text, count in counts.items() if count > 1), rows)
    return SplitAudit(
        name=name,
        rows=len(rows),
        classes={label: classes[label] for label in labels},
        repeats=tuple(
            Repeat(text, tuple(row.line for row in same), tuple(row.label for row in same))
            for text, same in repeated.items()
        ),
        normalised_repeats=sum(count > 1 for count in normalised_counts.values()),
        lengths=_lengths([len(row.text.split()) for row in rows], cutoff),
        links=sum(_LINK.search(row.text) is not None for row in rows),
        special_tokens=sum(_SPECIAL_TOKEN.search(row.text) is not None for row in rows),
    )


def _lengths(words: Sequence[int], cutoff: int) -> Lengths:
    over = sum(count > cutoff for count in words)
    return Lengths(fmean(words), float(median(words)), max(words), cutoff, over)


def _rows_of(texts: Iterable[str], rows: Sequence[LabelledRow]) -> dict[str, list[LabelledRow]]:
    """Give the rows of each of these texts, in the order of their first rows."""
    wanted: Collection[str] = set(texts)
    found: defaultdict[str, list[LabelledRow]] = defaultdict(list)
    for row in rows:
        if row.text in wanted:
            found[row.text].append(row)
    return dict(found)


def _leaks(
    pair: tuple[str, str],
    splits: Mapping[str, Sequence[LabelledRow]],
    counts: Mapping[str, Mapping[str, int]],
) -> list[Leak]:
    shared = counts[pair[0]].keys() & counts[pair[1]].keys()
    first, second = (_rows_of(shared, splits[name]) for name in pair)
    return [
        Leak(
            text,
            pair,
            (tuple(row.line for row in first[text]), tuple(row.line for row in same)),
            (tuple(row.label for row in first[text]), tuple(row.label for row in same)),
        )
        for text, same in second.items()
    ]
