"""The figures as JSON, and wrong answers as CSV that no spreadsheet and no terminal obeys."""

import csv
import io

import pytest
from evaluations import PAYLOADS, row
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.evaluate.__main__ import main
from llamafactory_emotion.evaluate.json_and_csv import COLUMNS, spreadsheet_cell


def test_the_json_has_the_promised_keys_and_figures(predictions, figures):
    rows = [(" joy", " joy"), (" joy", " love"), (" sadness", "sadness"), (" fear", "no idea")]
    found = figures(predictions(*(row(*pair) for pair in rows)))

    assert found["n"] == 4
    assert found["accuracy"] == 0.5
    assert found["accuracy_ci"] == pytest.approx([0.15, 0.85], abs=0.01)
    assert found["balanced_accuracy"] == 0.5
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3) / 6)
    assert found["f1_macro_ci"] is None  # a label without rows
    assert found["f1_weighted"] == pytest.approx((2 * 2 / 3 + 1) / 4)
    assert (found["invalid"], found["invalid_rate"]) == (1, 0.25)
    assert (found["majority_baseline"], found["majority_label"]) == (0.5, "joy")
    assert found["without_gold"] == ["love", "anger", "surprise"]
    assert found["per_class"]["joy"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }
    labels, matrix = found["confusion"]["labels"], found["confusion"]["matrix"]
    assert labels == ["sadness", "joy", "love", "anger", "fear", "surprise"]
    assert matrix[labels.index("joy")] == [0, 1, 1, 0, 0, 0, 0]
    assert matrix[labels.index("fear")] == [0, 0, 0, 0, 0, 0, 1]
    assert found["reasons"] == {"no_label": 1}
    assert (found["broken"], found["broken_kinds"], found["unfinished"]) == (0, {}, False)
    assert (found["task"], found["match"], found["by_rule"]) == ("emotion", "flexible", {})


def errors_of(tmp_path, path):
    out = tmp_path / "errors.csv"
    assert main([path, f"errors={out}"]) == 0
    content = out.read_bytes()
    assert not set(b"\r\x1b") & set(content)
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def test_the_error_list_holds_every_error_and_no_formula(tmp_path, predictions):
    starts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=x", " =x", "\uff1d1", "'=x", "joy"]
    sure = {"sadness": 0, "joy": 0.25, "love": 0.75, "anger": 0, "fear": 0, "surprise": 0}
    path = predictions(
        *(row("joy", text, prompt=text, id=text) for text in starts),
        row("joy", "love", id="last", probabilities=sure),
    )

    rows = errors_of(tmp_path, path)

    assert tuple(rows[0]) == COLUMNS
    assert [one["line"] for one in rows] == [str(k) for k in (*range(1, 11), 12)]
    for one in rows[:10]:
        assert all(one[key].startswith("'") for key in ("id", "predict", "prompt"))
    last = rows[-1]
    assert (last["gold"], last["predicted"], last["reason"]) == ("joy", "love", "")
    assert (last["confidence"], rows[0]["confidence"]) == ("0.750000", "")
    assert (rows[0]["predicted"], rows[0]["reason"]) == ("", "no_label")


def test_the_error_list_takes_any_answer(tmp_path, predictions):
    rows = errors_of(tmp_path, predictions(*(row("joy", one, prompt=one) for one in PAYLOADS)))

    assert len(rows) == len(PAYLOADS)
    assert r"\ud800" in [one["predict"] for one in rows]


@given(st.text())
def test_no_cell_starts_a_formula_or_holds_a_control_character(text):
    cell = spreadsheet_cell(text)

    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert all(character in "\n\t" or character.isprintable() for character in cell)
