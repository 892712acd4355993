"""The command: which calls it refuses, what it prints and writes, and how it starts."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from evaluations import row, write_rows

from llamafactory_emotion.evaluate.__main__ import main

NASTY = ("\x1b]0;owned\x07\x1b[31m", "=HYPERLINK(1)", "[bold red]x[/]", "\u202egnp.exe", "a\rb")


def test_wrong_calls(predictions, fails, tmp_path):
    path = predictions(row("joy", "joy"))

    fails("json=out.json", code=2, saying="name a file of predictions")
    fails(str(tmp_path / "none.jsonl"), code=2, saying="is not there")
    fails("", code=2, saying="is a folder and holds no")
    fails("/", code=2, saying="is a folder and holds no")
    fails(path, "task=mood", code=2, saying="neither built in")
    fails("-", "source=-", code=2, saying="only once")
    fails(path, "threshold=nan", code=2, saying="threshold=nan must be from 0 to 1")
    fails(path, "threshold=0.5", code=1, saying="no row of")
    fails(path, "--match", "guess", code=2, saying="match='guess' is none of strict, flexible")
    fails(path, "published=true", code=2, saying="unknown key 'published'")
    for output in ("report=out.pdf", "report=out"):
        fails("missing.jsonl", output, code=2, saying="must end in one of .html, .htm, .md")
    fails("missing.jsonl", "plot=out.jpg", code=2, saying="must end in one of .png, .svg")


@pytest.mark.parametrize("name", ["generated_predictions.jsonl", "test_predictions.jsonl"])
def test_a_folder_stands_for_the_one_file_of_predictions_in_it(predictions, capsys, tmp_path, name):
    path = predictions(row("joy", "joy"), name=name)

    assert main([str(tmp_path), "json=-"]) == 0

    printed = capsys.readouterr()
    assert json.loads(printed.out)["file"] == path
    assert printed.err == f"{tmp_path} is a folder; evaluating its {name}\n"


def test_a_folder_without_one_file_of_predictions_is_refused(predictions, fails, tmp_path):
    fails(str(tmp_path), code=2, saying="holds no generated_predictions.jsonl or test_predictions")
    (tmp_path / "run").mkdir()
    below = predictions(row("joy", "joy"), name="run/generated_predictions.jsonl")
    said = "holds run/generated_predictions.jsonl; write evaluate " + below
    fails(str(tmp_path), code=2, saying=said)
    predictions(row("joy", "joy"), name="generated_predictions.jsonl")
    predictions(row("joy", "joy"), name="test_predictions.jsonl")
    fails(str(tmp_path), code=2, saying="holds generated_predictions.jsonl, test_predictions.jsonl")


def test_a_file_is_not_compared_with_itself(predictions, fails, tmp_path):
    path, link = predictions(row("joy", "joy")), tmp_path / "link"
    link.symlink_to(path)

    for other in (path, f"{tmp_path}/./predictions.jsonl", str(link)):
        fails(path, other, code=2, saying="are one file, named twice")


def test_more_labels_than_a_matrix_can_hold_are_a_sentence(tmp_path, predictions, fails):
    task = tmp_path / "wide.yaml"
    labels = json.dumps([f"code {k}" for k in range(2001)])
    task.write_text(f"name: wide\ninstruction: Which?\nlabels: {labels}\n")

    fails(predictions(row("code 1", "code 1")), f"task={task}", code=1, saying="2,001 labels")


@pytest.mark.parametrize(
    "name", ["p.jsonl", "p.meta.json", "p.jsonl.meta.json", "task.yaml", "source.csv", "train.csv"]
)
def test_no_output_replaces_what_is_read(tmp_path, fails, name):
    write_rows(tmp_path / "p.jsonl", row("joy", "joy", text="a"))
    (tmp_path / "task.yaml").write_text("name: t\ninstruction: Which?\nlabels: [joy, love]\n")
    for data in ("source.csv", "train.csv"):
        (tmp_path / data).write_text("text,label\na,joy\n")
    for sidecar in ("p.meta.json", "p.jsonl.meta.json"):
        (tmp_path / sidecar).write_text("{}")
    output = tmp_path / name
    before = output.read_bytes()
    inputs = {"task": "task.yaml", "source": "source.csv", "train": "train.csv"}
    words = [f"{key}={tmp_path / file}" for key, file in inputs.items()]

    fails(
        *(str(tmp_path / "p.jsonl"), *words, f"errors={output}", "overwrite=true"),
        code=2,
        saying="is an input and would be overwritten",
    )

    assert output.read_bytes() == before


def test_outputs_are_whole_new_and_different(predictions, tmp_path, capsys, fails):
    path, out = predictions(row("joy", "joy")), tmp_path / "deep" / "out.HTML"

    assert main([path, f"report={out}"]) == 0
    first = out.read_bytes()
    capsys.readouterr()
    fails(
        path,
        f"--report={out}",
        code=2,
        saying="exists; name another file, or replace it with overwrite=true",
    )
    assert main([path, f"report={out}", "--overwrite"]) == 0
    capsys.readouterr()
    assert out.read_bytes() == first
    assert [one.name for one in out.parent.iterdir()] == ["out.HTML"]
    fails(path, "report=a.md", "report=a.md", code=2, saying="would be written twice")


def test_the_command_writes_all_kinds_in_one_run(predictions, tmp_path):
    path = predictions(row("joy", "joy"), row("joy", "love"))
    begins = {
        "report": (("a.md", b"---\n"), ("a.html", b"<!doctype html>")),
        "plot": (("a.png", b"\x89PNG"), ("a.SVG", b"<?xml")),
        "errors": (("a.csv", b"file,line"),),
        "json": (("a.json", b"{"),),
    }
    outputs = [f"{key}={tmp_path / name}" for key, kinds in begins.items() for name, _ in kinds]

    assert main([path, *outputs]) == 0

    for name, begin in (kind for kinds in begins.values() for kind in kinds):
        assert (tmp_path / name).read_bytes().startswith(begin)
    assert len(list(tmp_path.iterdir())) == 1 + len(outputs)


def test_a_failed_run_leaves_no_file(predictions, tmp_path, fails):
    path = predictions(row("joy", "love"), "x")
    outputs = [f"{key}={tmp_path / key}" for key in ("json", "errors")]

    fails(path, *outputs, f"report={tmp_path / 'a.html'}", code=1, saying="JSON")

    assert [one.name for one in tmp_path.iterdir()] == ["predictions.jsonl"]


@pytest.mark.parametrize("words", [["json=-"], ["--json"], ["--json=-"], ["--json", "-"]])
def test_json_can_be_printed_instead_of_the_tables(predictions, capsys, words):
    path = predictions(row("joy", "愤怒\x9b"), name="数据.jsonl")

    assert main([path, *words]) == 0

    printed = capsys.readouterr().out
    assert json.loads(printed)["file"] == path
    assert printed.isascii()


def test_the_plain_table(predictions, capsys):
    rows = [(" joy", " joy"), (" joy", " love"), (" sadness", "sadness"), (" fear", "no idea")]

    assert main([predictions(*(row(*pair) for pair in rows))]) == 0

    out = capsys.readouterr().out
    assert "accuracy           0.5000  (95 % interval 0.1500 to 0.8500)" in out
    assert "invalid answers    1 (25.00 %): no_label 1" in out
    assert "no gold rows       love, anger, surprise: counted in macro-F1 with 0" in out
    assert "  joy          1.0000  0.5000  0.6667        2" in out
    assert "\x1b" not in out


def test_each_of_several_files_has_what_was_found_out_about_it(predictions, capsys):
    first = predictions(row("joy", "joy"), "not JSON")
    second = predictions(row("joy", "joy or love"), name="second.jsonl")

    assert main([first, second, "--skip-broken", "match=all"]) == 0

    printed = capsys.readouterr().out
    assert printed.count("match rules") == 2
    assert "1 broken rows: 1 are not JSON" in printed


def run_in_terminal(*arguments):
    """Run the command in a terminal and return what it wrote there."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "llamafactory_emotion.evaluate", *arguments],
        stdout=follower,
        stderr=follower,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "200"},
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
    os.close(leader)
    assert process.wait() == 0, written
    return written.decode()


def test_a_terminal_sees_progress_and_nothing_of_a_file_acts_there(tmp_path):
    task = tmp_path / "task.yaml"
    labels = ["plain", "[bold red]x[/]", "<b>"]
    task.write_text(f"name: nasty\ninstruction: Which?\nlabels: {json.dumps(labels)}\n")
    path = write_rows(
        tmp_path / "p\x1b[35m.jsonl",
        *(row("plain", text, prompt=text) for text in NASTY),
        {"predict": "x", "label": "\x1b[31m\x07"},
        *[row("plain", "plain")] * 90_000,
    )

    shown = run_in_terminal(path, f"task={task}", "--skip-broken")

    assert "accuracy" in shown
    assert re.search(r": \d+,\d+ rows", shown)  # on the way
    assert not any(code in shown for code in ("\x1b[31m", "\x1b[35m", "\x1b[1;31m", "\x07"))
    assert shown.count("[bold red]x[/]") == 4  # in a sentence, a label, a row and a column
    assert r"\x1b[31m" in shown


def test_standard_input(predictions):
    done = subprocess.run(
        [sys.executable, "-m", "llamafactory_emotion.evaluate", "-"],
        input=json.dumps(row("joy", "joy")).encode() + b"\n",
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"standard input" in done.stdout


def test_it_starts_without_the_heavy_libraries(predictions):
    path = predictions(*[row("joy", "joy")] * 20)
    heavy = (
        *("torch", "transformers", "llamafactory", "sklearn", "scipy", "datasets", "pyarrow"),
        *("rich", "matplotlib", "omegaconf", "yaml", "jinja2", "huggingface_hub"),
    )
    code = (
        "import sys; from llamafactory_emotion.evaluate.__main__ import main; main(sys.argv[1:]);"
        f"sys.exit(', '.join(set({heavy}) & set(sys.modules)) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr


def unfinished_file(path, complete_rows):
    """Write four rows and what a run says of them."""
    sidecar = {"model": "m", "complete_rows": complete_rows}
    path.with_name(f"{path.name}.meta.json").write_text(json.dumps(sidecar))
    return write_rows(path, *(row("joy", "joy", id=k, prompt=f"text {k}") for k in range(4)))


@pytest.mark.parametrize(("complete_rows", "said"), [(None, True), (4, False)])
def test_a_file_whose_run_had_not_ended_is_told_everywhere(tmp_path, capsys, complete_rows, said):
    one = unfinished_file(tmp_path / "one.jsonl", complete_rows)
    two = unfinished_file(tmp_path / "two.jsonl", complete_rows)
    out = {name: tmp_path / f"out.{name}" for name in ("html", "md", "json")}
    reports = [f"report={out['html']}", f"report={out['md']}", f"json={out['json']}"]

    assert main([one, *reports]) == 0
    told = [capsys.readouterr().out, *(path.read_text(encoding="utf-8") for path in out.values())]
    assert ["had not ended" in text for text in told[:3]] == [said] * 3
    assert json.loads(told[3])["unfinished"] is said
    assert main([one, two]) == 0
    assert capsys.readouterr().out.count("had not ended") == 2 * said


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".json"])
def test_a_table_is_read_by_its_columns(tmp_path, figures, suffix):
    import pandas

    path = tmp_path / f"answers{suffix}"
    table = pandas.DataFrame({"said": ["joy", "fear"], "truth": ["joy", "love"]})
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".json":
        table.to_json(path, orient="records")
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")

    found = figures(str(path), "prediction_column=said", "label_column=truth")
    assert (found["n"], found["accuracy"]) == (2, 0.5)


def test_rows_of_the_source_without_a_label_judge_nothing(tmp_path, figures, capsys):
    source = write_rows(
        tmp_path / "source.jsonl", {"text": "glad", "label": "joy"}, {"text": "hm", "label": ""}
    )
    file = write_rows(tmp_path / "p.jsonl", *(row(None, "joy", text=one) for one in ("glad", "hm")))
    found = figures(file, f"source={source}")
    assert (found["n"], found["accuracy"], found["row_check"]["extra"]["count"]) == (1, 1, 1)
    told = capsys.readouterr().err
    assert f"{source}: 1 rows without a text or a label are not used" in told


def test_columns_named_once_serve_the_data_files_too(tmp_path, figures, capsys):
    texts = [("ça va", "joy"), ("hélas", "sadness")]
    table = "words,mood\n" + "".join(f"{text},{label}\n" for text, label in texts)
    data = tmp_path / "data.csv"
    data.write_bytes(table.encode("cp1252"))
    # Its own key of the gold label is the usual one.
    file = write_rows(
        tmp_path / "p.jsonl", *(row(label, "joy", text=text) for text, label in texts)
    )
    keys = (f"source={data}", f"train={data}", "text_column=words", "label_column=mood")
    found = figures(file, *keys, "encoding=cp1252")
    assert (found["row_check"]["matched"], found["accuracy"]) == (2, 0.5)
    assert found["train_explanation"]["rows_in_train"] == 2
    assert main([file, *keys, "label_column=feeling", "encoding=cp1252"]) == 1
    assert "data.csv:2: no column 'feeling'; the columns are words, mood" in capsys.readouterr().err
    file = tmp_path / "p.csv"
    file.write_bytes("predict,mood\nça: joy,joy\n".encode("cp1252"))
    assert figures(str(file), "label_column=mood", "encoding=cp1252")["n"] == 1
