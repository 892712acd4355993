"""Lay out evaluations as tables of text: for the terminal, the HTML page and the model card.

Figures are formatted here, and none is computed. Whatever comes from a file (its name, labels,
texts) passes through `printable`, so that nothing in it acts on a terminal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from llamafactory_emotion.evaluate.comparison import LEVEL, PairedComparison
from llamafactory_emotion.evaluate.evaluation import ConfusedPair, Evaluation, confused_pairs
from llamafactory_emotion.evaluate.floor import Floor
from llamafactory_emotion.evaluate.lookup import Listed, RowCheck, TrainExplanation
from llamafactory_emotion.metrics.calibration import Calibration
from llamafactory_emotion.metrics.counts import Interval, Metrics
from llamafactory_emotion.predictions.sidecar import Sidecar
from llamafactory_emotion.terminal import Block, Facts, Table, printable
from llamafactory_emotion.text import shorten

INVALID = "invalid"
UNFINISHED = "the run that wrote this file had not ended; go on with it before you judge it"
UNSEEN = "no measure of unseen texts"
LINES_SHOWN = 3
WIDEST_CONFUSION = 20
_WIDEST_LINE = 160


def all_blocks(evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]) -> list[Block]:
    """Lay out what the command prints: one file in full, or several side by side."""
    if len(evaluations) == 1:
        return evaluation_blocks(evaluations[0])
    blocks = comparison_blocks(evaluations, pairs)
    names = short_names(evaluations)
    for one in evaluations:
        name = names[one.file]
        if one.unfinished:
            blocks.append(Facts(name, (("unfinished", UNFINISHED),)))
        if one.broken:
            blocks.append(Facts(name, (("left out", _broken_text(one)),)))
        own = [*([rules_table(one)] if one.by_rule else []), *joined_blocks(one)]
        blocks += [replace(block, title=f"{name}: {block.title}") for block in own]
    return blocks


def evaluation_blocks(evaluation: Evaluation, *, texts: bool = True) -> list[Block]:
    """Lay out one file's figures: the summary, the labels, the confusion matrix, and more.

    Without `texts`, source and training rows are counted and none is listed.
    """
    metrics = evaluation.metrics
    title = f"{evaluation.file} (task {evaluation.task.name}, match {evaluation.match})"
    blocks: list[Block] = [Facts(printable(title), tuple(_summary_lines(evaluation)))]
    if evaluation.by_rule:
        blocks.append(rules_table(evaluation))
    blocks.append(_labels_table(metrics))
    widths = [len(label) + 2 for label in metrics.labels]
    fits = len(widths) <= WIDEST_CONFUSION and sum(widths) + max(widths) <= _WIDEST_LINE
    blocks.append(_confusion_table(metrics) if fits else confused_table(metrics))
    if evaluation.calibration is not None:
        blocks.append(calibration_facts(evaluation.calibration, metrics.n))
    return [*blocks, *joined_blocks(evaluation, texts=texts)]


def joined_blocks(evaluation: Evaluation, *, texts: bool = True) -> Iterator[Block]:
    """Lay out what other data says about a file; without `texts` no row of it is listed."""
    if evaluation.row_check is not None:
        yield _row_check_facts(evaluation.row_check, texts=texts)
    if evaluation.train_explanation is not None:
        pairs = confused_pairs(evaluation.metrics)
        yield _explanation_facts(evaluation.train_explanation, pairs, texts=texts)
    if evaluation.floor is not None:
        yield _floor_facts(evaluation.floor)


def _summary_lines(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    metrics = evaluation.metrics
    yield "rows", f"{metrics.n:,}"
    yield "accuracy", f"{metrics.accuracy:.4f}  {_interval(metrics.accuracy_ci)}"
    yield "macro-F1", f"{metrics.f1_macro:.4f}  {_interval(metrics.f1_macro_ci)}"
    yield "weighted F1", f"{metrics.f1_weighted:.4f}"
    yield "balanced accuracy", f"{metrics.balanced_accuracy:.4f}"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in evaluation.reasons.items())
    rate = f"{metrics.invalid:,} ({percent(metrics.invalid_rate)})"
    yield "invalid answers", f"{rate}: {reasons}" if reasons else rate
    if evaluation.answers_ids:
        said = "give the gold labels as ids too, or a task= whose aliases say what each means"
        yield "label ids", f"the answers are ids, and the gold labels names: {said}"
    always = f"(always {printable(metrics.majority_label)})"
    reached = metrics.accuracy_ci[0] <= metrics.majority_baseline
    always += ", which the accuracy is not shown to beat" if reached else ""
    yield "majority baseline", f"{metrics.majority_baseline:.4f}  {always}"
    if metrics.without_gold:
        names = printable(", ".join(metrics.without_gold))
        yield "no gold rows", f"{names}: counted in macro-F1 with 0"
    if never := _never_answered(metrics):
        yield "never answered", printable(f"{shorten(', '.join(never))} (they have gold rows)")
    if evaluation.unfinished:
        yield "unfinished", UNFINISHED
    if evaluation.broken:
        yield "left out", _broken_text(evaluation)


def _broken_text(evaluation: Evaluation) -> str:
    return f"{evaluation.broken:,} broken rows: {printable(evaluation.broken_note)}"


def _never_answered(metrics: Metrics) -> list[str]:
    """Return the labels that rows have as gold and no answer is: all but one after a collapse."""
    answers = [sum(column) for column in zip(*metrics.confusion, strict=True)]
    return [
        label
        for label, given in zip(metrics.labels, answers, strict=False)
        if not given and label not in metrics.without_gold
    ]


NO_INTERVAL = "no interval: a label has fewer than two gold rows"


def _interval(interval: Interval | None, *, signed: bool = False) -> str:
    if interval is None:
        return f"({NO_INTERVAL})"
    low, high = (f"{bound:+.4f}" if signed else f"{bound:.4f}" for bound in interval)
    return f"(95 % interval {low} to {high})"


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{share:.2%}".replace("%", " %")


def _figures(metrics: Metrics) -> tuple[str, ...]:
    """Write accuracy, its interval, macro-F1 and the invalid answers, for one row of a table."""
    return (
        f"{metrics.accuracy:.4f}",
        *(f"{bound:.4f}" for bound in metrics.accuracy_ci),
        f"{metrics.f1_macro:.4f}",
        f"{metrics.invalid:,}",
    )


_FIGURES = ("accuracy", "low", "high", "macro-F1", INVALID)


def rules_table(evaluation: Evaluation) -> Table:
    """Lay out the three match rules side by side."""
    rows = tuple((rule, *_figures(one)) for rule, one in evaluation.by_rule.items())
    return Table("match rules", ("rule", *_FIGURES), rows)


def _labels_table(metrics: Metrics) -> Table:
    rows = tuple(
        (
            printable(label),
            *(f"{figure:.4f}" for figure in (one.precision, one.recall, one.f1)),
            f"{one.support:,}",
        )
        for label, one in metrics.per_class.items()
    )
    return Table("labels", ("label", "precision", "recall", "F1", "support"), rows)


def _confusion_table(metrics: Metrics) -> Table:
    names = tuple(map(printable, metrics.labels))
    rows = tuple(
        (name, *(f"{count:,}" for count in row))
        for name, row in zip(names, metrics.confusion, strict=True)
    )
    return Table("confusion (rows gold, columns predicted)", ("", *names, INVALID), rows)


def confused_table(metrics: Metrics) -> Table:
    """Lay out the most confused labels of a matrix too wide for a terminal."""
    rows = tuple(
        (printable(pair.gold), printable(pair.predicted), f"{pair.count:,}", percent(pair.share))
        for pair in confused_pairs(metrics)[:WIDEST_CONFUSION]
    )
    title = f"most confused labels ({len(metrics.labels)} labels; json= has the whole matrix)"
    return Table(title, ("gold", "predicted", "rows", "of errors"), rows)


def calibration_facts(calibration: Calibration, rows: int) -> Facts:
    """Lay out the figures of the probabilities; `rows` is the file's number of rows."""
    error = calibration.expected_calibration_error
    lines = [
        ("log loss", f"{calibration.log_loss:.4f}"),
        ("Brier score", f"{calibration.brier_score:.4f}  (summed over labels, 0 to 2)"),
        ("calibration error", f"{error:.4f}  (expected, 15 bins)"),
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
            interval = _interval(abstention.accuracy_ci)
            said += f", accuracy {abstention.accuracy:.4f}  {interval}"
        lines.append((f"confidence >= {abstention.threshold:g}", said))
    return Facts("probabilities", tuple(lines))


def _row_check_facts(check: RowCheck, *, texts: bool) -> Facts:
    kinds = (
        ("missing", check.missing, "source rows without a prediction"),
        ("extra", check.extra, "predictions that are not in the source, left out"),
        ("repeated", check.repeated, "predictions of a text beyond the source's, left out"),
        ("other gold label", check.other_gold, "judged by the source's"),
    )
    lines = [("rows in both", f"{check.matched:,} of {check.source_rows:,}")]
    for name, listed, meaning in kinds:
        lines.append((name, f"{listed.count:,}  ({meaning})"))
        lines += _listed_lines(listed) if texts else ()
    return Facts(printable(f"row check against {check.source}"), tuple(lines))


def _listed_lines(listed: Listed) -> Iterator[tuple[str, str]]:
    for line, said in listed.first[:LINES_SHOWN]:
        yield "", f"line {line}: {printable(' '.join(said.split()))}"
    if listed.count > LINES_SHOWN:
        yield "", f"and {listed.count - LINES_SHOWN:,} more"


def _explanation_facts(
    explanation: TrainExplanation, pairs: Sequence[ConfusedPair], *, texts: bool
) -> Facts:
    other, as_trained = explanation.errors_other_label, explanation.errors_as_trained
    in_train = f"{explanation.rows_in_train:,} rows, {explanation.rows_other_label:,} of them"
    lines = [
        ("texts in train", f"{in_train} with another label there"),
        ("errors", f"{explanation.errors:,}"),
        (
            "explained by train",
            f"{other:,} are in train with another label, {as_trained:,} gave that label",
        ),
        *(_listed_lines(explanation.examples) if texts else ()),
    ]
    for pair in pairs[:LINES_SHOWN]:
        share = f"{pair.count:,} ({percent(pair.share)} of the errors)"
        lines.append(("confused", f"{printable(f'{pair.gold} as {pair.predicted}')}: {share}"))
    clean = explanation.clean
    if clean is not None:
        accuracy = f"accuracy {clean.accuracy:.4f}  {_interval(clean.accuracy_ci)}"
        said = f"{clean.n:,} not in train: {accuracy}, macro-F1 {clean.f1_macro:.4f}"
        lines.append(("clean rows", said))
    if explanation.rows_in_train:
        said = f"{explanation.rows_in_train:,} judged rows are in train"
        lines.insert(0, ("overlap", f"{said}: for a model trained on it, {UNSEEN}"))
    if explanation.rows_without_text:
        lines.append(("no text", f"{explanation.rows_without_text:,} rows; counted as clean"))
    return Facts(printable(f"errors against {explanation.train}"), tuple(lines))


def _floor_facts(floor: Floor) -> Facts:
    lines = [
        ("SVM accuracy", f"{floor.metrics.accuracy:.4f}  {_interval(floor.metrics.accuracy_ci)}"),
        ("SVM macro-F1", f"{floor.metrics.f1_macro:.4f}"),
        ("SVM sees", floor.features),
        ("SVM time", f"{floor.seconds:.1f} seconds of one core"),
        *(("minus SVM: " + name, said) for name, said in _difference_lines(floor.comparison)),
    ]
    if floor.rows_in_train:
        rows = f"{floor.rows_in_train:,} of {floor.metrics.n:,} judged rows"
        lines.insert(0, ("overlap", f"{rows} are among its training rows: {UNSEEN}"))
    title = f"floor: a tf-idf SVM fitted on {floor.train} ({floor.train_rows:,} rows)"
    return Facts(printable(title), tuple(lines))


def comparison_blocks(
    evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]
) -> list[Block]:
    """Lay out several files side by side, and the differences of each pair."""
    names = short_names(evaluations)
    first = evaluations[0]
    title = f"{len(evaluations)} files (task {first.task.name}, match {first.match})"
    columns = ("file", "rows", *_FIGURES, "trained parameters", "seconds", "rows/s")
    rows = tuple(_file_row(one, names[one.file]) for one in evaluations)
    table = Table(printable(title), columns, rows)
    return [table, *(_pair_facts(pair, names, pairs=len(pairs)) for pair in pairs)]


def _file_row(one: Evaluation, name: str) -> tuple[str, ...]:
    sidecar = one.sidecar or Sidecar()
    return (
        name,
        f"{one.metrics.n:,}",
        *_figures(one.metrics),
        "" if sidecar.trained_parameters is None else f"{sidecar.trained_parameters:,}",
        "" if sidecar.seconds is None else f"{sidecar.seconds:,.1f}",
        "" if sidecar.rows_per_second is None else f"{sidecar.rows_per_second:,.1f}",
    )


def _pair_facts(pair: PairedComparison, names: dict[str, str], *, pairs: int) -> Facts:
    left, right = pair.only_in_first, pair.only_in_second
    matched = f"matched by {pair.matched_by}"
    if left + right:
        matched += f"; {left:,} only in the first, {right:,} only in the second"
    lines = [("rows in both", f"{pair.n:,} ({matched})"), *_difference_lines(pair, pairs=pairs)]
    if pair.matched_by in ("id", "position"):
        said = "the files hold no prompts to compare, so only gold labels were checked"
        lines.insert(1, ("unchecked", said))
    if pair.uncertain:
        said = f"{pair.uncertain:,} rows repeat a prompt that both answer now right, now wrong"
        lines.insert(1, ("uncertain", f"{said}; they were paired in their order"))
    return Facts(f"{names[pair.first]} minus {names[pair.second]}", tuple(lines))


def _difference_lines(pair: PairedComparison, *, pairs: int = 1) -> Iterator[tuple[str, str]]:
    for name, difference, interval in (
        ("accuracy", pair.accuracy_difference, pair.accuracy_difference_ci),
        ("macro-F1", pair.f1_macro_difference, pair.f1_macro_difference_ci),
    ):
        yield name, f"{difference:+.4f}  {_interval(interval, signed=True)}"
    tested = f"exact McNemar test p = {pair.p_value:.2g}"
    if pairs > 1:
        tested += f", Holm-corrected for {pairs} pairs p = {pair.p_value_holm:.2g}"
    yield "right in one only", f"first {pair.first_right:,}, second {pair.second_right:,}: {tested}"
    # The test decides; intervals of single pairs know nothing of the other pairs.
    better = "first" if pair.accuracy_difference > 0 else "second"
    told_apart = f"the {better} is right more often (p < {LEVEL:g})"
    yield "verdict", told_apart if pair.p_value_holm < LEVEL else f"not told apart (p >= {LEVEL:g})"


def short_names(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Map each file's name to the shortest end of its path that no other file shares."""
    parts = {one.file: PurePath(one.file).parts or (one.file,) for one in evaluations}
    short: dict[str, str] = {}
    for file, own in parts.items():
        others = [other for name, other in parts.items() if name != file]
        length = next(
            (k for k in range(1, len(own)) if all(o[-k:] != own[-k:] for o in others)), len(own)
        )
        short[file] = printable(str(PurePath(*own[-length:])))
    return short
