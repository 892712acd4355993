"""The true accuracy through LLaMA-Factory's own command: against its greedy answers, judged."""

import json
import re
from pathlib import Path

import pytest
from e2e.host import ROOT, llamafactory
from sklearn.metrics import accuracy_score, f1_score

from llamafactory_emotion.predictions.reading import BrokenRows, read_predictions
from llamafactory_emotion.task import EMOTION

EXAMPLES = ROOT / "examples"
ROWS = 90
DATA = (f"dataset_dir={ROOT / 'data'}", f"max_samples={ROWS}")


@pytest.fixture(scope="module")
def half_trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that gets some answers right and some wrong."""
    folder = tmp_path_factory.mktemp("half_trained")
    llamafactory(
        "train", EXAMPLES / "emotion_tiny.yaml", f"model_name_or_path={tiny_base}",
        f"dataset_dir={ROOT / 'data'}", "max_steps=20", "warmup_steps=5",
        f"output_dir={folder / 'model'}", cwd=folder,
    )  # fmt: skip
    return folder / "model"


@pytest.fixture(scope="module")
def greedy(half_trained: Path) -> dict[str, float]:
    """Accuracy and macro-F1 of the greedy answers, by scikit-learn."""
    output = half_trained.parent / "predicted"
    llamafactory(
        "train", EXAMPLES / "emotion_predict.yaml", f"model_name_or_path={half_trained}", *DATA,
        "eval_dataset=emotion_demo_test", f"output_dir={output}", cwd=half_trained.parent,
    )  # fmt: skip
    file = output / "generated_predictions.jsonl"
    rows = list(read_predictions(file, BrokenRows(str(file))))
    gold = [row.label.strip() for row in rows]
    answers = [row.predict.strip() for row in rows]
    macro = f1_score(gold, answers, labels=EMOTION.labels, average="macro", zero_division=0)
    return {"accuracy": accuracy_score(gold, answers), "f1_macro": macro}


def evaluate(
    model: Path, output: Path, *overrides: str, cwd: Path, **environment: str
) -> dict[str, float]:
    llamafactory(
        "train", EXAMPLES / "emotion_tiny.yaml", f"model_name_or_path={model}", *DATA,
        "dataset=null", "do_train=false", "do_eval=true", "eval_dataset=emotion_demo_test",
        "compute_accuracy=true", f"output_dir={output}", *overrides, cwd=cwd, **environment,
    )  # fmt: skip
    return json.loads((output / "eval_results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("per_device_eval_batch_size=7",),
        ("neat_packing=true", "cutoff_len=256", "per_device_eval_batch_size=1"),
        ("batch_eval_metrics=true",),
    ],
    ids=str,
)
def test_it_is_the_accuracy_of_the_greedy_answers(half_trained, greedy, tmp_path, overrides):
    figures = evaluate(half_trained, tmp_path / "out", *overrides, cwd=tmp_path)

    assert 0.05 < greedy["accuracy"] < 0.95, "a model that says nothing about the metric"
    assert figures["eval_accuracy"] == pytest.approx(greedy["accuracy"], abs=1e-9)
    assert figures["eval_f1_macro"] == pytest.approx(greedy["f1_macro"], abs=1e-9)


@pytest.mark.slow
def test_two_processes_count_every_row_once(half_trained, greedy, tmp_path):
    figures = evaluate(
        half_trained, tmp_path / "out", "per_device_eval_batch_size=7", cwd=tmp_path,
        FORCE_TORCHRUN="1", NPROC_PER_NODE="2", OMP_NUM_THREADS="1",
    )  # fmt: skip

    assert figures["eval_accuracy"] == pytest.approx(greedy["accuracy"], abs=1e-9)
    assert figures["eval_f1_macro"] == pytest.approx(greedy["f1_macro"], abs=1e-9)


def test_several_sets_have_a_figure_each_and_one_of_them_stops_the_run(tiny_base, tmp_path):
    """The learning rate is too small to gain a row, so patience 1 ends it at the second look."""
    output = tmp_path / "out"
    key = "eval_emotion_demo_test_f1_macro"

    result = llamafactory(
        "train", EXAMPLES / "emotion_tiny.yaml", f"model_name_or_path={tiny_base}", *DATA,
        "eval_dataset=emotion_demo_test,sentiment_demo_test", "eval_on_each_dataset=true",
        "learning_rate=1e-12", "compute_accuracy=true", "num_train_epochs=4", "warmup_steps=0",
        "eval_strategy=epoch", "save_strategy=epoch", "save_total_limit=1",
        "load_best_model_at_end=true", f"metric_for_best_model={key}", "early_stopping_steps=1",
        "plot_loss=true", "per_device_eval_batch_size=32", f"output_dir={output}", cwd=tmp_path,
    )  # fmt: skip

    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    seen = {name for entry in state["log_history"] for name in entry}
    for data_set in ("emotion_demo_test", "sentiment_demo_test"):
        assert {f"eval_{data_set}_accuracy", f"eval_{data_set}_f1_macro"} <= seen
    assert state["epoch"] == 2.0
    assert state["best_metric"] == max(entry[key] for entry in state["log_history"] if key in entry)
    assert (output / "training_eval_emotion_demo_test_accuracy.png").is_file()
    assert re.search(r"eval_emotion_demo_test_f1_macro", result.stdout + result.stderr)


def test_another_template_keeps_llamafactorys_own_figure(half_trained, tmp_path):
    figures = evaluate(half_trained, tmp_path / "out", "template=default", cwd=tmp_path)

    assert "eval_accuracy" in figures
    assert "eval_f1_macro" not in figures
