"""What is printed and written: readable, complete, and harmless whatever the file holds."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.evaluate.__main__ import main
from llamafactory_emotion.evaluate.comparison_tables import short_names
from llamafactory_emotion.evaluate.error_list import COLUMNS, spreadsheet_cell
from llamafactory_emotion.terminal import Facts, Table, print_blocks

NASTY = (
    "\x1b]0;owned\x07\x1b[31m",
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "[bold red]x[/]",
    "\u202egnp.exe",
    "a\rb",
    "\ud800",
)


def test_a_plain_table_is_aligned():
    out = io.StringIO()

    print_blocks(
        [
            Facts("facts", (("a", "1"), ("longer", "2"))),
            Table("table", ("label", "n"), (("joy", "1"), ("愤怒", "1,000"))),
        ],
        out,
    )

    assert out.getvalue() == (
        "facts\n  a       1\n  longer  2\n\ntable\n  label      n\n  joy        1\n  愤怒   1,000\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_cannot_show_is_escaped(encoding):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)

    print_blocks([Facts("愤怒", ())], out)
    out.flush()

    assert raw.getvalue().strip() in ("愤怒".encode(), rb"\u6124\u6012")


def run_in_terminal(*arguments):
    """Run the command with a terminal as standard output and give what it wrote there."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "llamafactory_emotion.evaluate", *arguments],
        stdout=follower,
        stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    errors = process.stderr.read()
    process.stderr.close()
    os.close(leader)
    assert process.wait() == 0, errors
    return written.decode()


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_terminal_gets_rich_and_nothing_of_a_file_acts_there(tmp_path):
    task = tmp_path / "task.yaml"
    labels = ["plain", "[bold red]x[/]", "<b>"]
    task.write_text(f"name: nasty\ninstruction: Which?\nlabels: {json.dumps(labels)}\n")
    path = write(
        tmp_path / "p\x1b[32m.jsonl",
        *({"predict": text, "label": "plain", "prompt": text} for text in NASTY),
        {"predict": "x", "label": "\x1b[31m\x07"},
    )

    shown = run_in_terminal(path, "--task", str(task), "--skip-broken")

    assert "accuracy" in shown
    assert "\x1b[1m" in shown  # bold titles: rich is at work
    assert "\x1b[31m" not in shown
    assert "\x1b[32m" not in shown
    assert "\x07" not in shown
    assert "\x1b[1;31m" not in shown
    assert shown.count("[bold red]x[/]") == 4  # in a sentence, a label, a row and a column
    assert r"\x1b[31m" in shown


def test_the_error_list_holds_every_error_and_no_formula(tmp_path, capsys):
    starts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=x", " =x", "\uff1d1", "'=x", "joy"]
    path = write(
        tmp_path / "p.jsonl",
        *({"predict": text, "label": "joy", "prompt": text, "id": text} for text in starts),
        {"predict": "love", "label": "joy", "id": "last"},
    )
    out = tmp_path / "errors.csv"

    assert main([path, "--errors", str(out)]) == 0

    rows = list(csv.DictReader(io.StringIO(out.read_bytes().decode("utf-8"), newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert [row["line"] for row in rows] == [str(k) for k in (*range(1, 11), 12)]
    for row in rows[:10]:
        for key in ("id", "predict", "prompt"):
            assert row[key].startswith("'")
            assert not {"\r", "\x1b"} & set(row[key])
    last = rows[-1]
    assert (last["gold"], last["predicted"], last["reason"]) == ("joy", "love", "")
    assert rows[0]["predicted"] == ""
    assert rows[0]["reason"] != ""


def test_the_error_list_takes_any_answer(tmp_path):
    path = write(
        tmp_path / "p.jsonl", *({"predict": text, "label": "joy", "prompt": text} for text in NASTY)
    )
    out = tmp_path / "errors.csv"

    assert main([path, "--errors", str(out)]) == 0

    content = out.read_bytes()
    assert b"\x1b" not in content
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
    assert len(rows) == len(NASTY)
    assert r"\ud800" in rows[-1]["predict"]


@given(st.text())
def test_no_cell_starts_a_formula_or_holds_a_control_character(text):
    cell = spreadsheet_cell(text)

    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert all(character in "\n\t" or character.isprintable() for character in cell)


def test_a_failed_run_leaves_no_error_list(tmp_path, capsys):
    path = write(tmp_path / "p.jsonl", {"predict": "love", "label": "joy"}, {"label": "joy"})

    assert main([path, "--errors", str(tmp_path / "e.csv"), "--json", str(tmp_path / "j")]) == 1

    assert [place.name for place in tmp_path.iterdir()] == ["p.jsonl"]


def test_several_files_are_laid_side_by_side(tmp_path, capsys):
    names = []
    for name, answer in (("a", "joy"), ("b", "love"), ("c", "")):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"predict": answer, "label": "joy", "prompt": f"p{k}"} for k in range(9)]
        names.append(write(folder / "generated_predictions.jsonl", *rows))
    sidecar = {"trained_parameters": 3_407_872, "seconds": 12.5, "rows_per_second": 160.0}
    (tmp_path / "a" / "generated_predictions.meta.json").write_text(json.dumps(sidecar))
    out = tmp_path / "out.json"

    assert main([*names, "--json", str(out)]) == 0

    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert lines[2][:3] == ["a/generated_predictions.jsonl", "9", "1.0000"]
    assert lines[2][-3:] == ["3,407,872", "12.5", "160.0"]
    assert "a/generated_predictions.jsonl minus b/generated_predictions.jsonl" in shown
    assert "rows in both       9 (matched by prompt)" in shown
    assert "p = 0.0039, Holm-corrected for 3 pairs p = 0.012" in shown
    content = json.loads(out.read_text())
    assert [one["accuracy"] for one in content["files"]] == [1, 0, 0]
    assert content["files"][0]["sidecar"] == sidecar
    assert [pair["accuracy_difference"] for pair in content["pairs"]] == [1, 1, 0]
    assert content["pairs"][0]["p_value"] == pytest.approx(2 / 2**9)


def test_published_figures_stand_apart(tmp_path, capsys):
    rows = [{"predict": "joy", "label": "joy", "prompt": f"p{k}"} for k in range(50)]
    path = write(tmp_path / "p.jsonl", *rows)
    out = tmp_path / "out.json"

    assert main([path, "--published", "--json", str(out)]) == 0

    shown = capsys.readouterr().out
    assert "unpaired; their number of rows is not published and taken as 2,000" in shown
    published = json.loads(out.read_text())["published"]
    assert [one["published"] for one in published][-1] == "Llama-3-8B"
    other = write(tmp_path / "q.jsonl", *rows)
    main([path, other, "--published"])
    assert re.search(r"Llama-3-8B \(published\) +\(2,000\) +0\.9262", capsys.readouterr().out)


def test_data_files_are_joined_to_the_figures(tmp_path, capsys):
    ask = "Do emotion classification for data in the following text."
    rows = [
        {"predict": answer, "label": "joy", "prompt": f"{ask}\n{text}\nAnswer:"}
        for answer, text in (("joy", "i laughed"), ("love", "i smiled"), ("joy", "i grinned"))
    ]
    path = write(tmp_path / "p.jsonl", *rows)
    source = write(
        tmp_path / "source.jsonl",
        *({"text": text, "label": 1} for text in ("i laughed", "i smiled", "i beamed")),
    )
    train = write(
        tmp_path / "train.jsonl",
        *({"text": f"i smiled{k}", "label": 2} for k in ("", " often", " again")),
        *({"text": f"i laughed {k}", "label": 1} for k in ("often", "again")),
    )
    out = tmp_path / "out.json"

    arguments = ["--source", source, "--train", train, "--floor", train, "--json", str(out)]
    assert main([path, *arguments]) == 0

    content = json.loads(out.read_text())
    assert (content["n"], content["accuracy"]) == (2, 0.5)
    assert content["row_check"]["matched"] == 2
    assert content["row_check"]["missing"] == {"count": 1, "first": [[3, "i beamed"]]}
    assert content["row_check"]["extra"]["count"] == 1
    assert content["train_explanation"]["errors_as_trained"] == 1
    assert content["train_explanation"]["clean"]["accuracy"] == 1
    assert content["train_explanation"]["confused"][0]["predicted"] == "love"
    assert content["floor"]["metrics"]["n"] == 2
    shown = capsys.readouterr().out
    assert "line 3: i beamed" in shown
    assert "1 stand in train with another label, 1 gave that label" in shown
    assert "-second SVM" in shown


def test_short_names_are_the_ends_that_differ():
    names = ["runs/a/p.jsonl", "runs/b/p.jsonl", "q.jsonl", "b/p.jsonl"]

    assert short_names(names) == {
        "runs/a/p.jsonl": "a/p.jsonl",
        "runs/b/p.jsonl": "runs/b/p.jsonl",
        "q.jsonl": "q.jsonl",
        "b/p.jsonl": "b/p.jsonl",
    }
    assert short_names(["-", "/"]) == {"-": "-", "/": "/"}
