"""Draw evaluations as a picture: confusion matrix, F1 of the labels, reliability.

For slides and papers; matplotlib is used without its global state, so that
nothing of the caller's plots or settings changes. It formats figures and computes none.
"""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure

from llamafactory_emotion.evaluate.comparison_tables import short_names
from llamafactory_emotion.evaluate.one_file import Evaluation
from llamafactory_emotion.evaluate.tables import INVALID
from llamafactory_emotion.metrics.calibration import Calibration
from llamafactory_emotion.metrics.counts import Metrics
from llamafactory_emotion.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS_PER_INCH = 150
# matplotlib cannot draw 2^16 pixels or more on a side, and viewers choke long before.
_LARGEST_AREA = 30_000_000
_NUMBERED_LABELS = 20
_NAME_LENGTH = 24
_COLOR = "#1a7f6c"


def plot_image(evaluations: Sequence[Evaluation], *, kind: str) -> bytes:
    """Draw one line of panels for each file.

    Args:
        evaluations: One for each file.
        kind: `png` or `svg`. The same figures give the same bytes.

    Returns:
        The picture's file content.
    """
    texts = [label for one in evaluations for label in one.metrics.labels]
    texts += [one.source for one in evaluations]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams |= {
            "font.family": _fonts_for("".join(map(printable, texts))),
            # A label such as $x_$ is a label, not a formula.
            "text.parse_math": False,
            # Text stays text: it can be searched, and the reader's fonts show any script.
            "svg.fonttype": "none",
            "svg.hashsalt": "llamafactory_emotion",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
        figure = _draw(evaluations)
        out = io.BytesIO()
        width, height = figure.get_size_inches()
        figure.savefig(
            out,
            format=kind,
            dpi=min(_DOTS_PER_INCH, math.sqrt(_LARGEST_AREA / (width * height))),
            metadata={"Date": None} if kind == "svg" else None,
        )
    return out.getvalue()


def _fonts_for(text: str) -> list[str]:
    """Give the fonts that draw every character, as far as fonts of this machine have them.

    The last one draws a box for whatever is left, without a warning.
    """
    chosen: list[str] = ["DejaVu Sans"]
    missing = set(text) - _characters_of(font_manager.findfont("DejaVu Sans"))
    installed = sorted({(one.name, one.fname) for one in font_manager.fontManager.ttflist})
    for name, path in installed if missing else []:
        found = missing & _characters_of(path)
        if found:
            chosen.append(name)
            missing -= found
    return chosen


def _characters_of(path: str) -> set[str]:
    try:
        return {chr(code) for code in font_manager.get_font(path).get_charmap()}
    except (OSError, RuntimeError):  # a broken font file is no reason to draw nothing
        return set()


def _draw(evaluations: Sequence[Evaluation]) -> Figure:
    names = short_names([one.source for one in evaluations])
    columns = 3 if any(one.calibration for one in evaluations) else 2
    labels = len(evaluations[0].metrics.labels)
    side = min(max(4.2, 2.2 + 0.35 * labels), 20.0)
    widths = [side * 1.15, 4.0, 4.0][:columns]
    figure = Figure(figsize=(sum(widths), side * len(evaluations)), layout="constrained")
    panels = figure.subplots(len(evaluations), columns, squeeze=False, width_ratios=widths)
    for one, row in zip(evaluations, panels, strict=True):
        _draw_confusion(row[0], one.metrics)
        low, high = one.metrics.accuracy_ci
        row[0].set_title(
            f"{_short(names[one.source], length=60)}\naccuracy {one.metrics.accuracy:.4f} "
            f"({low:.4f} to {high:.4f}), n = {one.metrics.n:,}",
            fontsize="medium",
            loc="left",
        )
        _draw_labels(row[1], one.metrics)
        if one.calibration is not None:
            _draw_reliability(row[2], one.calibration)
        elif columns == 3:
            row[2].set_axis_off()
    return figure


def _draw_confusion(axes: "Axes", metrics: Metrics) -> None:
    counts = np.array(metrics.confusion)
    support = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(support, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [_short(label) for label in metrics.labels]
    axes.set_xticks(range(len(names) + 1), [*names, INVALID], rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answer")
    axes.set_ylabel("gold")
    if len(names) > _NUMBERED_LABELS:
        return
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, size="small")


def _draw_labels(axes: "Axes", metrics: Metrics) -> None:
    f1 = [one.f1 for one in metrics.per_class.values()]
    places = range(len(f1))
    axes.barh(places, f1, color=_COLOR)
    axes.set_yticks(places, [_short(label) for label in metrics.labels])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.axvline(metrics.f1_macro, color="black", linewidth=1, linestyle="--")
    axes.set_xlabel("F1")
    axes.set_title(f"macro-F1 {metrics.f1_macro:.4f} (dashed)", fontsize="medium", loc="left")
    if len(f1) <= _NUMBERED_LABELS:
        for place, value in zip(places, f1, strict=True):
            _write_in_bar(axes, value, place)


def _write_in_bar(axes: "Axes", value: float, place: int) -> None:
    inside = value > 0.3
    axes.text(
        0.02 if inside else value + 0.02,
        place,
        f"{value:.3f}",
        va="center",
        color="white" if inside else "black",
        size="small",
    )


def _draw_reliability(axes: "Axes", calibration: Calibration) -> None:
    bins = [one for one in calibration.reliability if one.n]
    axes.bar(
        [one.low for one in bins],
        [one.accuracy for one in bins],
        width=[one.high - one.low for one in bins],
        align="edge",
        color=_COLOR,
        edgecolor="white",
    )
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    error = calibration.expected_calibration_error
    axes.set_title(f"calibration error {error:.4f}", fontsize="medium", loc="left")


def _short(name: str, *, length: int = _NAME_LENGTH) -> str:
    name = printable(" ".join(name.split()))
    return name if len(name) <= length else f"{name[: length - 1]}…"
