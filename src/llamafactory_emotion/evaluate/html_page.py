"""Lay out evaluations as one HTML page that needs no network and in which no text can run.

The page's skeleton, looks and search are the package's files `page.html.jinja`, `page.css` and
`page.js`; this module hands them the figures and computes none. Whatever comes from a file is
escaped twice over: Jinja's autoescape makes it text, and the page's Content-Security-Policy allows
no script and no style but those two files, named by their hashes, and no request at all.
"""

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from llamafactory_emotion import __version__
from llamafactory_emotion.evaluate.comparison import PairedComparison
from llamafactory_emotion.evaluate.evaluation import Evaluation, confused_pairs
from llamafactory_emotion.evaluate.tables import (
    INVALID,
    NO_INTERVAL,
    UNFINISHED,
    WIDEST_CONFUSION,
    calibration_facts,
    comparison_blocks,
    confused_table,
    joined_blocks,
    percent,
    rules_table,
    short_names,
)
from llamafactory_emotion.metrics.calibration import Calibration
from llamafactory_emotion.metrics.counts import Metrics
from llamafactory_emotion.predictions.sidecar import Sidecar
from llamafactory_emotion.terminal import Block, Facts

# A wider matrix would be neither readable nor quick to open.
WIDEST_MATRIX = 100
_HEAT_LEVELS = 10
_RISK_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_OF_THE_RUN = (
    *("model", "adapter", "recipe", "trained_parameters", "seconds", "rows_per_second", "seed"),
    *("hardware", "versions"),
)
# Spaces, and the joiners that shape letters and emoji and show nothing of their own.
_HARMLESS = "\n\t\u00a0\u3000\u200c\u200d"


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
    environment.globals |= {
        "invalid": INVALID,
        "unfinished": UNFINISHED,
        "version": __version__,
        "widest_matrix": WIDEST_MATRIX,
        "matrix": _matrix,
        "more_blocks": _more_blocks,
        "risk_scale": _risk_scale,
        "wrong_answers": lambda metrics: sum(pair.count for pair in confused_pairs(metrics)),
    }
    names = list(short_names(evaluations).values())
    style, script = _package_text("page.css"), _package_text("page.js")
    page = environment.from_string(_package_text("page.html.jinja")).render(
        title=", ".join(names),
        style=style,
        script=script,
        style_hash=_source_hash(style),
        script_hash=_source_hash(script),
        comparison=comparison_blocks(evaluations, pairs) if len(evaluations) > 1 else (),
        evaluations=evaluations,
        names=names,
        no_interval=NO_INTERVAL,
    )
    return page.strip() + "\n"


def _package_text(name: str) -> str:
    return files("llamafactory_emotion.evaluate").joinpath(name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """Name an inline script or style for a Content-Security-Policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def shown(text: str) -> Markup:
    r"""Return text as markup in which what would act or hide is written as its escape.

    Line ends, tabs, spaces of all kinds and joiners stay; controls, overrides of the direction
    of writing, lone surrogates and the like are written out (`\u202e`) and marked.
    """
    if text.isprintable():
        return escape(text)
    parts: list[str] = []
    for harmless, run in groupby(text, lambda one: one.isprintable() or one in _HARMLESS):
        if harmless:
            parts.append(escape("".join(run)))
        else:
            code = "".join(run).encode("unicode_escape").decode("ascii")
            parts.append(Markup('<span class="code">{}</span>').format(code))
    return Markup("").join(parts)


@dataclass(frozen=True)
class _Cell:
    """One cell of the confusion matrix; `query` searches the page for its answers."""

    count: int
    share: float
    looks: str
    query: str


def _matrix(metrics: Metrics) -> Iterator[tuple[str, list[_Cell]]]:
    """Yield each gold label with its cells of the confusion matrix, shaded by share."""
    for gold, row in zip(metrics.labels, metrics.confusion, strict=True):
        support = max(sum(row), 1)
        cells = []
        for answer, count in zip((*metrics.labels, None), row, strict=True):
            kind = "invalid" if answer is None else "right" if answer == gold else "wrong"
            wanted = Markup("{} → {}").format(shown(gold), shown(answer or INVALID)).striptags()
            query = f"#q={quote(wanted, safe='')}" if count and kind != "right" else ""
            heat = math.ceil(count / support * _HEAT_LEVELS)
            cells.append(_Cell(count, count / support, f"{kind} heat{heat}", query))
        yield gold, cells


def _risk_scale(calibration: Calibration) -> float:
    """Return the top of the risk axis: the first round number above the curve."""
    highest = max((point.risk for point in calibration.risk_coverage), default=0.0)
    return next(scale for scale in _RISK_SCALES if scale >= highest)


def _more_blocks(evaluation: Evaluation) -> Iterator[Block]:
    metrics = evaluation.metrics
    if evaluation.calibration is not None:
        yield calibration_facts(evaluation.calibration, metrics.n)
    if len(metrics.labels) > WIDEST_CONFUSION:
        yield confused_table(metrics)
    if evaluation.by_rule:
        yield rules_table(evaluation)
    yield from joined_blocks(evaluation)
    lines = tuple(_run_lines(evaluation.sidecar or Sidecar()))
    if lines:
        yield Facts("the run", lines)


def _run_lines(sidecar: Sidecar) -> Iterator[tuple[str, str]]:
    """Say what is known of the run that wrote the predictions."""
    for name in _OF_THE_RUN:
        value = getattr(sidecar, name)
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, int | float) and name != "seed":
            value = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
        if value is not None and value != "":
            yield name.replace("_", " "), str(value)
