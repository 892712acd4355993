"""Lay out several files of predictions side by side, as tables for the terminal.

Shows what `evaluation.comparison` found; it formats figures and computes none.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from llamafactory_emotion.evaluate.comparison import PUBLISHED_ROWS, PairedComparison
from llamafactory_emotion.evaluate.one_file import Evaluation
from llamafactory_emotion.evaluate.tables import (
    INVALID,
    UNFINISHED,
    interval_text,
    joined_blocks,
    rules_table,
)
from llamafactory_emotion.predictions.sidecar import Sidecar
from llamafactory_emotion.terminal import Block, Facts, Table, printable


def comparison_blocks(
    evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]
) -> list[Block]:
    """Lay out several files side by side, and each pair's differences."""
    names = short_names([one.source for one in evaluations])
    blocks: list[Block] = [files_table(evaluations, names)]
    blocks += [pair_facts(pair, names, pairs=len(pairs)) for pair in pairs]
    for one in evaluations:
        blocks += _own_blocks(one, names[one.source])
    return blocks


def _own_blocks(one: Evaluation, name: str) -> Iterator[Block]:
    """Give what was found out about one of the files."""
    if one.unfinished:
        yield Facts(name, (("unfinished", UNFINISHED),))
    if one.broken:
        said = f"{one.broken:,} broken rows: {printable(one.broken_note)}"
        yield Facts(name, (("left out", said),))
    if one.by_rule:
        yield rules_table(one, of=name)
    yield from joined_blocks(one, of=name)


def files_table(evaluations: Sequence[Evaluation], names: dict[str, str]) -> Table:
    """Lay out one line for each file, called by its short name."""
    first = evaluations[0]
    title = f"{len(evaluations)} files (task {first.task.name}, match {first.match})"
    return Table(
        printable(title),
        (
            *("file", "rows", "accuracy", "low", "high", "macro-F1", INVALID),
            *("trained parameters", "seconds", "rows/s"),
        ),
        (*(_file_row(one, names[one.source]) for one in evaluations), *_published_rows(first)),
    )


def _file_row(one: Evaluation, name: str) -> tuple[str, ...]:
    sidecar = one.sidecar or Sidecar()
    return (
        name,
        f"{one.metrics.n:,}",
        f"{one.metrics.accuracy:.4f}",
        *(f"{bound:.4f}" for bound in one.metrics.accuracy_ci),
        f"{one.metrics.f1_macro:.4f}",
        f"{one.metrics.invalid:,}",
        "" if sidecar.trained_parameters is None else f"{sidecar.trained_parameters:,}",
        "" if sidecar.seconds is None else f"{sidecar.seconds:,.1f}",
        "" if sidecar.rows_per_second is None else f"{sidecar.rows_per_second:,.1f}",
    )


def _published_rows(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    for one in evaluation.published:
        low, high = (f"{bound:.4f}" for bound in one.published_accuracy_ci)
        rows = f"({PUBLISHED_ROWS:,})"
        yield (
            *(f"{one.published} (published)", rows, f"{one.published_accuracy:.4f}", low, high),
            *("", "", "", "", ""),
        )


def pair_facts(pair: PairedComparison, names: dict[str, str], *, pairs: int) -> Facts:
    """Lay out one of so many pairs: the differences and the test."""
    left, right = pair.only_in_first, pair.only_in_second
    unmatched = (
        f"; {left:,} only in the first, {right:,} only in the second" if left + right else ""
    )
    tested = f"exact McNemar test p = {pair.p_value:.2g}"
    if pairs > 1:
        tested += f", Holm-corrected for {pairs} pairs p = {pair.p_value_holm:.2g}"
    return Facts(
        f"{names[pair.first]} minus {names[pair.second]}",
        (
            ("rows in both", f"{pair.n:,} (matched by {pair.matched_by}{unmatched})"),
            (
                "accuracy",
                f"{pair.accuracy_difference:+.4f}  "
                f"{interval_text(pair.accuracy_difference_ci, signed=True)}",
            ),
            (
                "macro-F1",
                f"{pair.f1_macro_difference:+.4f}  "
                f"{interval_text(pair.f1_macro_difference_ci, signed=True)}",
            ),
            (
                "right in one only",
                f"first {pair.first_right:,}, second {pair.second_right:,}: {tested}",
            ),
        ),
    )


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Give each file the shortest end of its path that no other file shares."""
    parts = {name: PurePath(name).parts or (name,) for name in names}
    short: dict[str, str] = {}
    for name, own in parts.items():
        others = [other for key, other in parts.items() if key != name]
        length = next(
            (k for k in range(1, len(own)) if all(o[-k:] != own[-k:] for o in others)), len(own)
        )
        short[name] = printable(str(PurePath(*own[-length:])))
    return short
