"""Drop rows that would mislead, and draw a validation split from the training rows.

Pure steps between `data` and `prepare`. Texts are the same when they are equal character by
character; only training rows are ever dropped.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from llamafactory_emotion.data.audit import normalised
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.errors import CallError, DataError

DROPS: Mapping[str, str] = {
    "conflicts": "all rows of a text whose labels differ",
    "repeats": "all but the first row of a text",
    "leaks": "training rows whose text stands in validation or test",
}
DEFAULT_FRACTION = 0.1
LARGEST_DEFAULT = 2000


@dataclass(frozen=True)
class ValidationSize:
    """How many training rows go to validation: a count, or a share of them below 1."""

    count: int | None = None
    fraction: float | None = None

    def rows(self, total: int) -> int:
        """Give the number of rows out of `total`; by default a tenth, at most 2,000."""
        if self.count is not None:
            return self.count
        if self.fraction is not None:
            return round(self.fraction * total)
        return min(int(DEFAULT_FRACTION * total), LARGEST_DEFAULT)


def parse_validation_size(text: str) -> ValidationSize:
    """Read `200` (rows), `0.1` (a share) or `0` (none).

    Raises:
        CallError: It is neither a whole number from 0 nor a share between 0 and 1.
    """
    if text.isascii() and text.isdigit():
        return ValidationSize(count=int(text))
    try:
        fraction = float(text)
    except ValueError:
        fraction = -1.0
    if not 0 <= fraction < 1:
        raise CallError(
            f"validation_size={text!r} is neither a number of rows nor a share below 1; "
            "give for example 500, 0.1 or 0."
        )
    return ValidationSize(fraction=fraction)


def parse_drops(text: str) -> tuple[str, ...]:
    """Read a list such as `conflicts,leaks`; the order in which the steps run is fixed.

    Raises:
        CallError: A word is none of `DROPS`.
    """
    words = [word.strip() for word in text.split(",")]
    unknown = [word for word in words if word not in DROPS]
    if unknown:
        raise CallError(f"drop={', '.join(map(repr, unknown))}: choose from {', '.join(DROPS)}.")
    return tuple(drop for drop in DROPS if drop in words)


def drop_rows(
    rows: Sequence[Row], drops: Collection[str], held_out: Collection[str]
) -> tuple[list[Row], dict[str, int]]:
    """Give the rows that stay, in order, and how many each step dropped.

    Args:
        rows: The training rows.
        drops: Words of `DROPS`; conflicts go first, then repeats, then leaks.
        held_out: The texts of validation and test, for `leaks`.
    """
    kept = list(rows)
    dropped: dict[str, int] = {}
    for drop in DROPS:
        if drop in drops:
            before = len(kept)
            kept = _without(kept, drop, held_out)
            dropped[drop] = before - len(kept)
    return kept, dropped


def _without(rows: list[Row], drop: str, held_out: Collection[str]) -> list[Row]:
    if drop == "conflicts":
        labels: dict[str, str] = {}
        conflicting = {
            row.text for row in rows if labels.setdefault(row.text, row.label) != row.label
        }
        return [row for row in rows if row.text not in conflicting]
    if drop == "repeats":
        first = {row.text: row for row in reversed(rows)}
        return [row for row in rows if first[row.text] is row]
    return [row for row in rows if row.text not in held_out]


def draw_validation(rows: Sequence[Row], size: int, *, seed: int) -> tuple[list[Row], list[Row]]:
    """Split the training rows into those that stay and a stratified validation split.

    Each class gets its share of `size` by largest remainder. Only rows whose normalised text
    stands once may be drawn, so that the drawn split shares no text with what stays. Which rows
    are drawn depends on their texts and the seed alone, neither on their order nor on the machine.

    Returns:
        Training and validation rows, each in the order of `rows`.

    Raises:
        CallError: `size` leaves no training rows.
        DataError: A class has too few rows of a text of their own.
    """
    if size == 0:
        return list(rows), []
    if size >= len(rows):
        raise CallError(
            f"a validation split of {size:,} rows leaves none of the {len(rows):,} for training; "
            "give a smaller validation_size."
        )
    keys = [normalised(row.text) for row in rows]
    counts = Counter(keys)
    candidates: dict[str, list[tuple[bytes, int]]] = {row.label: [] for row in rows}
    for position, (key, row) in enumerate(zip(keys, rows, strict=True)):
        if counts[key] == 1:
            candidates[row.label].append((_lot(row.text, seed), position))
    quotas = largest_remainder(Counter(row.label for row in rows), size)
    drawn: set[int] = set()
    for label, quota in quotas.items():
        if quota > len(candidates[label]):
            raise DataError(
                f"a validation split of {size:,} rows needs {quota:,} of the class {label!r}, but "
                f"only {len(candidates[label]):,} texts of it stand once; give a smaller "
                "validation_size or drop=repeats."
            )
        drawn.update(position for _, position in sorted(candidates[label])[:quota])
    train = [row for position, row in enumerate(rows) if position not in drawn]
    return train, [rows[position] for position in sorted(drawn)]


def largest_remainder(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Share `size` seats by `counts` (Hamilton's method); equal remainders go by name.

    Whole numbers throughout: a quota is count * size // total, and the seats left over go to the
    largest remainders of that division.
    """
    total = sum(counts.values())
    quotas = {label: count * size // total for label, count in counts.items()}
    left = size - sum(quotas.values())
    by_remainder = sorted(counts, key=lambda label: (-(counts[label] * size % total), label))
    for label in by_remainder[:left]:
        quotas[label] += 1
    return quotas


def _lot(text: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\n{text}".encode(), digest_size=16).digest()
