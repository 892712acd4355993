"""`predict` with classification heads: exported, trained, and among checkpoints."""

import json

import numpy as np
import pytest
from calls import read_lines, read_sidecar, write_lines
from random_heads import ROWS, save_head, save_head_adapter
from random_models import ROUNDING, TEXTS, save_adapter

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring.scorer import open_scorer
from llamafactory_emotion.task import EMOTION


def probabilities(rows):
    return np.array([[row["probabilities"][label] for label in EMOTION.labels] for row in rows])


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    rows = [{"text": text, "label": number % 6} for number, text in enumerate(ROWS)]
    return write_lines(tmp_path_factory.mktemp("texts") / "texts.jsonl", rows)


def test_an_exported_folder_gives_the_file_its_model_gives(predict, exported, texts, tmp_path):
    predict(f"input={texts}", f"output={tmp_path / 'model.jsonl'}")
    folder = tmp_path / "folder.jsonl"
    predict(f"model_name_or_path={exported}", f"input={texts}", f"output={folder}")
    wanted, found = read_lines(tmp_path / "model.jsonl"), read_lines(folder)

    np.testing.assert_allclose(probabilities(found), probabilities(wanted), atol=ROUNDING)
    for key in ("id", "prompt", "predict", "label"):
        assert [row[key] for row in found] == [row[key] for row in wanted]
    assert list(found[0]["probabilities"]) == list(EMOTION.labels)
    sidecar = read_sidecar(folder)
    assert sidecar["readout"] == "classification head"
    assert sidecar["shared_prefix_tokens"] == 0
    assert (sidecar["rows"], sidecar["special_tokens"]) == (len(ROWS), 1)


def test_a_data_sets_instruction_must_be_the_folders_own(predict_refuses, exported, tmp_path):
    rows = [{"instruction": "What is felt?", "input": text, "output": "joy"} for text in TEXTS]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
    data = (f"dataset_dir={tmp_path}", "eval_dataset=rows")
    folder = tmp_path / "folder.jsonl"
    call = (f"model_name_or_path={exported}", *data, f"output={folder}")
    code, said = predict_refuses(*call)
    assert (code, "the data asks 'What is felt?'" in said) == (1, True)
    assert not folder.exists()


def test_checkpoints_with_heads_are_predicted_in_turn(model, predict, texts, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    save_head_adapter(model, run / "checkpoint-2", with_configuration=False)
    save_head(run / "checkpoint-10")
    save_adapter(model, run / "checkpoint-11")
    save_head_adapter(model, run)
    predict(f"checkpoints={run}", f"input={texts}", f"output={out}")
    first, second, third = (read_lines(out / f"checkpoint-{step}.jsonl") for step in (2, 10, 11))
    wanted = open_scorer(str(run), EMOTION).score(ROWS).probabilities
    np.testing.assert_allclose(probabilities(first), wanted, atol=1e-5)
    assert abs(probabilities(second) - wanted).max() > 0.01
    assert third[0]["prompt"] != second[0]["prompt"], "a language model asks, a head does not"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("generate=true", "is a classification head and cannot write answers"),
        ("calibrate=true", "remove calibrate"),
        ("log_likelihoods=true", "remove log_likelihoods"),
        ("cutoff_len=11", "cutoff_len 11 leaves no room for a text"),
    ],
)
def test_what_a_head_cannot_do_is_refused(predict_refuses, exported, texts, tmp_path, key, reason):
    call = [f"model_name_or_path={exported}", f"input={texts}", f"output={tmp_path / 'p.jsonl'}"]
    code, said = predict_refuses(*call, key)
    assert (code, reason in said) == (CallError.exit_code, True), said
    assert not (tmp_path / "p.jsonl").exists()
