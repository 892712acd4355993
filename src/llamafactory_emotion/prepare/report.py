"""Show an `Audit`: as tables for a terminal, and as JSON. Computes nothing but sums over splits."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from llamafactory_emotion.data.audit import Audit, Leak, Repeat, SplitAudit, conflict_pairs
from llamafactory_emotion.terminal import Block, Facts, Table
from llamafactory_emotion.text import shorten

_SHOWN = 10


def audit_blocks(audit: Audit) -> list[Block]:
    """Say what was found in words, then put the splits and their classes side by side."""
    splits = audit.splits
    names = tuple(split.name for split in splits)
    figures = [_figures(split) for split in splits]
    rows = tuple((name, *(one[name] for one in figures)) for name in figures[0])
    classes = tuple(
        (
            label,
            *(
                cell
                for split in splits
                for cell in (f"{split.classes[label]:,}", f"{split.shares[label]:.3f}")
            ),
        )
        for label in splits[0].classes
    )
    texts = tuple(islice(_texts(audit), _SHOWN))
    return [
        Facts("Findings", tuple(_findings(audit))),
        *([Facts(f"Conflicts and leaks (the first {_SHOWN}; json= has all)", texts)] * bool(texts)),
        Table("Splits", ("", *names), rows),
        Table("Classes", ("label", *(cell for name in names for cell in (name, "share"))), classes),
    ]


def _findings(audit: Audit) -> Iterator[tuple[str, str]]:
    for split in audit.splits:
        pairs = ", ".join(f"{count:,} {pair}" for pair, count in _pairs(split.conflicts).items())
        said = _counted(len(split.repeats), "repeat")
        if split.repeats:
            said += f", {len(split.conflicts):,} of them conflicting"
        yield split.name, f"{said} ({pairs})" if pairs else said
    for (*others, last), texts in _shared(audit.leaks).items():
        differing = sum(any(leak.other_label for leak in same) for same in texts)
        part = f"all {differing:,}" if differing == len(texts) > 1 else f"{differing:,} of them"
        said = f"{_counted(len(texts), f'{last} text')} that {'are' if texts[1:] else 'is'}"
        yield last, f"{said} in {' and '.join(others)} too, {part} with another label"
    if len(audit.splits) > 1 and not audit.leaks:
        yield "splits", "no text is in two of them"
    for split in audit.splits:
        if split.missing_labels:
            yield split.name, f"no row has the label {', '.join(split.missing_labels)}"
        if split.special_tokens:
            yield (
                split.name,
                f"{_counted(split.special_tokens, 'row')} with a special token's name; the "
                "template emotion reads it as text, others as the token: clean such rows before "
                "training with another",
            )
        if split.lengths.over_cutoff:
            yield (
                split.name,
                f"{_counted(split.lengths.over_cutoff, 'text')} of more words than the cutoff of "
                f"{split.lengths.cutoff} tokens; raise cutoff_len",
            )


def _texts(audit: Audit) -> Iterator[tuple[str, str]]:
    """Yield the lines and labels of each text that conflicts or leaks, with its beginning."""
    for split in audit.splits:
        for one in split.conflicts:
            yield _text(f"{split.name} {_listed(one.lines)}", set(one.labels), one.text)
    for same in (same for texts in _shared(audit.leaks).values() for same in texts):
        lines = {
            name: at for leak in same for name, at in zip(leak.splits, leak.lines, strict=True)
        }
        where = ", ".join(f"{name} {_listed(at)}" for name, at in lines.items())
        labels = {label for leak in same for labels in leak.labels for label in labels}
        yield _text(where, labels, same[0].text)


def _shared(leaks: Iterable[Leak]) -> dict[tuple[str, ...], list[list[Leak]]]:
    """Put the leaks of a text together, and the texts by the splits that have them."""
    by_text: dict[str, list[Leak]] = {}
    for leak in leaks:
        by_text.setdefault(leak.text, []).append(leak)
    by_splits: dict[tuple[str, ...], list[list[Leak]]] = {}
    for same in by_text.values():
        names = dict.fromkeys(name for leak in same for name in leak.splits)
        by_splits.setdefault(tuple(names), []).append(same)
    return by_splits


def _text(where: str, labels: set[str], text: str) -> tuple[str, str]:
    return where, f"{'/'.join(sorted(labels))}: {' '.join(shorten(text).split())}"


def _listed(lines: tuple[int, ...]) -> str:
    return ",".join(map(str, lines[:3])) + (",..." if lines[3:] else "")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _figures(split: SplitAudit) -> dict[str, str]:
    """Return a split's figures as the table names and shows them."""
    return {
        "rows": f"{split.rows:,}",
        "repeats": f"{len(split.repeats):,}",
        "repeats, normalised": f"{split.normalised_repeats:,}",
        "conflicts": f"{len(split.conflicts):,}",
        "words, mean": f"{split.lengths.mean:.1f}",
        "words, median": f"{split.lengths.median:g}",
        "words, most": f"{split.lengths.longest:,}",
        f"words over {split.lengths.cutoff}": f"{split.lengths.over_cutoff:,}",
        "link residue": f"{split.links:,}",
        "special tokens": f"{split.special_tokens:,}",
        "imbalance": f"{split.imbalance:.1f} : 1",
        "majority share": f"{split.majority_share:.4f}",
    }


def audit_json(audit: Audit) -> dict[str, Any]:
    """Return the audit as JSON values.

    `repeats`, `conflicts` and `conflict_pairs` are sums over the splits (texts, not rows); `leaks`
    and `leaks_other_label` count texts once for each pair of splits that have them. The lists name
    every such text with its lines, so that it can be mended in the source.
    """
    splits = {
        split.name: {
            "rows": split.rows,
            "classes": dict(split.classes),
            "shares": split.shares,
            "majority_share": split.majority_share,
            "imbalance": split.imbalance,
            "missing_labels": list(split.missing_labels),
            "repeats": len(split.repeats),
            "repeats_normalised": split.normalised_repeats,
            "conflicts": len(split.conflicts),
            "conflict_pairs": _pairs(split.conflicts),
            "words": asdict(split.lengths),
            "links": split.links,
            "special_tokens": split.special_tokens,
        }
        for split in audit.splits
    }
    sums = ("rows", "repeats", "repeats_normalised", "conflicts")
    return {
        **{key: sum(one[key] for one in splits.values()) for key in sums},
        "conflict_pairs": _pairs(one for split in audit.splits for one in split.conflicts),
        "leaks": len(audit.leaks),
        "leaks_other_label": len(audit.leaks_other_label),
        "leaks_normalised": audit.normalised_leaks,
        "splits": splits,
        "repeated_texts": [
            {"split": split.name, **asdict(repeat)}
            for split in audit.splits
            for repeat in split.repeats
        ],
        "leaked_texts": [asdict(leak) for leak in audit.leaks],
    }


def _pairs(conflicts: Iterable[Repeat]) -> dict[str, int]:
    return {f"{a}/{b}": count for (a, b), count in conflict_pairs(conflicts).items()}
