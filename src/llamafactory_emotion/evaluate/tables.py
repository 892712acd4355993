"""Lay out an `Evaluation` as tables for the terminal.

The last step of the flow but printing (`tables`); it formats figures and computes none. Whatever
comes from a file (its name, labels, texts) passes through `console.printable`, so that nothing in
it acts.
"""

from collections.abc import Iterator, Sequence

from llamafactory_emotion.evaluate.comparison import PUBLISHED_ROWS, PublishedComparison
from llamafactory_emotion.evaluate.floor import Floor, floor_sentence
from llamafactory_emotion.evaluate.one_file import Evaluation
from llamafactory_emotion.evaluate.rows import Listed, RowCheck, TrainExplanation, confused_pairs
from llamafactory_emotion.metrics.calibration import Calibration
from llamafactory_emotion.metrics.counts import Interval, Metrics
from llamafactory_emotion.terminal import Block, Facts, Table, printable

INVALID = "invalid"
LINES_SHOWN = 3
WIDEST_CONFUSION = 20
_WIDEST_LINE = 160


def evaluation_blocks(evaluation: Evaluation, *, texts: bool = True) -> list[Block]:
    """Lay out one file's figures: the summary, the labels, the confusion matrix, and more.

    Without `texts`, source and training rows are counted and none is listed.
    """
    metrics = evaluation.metrics
    blocks: list[Block] = [summary_facts(evaluation)]
    if evaluation.by_rule:
        blocks.append(rules_table(evaluation))
    blocks.append(labels_table(metrics))
    blocks.append(confusion_table(metrics) if _fits(metrics) else confused_table(metrics))
    if evaluation.calibration is not None:
        blocks.append(calibration_facts(evaluation.calibration, metrics.n))
    return [*blocks, *joined_blocks(evaluation, texts=texts)]


def _fits(metrics: Metrics) -> bool:
    """Say whether a terminal can show the confusion matrix: few labels, and not of many words."""
    widths = [len(label) + 2 for label in metrics.labels]
    return len(widths) <= WIDEST_CONFUSION and sum(widths) + max(widths) <= _WIDEST_LINE


def joined_blocks(evaluation: Evaluation, *, of: str = "", texts: bool = True) -> Iterator[Block]:
    """Lay out what other data says about a file (`of`, where there are several)."""
    if evaluation.row_check is not None:
        yield row_check_facts(evaluation.row_check, of=of, texts=texts)
    if evaluation.train_explanation is not None:
        yield explanation_facts(
            evaluation.train_explanation, evaluation.metrics, of=of, texts=texts
        )
    if evaluation.floor is not None:
        yield floor_facts(evaluation.floor, of=of)
    if evaluation.published:
        yield published_table(evaluation.published, of=of)


UNFINISHED = "the run that wrote this file had not ended; go on with it before you judge it"


def summary_facts(evaluation: Evaluation) -> Facts:
    """Lay out the figures that sum up a file."""
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
    if evaluation.unfinished:
        yield "unfinished", UNFINISHED
    if evaluation.broken:
        yield "left out", f"{evaluation.broken:,} broken rows: {printable(evaluation.broken_note)}"


def interval_text(interval: Interval, *, signed: bool = False) -> str:
    """Write an interval as every table shows it; that of a difference is `signed`."""
    low, high = (f"{bound:+.4f}" if signed else f"{bound:.4f}" for bound in interval)
    return f"(95 % interval {low} to {high})"


def percent(share: float) -> str:
    """Write a share as every table shows it."""
    return f"{share:.2%}".replace("%", " %")


def rules_table(evaluation: Evaluation, *, of: str = "") -> Table:
    """Lay out the three match rules side by side."""
    return Table(
        _title("match rules", of),
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


def labels_table(metrics: Metrics) -> Table:
    """Lay out the figures of each label."""
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


def confusion_table(metrics: Metrics) -> Table:
    """Lay out the confusion matrix; its last column is invalid."""
    names = tuple(printable(label) for label in metrics.labels)
    return Table(
        "confusion (rows gold, columns predicted)",
        ("", *names, INVALID),
        tuple(
            (name, *(f"{count:,}" for count in row))
            for name, row in zip(names, metrics.confusion, strict=True)
        ),
    )


def confused_table(metrics: Metrics) -> Table:
    """Give the cells to look at of a confusion matrix too wide for a terminal."""
    return Table(
        f"most confused labels ({len(metrics.labels)} labels; --json has the whole matrix)",
        ("gold", "predicted", "rows", "of errors"),
        tuple(
            (
                printable(pair.gold),
                printable(pair.predicted),
                f"{pair.count:,}",
                percent(pair.share),
            )
            for pair in confused_pairs(metrics)[:WIDEST_CONFUSION]
        ),
    )


def calibration_facts(calibration: Calibration, rows: int) -> Facts:
    """Lay out the figures of the probabilities; `rows` is the file's number of rows."""
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


def row_check_facts(check: RowCheck, *, of: str = "", texts: bool = True) -> Facts:
    """Lay out the check of a file (`of`, where there are several) against its source."""
    kinds = (
        ("missing", check.missing, "source rows without a prediction"),
        ("extra", check.extra, "predictions that are not in the source, left out"),
        ("repeated", check.repeated, "predictions that stand more often than in it, left out"),
        ("other gold label", check.other_gold, "judged by the source's"),
    )
    lines = [("rows in both", f"{check.matched:,} of {check.source_rows:,}")]
    for name, listed, meaning in kinds:
        lines.append((name, f"{listed.count:,}  ({meaning})"))
        lines += _listed_lines(listed) if texts else ()
    return Facts(_title(f"row check against {check.source}", of), tuple(lines))


def _title(title: str, of: str) -> str:
    return printable(f"{of}: {title}" if of else title)


def _listed_lines(listed: Listed) -> Iterator[tuple[str, str]]:
    for line, said in listed.first[:LINES_SHOWN]:
        yield "", f"line {line}: {_one_line(said)}"
    if listed.count > LINES_SHOWN:
        yield "", f"and {listed.count - LINES_SHOWN:,} more"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def explanation_facts(
    explanation: TrainExplanation, metrics: Metrics, *, of: str = "", texts: bool = True
) -> Facts:
    """Lay out what the training data explains."""
    count = explanation.errors_other_label
    lines = [
        (
            "texts in train",
            f"{explanation.rows_in_train:,} rows, "
            f"{explanation.rows_other_label:,} of them with another label there",
        ),
        ("errors", f"{explanation.errors:,}"),
        (
            "explained by train",
            f"{count:,} stand in train with another label, "
            f"{explanation.errors_as_trained:,} gave that label",
        ),
        *(_listed_lines(explanation.examples) if texts else ()),
    ]
    lines += [
        (
            "confused",
            f"{printable(f'{pair.gold} as {pair.predicted}')}: {pair.count:,} "
            f"({percent(pair.share)} of the errors)",
        )
        for pair in confused_pairs(metrics)[:LINES_SHOWN]
    ]
    clean = explanation.clean
    if clean is not None:
        lines.append(
            (
                "clean rows",
                f"{clean.n:,} not in train: accuracy {clean.accuracy:.4f}  "
                f"{interval_text(clean.accuracy_ci)}, macro-F1 {clean.f1_macro:.4f}",
            )
        )
    if explanation.rows_without_text:
        lines.append(("no text", f"{explanation.rows_without_text:,} rows; counted as clean"))
    return Facts(_title(f"errors against {explanation.train}", of), tuple(lines))


def floor_facts(floor: Floor, *, of: str = "") -> Facts:
    """Lay out what the language model is worth."""
    return Facts(
        _title(f"floor: a tf-idf SVM fitted on {floor.train} ({floor.train_rows:,} rows)", of),
        (
            (
                "SVM accuracy",
                f"{floor.metrics.accuracy:.4f}  {interval_text(floor.metrics.accuracy_ci)}",
            ),
            ("SVM macro-F1", f"{floor.metrics.f1_macro:.4f}"),
            ("worth", floor_sentence(floor)),
        ),
    )


def published_table(published: Sequence[PublishedComparison], *, of: str = "") -> Table:
    """Lay out a file against the published figures."""
    return Table(
        _title(
            "against published figures (unpaired; their number of rows is not published and "
            f"taken as {PUBLISHED_ROWS:,})",
            of,
        ),
        ("published", "accuracy", "low", "high", "difference", "low", "high", "p", "p (Holm)"),
        tuple(
            (
                one.published,
                f"{one.published_accuracy:.4f}",
                *(f"{bound:.4f}" for bound in one.published_accuracy_ci),
                f"{one.accuracy_difference:+.4f}",
                *(f"{bound:+.4f}" for bound in one.accuracy_difference_ci),
                f"{one.p_value:.2g}",
                f"{one.p_value_holm:.2g}",
            )
            for one in published
        ),
    )
