"""A run: resumed after any death, never a row lost, doubled or torn."""

import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from calls import read_lines, write_lines
from random_models import TEXTS, random_model

from llamafactory_emotion.evaluate import __main__ as evaluate
from llamafactory_emotion.predict.__main__ import main
from llamafactory_emotion.predictions.sidecar import sidecar_path
from llamafactory_emotion.scoring.scorer import LabelScorer


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text": "one"}\n{"text": \n', encoding="utf-8")
    return path


def test_a_broken_row_leaves_what_came_before(predict, predict_refuses, tmp_path):
    path = write_lines(tmp_path / "texts.jsonl", [{"text": f"row {n}"} for n in range(1030)])
    path.write_text(path.read_text() + '{"tex')
    call = [f"input={path}", f"output={tmp_path / 'out.jsonl'}", "chunk_rows=1024"]
    code, told = predict_refuses(*call)
    assert (code, "texts.jsonl:1031" in told) == (1, True)
    assert 900 < len(read_lines(tmp_path / "out.jsonl")) < 1030
    path.write_text(path.read_text().removesuffix('{"tex'))
    predict(*call, "resume=true")
    assert [row["id"] for row in read_lines(tmp_path / "out.jsonl")] == list(range(1030))


def test_rows_behind_one_that_is_left_out_are_found_by_their_line(predict, tmp_path):
    path = write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in ("one", " ", "three")])
    output = tmp_path / "out.jsonl"
    predict(f"input={path}", f"output={output}", "skip_empty=true", "keep_columns=text")
    rows = read_lines(output)
    assert [(row["id"], row["line"]) for row in rows] == [(0, 1), (1, 3)]
    assert [row["columns"] for row in rows] == [{"text": "one"}, {"text": "three"}]


def test_what_is_overwritten_stays_when_the_first_rows_fail(
    predict, predict_refuses, texts, broken, tmp_path
):
    output = tmp_path / "out.jsonl"
    assert predict_refuses(f"output={output}", f"input={broken}")[0] == 1
    assert list(tmp_path.iterdir()) == [broken]
    predict(f"output={output}", f"input={texts}")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    code, said = predict_refuses(f"output={output}", f"input={broken}", "overwrite=true")

    assert (code, "broken.jsonl:2" in said) == (1, True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_overwritten_stays_where_no_sidecar_can_be_written(
    predict, predict_refuses, texts, tmp_path
):
    output = tmp_path / "out.jsonl"
    predict(f"output={output}", f"input={texts}")
    before, sidecar = output.read_bytes(), sidecar_path(output)
    sidecar.unlink()
    sidecar.mkdir()

    code, said = predict_refuses(f"output={output}", f"input={texts}", "overwrite=true")

    assert (code, "is a directory" in said) == (2, True)
    assert output.read_bytes() == before


def test_an_interrupted_file_is_evaluated_with_a_word_and_resumed(
    model, predict, texts, tmp_path, monkeypatch, capsys
):
    output, plain = tmp_path / "out.jsonl", LabelScorer.score_prompts

    def interrupted(self, prompts):
        if output.read_bytes().count(b"\n") == 32:
            raise KeyboardInterrupt
        return plain(self, prompts)

    call = (f"input={texts}", f"output={output}", "chunk_rows=16")
    with monkeypatch.context() as patch:
        patch.setattr(LabelScorer, "score_prompts", interrupted)
        assert main([f"model_name_or_path={model}", *call]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(read_lines(output)) == 32
    assert evaluate.main([str(output)]) == 0
    assert "had not ended" in capsys.readouterr().out

    predict(*call, "resume=true")
    assert "150 rows; 118 of them new" in capsys.readouterr().err
    assert [row["id"] for row in read_lines(output)] == list(range(150))
    assert evaluate.main([str(output)]) == 0
    assert "had not ended" not in capsys.readouterr().out
    before = output.read_bytes()
    predict(*call, "resume=true")
    assert "complete already, 150 rows" in capsys.readouterr().err
    assert output.read_bytes() == before


@pytest.fixture
def begun(model, predict, texts, tmp_path):
    """Predict with a copy of the model and cut the file: a run that was killed."""
    shutil.copytree(model, tmp_path / "model")
    output = tmp_path / "out.jsonl"
    call = [f"model_name_or_path={tmp_path / 'model'}", f"output={output}", "chunk_rows=16"]
    predict(*call, f"input={texts}")
    output.write_text("".join(output.read_text().splitlines(keepends=True)[:70]))
    return [*call, "resume=true"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": "another text"}, "row 2 of {} has another prompt than row 2 of"),
        ({"label": 3}, "row 2 of {} has another label than row 2 of"),
        (10, "holds 64 rows and "),
        ("cutoff_len=99", "cutoff_len was 2048 and is 99"),
        ("margin=true", "margin was False and is True"),
        ("the model", "model_fingerprint was"),
        ("the sidecar", "out.jsonl.meta.json is not there, so what"),
    ],
)
def test_a_run_is_resumed_with_the_same_input_and_settings_alone(
    begun, predict_refuses, texts, tmp_path, change, sentence
):
    rows, more, output = read_lines(texts), [], tmp_path / "out.jsonl"
    if isinstance(change, dict):
        rows[2] |= change
    elif isinstance(change, int):
        del rows[change:]
    elif change == "the model":
        random_model("llama", seed=5).save_pretrained(tmp_path / "model")
    elif change == "the sidecar":
        output.with_name("out.jsonl.meta.json").unlink()
    else:
        more = [change]
    other = write_lines(tmp_path / "other.jsonl", rows)
    before = output.read_bytes()

    code, told = predict_refuses(*begun, f"input={other}", *more)

    assert (code, sentence.format(output) in told) == (2, True), told
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    ["my notes\nline two\n", '{"text": "a"}\n', "no line end", '{"id": 0, "text": "precious"}'],
)
def test_a_file_of_somebody_elses_is_not_resumed(predict_refuses, texts, tmp_path, content):
    notes = tmp_path / "notes.txt"
    notes.write_text(content)

    code, said = predict_refuses(f"input={texts}", f"output={notes}", "resume=true")

    assert (code, "predict wrote" in said) == (1, True)
    assert notes.read_text() == content


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_is_resumed_to_the_same_file(model, texts, tmp_path, kills):
    context = multiprocessing.get_context("forkserver")
    # What takes seconds to import is imported once, in the server that the runs are forked from.
    context.set_forkserver_preload(["llamafactory_emotion.predict.writing", "peft"])
    call = [f"model_name_or_path={model}", f"input={texts}", "chunk_rows=8", "tokens_per_batch=64"]
    undisturbed, disturbed = tmp_path / "undisturbed.jsonl", tmp_path / "disturbed.jsonl"

    def run(output, kill_at=float("inf")):
        process = context.Process(target=main, args=([*call, f"output={output}", "resume=true"],))
        process.start()
        while process.is_alive():
            if output.exists() and output.stat().st_size >= kill_at:
                process.kill()
            time.sleep(0.001)
        return process.exitcode

    assert run(undisturbed) == 0
    size = undisturbed.stat().st_size
    chance = random.Random(4)  # noqa: S311 - moments, no secrets
    ends = [run(disturbed, at) for at in sorted(chance.sample(range(size), kills))]
    assert -signal.SIGKILL in ends
    assert run(disturbed) == 0
    assert disturbed.read_bytes() == undisturbed.read_bytes()
    assert [row["id"] for row in read_lines(disturbed)] == list(range(150))


_MEASURED = """
import resource, sys
from llamafactory_emotion.predict.__main__ import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_with_the_rows(model, tmp_path):
    peaks = []
    for rows in (2_000, 200_000):
        path = tmp_path / f"{rows}.txt"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{TEXTS[n % len(TEXTS)]} {n}\n" for n in range(rows))
        output = path.with_suffix(".jsonl")
        call = [f"model_name_or_path={model}", f"input={path}", f"output={output}"]
        command = [sys.executable, "-c", _MEASURED, *call]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
        with output.open(encoding="utf-8") as file:
            assert sum(1 for _ in file) == rows
    assert peaks[1] < peaks[0] + 30, f"peak memory in MiB: {peaks}"
