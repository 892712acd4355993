"""The task for lm-evaluation-harness asks what we ask: the same answers, the same likelihoods."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from llamafactory_emotion.evaluate import __main__ as evaluate
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.task import ANSWER_CUE, EMOTION

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "examples" / "lm_eval_emotion.yaml"
NAME = "llamafactory_emotion"
ROWS = 24


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the demo test set as `prepare` writes them."""
    from llamafactory_emotion.data.reading import read_rows
    from llamafactory_emotion.prepare.__main__ import main

    folder = tmp_path_factory.mktemp("prepared")
    rows = read_rows(ROOT / "data" / "emotion_demo_test.jsonl", EMOTION)[:ROWS]
    lines = [json.dumps({"text": row.text, "label": row.label}) + "\n" for row in rows]
    (folder / "test.jsonl").write_text("".join(lines), encoding="utf-8")
    call = ["--train", str(folder / "test.jsonl"), "--validation-size", "0", "--name", "mine"]
    assert main([*call, "--dataset-dir", str(folder)]) == 0
    return folder / "mine_train.jsonl"


def their_results(model: Path, task: str | dict[str, Any]) -> dict[str, Any]:
    """Run the harness as its command does with `--include_path examples`."""
    from lm_eval.tasks import TaskManager

    return lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "add_bos_token": True},
        tasks=[task],
        task_manager=TaskManager(include_path=str(RECIPE.parent), include_defaults=False),
        device="cpu",
        limit=ROWS,
        bootstrap_iters=0,
    )


def our_results(model: Path, rows: Path, folder: Path) -> tuple[list[dict[str, Any]], float]:
    """Run `predict` and `evaluate` on the same rows."""
    predictions, figures = folder / "predictions.jsonl", folder / "figures.json"
    call = [f"model_name_or_path={model}", f"input={rows}", f"output={predictions}"]
    assert predict.main([*call, f"max_samples={ROWS}", "log_likelihoods=true"]) == 0
    assert evaluate.main([str(predictions), "--json", str(figures)]) == 0
    written = [json.loads(line) for line in predictions.read_text("utf-8").splitlines()]
    return written, json.loads(figures.read_text("utf-8"))["accuracy"]


@pytest.mark.parametrize("source", ["demo", "prepared"])
def test_the_harness_agrees_with_predict_and_evaluate(
    tiny_base: Path,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
):
    monkeypatch.chdir(ROOT)
    rows, task = ROOT / "data" / "emotion_demo_test.jsonl", NAME
    if source == "prepared":
        rows = prepared
        task = yaml.safe_load(RECIPE.read_text("utf-8"))
        task["dataset_kwargs"] = {"data_files": {"test": str(prepared)}}

    theirs = their_results(tiny_base, task)
    ours, accuracy = our_results(tiny_base, rows, tmp_path)

    assert theirs["results"][NAME]["acc,none"] == pytest.approx(accuracy, abs=1e-12)
    samples = sorted(theirs["samples"][NAME], key=lambda one: one["doc_id"])
    assert len(samples) == len(ours) == ROWS
    for sample, row in zip(samples, ours, strict=True):
        prompts = {prompt for prompt, _ in sample["arguments"]}
        assert prompts == {row["prompt"].removeprefix("<|begin_of_text|>")}
        found = [float(one[0][0]) for one in sample["resps"]]
        wanted = [row["log_likelihoods"][label] for label in EMOTION.labels]
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_instruction_cue_and_labels_are_the_tasks():
    content = yaml.safe_load(RECIPE.read_text("utf-8"))

    assert content["doc_to_text"].startswith(f"{EMOTION.instruction}\n")
    assert content["doc_to_text"].endswith(ANSWER_CUE)
    assert tuple(content["doc_to_choice"]) == EMOTION.labels
    assert (ROOT / content["dataset_kwargs"]["data_files"]["test"]).is_file()
