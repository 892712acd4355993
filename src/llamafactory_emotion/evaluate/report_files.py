"""Write the reports and plots that `evaluate` is asked for; the ending of a name says which kind.

Stands between `evaluate` and `page`, `model_card` and `plot`, each of which is loaded only when a
file of its kind is wanted.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.evaluate.comparison import PairedComparison
from llamafactory_emotion.evaluate.one_file import Evaluation
from llamafactory_emotion.files import write_whole, write_whole_binary

Render = Callable[[Sequence[Evaluation], Sequence[PairedComparison]], str]


def _page(evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]) -> str:
    from llamafactory_emotion.evaluate.html_page import page_html

    return page_html(evaluations, pairs)


def _model_card(evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]) -> str:
    from llamafactory_emotion.evaluate.model_card import model_card

    return model_card(evaluations, pairs)


REPORTS: Mapping[str, Render] = MappingProxyType(
    {".html": _page, ".htm": _page, ".md": _model_card}
)
PLOTS = (".png", ".svg")


def check_suffix(name: str, path: Path) -> None:
    """Refuse a report or plot of a kind that is not known.

    Raises:
        CallError: Names the kinds there are.
    """
    known = PLOTS if name == "plot" else tuple(REPORTS)
    if path.suffix.lower() not in known:
        raise CallError(f"{name}={path}: the name must end in one of {', '.join(known)}.")


def write_report(
    path: Path,
    evaluations: Sequence[Evaluation],
    pairs: Sequence[PairedComparison],
    *,
    overwrite: bool,
) -> None:
    """Write an HTML page or a model card's section, whole or not at all."""
    text = REPORTS[path.suffix.lower()](evaluations, pairs)
    with write_whole(path, overwrite=overwrite) as out:
        out.write(text)


def write_plot(path: Path, evaluations: Sequence[Evaluation], *, overwrite: bool) -> None:
    """Write a picture, whole or not at all."""
    from llamafactory_emotion.evaluate.plots import plot_image

    image = plot_image(evaluations, kind=path.suffix.lower().removeprefix("."))
    with write_whole_binary(path, overwrite=overwrite) as out:
        out.write(image)
