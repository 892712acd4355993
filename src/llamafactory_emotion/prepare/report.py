"""Show an `Audit`: as blocks for a terminal, as the JSON that `prepare --json` writes.

It formats figures and computes none but sums over splits.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from llamafactory_emotion.data.audit import Audit, Repeat, SplitAudit, conflict_pairs
from llamafactory_emotion.terminal import Block, Facts, Table, printable


def audit_blocks(audit: Audit) -> list[Block]:
    """Lay out what was found in words, then the splits and their classes side by side."""
    findings = tuple(_findings(audit))
    return [Facts("Findings", findings), _splits_table(audit), _classes_table(audit)]


def _findings(audit: Audit) -> Iterator[tuple[str, str]]:
    for split in audit.splits:
        yield split.name, _repeats_sentence(split)
    for first, second in dict.fromkeys(leak.splits for leak in audit.leaks):
        leaks = [leak for leak in audit.leaks if leak.splits == (first, second)]
        texts = _counted(len(leaks), f"{second} text")
        verb = "stands" if len(leaks) == 1 else "stand"
        other = _part(sum(leak.other_label for leak in leaks), len(leaks))
        yield second, f"{texts} that {verb} in {first}, {other} with another label"
    if len(audit.splits) > 1 and not audit.leaks:
        yield "splits", "no text stands in two of them"
    for split in audit.splits:
        yield from ((split.name, warning) for warning in _warnings(split))


def _repeats_sentence(split: SplitAudit) -> str:
    if not split.repeats:
        return "0 repeats"
    pairs = ", ".join(
        f"{count:,} {printable(f'{a}/{b}')}"
        for (a, b), count in conflict_pairs(split.conflicts).items()
    )
    return (
        f"{_counted(len(split.repeats), 'repeat')}, {len(split.conflicts):,} of them conflicting"
        f"{f' ({pairs})' if pairs else ''}"
    )


def _warnings(split: SplitAudit) -> Iterator[str]:
    lengths = split.lengths
    if split.missing_labels:
        yield f"no row has the label {printable(', '.join(split.missing_labels))}"
    if split.special_tokens:
        yield (
            f"{_counted(split.special_tokens, 'row')} with a special token's name; the template "
            "emotion reads it as text, others as the token: clean such rows before training with "
            "another"
        )
    if lengths.over_cutoff:
        yield (
            f"{_counted(lengths.over_cutoff, 'text')} of more words than the cutoff of "
            f"{lengths.cutoff} tokens; raise cutoff_len"
        )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _part(count: int, total: int) -> str:
    return f"all {count:,}" if count == total > 1 else f"{count:,} of them"


def _splits_table(audit: Audit) -> Table:
    splits = audit.splits
    cutoff = splits[0].lengths.cutoff
    return Table(
        "Splits",
        ("", *(split.name for split in splits)),
        (
            ("rows", *(f"{split.rows:,}" for split in splits)),
            ("repeats", *(f"{len(split.repeats):,}" for split in splits)),
            ("repeats, normalised", *(f"{split.normalised_repeats:,}" for split in splits)),
            ("conflicts", *(f"{len(split.conflicts):,}" for split in splits)),
            ("words, mean", *(f"{split.lengths.mean:.1f}" for split in splits)),
            ("words, median", *(f"{split.lengths.median:g}" for split in splits)),
            ("words, most", *(f"{split.lengths.longest:,}" for split in splits)),
            (f"words over {cutoff}", *(f"{split.lengths.over_cutoff:,}" for split in splits)),
            ("link residue", *(f"{split.links:,}" for split in splits)),
            ("special tokens", *(f"{split.special_tokens:,}" for split in splits)),
            ("imbalance", *(f"{split.imbalance:.1f} : 1" for split in splits)),
            ("majority share", *(f"{split.majority_share:.4f}" for split in splits)),
        ),
    )


def _classes_table(audit: Audit) -> Table:
    return Table(
        "Classes",
        ("label", *(column for split in audit.splits for column in (split.name, "share"))),
        tuple(
            (
                printable(label),
                *(
                    cell
                    for split in audit.splits
                    for cell in (f"{split.classes[label]:,}", f"{split.shares[label]:.3f}")
                ),
            )
            for label in audit.splits[0].classes
        ),
    )


def audit_json(audit: Audit) -> dict[str, Any]:
    """Give the audit as JSON values.

    `repeats`, `conflicts` and `conflict_pairs` are sums over the splits (texts, not rows); `leaks`
    and `leaks_other_label` count texts once for each pair of splits they stand in. The lists name
    every such text with its lines, so that it can be mended in the source.
    """
    conflicts = [repeat for split in audit.splits for repeat in split.conflicts]
    return {
        "rows": sum(split.rows for split in audit.splits),
        "repeats": sum(len(split.repeats) for split in audit.splits),
        "repeats_normalised": sum(split.normalised_repeats for split in audit.splits),
        "conflicts": len(conflicts),
        "conflict_pairs": _pairs_json(conflicts),
        "leaks": len(audit.leaks),
        "leaks_other_label": len(audit.leaks_other_label),
        "leaks_normalised": audit.normalised_leaks,
        "splits": {split.name: _split_json(split) for split in audit.splits},
        "repeated_texts": [
            {"split": split.name, **asdict(repeat)}
            for split in audit.splits
            for repeat in split.repeats
        ],
        "leaked_texts": [asdict(leak) for leak in audit.leaks],
    }


def _split_json(split: SplitAudit) -> dict[str, Any]:
    return {
        "rows": split.rows,
        "classes": dict(split.classes),
        "shares": split.shares,
        "majority_share": split.majority_share,
        "imbalance": split.imbalance,
        "missing_labels": list(split.missing_labels),
        "repeats": len(split.repeats),
        "repeats_normalised": split.normalised_repeats,
        "conflicts": len(split.conflicts),
        "conflict_pairs": _pairs_json(split.conflicts),
        "words": asdict(split.lengths),
        "links": split.links,
        "special_tokens": split.special_tokens,
    }


def _pairs_json(conflicts: "list[Repeat] | tuple[Repeat, ...]") -> dict[str, int]:
    return {f"{a}/{b}": count for (a, b), count in conflict_pairs(conflicts).items()}
