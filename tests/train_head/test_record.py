"""Runs are kept apart: what a run may write over, and from where a stopped one goes on."""

import json
import resource
import shutil
from pathlib import Path

import pytest
import torch
from head_models import refused, train, weights, write_base
from safetensors.torch import load_file

from llamafactory_emotion.train_head.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
CHECKPOINTS = ["per_device_train_batch_size=8", "learning_rate=0.01", "save_strategy=steps"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stopped_run_goes_on_to_the_same_weights(method, call, tmp_path):
    words = [*call, *CHECKPOINTS, f"finetuning_type={method}", "max_steps=4", "save_steps=2"]
    train(*words)
    name = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    whole = load_file(tmp_path / "out" / name)
    # The last checkpoint was cut short: the file that is written last is missing.
    (tmp_path / "out/checkpoint-4/trainer_state.json").unlink()
    (tmp_path / "out" / name).unlink()

    train(*words, "resume_from_checkpoint=true")

    resumed = load_file(tmp_path / "out" / name)
    assert resumed.keys() == whole.keys()
    for key, weight in whole.items():
        torch.testing.assert_close(resumed[key], weight, atol=1e-6, rtol=1e-5)


def test_a_run_of_another_recipe_is_not_resumed(call, gpt2_base, tmp_path, capsys):
    base = tmp_path / "base"
    shutil.copytree(gpt2_base, base)
    words = [f"model_name_or_path={base}", *call[1:], *CHECKPOINTS, "max_steps=1", "save_steps=1"]
    train(*words)
    before = contents(tmp_path / "out")
    for change, said in (
        ("learning_rate=0.5", "learning_rate was 0.01 and is 0.5"),
        ("max_samples=40", "train_rows was"),
        ("freeze_blocks=1", "freeze_blocks was 0 and is 1"),
    ):
        message = refused(capsys, *words, change, "resume_from_checkpoint=true")
        assert "was begun with other settings" in message
        assert said in message
    write_base(base, "gpt2", seed=7)
    assert "model_fingerprint was" in refused(capsys, *words, "resume_from_checkpoint=true")
    (tmp_path / "out" / "train_head.json").write_text("[")
    message = refused(capsys, *words, "resume_from_checkpoint=true")
    assert "what the run was begun with is not known" in message
    (tmp_path / "out" / "train_head.json").write_text("{}")
    message = refused(capsys, *words, "resume_from_checkpoint=true")
    assert "train_rows was None" in message
    (tmp_path / "out" / "train_head.json").unlink()
    left = contents(tmp_path / "out")
    assert left.items() <= before.items()
    assert len(left) == len(before) - 1


def test_a_damaged_checkpoint_is_told_by_its_name(call, tmp_path, capsys):
    words = [*call, *CHECKPOINTS, "max_steps=2", "save_steps=1"]
    train(*words)
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
        damaged = tmp_path / "out" / "checkpoint-2" / name
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[: len(whole) // 2])
        said = refused(capsys, *words, "resume_from_checkpoint=true")
        assert f"{damaged.parent} cannot be read (" in said
        assert "remove it to go on from the one before" in said
        damaged.write_bytes(whole)


def test_a_folder_with_files_is_left_alone(call, tmp_path, capsys):
    train(*call, *CHECKPOINTS, "max_steps=1", "save_steps=1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("kept")
    elsewhere = f"resume_from_checkpoint={tmp_path / 'out/checkpoint-1'}"
    for more in ([], [elsewhere]):
        message = refused(capsys, *call[:2], f"output_dir={tmp_path / 'other'}", *more)
        assert "holds files; name another folder" in message
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]
    below = f"output_dir={tmp_path / 'other/mine.txt/out'}"
    assert "is a file and cannot hold" in refused(capsys, *call[:2], below)
    assert "is a file; name" in refused(capsys, *call[:2], below.removesuffix("/out"))


@pytest.mark.parametrize(
    "key", ["model_name_or_path", "train", "validation", "test", "dataset", "task", "recipe"]
)
def test_what_the_call_reads_is_not_written_over(key, call, tmp_path, capsys):
    out, link = tmp_path / "out", tmp_path / "link.yaml"
    out.mkdir()
    if key == "model_name_or_path":
        (out / "read.yaml").mkdir()
    else:
        (out / "read.yaml").write_text("lora_rank: 8")
    link.symlink_to(out / "read.yaml")
    words = [str(link)] if key == "recipe" else [f"{key}={link}"]
    if key == "dataset":
        info = {"mine": {"file_name": str(link)}}
        (tmp_path / "dataset_info.json").write_text(json.dumps(info))
        words = ["test=mine", f"dataset_dir={tmp_path}"]
    before = contents(tmp_path)

    message = refused(capsys, *call, *words, "overwrite=true")

    assert f"{out} is an input and would be overwritten" in message
    assert contents(tmp_path) == before


def test_a_run_that_is_done_replaces_the_earlier_one(call, tmp_path):
    out = tmp_path / "out"
    test = call[1].replace("train=", "test=")
    train(*call, *CHECKPOINTS, "max_steps=2", "save_steps=1", "finetuning_type=lora", test)
    (out / "mine.txt").write_text("kept")
    train(*call, *CHECKPOINTS, "max_steps=3", "save_steps=3", "overwrite=true")
    left = {path.name for path in out.iterdir()}
    assert not {name for name in left if name.startswith(("test_pred", "adapter", "."))}
    assert {"model.safetensors", "config.json", "checkpoint-3", "mine.txt"} <= left
    assert not {"checkpoint-1", "checkpoint-2"} & left
    assert json.loads((out / "train_head.json").read_text())["finetuning_type"] == "full"


@pytest.mark.parametrize("why", ["the weights are not finite", "the disk is full"])
def test_a_run_that_fails_late_leaves_the_earlier_one(why, call, tmp_path, capsys):
    out = tmp_path / "out"
    words = [*call, *CHECKPOINTS, "save_steps=1", "overwrite=true"]
    train(*words, "max_steps=2", call[1].replace("train=", "test="))
    before = contents(out)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    words, said = [*words, "max_steps=6"], f"{out} cannot be written ("
    if why.startswith("the weights"):
        words += ["learning_rate=1e38", "max_grad_norm=0", "optim=sgd", "save_strategy=no"]
        said = "no finite numbers any more, so the model is not saved"
    else:
        saved = (out / "model.safetensors").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (saved + 9_000, usual[1]))
    try:
        assert said in refused(capsys, *words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert contents(out) == before


def test_a_replacing_run_that_was_stopped_goes_on(call, tmp_path, monkeypatch):
    out = tmp_path / "out"
    words = [*call, *CHECKPOINTS, "max_steps=3", "save_steps=1"]
    train(*words, "seed=7")
    earlier = weights(out)["score.weight"]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("transformers.Trainer.save_state", stop)
        assert main([*words, "use_cpu=true", "overwrite=true"]) == 130
    assert torch.equal(weights(out)["score.weight"], earlier)
    shutil.rmtree(out / ".training" / "checkpoint-3")

    train(*words, "resume_from_checkpoint=true")

    assert json.loads((out / "train_head.json").read_text())["seed"] == 42
    assert not torch.equal(weights(out)["score.weight"], earlier)
    assert not (out / ".training").exists()
