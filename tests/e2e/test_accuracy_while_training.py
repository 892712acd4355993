"""The true accuracy in LLaMA-Factory's own results, while it trains and when it predicts."""

import json
import re
from pathlib import Path

import pytest
from calls import read_lines
from programs import PREDICTED, ROOT, llamafactory, run_in_fork
from sklearn.metrics import accuracy_score, f1_score

from llamafactory_emotion.evaluate import __main__ as evaluation
from llamafactory_emotion.task import EMOTION

EXAMPLES = ROOT / "examples"
FULL = ROOT / "benchmarks" / "from_scratch.yaml"
ROWS = 90
# Some answers are nonsense then; the figures are those of the answers that were drawn.
SAMPLED = ("do_sample=true", "temperature=2.0", "top_p=1.0")
DATA = (f"dataset_dir={ROOT / 'data'}", f"max_samples={ROWS}")


@pytest.fixture(scope="module")
def half_trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that gets some answers right and some wrong."""
    folder = tmp_path_factory.mktemp("half_trained")
    llamafactory(
        "train", FULL, f"model_name_or_path={tiny_base}",
        f"dataset_dir={ROOT / 'data'}", "max_samples=1200", "num_train_epochs=1",
        "gradient_accumulation_steps=2", "warmup_ratio=0.1",
        f"output_dir={folder / 'model'}", cwd=folder,
    )  # fmt: skip
    return folder / "model"


def predict(model: Path, output: Path, *overrides: str, **environment: str) -> str:
    """Run `emotion_predict` and return what it prints."""
    result = llamafactory(
        "train", EXAMPLES / "emotion_predict.yaml", f"model_name_or_path={model}", *DATA,
        "eval_dataset=emotion_demo_test", f"output_dir={output}", *overrides, cwd=model.parent,
        **environment,
    )  # fmt: skip
    return result.stdout


def results(output: Path, name: str = "predict") -> dict[str, float]:
    return json.loads((output / f"{name}_results.json").read_text(encoding="utf-8"))


def judged(output: Path, task: str | Path = "emotion") -> dict[str, float]:
    """The same figures by `evaluate`, from the file that the run wrote."""
    out = output / "evaluated.json"
    file = output / PREDICTED
    assert evaluation.main([str(file), "--task", str(task), "--json", str(out)]) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    keys = {"accuracy": "accuracy", "f1_macro": "f1_macro", "invalid": "invalid_rate"}
    return {f"predict_{key}": figures[name] for key, name in keys.items()}


@pytest.fixture(scope="module")
def predicted(half_trained: Path) -> tuple[Path, str]:
    """What LLaMA-Factory writes and prints when the model predicts."""
    output = half_trained.parent / "predicted"
    return output, predict(half_trained, output)


@pytest.fixture(scope="module")
def greedy(predicted: tuple[Path, str]) -> dict[str, float]:
    """Accuracy and macro-F1 of the greedy answers, by scikit-learn."""
    rows = read_lines(predicted[0] / PREDICTED)
    gold, given = ([row[key].strip() for row in rows] for key in ("label", "predict"))
    macro = f1_score(gold, given, labels=EMOTION.labels, average="macro", zero_division=0)
    return {"accuracy": accuracy_score(gold, given), "f1_macro": macro}


def evaluate(
    model: Path, output: Path, *overrides: str, cwd: Path, **environment: str
) -> dict[str, float]:
    llamafactory(
        "train", FULL, f"model_name_or_path={model}", *DATA,
        "dataset=null", "do_train=false", "do_eval=true", "eval_dataset=emotion_demo_test",
        "compute_accuracy=true", f"output_dir={output}", *overrides, cwd=cwd, **environment,
    )  # fmt: skip
    return results(output, "eval")


TWO_PROCESSES = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("overrides", "environment"),
    [
        ((), {}),
        (("per_device_eval_batch_size=7",), {}),
        (("neat_packing=true", "cutoff_len=256", "per_device_eval_batch_size=1"), {}),
        (("batch_eval_metrics=true",), {}),
        pytest.param(
            ("per_device_eval_batch_size=7",), TWO_PROCESSES, marks=pytest.mark.slow,
            id="two processes",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_it_is_the_accuracy_of_the_greedy_answers(
    half_trained, greedy, tmp_path, overrides, environment
):
    figures = evaluate(half_trained, tmp_path / "out", *overrides, cwd=tmp_path, **environment)

    assert 0.05 < greedy["accuracy"] < 0.95, "a model that says nothing about the metric"
    assert figures["eval_accuracy"] == pytest.approx(greedy["accuracy"], abs=1e-9)
    assert figures["eval_f1_macro"] == pytest.approx(greedy["f1_macro"], abs=1e-9)


def test_several_sets_have_a_figure_each_and_one_of_them_stops_the_run(tiny_base, tmp_path):
    """The learning rate is too small to gain a row, so patience 1 ends it at the second look."""
    output = tmp_path / "out"
    key = "eval_emotion_demo_test_f1_macro"

    result = llamafactory(
        "train", FULL, f"model_name_or_path={tiny_base}", *DATA,
        "eval_dataset=emotion_demo_test,sentiment_demo_test", "eval_on_each_dataset=true",
        "learning_rate=1e-12", "compute_accuracy=true", "num_train_epochs=4", "warmup_ratio=0",
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


def test_a_prediction_reports_what_evaluate_says_of_its_file(predicted, greedy):
    output, printed = predicted
    figures, expected = results(output), judged(output)

    assert expected["predict_accuracy"] == pytest.approx(greedy["accuracy"], abs=1e-12)
    assert expected["predict_f1_macro"] == pytest.approx(greedy["f1_macro"], abs=1e-12)
    assert expected.items() <= figures.items()
    assert {"predict_bleu-4", "predict_rouge-1"} <= figures.keys()
    assert results(output, "all") == figures
    assert re.search(r"predict_accuracy +=.*predict_f1_macro +=.*predict_invalid +=", printed, re.S)


@pytest.mark.slow
@pytest.mark.parametrize("batch_by_batch", ["true", "false"])
def test_two_processes_count_every_predicted_row_once(half_trained, tmp_path, batch_by_batch):
    output = tmp_path / "out"

    predict(
        half_trained, output, "per_device_eval_batch_size=7", "max_samples=31", *SAMPLED,
        f"batch_eval_metrics={batch_by_batch}", **TWO_PROCESSES,
    )  # fmt: skip

    assert len(read_lines(output / PREDICTED)) == 31
    figures = results(output)
    assert 0 < figures["predict_invalid"] < 1
    assert judged(output).items() <= figures.items()


def test_two_tasks_in_one_prediction_are_judged_by_the_labels_of_both(half_trained, tmp_path):
    """The file holds padding and end tokens, which `evaluate` reads over."""
    output, task = tmp_path / "out", tmp_path / "both.yaml"
    labels = sorted((*EMOTION.labels, "negative", "neutral", "positive"))
    task.write_text(f"name: both\ninstruction: Classify.\nlabels: {labels}\n", encoding="utf-8")

    predict(
        half_trained, output, "eval_dataset=emotion_demo_test,sentiment_demo_test",
        "max_samples=40", "skip_special_tokens=false", *SAMPLED,
    )  # fmt: skip

    figures, expected = results(output), judged(output, task)
    assert any("<|" in row["predict"] for row in read_lines(output / PREDICTED))
    assert 0 < figures["predict_invalid"] < 1
    assert figures["predict_accuracy"] > 0
    assert {key: figures[key] for key in expected} == pytest.approx(expected, abs=1e-12)


def test_rows_without_gold_labels_are_predicted_and_not_counted(half_trained, tmp_path):
    rows = ["the train was late again", "my sister sent me flowers"]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in rows), encoding="utf-8"
    )
    entry = {"file_name": "rows.jsonl", "formatting": "emotion", "columns": {"prompt": "text"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": entry}), encoding="utf-8")

    printed = predict(
        half_trained, tmp_path / "out", f"dataset_dir={tmp_path}", "eval_dataset=mine"
    )

    assert printed.count("2 of 2 rows have no gold label: no accuracy") == 1
    assert not {"predict_accuracy", "predict_invalid"} & results(tmp_path / "out").keys()
    assert len(read_lines(tmp_path / "out" / PREDICTED)) == 2


RUNS_IN_TURN = """
import json, sys
from llamafactory.train.tuner import run_exp

run = json.loads(sys.argv[1])
for template, output in (("emotion", "ours"), ("default", "theirs"), ("emotion", "again")):
    run_exp({**run, "template": template, "output_dir": output})
"""


def test_runs_of_one_process_have_the_figures_of_their_own_template(half_trained, tmp_path):
    run = {
        "model_name_or_path": str(half_trained), "stage": "sft", "do_eval": True,
        "predict_with_generate": True, "dataset_dir": str(ROOT / "data"), "max_samples": 8,
        "eval_dataset": "emotion_demo_test", "batch_eval_metrics": True, "do_sample": False,
        "per_device_eval_batch_size": 3, "max_new_tokens": 4, "report_to": "none",
        "use_cpu": True,
    }  # fmt: skip

    done = run_in_fork("python", "-c", RUNS_IN_TURN, json.dumps(run), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    ours, theirs, again = (results(tmp_path / one, "eval") for one in ("ours", "theirs", "again"))
    figures = {"eval_accuracy", "eval_f1_macro", "eval_invalid"}
    assert ours.keys() - theirs.keys() == figures
    assert {key: ours[key] for key in figures} == {key: again[key] for key in figures}
