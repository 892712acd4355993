"""The task for lm-evaluation-harness asks what we ask: the same answers, the same likelihoods."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from llamafactory_emotion.evaluate import __main__ as evaluate
from llamafactory_emotion.init.__main__ import lm_eval_recipe
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.task import EMOTION

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "examples" / "lm_eval_emotion.yaml"
NAME = "llamafactory_emotion"
ROWS = 24


@pytest.mark.parametrize("source", ["demo", "prepared"])
def test_the_harness_agrees_with_predict_and_evaluate(
    source: str, tiny_base: Path, tmp_path: Path, monkeypatch
):
    """Run as its command does with `--include_path examples`."""
    from lm_eval.tasks import TaskManager

    monkeypatch.chdir(ROOT)
    rows, task = ROOT / "data" / "emotion_demo_test.jsonl", NAME
    if source == "prepared":
        demo = [json.loads(line) for line in rows.read_text("utf-8").splitlines()[:ROWS]]
        asked = {"instruction": EMOTION.instruction}
        alpaca = [asked | {"input": row["text"], "output": row["label"]} for row in demo]
        rows = tmp_path / "mine_test.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in alpaca), encoding="utf-8")
        task = yaml.safe_load(RECIPE.read_text("utf-8"))
        task["dataset_kwargs"] = {"data_files": {"test": str(rows)}}
    theirs = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(tiny_base), "add_bos_token": True},
        tasks=[task],
        task_manager=TaskManager(include_path=str(RECIPE.parent), include_defaults=False),
        device="cpu",
        limit=ROWS,
        bootstrap_iters=0,
    )
    file, figures = tmp_path / "predictions.jsonl", tmp_path / "figures.json"
    call = [f"model_name_or_path={tiny_base}", f"input={rows}", f"output={file}"]
    assert predict.main([*call, f"max_samples={ROWS}", "log_likelihoods=true"]) == 0
    assert evaluate.main([str(file), "--json", str(figures)]) == 0

    accuracy = json.loads(figures.read_text("utf-8"))["accuracy"]
    assert theirs["results"][NAME]["acc,none"] == pytest.approx(accuracy, abs=1e-12)
    samples = sorted(theirs["samples"][NAME], key=lambda one: one["doc_id"])
    ours = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(samples) == len(ours) == ROWS
    for sample, row in zip(samples, ours, strict=True):
        prompts = {prompt for prompt, _ in sample["arguments"]}
        assert prompts == {row["prompt"].removeprefix("<|begin_of_text|>")}
        found = [float(one[0][0]) for one in sample["resps"]]
        wanted = [row["log_likelihoods"][label] for label in EMOTION.labels]
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_it_is_what_init_writes_for_any_task():
    content = yaml.safe_load(RECIPE.read_text("utf-8"))

    data = content["dataset_kwargs"]["data_files"]["test"]
    assert yaml.safe_load(lm_eval_recipe(EMOTION, data)) == content, "as init writes it"
    assert (ROOT / data).is_file()
