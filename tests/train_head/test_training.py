"""The training itself: its loss, the choice of the best, data by name, two processes, bad luck."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from calls import read_lines
from head_models import QUICK, refused, train, weights, write_base, write_rows
from programs import free_port, run_program
from transformers import Trainer
from transformers.trainer_pt_utils import LabelSmoother

from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.evaluate.__main__ import main as evaluate
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.training import balanced_weights, label_loss

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0], [-2.0, 1.0, 0.0]])
GOLD = torch.tensor([0, 1, 1])


def history(folder: Path) -> list[dict[str, float]]:
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


def test_the_loss_is_cross_entropy_by_hand_and_smoothed_as_by_transformers():
    loss = label_loss(None, smoothing=0.0)({"logits": LOGITS}, GOLD)
    shares = np.exp(LOGITS.numpy()) / np.exp(LOGITS.numpy()).sum(axis=1, keepdims=True)
    assert loss.item() == pytest.approx(-np.log([shares[0, 0], shares[1, 1], shares[2, 1]]).mean())
    smooth = label_loss(None, smoothing=0.1)((LOGITS,), GOLD)
    theirs = LabelSmoother(epsilon=0.1)({"logits": LOGITS}, GOLD[:, None])
    assert smooth.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_a_step_of_several_batches_has_the_loss_of_one():
    loss = label_loss([1.0, 0.5, 2.0], smoothing=0.0)
    parts = [
        loss({"logits": LOGITS[part]}, GOLD[part], num_items_in_batch=count).item()
        for part, count in ((slice(0, 3), 3), (slice(0, 2), 3), (slice(2, 3), 3))
    ]
    assert parts[0] == pytest.approx(parts[1] + parts[2])


def test_balanced_weights_average_one_over_the_rows():
    labels = ["joy"] * 6 + ["fear"] * 3 + ["anger"]
    weights = balanced_weights([Row("text", label, 1) for label in labels], EMOTION)
    # sadness, joy, love, anger, fear, surprise: ten rows / (three labels x rows of the label)
    assert weights == pytest.approx([1, 10 / 18, 1, 10 / 3, 10 / 9, 1])


@pytest.mark.parametrize("option", ["class_weights=balanced", "label_smoothing_factor=0.2"])
def test_an_option_of_the_loss_reaches_the_training(option, gpt2_base, tmp_path, capsys):
    file = write_rows(tmp_path / "rows.jsonl", 20, labels=EMOTION.labels[:3])
    words = [f"model_name_or_path={gpt2_base}", f"train={file}", *QUICK]
    train(*words, f"output_dir={tmp_path / 'plain'}")
    train(*words, f"output_dir={tmp_path / 'other'}", option)
    plain, other = (weights(tmp_path / name)["score.weight"] for name in ("plain", "other"))
    assert not torch.allclose(plain, other, atol=1e-4)
    # A head of the same task is trained further.
    more = [f"model_name_or_path={tmp_path / 'plain'}", f"output_dir={tmp_path / 'more'}"]
    train(*words, *more, "learning_rate=0.0")
    assert torch.equal(weights(tmp_path / "more")["score.weight"], plain)
    assert "no row to train is labelled anger, fear, surprise" in capsys.readouterr().err


def test_a_validation_split_is_drawn_and_the_best_checkpoint_is_kept(call, tmp_path):
    train(
        *call,
        *("validation_size=12", "num_train_epochs=4", "learning_rate=0.003"),
        *("per_device_train_batch_size=6", "eval_strategy=epoch", "save_strategy=epoch"),
        *("load_best_model_at_end=true", "metric_for_best_model=f1_macro"),
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
        *(f"validation={rows_file}", "num_train_epochs=9", "learning_rate=0.0"),
        *("eval_strategy=epoch", "save_strategy=epoch", "load_best_model_at_end=true"),
        *("metric_for_best_model=accuracy", "early_stopping_patience=2"),
    )
    assert sum("eval_accuracy" in entry for entry in history(tmp_path / "out")) == 3


def test_a_model_inside_a_package_and_data_sets_by_name(gpt2_base, tmp_path, monkeypatch):
    shutil.copytree(gpt2_base, tmp_path / "carrier" / "model")
    (tmp_path / "carrier" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    write_rows(tmp_path / "plain.jsonl", 9)
    texts = [f"text {number}" for number in range(7)]
    alpaca = [{"instruction": "Which?", "input": text, "output": "joy"} for text in texts]
    (tmp_path / "alpaca.json").write_text(json.dumps(alpaca))
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    named = {"prompt": "text", "response": "label"}
    entries = {
        "plain": {"file_name": "plain.jsonl", "formatting": "emotion", "columns": named},
        "alpaca": {"file_name": "alpaca.json", "columns": columns},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
    train(
        *("model_name_or_path=package:carrier/model", f"dataset_dir={tmp_path}"),
        *("train=plain,alpaca", "test=alpaca", f"output_dir={tmp_path / 'out'}", *QUICK),
    )
    written = read_lines(tmp_path / "out" / "test_predictions.jsonl")
    assert [row["prompt"] for row in written] == texts


def test_predictions_are_in_the_order_of_the_test_file_and_evaluate_reads_them(
    call, tmp_path, capsys
):
    test = write_rows(tmp_path / "test.jsonl", 13)
    more = ["train_sampling_strategy=group_by_length", "per_device_eval_batch_size=4"]
    train(*call, *QUICK, *more, f"test={test}")

    path = tmp_path / "out" / "test_predictions.jsonl"
    written = read_lines(path)
    assert [row["id"] for row in written] == list(range(13))
    assert [{"text": row["prompt"], "label": row["label"]} for row in written] == read_lines(test)
    sidecar = json.loads(path.with_name(f"{path.name}.meta.json").read_text())
    assert (sidecar["rows"], sidecar["task"], sidecar["seed"]) == (13, EMOTION.as_mapping(), 42)
    assert sidecar["trained_parameters"] == sidecar["model_parameters"]
    capsys.readouterr()
    assert evaluate([str(path)]) == 0
    right = sum(row["predict"] == row["label"] for row in written)
    assert f"{right / 13:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "error", "said"),
    [
        ("train", torch.OutOfMemoryError("CUDA"), "halve per_device_train_batch_size"),
        ("predict", torch.OutOfMemoryError("CUDA"), "halve per_device_eval_batch_size"),
        ("train", OSError(28, "No space left on device"), "No space left on device"),
        ("init_hf_repo", ConnectionError("no network"), "remove push_to_hub, or log in"),
    ],
)
def test_what_stops_a_training_is_one_sentence(
    method, error, said, call, rows_file, capsys, monkeypatch
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Trainer, method, fail)
    push = ["push_to_hub=true"] if method == "init_hf_repo" else []
    assert said in refused(capsys, *call, *QUICK, f"test={rows_file}", *push)


def test_the_model_itself_is_pushed(call, tmp_path, monkeypatch):
    out, pushed = tmp_path / "out", set()
    monkeypatch.setattr(Trainer, "init_hf_repo", lambda *_, **__: None)
    monkeypatch.setattr(Trainer, "push_to_hub", lambda *_, **__: pushed.update(out.iterdir()))
    train(*call, *QUICK, "finetuning_type=lora", "push_to_hub=true")
    assert {out / "adapter_model.safetensors", out / "config.json"} <= pushed
    assert out / ".training" not in pushed


def test_two_processes_train_the_model_of_one(rows_file, tmp_path):
    base = write_base(tmp_path / "llama", "llama")  # without dropout, which falls as it will
    words = [
        *(f"model_name_or_path={base}", f"train={rows_file}", f"test={rows_file}", *QUICK),
        # Whatever their order, the same eight rows are in every step.
        *("max_samples=8", "lr_scheduler_type=constant", "use_cpu=true"),
    ]
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "config.json").touch()  # of an earlier run, which is replaced
    done = run_program(
        *("python", "-m", "torch.distributed.run", "--nproc_per_node=2"),
        *(f"--master_port={free_port()}", "-m", "llamafactory_emotion.train_head", *words),
        *("output_dir=two", "per_device_train_batch_size=4", "overwrite=true"),
        cwd=tmp_path, OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.stderr.count("parameters trained in 3 steps") == 1
    assert json.loads((tmp_path / "two" / "train_head.json").read_text())["world_size"] == 2
    train(*words[:-1], f"output_dir={tmp_path / 'one'}")

    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-5, rtol=1e-4)
    predicted = [read_lines(tmp_path / name / "test_predictions.jsonl") for name in ("one", "two")]
    assert [row["prompt"] for row in predicted[1]] == [row["prompt"] for row in predicted[0]]
