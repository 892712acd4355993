"""Show an `Evaluation`: as tables on a terminal, as the JSON that `--json` writes.

The last step of the flow; it formats figures and computes none. Whatever comes from a file (its
name, labels, answers) passes through `console.printable`, so that nothing in it acts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from llamafactory_emotion.calibration import Calibration
from llamafactory_emotion.console import printable
from llamafactory_emotion.evaluation import Evaluation
from llamafactory_emotion.metrics import Interval, Metrics

INVALID = "invalid"


@dataclass(frozen=True)
class Table:
    """A titled table; the first column is text, the others are figures aligned to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Facts:
    """A titled list of names with what is to be said of each."""

    title: str
    lines: tuple[tuple[str, str], ...]


Block = Table | Facts


def print_blocks(blocks: Sequence[Block], out: TextIO) -> None:
    """Print blocks with rich where `out` is a terminal, and as plain text where it is not."""
    if out.isatty():
        _print_rich(blocks, out)
    else:
        out.write("\n\n".join(_plain(block) for block in blocks) + "\n")


def evaluation_blocks(evaluation: Evaluation) -> list[Block]:
    """Lay out one file's figures: the summary, the labels, the confusion matrix, and more."""
    metrics = evaluation.metrics
    blocks: list[Block] = [_summary(evaluation)]
    if evaluation.by_rule:
        blocks.append(_rules_table(evaluation))
    blocks += [_labels_table(metrics), _confusion_table(metrics)]
    if evaluation.calibration is not None:
        blocks.append(_calibration_facts(evaluation.calibration, metrics.n))
    return blocks


def _summary(evaluation: Evaluation) -> Facts:
    metrics = evaluation.metrics
    title = f"{evaluation.source} (task {evaluation.task.name}, match {evaluation.match})"
    return Facts(printable(title), tuple(_summary_lines(evaluation, metrics)))


def _summary_lines(evaluation: Evaluation, metrics: Metrics) -> Iterator[tuple[str, str]]:
    yield "rows", f"{metrics.n:,}"
    yield "accuracy", f"{metrics.accuracy:.4f}  {interval_text(metrics.accuracy_ci)}"
    yield "macro-F1", f"{metrics.f1_macro:.4f}  {interval_text(metrics.f1_macro_ci)}"
    yield "weighted F1", f"{metrics.f1_weighted:.4f}"
    yield "balanced accuracy", f"{metrics.balanced_accuracy:.4f}"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in evaluation.reasons.items())
    rate = f"{metrics.invalid:,} ({percent(metrics.invalid_rate)})"
    yield "invalid answers", f"{rate}: {reasons}" if reasons else rate
    yield (
        "majority baseline",
        f"{metrics.majority_baseline:.4f}  (always {printable(metrics.majority_label)})",
    )
    if metrics.without_gold:
        names = printable(", ".join(metrics.without_gold))
        yield "no gold rows", f"{names}: counted in macro-F1 with 0"
    if evaluation.broken:
        yield "left out", f"{evaluation.broken:,} broken rows: {printable(evaluation.broken_note)}"


def interval_text(interval: Interval) -> str:
    """Write an interval as every table shows it."""
    return f"(95 % interval {interval[0]:.4f} to {interval[1]:.4f})"


def percent(share: float) -> str:
    """Write a share as every table shows it."""
    return f"{share:.2%}".replace("%", " %")


def _rules_table(evaluation: Evaluation) -> Table:
    return Table(
        "match rules",
        ("rule", "accuracy", "low", "high", "macro-F1", INVALID),
        tuple(
            (
                rule,
                f"{metrics.accuracy:.4f}",
                *(f"{bound:.4f}" for bound in metrics.accuracy_ci),
                f"{metrics.f1_macro:.4f}",
                f"{metrics.invalid:,}",
            )
            for rule, metrics in evaluation.by_rule.items()
        ),
    )


def _labels_table(metrics: Metrics) -> Table:
    return Table(
        "labels",
        ("label", "precision", "recall", "F1", "support"),
        tuple(
            (
                printable(label),
                f"{one.precision:.4f}",
                f"{one.recall:.4f}",
                f"{one.f1:.4f}",
                f"{one.support:,}",
            )
            for label, one in metrics.per_class.items()
        ),
    )


def _confusion_table(metrics: Metrics) -> Table:
    names = tuple(printable(label) for label in metrics.labels)
    return Table(
        "confusion (rows gold, columns predicted)",
        ("", *names, INVALID),
        tuple(
            (name, *(f"{count:,}" for count in row))
            for name, row in zip(names, metrics.confusion, strict=True)
        ),
    )


def _calibration_facts(calibration: Calibration, rows: int) -> Facts:
    lines = [
        ("log loss", f"{calibration.log_loss:.4f}"),
        ("Brier score", f"{calibration.brier_score:.4f}  (summed over labels, 0 to 2)"),
        (
            "calibration error",
            f"{calibration.expected_calibration_error:.4f}  (expected, 15 bins)",
        ),
        ("top-2 accuracy", f"{calibration.top_2_accuracy:.4f}"),
    ]
    if calibration.n < rows:
        lines.insert(0, ("rows", f"{calibration.n:,} of {rows:,} have probabilities"))
    if calibration.disagreements:
        count = f"{calibration.disagreements:,}"
        lines.append(("disagreements", f"{count} answers are not their most probable label"))
    abstention = calibration.abstention
    if abstention is not None:
        said = f"{abstention.answered:,} answered ({percent(abstention.coverage)})"
        if abstention.accuracy is not None and abstention.accuracy_ci is not None:
            interval = interval_text(abstention.accuracy_ci)
            said += f", accuracy {abstention.accuracy:.4f}  {interval}"
        lines.append((f"confidence >= {abstention.threshold:g}", said))
    return Facts("probabilities", tuple(lines))


def _plain(block: Block) -> str:
    if isinstance(block, Facts):
        width = max((len(name) for name, _ in block.lines), default=0)
        lines = [f"  {name:<{width}}  {said}" for name, said in block.lines]
        return "\n".join([block.title, *lines])
    grid = [block.columns, *block.rows]
    widths = [max(_cells(row[k]) for row in grid) for k in range(len(block.columns))]
    lines = [
        "  "
        + "  ".join(
            _pad(cell, width, right=k > 0)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid
    ]
    return "\n".join([block.title, *lines])


def _pad(text: str, width: int, *, right: bool) -> str:
    gap = " " * (width - _cells(text))
    return gap + text if right else text + gap


def _cells(text: str) -> int:
    """Give the terminal cells a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(character) else 1 + (east_asian_width(character) in "WF")
        for character in text
    )


def _print_rich(blocks: Sequence[Block], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=out, highlight=False)
    for block in blocks:
        console.print(Text(block.title, style="bold"))
        facts = isinstance(block, Facts)
        table = RichTable(show_header=not facts, box=None, pad_edge=True, header_style="dim")
        columns = ("", "") if isinstance(block, Facts) else block.columns
        for k, column in enumerate(columns):
            table.add_column(Text(column), justify="left" if facts or k == 0 else "right")
        for row in block.lines if isinstance(block, Facts) else block.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        console.print()


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """Give one file's figures as JSON values; the keys follow scikit-learn's scorer names."""
    calibration = evaluation.calibration
    return {
        "file": printable(evaluation.source),
        "task": evaluation.task.name,
        "match": evaluation.match,
        **metrics_json(evaluation.metrics),
        "reasons": dict(evaluation.reasons),
        "by_rule": {rule: metrics_json(one) for rule, one in evaluation.by_rule.items()},
        "broken": evaluation.broken,
        "broken_kinds": dict(evaluation.broken_kinds),
        **(
            asdict(calibration) | {"n": evaluation.metrics.n, "n_probabilities": calibration.n}
            if calibration is not None
            else {}
        ),
        "sidecar": dict(evaluation.sidecar.everything) if evaluation.sidecar else None,
    }


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Give the figures of one confusion matrix as JSON values."""
    return {
        "n": metrics.n,
        "accuracy": metrics.accuracy,
        "accuracy_ci": list(metrics.accuracy_ci),
        "balanced_accuracy": metrics.balanced_accuracy,
        "f1_macro": metrics.f1_macro,
        "f1_macro_ci": list(metrics.f1_macro_ci),
        "f1_weighted": metrics.f1_weighted,
        "invalid": metrics.invalid,
        "invalid_rate": metrics.invalid_rate,
        "majority_baseline": metrics.majority_baseline,
        "majority_label": metrics.majority_label,
        "per_class": {label: asdict(one) for label, one in metrics.per_class.items()},
        "without_gold": list(metrics.without_gold),
        "confusion": {
            "labels": list(metrics.labels),
            "matrix": [list(row) for row in metrics.confusion],
        },
    }
