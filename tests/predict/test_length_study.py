"""`predict` with several cutoffs: a file each, one model, a table that the evaluator confirms."""

import json

import pytest
from random_models import TEXTS, random_model, tokenizer_of

from llamafactory_emotion.predict.__main__ import main
from llamafactory_emotion.scoring import opening

CUTOFFS = (32, 40, 300)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    random_model("llama").save_pretrained(folder)
    tokenizer_of().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Thirty texts of 2 to 60 words, half of which are too long for the shortest cutoff."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [
        {"text": " ".join([TEXTS[n % len(TEXTS)]] * (1 + n % 5)), "label": n % 6} for n in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def call(model, texts, output, *more):
    return main([f"model_name_or_path={model}", f"input={texts}", f"output={output}", *more])


def table_rows(printed):
    """Give the table's lines as lists of cells; the first line is its title."""
    return [line.split() for line in printed.splitlines()[2:]]


def test_each_length_gets_the_file_it_would_get_alone(model, texts, tmp_path, capsys):
    assert call(model, texts, tmp_path / "study", "cutoff_len=300,32,40") == 0

    names = sorted(path.name for path in (tmp_path / "study").glob("*.jsonl"))
    assert names == ["cutoff-300.jsonl", "cutoff-32.jsonl", "cutoff-40.jsonl"]
    for cutoff in CUTOFFS:
        alone = tmp_path / f"alone-{cutoff}.jsonl"
        assert call(model, texts, alone, f"cutoff_len={cutoff}") == 0
        assert (tmp_path / "study" / f"cutoff-{cutoff}.jsonl").read_bytes() == alone.read_bytes()


def test_the_table_says_what_the_evaluator_says(model, texts, tmp_path, capsys):
    from llamafactory_emotion.evaluate.__main__ import main as evaluate

    assert call(model, texts, tmp_path / "study", "cutoff_len=[300,32,40]") == 0

    printed = capsys.readouterr().out
    assert printed.startswith("input length (task emotion, match flexible)\n")
    rows = table_rows(printed)
    assert [row[0] for row in rows] == ["32", "40", "300"], "the shortest first"
    for cutoff, row in zip(CUTOFFS, rows, strict=True):
        file = tmp_path / "study" / f"cutoff-{cutoff}.jsonl"
        figures = tmp_path / f"{cutoff}.json"
        assert evaluate([str(file), "--json", str(figures)]) == 0
        known = json.loads(figures.read_text(encoding="utf-8"))
        sidecar = json.loads(file.with_name(f"{file.name}.meta.json").read_text(encoding="utf-8"))
        assert row[1:4] == ["30", str(sidecar["truncated"]), "30"]
        assert row[4] == f"{known['accuracy']:.4f}"
        assert row[5:7] == [f"{bound:.4f}" for bound in known["accuracy_ci"]]
        assert row[7] == "0"
        assert sidecar["cutoff_len"] == cutoff
    cut = [int(row[2]) for row in rows]
    assert cut[0] > cut[1] > cut[2] == 0


def test_the_model_is_loaded_once(model, texts, tmp_path, monkeypatch):
    loads, plain = [], opening.open_model
    monkeypatch.setattr(opening, "open_model", lambda *a, **k: loads.append(a) or plain(*a, **k))

    assert call(model, texts, tmp_path / "study", "cutoff_len=32,40,300") == 0

    assert len(loads) == 1


def test_texts_without_labels_get_no_accuracy(model, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("one text\nanother one\n", encoding="utf-8")

    assert call(model, texts, tmp_path / "study", "cutoff_len=32,40") == 0

    assert [row[:4] for row in table_rows(capsys.readouterr().out)] == [
        ["32", "2", "0", "0"],
        ["40", "2", "0", "0"],
    ]


def test_free_answers_are_studied_too(model, texts, tmp_path, capsys):
    assert call(model, texts, tmp_path / "study", "cutoff_len=32,300", "generate=true") == 0

    rows = table_rows(capsys.readouterr().out)
    assert [row[3] for row in rows] == ["30", "30"]
    assert all(int(row[7]) > 0 for row in rows), "a random model's free answers are no labels"


def test_a_study_is_kept_resumed_and_overwritten_as_a_file_is(model, texts, tmp_path, capsys):
    study = tmp_path / "study"
    assert call(model, texts, study, "cutoff_len=32,40") == 0
    first = {path.name: path.read_bytes() for path in study.iterdir()}
    (study / "cutoff-40.jsonl").write_bytes(b"")
    (study / "cutoff-40.jsonl.meta.json").unlink()
    capsys.readouterr()

    assert call(model, texts, study, "cutoff_len=32,40") == 2
    assert "cutoff-32.jsonl" in capsys.readouterr().err
    assert (study / "cutoff-40.jsonl").read_bytes() == b""

    assert call(model, texts, study, "cutoff_len=32,40", "resume=true") == 0
    assert (study / "cutoff-40.jsonl").read_bytes() == first["cutoff-40.jsonl"]
    captured = capsys.readouterr()
    assert "complete already" in captured.err
    assert len(table_rows(captured.out)) == 2

    assert call(model, texts, study, "cutoff_len=32,40", "overwrite=true") == 0
    assert (study / "cutoff-32.jsonl").read_bytes() == first["cutoff-32.jsonl"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["cutoff_len=10,40"], "cutoff_len 10 leaves no room"),
        (["cutoff_len=40,4096"], "cutoff_len=4096 is more than the 512 tokens"),
    ],
)
def test_what_is_wrong_with_the_lengths_is_one_sentence(
    model, texts, tmp_path, capsys, more, sentence
):
    assert call(model, texts, tmp_path / "study", *more) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert not (tmp_path / "study").exists()
