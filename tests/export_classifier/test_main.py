"""The call: what is wrong with it, and what stands at the output and must not be lost."""

import re
import shutil

import numpy as np
import pytest
from calls import save_model
from exports import export_to, pipeline_answers
from random_models import ROUNDING, TEXTS, save_adapter, tokenizer_of
from transformers import AutoTokenizer

from llamafactory_emotion.export_classifier.__main__ import main


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["output=x"], 2, "model_name_or_path is missing"),
        (["model_name_or_path=x"], 2, "output is missing"),
        (["model_name_or_path=/no/such"], 1, "the model folder /no/such is not there"),
        (["calibrate=true"], 2, "calibrate cannot be put into"),
        (["normalize=bytes"], 2, "normalize cannot be put"),
        (["quantization_bit=4"], 2, "cannot be exported"),
        (["verify=/no/f.csv"], 2, "/no/f.csv is not there"),
        (["tolerance=2"], 2, "tolerance=2.0 must be from 0 to 1"),
        (["shots=2"], 2, "shots needs few_shot=FILE"),
    ],
)
def test_a_wrong_call_is_told_in_one_sentence(
    export_refuses, words, code, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    others = [] if "missing" in reason else ["model_name_or_path=x", "output=x"]
    found, said = export_refuses(*others, *words)
    assert (found, reason in said) == (code, True), said
    assert list(tmp_path.iterdir()) == []


def test_a_head_is_not_exported_again(exported, export_refuses, tmp_path):
    code, said = export_refuses(f"model_name_or_path={exported}", f"output={tmp_path / 'again'}")
    assert (code, "is a classification head already" in said) == (2, True)


def test_a_recipe_is_taken_as_it_is(base, tmp_path):
    words = ["examples/emotion_predict.yaml", f"model_name_or_path={base}"]
    assert main([*words, f"output={tmp_path / 'by_recipe'}"]) == 0
    plain = export_to(tmp_path / "head", base, "cutoff_len=64")
    np.testing.assert_allclose(
        pipeline_answers(plain, TEXTS),
        pipeline_answers(tmp_path / "by_recipe", TEXTS),
        atol=ROUNDING,
    )


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "overwrite", "reason"),
    [
        ("note.txt", "false", "holds files; name another, or replace it with overwrite=true"),
        ("note.txt", "true", "holds note.txt, which no export writes"),
        ("checkpoint-8/model.safetensors", "true", "holds checkpoint-8, which"),
        ("adapter_config.json", "true", "holds adapter_config.json, which"),
    ],
)
def test_a_folder_that_no_export_wrote_is_kept(
    base, exported, export_refuses, tmp_path, name, overwrite, reason
):
    output = shutil.copytree(exported, tmp_path / "mine")
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).write_text("keep me")
    before = contents(output)
    call = (f"model_name_or_path={base}", f"output={output}", f"overwrite={overwrite}")
    code, said = export_refuses(*call)
    assert (code, reason in said) == (2, True), said
    assert contents(output) == before


@pytest.mark.parametrize("read", ["verify", "few_shot", "evaluation", "task", "recipe"])
def test_a_file_that_is_read_is_not_lost_with_the_folder(base, export_refuses, tmp_path, read):
    output = tmp_path / "head"
    output.mkdir()
    file = output / "config.json"  # a name that an export writes itself
    file.write_text('{"seed": 1}')
    (tmp_path / "link").symlink_to(output)
    words = [str(file) if read == "recipe" else f"{read}={file}", f"model_name_or_path={base}"]
    code, said = export_refuses(*words, f"output={tmp_path / 'link'}", "overwrite=true")
    assert (code, "is an input and would be overwritten" in said) == (2, True), said
    assert file.read_text() == '{"seed": 1}'


@pytest.mark.parametrize(
    ("read", "output"), [("model", "model"), ("adapter", "adapter"), ("adapter", "model")]
)
def test_a_model_that_is_read_is_not_replaced(
    base, export_refuses, tmp_path, monkeypatch, read, output
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, "model")
    (tmp_path / "model" / "generation_config.json").unlink(missing_ok=True)
    save_adapter("model", tmp_path / "adapter")
    before = contents(tmp_path)
    code, said = export_refuses(f"model_name_or_path={read}", f"output={output}", "overwrite=true")
    assert (code, "is an input and would be overwritten" in said) == (2, True), said
    assert contents(tmp_path) == before


def test_a_model_folder_is_replaced_when_asked(base, exported, tmp_path):
    output = shutil.copytree(exported, tmp_path / "head")
    (output / "model-00001-of-00002.safetensors").write_text("of the folder before")
    export_to(output, base, "overwrite=true", "cutoff_len=100")
    assert not (output / "model-00001-of-00002.safetensors").exists()
    assert AutoTokenizer.from_pretrained(output).model_max_length == 98
    assert list(tmp_path.iterdir()) == [output]


def test_the_old_folder_stays_when_the_new_one_fails(base, exported, export_refuses, tmp_path):
    output, rows = shutil.copytree(exported, tmp_path / "head"), tmp_path / "rows.txt"
    rows.write_text("\n".join(TEXTS), encoding="utf-8")
    before = contents(output)
    call = (f"model_name_or_path={base}", f"output={output}", f"verify={rows}", "overwrite=true")
    code, said = export_refuses(*call, "tolerance=1e-12")
    assert (code, "it was not written" in said) == (1, True), said
    assert contents(output) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "rows.txt"]


def without_tokens_to_pad_with():
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.eos_token = None
    return tokenizer


@pytest.mark.parametrize(
    ("architecture", "tokenizer", "labels", "reason"),
    [
        ("llama", None, "joy, deep sadness", "1 of 2 labels have several tokens"),
        ("llama", None, "joy, deep sadness", "`words: {deep sadness: sadness}`.* with train_head"),
        ("llama", None, "joy, joy fear", "begin with the same token.*'joy' and 'joy fear'"),
        ("phi", None, "joy, fear", "its output layer has a bias"),
        ("gemma2", None, "joy, fear", r"bends its logits \(final_logit_softcapping 3.0\)"),
        ("mamba", None, "joy, fear", "no sequence classifier for the model type 'mamba'"),
        ("granite", None, "joy, fear", "no sequence classifier for the model type 'granite'"),
        ("llama", without_tokens_to_pad_with, "joy, fear", "neither a padding nor an end token"),
    ],
)
def test_what_is_more_than_rows_of_one_matrix_is_refused(
    export_refuses, tmp_path, architecture, tokenizer, labels, reason
):
    base = save_model(tmp_path / "base", architecture, tokenizer and tokenizer())
    task = tmp_path / "task.yaml"
    task.write_text(f"name: moods\ninstruction: Which mood?\nlabels: [{labels}]\n")
    output = tmp_path / "head"
    code, said = export_refuses(f"model_name_or_path={base}", f"output={output}", f"task={task}")
    assert (code, bool(re.search(reason, said))) == (1, True), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "task.yaml"]
