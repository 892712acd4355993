"""Draw evaluations as a picture: confusion matrix, F1 of the labels, reliability.

For slides and papers. scikit-learn draws the matrix and the reliability; matplotlib's settings are
changed for the time of drawing alone, so that nothing of the caller's plots changes.
"""

import contextlib
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay

from llamafactory_emotion.evaluate.evaluation import Evaluation
from llamafactory_emotion.evaluate.tables import INVALID, short_names
from llamafactory_emotion.metrics.calibration import Calibration
from llamafactory_emotion.metrics.counts import Metrics
from llamafactory_emotion.terminal import printable
from llamafactory_emotion.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS_PER_INCH = 150
# matplotlib cannot draw 2^16 pixels or more on a side, and viewers choke long before.
_LARGEST_AREA = 30_000_000
_NUMBERED_LABELS = 20
_LONGEST_NAME = 24


def plot_image(evaluations: Sequence[Evaluation], *, kind: str) -> bytes:
    """Draw one line of panels for each file.

    Args:
        evaluations: One for each file.
        kind: `png` or `svg`. The same figures give the same bytes.

    Returns:
        The picture's file content.
    """
    names = short_names(evaluations)
    texts = [*names.values(), *evaluations[0].metrics.labels]
    labels = len(evaluations[0].metrics.labels)
    columns = 3 if any(one.calibration for one in evaluations) else 2
    side = min(max(4.2, 2.2 + 0.35 * labels), 20.0)
    widths = [side * 1.15, 4.0, 4.0][:columns]
    size = (sum(widths), side * len(evaluations))
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
            "axes.titlelocation": "left",
            "axes.titlesize": "medium",
        }
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(evaluations), columns, squeeze=False, width_ratios=widths)
        for one, (confusion, f1, *reliability) in zip(evaluations, panels, strict=True):
            _draw_confusion(confusion, one.metrics, name=names[one.file])
            _draw_f1(f1, one.metrics)
            for axes in reliability:
                _draw_reliability(axes, one.calibration)
        out = io.BytesIO()
        figure.savefig(
            out,
            format=kind,
            dpi=min(_DOTS_PER_INCH, math.sqrt(_LARGEST_AREA / math.prod(size))),
            metadata={"Date": None} if kind == "svg" else None,
        )
    return out.getvalue()


def _fonts_for(text: str) -> list[str]:
    """Name the fonts that draw every character, as far as fonts of this machine have them.

    The first draws a box for whatever is left, without a warning.
    """
    default = "DejaVu Sans"
    chosen: list[str] = []
    missing = set(text)
    installed = sorted({(one.name, one.fname) for one in font_manager.fontManager.ttflist})
    for name, path in [(default, font_manager.findfont(default)), *installed]:
        with contextlib.suppress(OSError, RuntimeError):  # a broken font file
            found = missing & set(map(chr, font_manager.get_font(path).get_charmap()))
            if found or not chosen:
                chosen.append(name)
                missing -= found
        if not missing:
            break
    return chosen


def _draw_confusion(axes: "Axes", metrics: Metrics, *, name: str) -> None:
    """Shade each row's shares, and write the counts where there is room."""
    counts = np.array(metrics.confusion)
    # scikit-learn draws square matrices only: a row for gold "invalid", then cut off.
    square = np.vstack([counts, np.zeros_like(counts[:1])])
    labels, has_room = len(counts), len(counts) <= _NUMBERED_LABELS
    shares = square / np.maximum(square.sum(axis=1, keepdims=True), 1)
    names = [*map(_short, metrics.labels), INVALID]
    display = ConfusionMatrixDisplay(shares, display_labels=names).plot(
        include_values=has_room,
        cmap="Blues",
        xticks_rotation="vertical",
        ax=axes,
        colorbar=False,
        im_kw={"vmin": 0, "vmax": 1, "aspect": "auto"},
        text_kw={"size": "small", "clip_on": True},
    )
    if has_room:
        for text, count in zip(display.text_.flat, square.flat, strict=True):
            text.set_text(f"{count:,}")
    low, high = metrics.accuracy_ci
    axes.set(
        xlabel="answer",
        ylabel="gold",
        ylim=(labels - 0.5, -0.5),
        title=f"{_short(name, length=60)}\naccuracy {metrics.accuracy:.4f} "
        f"({low:.4f} to {high:.4f}), n = {metrics.n:,}",
    )


def _draw_f1(axes: "Axes", metrics: Metrics) -> None:
    f1 = [one.f1 for one in metrics.per_class.values()]
    bars = axes.barh(range(len(f1)), f1, color="#1a7f6c")
    if len(f1) <= _NUMBERED_LABELS:
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.bar_label(bars, fmt="{:.3f}", padding=3, size="small", bbox=behind)
    axes.set_yticks(range(len(f1)), [_short(label) for label in metrics.labels])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.axvline(metrics.f1_macro, color="black", linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1.15), xlabel="F1", title=f"macro-F1 {metrics.f1_macro:.4f} (dashed)")


def _draw_reliability(axes: "Axes", calibration: Calibration | None) -> None:
    if calibration is None:
        axes.set_axis_off()
        return
    bins = [one for one in calibration.reliability if one.n]
    accuracy, confidence = [one.accuracy for one in bins], [one.confidence for one in bins]
    CalibrationDisplay(accuracy, confidence, None).plot(ax=axes)
    error = calibration.expected_calibration_error
    axes.set(
        xlabel="confidence",
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1),
        title=f"calibration error {error:.4f}",
    )


def _short(name: str, *, length: int = _LONGEST_NAME) -> str:
    return shorten(printable(" ".join(name.split())), length)
