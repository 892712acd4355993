"""Lay out evaluations as one HTML page that stands alone: no network, nothing of a text can run.

The page's skeleton, looks and search are the package's files `page.html.jinja`, `page.css` and
`page.js`; this module hands them the figures and computes none. Whatever comes from a file is
escaped twice over: Jinja's autoescape makes it text, and the page's Content-Security-Policy allows
no script and no style but those two files, named by their hashes, and no request at all.
"""

import base64
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from llamafactory_emotion import __version__
from llamafactory_emotion.evaluate.comparison import PairedComparison
from llamafactory_emotion.evaluate.comparison_tables import files_table, pair_facts, short_names
from llamafactory_emotion.evaluate.one_file import Evaluation, Example
from llamafactory_emotion.evaluate.tables import (
    INVALID,
    UNFINISHED,
    WIDEST_CONFUSION,
    calibration_facts,
    confused_table,
    joined_blocks,
    percent,
    rules_table,
)
from llamafactory_emotion.evaluate.texts import TextFinder
from llamafactory_emotion.metrics.calibration import Calibration
from llamafactory_emotion.metrics.counts import Metrics
from llamafactory_emotion.predictions.reading import Prediction
from llamafactory_emotion.predictions.sidecar import Sidecar
from llamafactory_emotion.terminal import Block, Facts

# A wider matrix would be neither readable nor quick to open.
WIDEST_MATRIX = 100
_HEAT_LEVELS = 10
_RISK_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Joiners shape letters and emoji and show nothing of their own.
_JOINERS = "\u200c\u200d"


def page_html(evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]) -> str:
    """Write the page of one file of predictions, or of several that are compared.

    Args:
        evaluations: One for each file, in the order to be shown.
        pairs: The comparison of each pair of them; empty for one file.

    Returns:
        A whole HTML document that may be encoded in UTF-8.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shown": shown, "percent": percent}
    names = short_names([one.source for one in evaluations])
    style, script = _package_text("page.css"), _package_text("page.js")
    page = environment.from_string(_package_text("page.html.jinja")).render(
        title=", ".join(names.values()),
        style=style,
        script=script,
        style_hash=_source_hash(style),
        script_hash=_source_hash(script),
        comparison=_comparison_blocks(evaluations, pairs, names),
        sections=[_section(one, names[one.source]) for one in evaluations],
        version=__version__,
        invalid=INVALID,
        unfinished=UNFINISHED,
    )
    return page.strip() + "\n"


def _package_text(name: str) -> str:
    return files("llamafactory_emotion.evaluate").joinpath(name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """Name an inline script or style for a Content-Security-Policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def shown(text: str) -> Markup:
    r"""Give text as markup in which every character that would act or hide is shown as its escape.

    Line ends, tabs, spaces of all kinds and joiners stay; controls, overrides of the direction
    of writing, lone surrogates and the like are written out (`\u202e`) and marked.
    """
    if text.isprintable():
        return escape(text)
    parts: list[str] = []
    for harmless, run in groupby(text, _is_harmless):
        if harmless:
            parts.append(escape("".join(run)))
        else:
            code = "".join(run).encode("unicode_escape").decode("ascii")
            parts.append(Markup('<span class="code">{}</span>').format(code))
    return Markup("").join(parts)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in "\n\t\u00a0\u3000" or character in _JOINERS


def _search_link(gold: str, predicted: str) -> str:
    """Give the fragment that searches the page for the answers of one confused pair."""
    wanted = Markup("{} → {}").format(shown(gold), shown(predicted)).striptags()
    return f"#q={quote(wanted, safe='')}"


@dataclass(frozen=True)
class _Cell:
    """One cell of the confusion matrix; `query` is where its answers are to be read."""

    count: int
    share: float
    looks: str
    query: str


@dataclass(frozen=True)
class _Reading:
    """A list of answers to read: how many there are in all, and the first of them."""

    title: str
    note: str
    total: int
    examples: tuple[tuple[Example, str | None], ...]


@dataclass(frozen=True)
class _Section:
    """All that the page shows of one file."""

    name: str
    evaluation: Evaluation
    matrix: tuple[tuple[_Cell, ...], ...]
    risk_scale: float
    more_blocks: tuple[Block, ...]
    probabilities: Facts | None
    readings: tuple[_Reading, ...]
    run: Facts | None


def _section(evaluation: Evaluation, name: str) -> _Section:
    metrics, calibration = evaluation.metrics, evaluation.calibration
    return _Section(
        name=name,
        evaluation=evaluation,
        matrix=_matrix(metrics) if len(metrics.labels) <= WIDEST_MATRIX else (),
        risk_scale=_risk_scale(calibration),
        more_blocks=tuple(_more_blocks(evaluation)),
        probabilities=calibration_facts(calibration, metrics.n) if calibration else None,
        readings=tuple(_readings(evaluation)),
        run=_run_facts(evaluation.sidecar),
    )


def _more_blocks(evaluation: Evaluation) -> Iterator[Block]:
    if len(evaluation.metrics.labels) > WIDEST_CONFUSION:
        yield confused_table(evaluation.metrics)
    if evaluation.by_rule:
        yield rules_table(evaluation)
    yield from joined_blocks(evaluation)


def _matrix(metrics: Metrics) -> tuple[tuple[_Cell, ...], ...]:
    answers = (*metrics.labels, INVALID)
    return tuple(
        tuple(
            _cell(count, sum(row), gold, answers[column], invalid=column == len(metrics.labels))
            for column, count in enumerate(row)
        )
        for gold, row in zip(metrics.labels, metrics.confusion, strict=True)
    )


def _cell(count: int, support: int, gold: str, answer: str, *, invalid: bool) -> _Cell:
    share = count / support if support else 0.0
    kind = "invalid" if invalid else "right" if answer == gold else "wrong"
    query = _search_link(gold, answer) if count and kind != "right" else ""
    return _Cell(count, share, f"{kind} heat{math.ceil(share * _HEAT_LEVELS)}", query)


def _risk_scale(calibration: Calibration | None) -> float:
    """Give the top of the risk axis: the first round number above the curve."""
    curve = calibration.risk_coverage if calibration else ()
    highest = max((point.risk for point in curve), default=0.0)
    return next(scale for scale in _RISK_SCALES if scale >= highest)


def _readings(evaluation: Evaluation) -> Iterator[_Reading]:
    metrics = evaluation.metrics
    right = sum(row[k] for k, row in enumerate(metrics.confusion))
    order = "the most confident first" if evaluation.calibration else "in the order of the file"
    wrong = metrics.n - metrics.invalid - right
    yield _reading("Wrong answers", order, wrong, evaluation.confident_errors, evaluation)
    yield _reading(
        "Invalid answers",
        "they name no label, or several",
        metrics.invalid,
        evaluation.invalid_answers,
        evaluation,
    )


def _reading(
    title: str, note: str, total: int, examples: Sequence[Example], evaluation: Evaluation
) -> _Reading:
    finder = TextFinder(evaluation.task)
    return _Reading(title, note, total, tuple((one, _text(one, finder)) for one in examples))


def _text(example: Example, finder: TextFinder) -> str | None:
    """Give the text that was classified, without the prompt around it where it can be told."""
    asked = example.prompt
    row = Prediction(example.line, example.predict, None, asked, None, None, None)
    return finder.find(row) or asked


def _run_facts(sidecar: Sidecar | None) -> Facts | None:
    """Lay out what is known of the run that wrote the predictions."""
    if sidecar is None:
        return None
    said = (
        ("model", sidecar.model),
        ("adapter", sidecar.adapter),
        ("recipe", sidecar.recipe),
        ("trained parameters", _number(sidecar.trained_parameters)),
        ("seconds", _number(sidecar.seconds)),
        ("rows/s", _number(sidecar.rows_per_second)),
        ("seed", None if sidecar.seed is None else str(sidecar.seed)),
        ("hardware", None if sidecar.hardware is None else str(sidecar.hardware)),
        ("versions", ", ".join(f"{name} {one}" for name, one in sidecar.versions.items())),
    )
    lines = tuple((name, value) for name, value in said if value)
    return Facts("the run", lines) if lines else None


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _comparison_blocks(
    evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison], names: dict[str, str]
) -> list[Block]:
    if len(evaluations) < 2:
        return []
    return [
        files_table(evaluations, names),
        *(pair_facts(pair, names, pairs=len(pairs)) for pair in pairs),
    ]
