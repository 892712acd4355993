"""Several files a call: one for each checkpoint, or for each length and then a table."""

import gc
import json
import shutil
import weakref

import pytest
from calls import read_sidecar, write_lines
from random_models import TEXTS, save_adapter

from llamafactory_emotion.evaluate.__main__ import main as evaluate
from llamafactory_emotion.scoring import scorer

CUTOFFS = (32, 40, 300)


@pytest.fixture(scope="module")
def long_texts(tmp_path_factory):
    """Thirty texts of 2 to 60 words, half of which are too long for the shortest cutoff."""
    rows = [{"text": " ".join([TEXTS[n % 10]] * (1 + n % 5)), "label": n % 6} for n in range(30)]
    return write_lines(tmp_path_factory.mktemp("texts") / "texts.jsonl", rows)


def table_rows(printed):
    return [line.split() for line in printed.splitlines()[2:]]


def test_each_checkpoint_gets_a_file(model, predict, texts, tmp_path):
    run, names = tmp_path / "run", ["checkpoint-10", "checkpoint-100", "checkpoint-9"]
    for seed, name in enumerate(names):
        save_adapter(model, run / name, seed=seed)
    common = [f"input={texts}", "max_samples=9", "cutoff_len=4096"]
    predict(*common, f"checkpoints={run}")

    files = sorted((run / "predictions").glob("*.jsonl"))
    assert [path.stem for path in files] == names
    for path in files:
        alone = tmp_path / path.name
        predict(*common, f"adapter_name_or_path={run / path.stem}", f"output={alone}")
        assert path.read_bytes() == alone.read_bytes()
        sidecar = read_sidecar(path)
        assert sidecar["adapter"] == str(run / path.stem)
        assert sidecar["trained_parameters"] == 2 * 4 * ((64 + 64) + (128 + 64))
    assert len({path.read_bytes() for path in files}) == 3


def test_models_are_loaded_one_at_a_time(model, predict, texts, tmp_path, monkeypatch):
    run, output = tmp_path / "run", tmp_path / "Llama-3.1-8B"
    shutil.copytree(model, run / "checkpoint-1")
    save_adapter(model, run / "checkpoint-2")
    plain, loaded = scorer.open_model, []

    def open_one(source):
        gc.collect()
        assert [model() for model in loaded] == [None] * len(loaded)
        found = plain(source)
        loaded.append(weakref.ref(found.model))
        return found

    monkeypatch.setattr(scorer, "open_model", open_one)
    predict(f"input={texts}", f"checkpoints={run}", f"output={output}", "max_samples=3")
    assert len(loaded) == 2
    assert len(list(output.glob("checkpoint-*.jsonl"))) == 2

    del loaded[:]
    predict(f"input={texts}", f"output={tmp_path / 'study'}", "cutoff_len=32,40,300")
    assert len(loaded) == 1, "lengths share a model"


def test_each_length_gets_the_file_it_would_get_alone(predict, long_texts, tmp_path, capsys):
    study = tmp_path / "study"
    predict(f"input={long_texts}", f"output={study}", "cutoff_len=[300,32,40]")

    printed = capsys.readouterr().out
    assert printed.startswith("input length (task emotion, match flexible)\n")
    rows = table_rows(printed)
    assert [row[0] for row in rows] == ["32", "40", "300"], "the shortest first"
    assert len(list(study.glob("*.jsonl"))) == 3
    for cutoff, row in zip(CUTOFFS, rows, strict=True):
        file, alone = study / f"cutoff-{cutoff}.jsonl", tmp_path / f"{cutoff}.jsonl"
        predict(f"input={long_texts}", f"output={alone}", f"cutoff_len={cutoff}")
        assert file.read_bytes() == alone.read_bytes()
        figures = tmp_path / f"{cutoff}.json"
        assert evaluate([str(file), f"json={figures}"]) == 0
        known, sidecar = json.loads(figures.read_text(encoding="utf-8")), read_sidecar(file)
        shares = [known["accuracy"], *known["accuracy_ci"]]
        assert row[1:4] == ["30", str(sidecar["truncated"]), "30"]
        assert row[4:8] == [*(f"{share:.4f}" for share in shares), "0"]
        assert sidecar["cutoff_len"] == cutoff
    cut = [int(row[2]) for row in rows]
    assert cut[0] > cut[1] > cut[2] == 0


def test_texts_without_labels_get_no_accuracy(predict, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("one text\nanother one\n", encoding="utf-8")
    predict(f"input={texts}", f"output_dir={tmp_path / 'study'}", "cutoff_len=32,40")
    assert [row[:4] for row in table_rows(capsys.readouterr().out)] == [
        ["32", "2", "0", "0"],
        ["40", "2", "0", "0"],
    ]


def test_a_study_is_kept_resumed_and_overwritten_as_a_file_is(
    predict, predict_refuses, long_texts, tmp_path, capsys
):
    study = tmp_path / "study"
    call = (f"input={long_texts}", f"output={study}", "cutoff_len=32,40")
    predict(*call)
    first = {path.name: path.read_bytes() for path in study.iterdir()}
    (study / "cutoff-40.jsonl").write_bytes(b"")
    (study / "cutoff-40.jsonl.meta.json").unlink()

    code, said = predict_refuses(*call)
    assert (code, "cutoff-32.jsonl" in said) == (2, True)
    assert (study / "cutoff-40.jsonl").read_bytes() == b""

    predict(*call, "resume=true")
    assert (study / "cutoff-40.jsonl").read_bytes() == first["cutoff-40.jsonl"]
    captured = capsys.readouterr()
    assert "complete already" in captured.err
    assert len(table_rows(captured.out)) == 2

    predict(*call, "overwrite=true")
    assert (study / "cutoff-32.jsonl").read_bytes() == first["cutoff-32.jsonl"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["cutoff_len=10,40"], "cutoff_len 10 leaves no room"),
        (["cutoff_len=40,4096"], "cutoff_len=4096 is more than the 512 tokens"),
        (["checkpoints=examples"], "examples holds no checkpoint-<step>"),
        (["checkpoints=nothing"], "nothing holds no checkpoint-<step>"),
    ],
)
def test_what_cannot_be_several_files_is_refused(
    predict_refuses, long_texts, tmp_path, words, sentence
):
    output = tmp_path / "out"
    code, said = predict_refuses(f"input={long_texts}", f"output={output}", *words)
    assert (code, sentence in said) == (2, True), said
    assert not output.exists()
