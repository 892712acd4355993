"""Drop rows that would mislead, and draw splits from the training rows."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from heapq import nsmallest
from itertools import cycle

from llamafactory_emotion.data.audit import normalised
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.errors import CallError, DataError

DROPS: Mapping[str, str] = {
    "conflicts": "all rows of a text whose labels differ",
    "repeats": "all but the first row of a text",
    "leaks": "training rows whose text is in validation or test too",
}
DEFAULT_FRACTION = 0.1
LARGEST_DEFAULT = 2000


def drop_rows(
    rows: Sequence[Row], drop: Collection[str], held_out: Collection[str]
) -> tuple[list[Row], dict[str, int]]:
    """Return the rows that stay, in order, and how many each step dropped.

    Args:
        rows: The training rows.
        drop: Words of `DROPS`; conflicts go first, then repeats, then leaks.
        held_out: The texts of validation and test, for `leaks`.
    """
    kept = list(rows)
    dropped: dict[str, int] = {}
    for word in (word for word in DROPS if word in drop):
        before = len(kept)
        if word == "conflicts":
            labels: dict[str, str] = {}
            conflicting = {
                row.text for row in kept if labels.setdefault(row.text, row.label) != row.label
            }
            kept = [row for row in kept if row.text not in conflicting]
        elif word == "repeats":
            first = {row.text: row for row in reversed(kept)}
            kept = [row for row in kept if first[row.text] is row]
        else:
            kept = [row for row in kept if row.text not in held_out]
        dropped[word] = before - len(kept)
    return kept, dropped


def draw_split(
    rows: Sequence[Row],
    size: float | None,
    *,
    seed: int,
    key: str = "validation_size",
    total: int | None = None,
) -> tuple[list[Row], list[Row]]:
    """Split the training rows into those that stay and a stratified split.

    Each class gets its part of the drawn rows by largest remainder, and keeps at least one row for
    training. Only rows whose normalised text occurs once may be drawn, so that the drawn split
    shares no text with what stays. Which rows are drawn depends on their texts and the seed alone,
    neither on their order nor on the machine.

    Args:
        rows: The training rows.
        size: How many rows, or below 1 which share of them; by default a tenth, at most 2,000.
        seed: Of the draw.
        key: The key that gives the size.
        total: The rows that a share is of, where they are not `rows`.

    Returns:
        Training rows and those drawn, each in the order of `rows`.

    Raises:
        CallError: `size` is no whole number, or leaves a class no training rows.
        DataError: Too few rows have a text of their own.
    """
    total = len(rows) if total is None else total
    count = min(int(DEFAULT_FRACTION * total), LARGEST_DEFAULT)
    if size is not None:
        if size > 1 and not float(size).is_integer():
            raise CallError(
                f"{key}={size} is neither a number of rows nor a share below 1; give for example "
                "500, 0.1 or 0."
            )
        count = round(size * total) if size < 1 else int(size)
    if count == 0:
        return list(rows), []
    sizes = Counter(row.label for row in rows)
    if count > len(rows) - len(sizes):
        raise CallError(
            f"a split of {count:,} rows leaves fewer of the {len(rows):,} for training than one a "
            f"class; give {key}={len(rows) - len(sizes)} or less."
        )
    texts = [normalised(row.text) for row in rows]
    counts = Counter(texts)
    candidates: dict[str, list[Row]] = {label: [] for label in sizes}
    for row, text in zip(rows, texts, strict=True):
        if counts[text] == 1:
            candidates[row.label].append(row)

    def lot(row: Row) -> bytes:
        return hashlib.blake2b(f"{seed}\n{row.text}".encode(), digest_size=16).digest()

    room = {label: min(len(candidates[label]), its_rows - 1) for label, its_rows in sizes.items()}
    if count > sum(room.values()):
        raise DataError(
            f"a split of {count:,} rows needs texts that occur once, and only "
            f"{sum(room.values()):,} can be drawn; give a smaller {key}, or remove repeated texts."
        )
    drawn: set[str] = set()
    for label, quota in largest_remainder(sizes, count, room).items():
        drawn.update(row.text for row in nsmallest(quota, candidates[label], key=lot))
    train = [row for row in rows if row.text not in drawn]
    return train, [row for row in rows if row.text in drawn]


def largest_remainder(
    counts: Mapping[str, int], size: int, room: Mapping[str, int]
) -> dict[str, int]:
    """Share `size` seats by `counts` (Hamilton's method); equal remainders go by name.

    Whole numbers throughout: a quota is count * size // total, and the seats left over go to the
    largest remainders of that division. None gets more than its room, and the seat goes to the next
    remainder. There are at most as many seats as there is room.
    """
    total = sum(counts.values())
    quotas = {label: min(count * size // total, room[label]) for label, count in counts.items()}
    left = size - sum(quotas.values())
    by_remainder = sorted(counts, key=lambda label: (-(counts[label] * size % total), label))
    seats = cycle(by_remainder)
    while left:
        label = next(seats)
        if quotas[label] < room[label]:
            quotas[label] += 1
            left -= 1
    return quotas
