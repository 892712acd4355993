"""The picture: drawn for any labels without a warning, and complete."""

import struct
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from evaluations import evaluations_of, row

from llamafactory_emotion.evaluate.plots import plot_image
from llamafactory_emotion.task import Task

STRANGE = (
    "愤怒",
    "喜悦",
    "الفرح",
    "$x_$",
    "a<b>&",
    "\x1b[31m",
    "very " * 20,
    "\u202eabc",
    "%s {0}",
)


def svg_texts(image):
    root = ElementTree.fromstring(image)  # noqa: S314 - written by matplotlib just now
    return ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]


def plot_of(tmp_path, files, *, kind="svg", **options):
    return plot_image(evaluations_of(tmp_path, files, **options)[0], kind=kind)


def test_the_figures_are_drawn(tmp_path):
    rows = [row("joy", "joy")] * 37 + [row("joy", "love")] * 2 + [row("fear", "no idea")] * 3

    texts = svg_texts(plot_of(tmp_path, {"p.jsonl": rows}))

    assert {"37", "2", "3", "invalid", "sadness"} <= set(texts)
    assert "accuracy 0.8810 (0.7500 to 0.9481), n = 42" in texts
    assert "0.974" in texts  # the F1 of joy
    assert "confidence" not in texts


def test_reliability_is_drawn_where_there_are_probabilities(tmp_path):
    sure = {"sadness": 0, "joy": 1, "love": 0, "anger": 0, "fear": 0, "surprise": 0}
    files = {
        "a.jsonl": [row("joy", "joy", probabilities=sure, id=1)],
        "b.jsonl": [row("joy", "love", id=1)],
    }

    texts = svg_texts(plot_of(tmp_path, files))

    assert texts.count("confidence") == 1
    assert "calibration error 0.0000" in texts
    assert any(text.startswith("b.jsonl") for text in texts)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_any_label_is_drawn_without_a_warning(tmp_path, kind):
    task = Task("strange", STRANGE, "?")
    rows = [row(label, "愤怒") for label in STRANGE]

    image = plot_of(tmp_path, {"数据 $y$.jsonl": rows}, kind=kind, task=task)

    if kind == "png":
        assert struct.unpack(">I", image[20:24])[0] > 400  # the height
    else:
        texts = svg_texts(image)
        assert {"愤怒", "$x_$", "a<b>&", r"\x1b[31m", r"\u202eabc"} <= set(texts)
        assert max(len(text) for text in texts if text.startswith("very")) == 24


def test_many_labels_stay_within_what_can_be_drawn(tmp_path):
    labels = tuple(f"label{k}" for k in range(60))
    task = Task("many", labels, "Which?")
    files = {f"{k}.jsonl": [row("label1", "label2", id=1)] for k in range(3)}

    image = plot_of(tmp_path, files, kind="png", task=task)

    width, height = struct.unpack(">II", image[16:24])  # of the PNG's header
    assert 29_900_000 < width * height < 30_100_000


def test_the_same_figures_give_the_same_bytes_and_settings_are_left_alone(tmp_path):
    evaluations, _ = evaluations_of(tmp_path, {"p.jsonl": [row("joy", "joy")]})
    with mpl.rc_context({"font.size": 31}):
        first = plot_image(evaluations, kind="svg")
        assert mpl.rcParams["font.size"] == 31
        assert mpl.rcParams["text.parse_math"]

    assert plot_image(evaluations, kind="svg") == first
