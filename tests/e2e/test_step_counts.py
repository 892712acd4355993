"""The optimizer steps that `doctor` names are those that a run of LLaMA-Factory does."""

import json
from pathlib import Path

import pytest
from doctor_calls import judge
from programs import ROOT, llamafactory
from ticket_rows import ticket_rows, write_tickets
from tiny_llama import write_tiny_llama

pytestmark = pytest.mark.filterwarnings("ignore")

USUAL = (
    *("dataset=tickets", "flash_attn=sdpa", "bf16=false", "fp16=false", "logging_steps=1"),
    *('save_strategy="no"', 'eval_strategy="no"', "load_best_model_at_end=false", "lora_rank=2"),
)
RUNS = {
    "few rows, packed as shipped": ("emotion_lora_packed", "eval_dataset=more"),
    "rows": ("emotion_lora", "max_samples=50", "num_train_epochs=2.5"),
    "whole batches of rows": (
        *("emotion_lora", "dataset=tickets,more", "dataloader_drop_last=true", "val_size=0.3"),
        *("per_device_train_batch_size=3", "num_train_epochs=1", "warmup_ratio=0.3"),
    ),
    "packs of rows drawn for training": (
        *("emotion_lora_packed", "eval_dataset=null", "val_size=0.3", "cutoff_len=96"),
        *("dataset=tickets,more", "max_samples=40", "preprocessing_batch_size=9"),
        *("preprocessing_num_workers=2", "gradient_accumulation_steps=2", "num_train_epochs=1.5"),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    write_tiny_llama([row["input"] for row in ticket_rows()], folder / "base")
    write_tickets(folder / "data", tickets=93, more=45)
    return folder


@pytest.mark.parametrize("call", RUNS.values(), ids=RUNS)
def test_a_run_does_as_many_steps_as_doctor_says(call, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, *words = call
    path = ROOT / "examples" / f"{recipe}.yaml"
    placed = (f"model_name_or_path={folder / 'base'}", f"dataset_dir={folder / 'data'}")
    words = [*placed, *USUAL, *words, "output_dir=out"]

    found = judge(path, *words)["recipe"]
    llamafactory("train", path, *words, cwd=tmp_path)

    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    rates = [one["learning_rate"] for one in state["log_history"] if "learning_rate" in one]
    said = next(one.sentence for one in found if "of them warm-up" in one.sentence)
    warm_up = rates.index(max(rates))
    assert said.startswith(f"{state['global_step']} optimizer steps, {warm_up} of them warm-up: ")
