"""Training a head: loss, choice of the best, going on after a stop, bad calls."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from head_models import QUICK, read, refused, train, weights, write_rows
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight
from transformers.trainer_pt_utils import LabelSmoother

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.training import balanced_weights, label_loss

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture
def call(gpt2_base, rows_file, tmp_path):
    return [
        f"model_name_or_path={gpt2_base}",
        f"train={rows_file}",
        f"output_dir={tmp_path / 'out'}",
    ]


def history(folder: Path) -> list[dict[str, float]]:
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0], [-2.0, 1.0, 0.0]])
GOLD = torch.tensor([0, 1, 1])


def test_the_plain_loss_is_cross_entropy_by_hand():
    loss = label_loss(None, smoothing=0.0)({"logits": LOGITS}, GOLD)
    shares = np.exp(LOGITS.numpy()) / np.exp(LOGITS.numpy()).sum(axis=1, keepdims=True)
    assert loss.item() == pytest.approx(-np.log([shares[0, 0], shares[1, 1], shares[2, 1]]).mean())


def test_label_smoothing_is_that_of_transformers():
    ours = label_loss(None, smoothing=0.1)({"logits": LOGITS}, GOLD)
    theirs = LabelSmoother(epsilon=0.1)({"logits": LOGITS}, GOLD[:, None])
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_a_step_of_several_batches_has_the_loss_of_one():
    loss = label_loss([1.0, 0.5, 2.0], smoothing=0.0)
    whole = loss({"logits": LOGITS}, GOLD, num_items_in_batch=3)
    parts = [
        loss({"logits": LOGITS[part]}, GOLD[part], num_items_in_batch=3)
        for part in (slice(0, 2), slice(2, 3))
    ]
    assert whole.item() == pytest.approx(sum(part.item() for part in parts))


def test_balanced_weights_are_those_of_scikit_learn():
    labels = ["joy"] * 6 + ["fear"] * 3 + ["anger"]
    rows = [Row("text", label, number) for number, label in enumerate(labels)]
    names = sorted(set(labels))
    theirs = dict(
        zip(names, compute_class_weight("balanced", classes=np.array(names), y=labels), strict=True)
    )
    ours = dict(zip(EMOTION.labels, balanced_weights(rows, EMOTION), strict=True))
    assert {label: ours[label] for label in names} == pytest.approx(theirs)
    assert ours["love"] == 1
    assert np.mean([ours[label] for label in labels]) == pytest.approx(1)


@pytest.mark.parametrize("option", ["class_weights=balanced", "label_smoothing_factor=0.2"])
def test_an_option_of_the_loss_reaches_the_training(option, gpt2_base, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", 20, labels=EMOTION.labels[:3])
    for name, more in (("plain", []), ("other", [option])):
        train(
            f"model_name_or_path={gpt2_base}",
            f"train={file}",
            f"output_dir={tmp_path / name}",
            *QUICK,
            *more,
        )
    plain, other = (weights(tmp_path / name)["score.weight"] for name in ("plain", "other"))
    assert not torch.allclose(plain, other, atol=1e-4)


def test_a_validation_split_is_drawn_and_the_best_checkpoint_is_kept(call, tmp_path):
    train(
        *call,
        "validation_size=12",
        "num_train_epochs=4",
        "learning_rate=0.003",
        "per_device_train_batch_size=6",
        "eval_strategy=epoch",
        "save_strategy=epoch",
        "load_best_model_at_end=true",
        "metric_for_best_model=f1_macro",
    )
    out = tmp_path / "out"
    evaluated = [entry for entry in history(out) if "eval_f1_macro" in entry]
    assert len(evaluated) == 4
    assert all({"eval_accuracy", "eval_loss"} <= entry.keys() for entry in evaluated)
    best = max(evaluated, key=lambda entry: entry["eval_f1_macro"])
    kept = weights(out / f"checkpoint-{int(best['step'])}")
    assert all(torch.equal(weights(out)[name], kept[name]) for name in kept)


def test_training_stops_early_when_nothing_gets_better(call, rows_file, tmp_path):
    train(
        *call,
        f"validation={rows_file}",
        "num_train_epochs=9",
        "learning_rate=0.0",
        "eval_strategy=epoch",
        "save_strategy=epoch",
        "load_best_model_at_end=true",
        "metric_for_best_model=accuracy",
        "early_stopping_patience=2",
    )
    assert sum("eval_accuracy" in entry for entry in history(tmp_path / "out")) == 3


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stopped_run_goes_on_to_the_same_weights(method, call, tmp_path):
    settings = [
        f"finetuning_type={method}",
        "max_steps=4",
        "save_strategy=steps",
        "save_steps=2",
        "per_device_train_batch_size=8",
        "learning_rate=0.01",
    ]
    train(*call, *settings)
    out = tmp_path / "out"
    name = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    whole = load_file(out / name)
    shutil.rmtree(out / "checkpoint-4")
    (out / name).unlink()
    train(*call, *settings, "resume_from_checkpoint=true")

    resumed = load_file(out / name)
    assert resumed.keys() == whole.keys()
    for key, weight in whole.items():
        torch.testing.assert_close(resumed[key], weight, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("learning_rate=0.5", "learning_rate was 0.01 and is 0.5"),
        ("max_samples=40", "train_rows was"),
        ("freeze_blocks=1", "freeze_blocks was 0 and is 1"),
    ],
)
def test_a_run_of_another_recipe_is_not_resumed(change, said, call, tmp_path, capsys):
    train(*call, "max_steps=1", "save_strategy=steps", "save_steps=1", "learning_rate=0.01")
    before = weights(tmp_path / "out")
    words = [*call, "max_steps=1", "save_strategy=steps", "save_steps=1", "learning_rate=0.01"]
    message = refused(capsys, *words, change, "resume_from_checkpoint=true")
    assert "was begun with another recipe" in message
    assert said in message
    after = weights(tmp_path / "out")
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_checkpoint_of_another_folder_is_no_leave_to_write_over_this_one(call, tmp_path, capsys):
    train(*call, "max_steps=1", "save_strategy=steps", "save_steps=1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("kept")
    message = refused(
        capsys,
        *call[:2],
        f"output_dir={tmp_path / 'other'}",
        "max_steps=1",
        f"resume_from_checkpoint={tmp_path / 'out' / 'checkpoint-1'}",
    )
    assert "holds files; name another folder" in message


def test_overwriting_takes_the_checkpoints_of_the_earlier_run_away(call, tmp_path):
    steps = ["max_steps=2", "save_strategy=steps", "save_steps=1", "finetuning_type=lora"]
    train(*call, *steps, call[1].replace("train=", "test="))
    (tmp_path / "out" / "mine.txt").write_text("kept")
    train(*call, *QUICK, "overwrite=true")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert not {name for name in left if name.startswith(("checkpoint", "test_pred", "adapter"))}
    assert {"model.safetensors", "config.json"} <= left
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


def test_a_name_inside_a_package_and_data_sets_by_name(gpt2_base, tmp_path, monkeypatch):
    package = tmp_path / "carrier"
    shutil.copytree(gpt2_base, package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "plain.jsonl", 9)
    alpaca = [
        {"instruction": "Which?", "input": f"text {number}", "output": EMOTION.labels[number % 6]}
        for number in range(7)
    ]
    (tmp_path / "data" / "alpaca.json").write_text(json.dumps(alpaca))
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    entries = {
        "plain": {"file_name": "plain.jsonl", "formatting": "emotion",
                  "columns": {"prompt": "text", "response": "label"}},
        "alpaca": {"file_name": "alpaca.json", "columns": columns},
    }  # fmt: skip
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(entries))
    train(
        "model_name_or_path=package:carrier/model",
        f"dataset_dir={tmp_path / 'data'}",
        "train=plain,alpaca",
        "test=alpaca",
        f"output_dir={tmp_path / 'out'}",
        *QUICK,
    )
    written = read(tmp_path / "out" / "test_predictions.jsonl")
    assert [row["prompt"] for row in written] == [f"text {number}" for number in range(7)]


def test_a_head_of_the_same_task_is_trained_further(call, gpt2_base, tmp_path):
    train(*call, *QUICK)
    first = weights(tmp_path / "out")["score.weight"]
    train(
        f"model_name_or_path={tmp_path / 'out'}",
        call[1],
        f"output_dir={tmp_path / 'more'}",
        *QUICK,
        "learning_rate=0.0",
    )
    assert torch.equal(weights(tmp_path / "more")["score.weight"], first)


def test_a_checkpoint_that_was_cut_short_is_passed_over(call, tmp_path):
    steps = ["max_steps=2", "save_strategy=steps", "save_steps=1"]
    train(*call, *steps)
    whole = history(tmp_path / "out")
    (tmp_path / "out" / "checkpoint-2" / "trainer_state.json").unlink()

    train(*call, *steps, "resume_from_checkpoint=true")

    assert [one["step"] for one in history(tmp_path / "out")] == [one["step"] for one in whole]
