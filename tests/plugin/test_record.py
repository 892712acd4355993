"""The record of a run, written by the plug-in; whole runs leave one in tests/e2e."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from llamafactory.data.parser import get_dataset_list

from llamafactory_emotion.plugin.record import RecordOfTheRun, offer_record
from llamafactory_emotion.run_record import RECORD_NAME, RunRecord, read_record, write_record
from llamafactory_emotion.task import EMOTION, Task

DESKS = Task("desks", ("billing", "login"), "Which?")
PREDICTS = SimpleNamespace(output_dir="out", do_train=False)


@pytest.fixture
def record(tmp_path, monkeypatch) -> RecordOfTheRun:
    """The callback of a run on two data sets, the task of the second one gone."""
    monkeypatch.chdir(tmp_path)
    entries = {
        "feelings": {"file_name": "a.jsonl", "formatting": "emotion"},
        "moved": {"file_name": "b.jsonl", "emotion_task": "moved_task.yaml"},
        "plain": {"file_name": "c.jsonl"},
    }
    Path("dataset_info.json").write_text(json.dumps(entries))
    names = {"dataset": ["feelings", "moved", "plain"], "eval_dataset": ["plain"]}
    data = SimpleNamespace(dataset_dir=".", template="emotion", **names)
    model = SimpleNamespace(adapter_name_or_path=["adapter"], model_name_or_path="base")
    write_record("adapter", RunRecord((DESKS,), "emotion"))
    return RecordOfTheRun([SimpleNamespace(), SimpleNamespace(data_args=data, model_args=model)])


def state(*, first: bool = True) -> SimpleNamespace:
    return SimpleNamespace(is_world_process_zero=first, global_step=7)


def test_the_first_process_writes_what_is_known_and_tells_what_is_not(record, warnings):
    trains = SimpleNamespace(output_dir="out", do_train=True)
    record.on_train_end(trains, state(first=False), None)
    assert not Path("out").exists()
    record.on_save(trains, state(), None)
    assert read_record("out/checkpoint-7").tasks == (EMOTION,)
    assert read_record("out/checkpoint-7").datasets == ("feelings", "moved", "plain")
    assert record.only_task() == EMOTION
    (told,) = warnings
    assert "lacks a task" in told
    assert "moved_task.yaml" in told


def test_a_prediction_of_data_of_no_known_task_is_of_the_models(record):
    record.on_predict(PREDICTS, state(), None)
    assert read_record("out").tasks == (DESKS,)
    Path("adapter", RECORD_NAME).unlink()
    record.on_predict(SimpleNamespace(output_dir="adapter", do_train=False), state(), None)
    assert read_record("adapter") is None, "that of a model is written by its training alone"


def test_whatever_fails_is_a_warning(record, warnings):
    RecordOfTheRun(()).on_predict(PREDICTS, state(), None)
    Path("out").write_text("a file")
    record.on_predict(PREDICTS, state(), None)
    assert len(warnings) == 2
    assert all("no record of the run" in told for told in warnings)


def test_an_export_writes_the_record_of_what_it_merges(record, monkeypatch, warnings):
    model = SimpleNamespace(save_pretrained=lambda folder, **_: Path(folder).mkdir())
    tuner = SimpleNamespace(load_model=lambda *_: model)
    monkeypatch.setitem(sys.modules, "llamafactory.train.tuner", tuner)
    offer_record()
    once = tuner.load_model
    offer_record()
    assert tuner.load_model is once
    asked = SimpleNamespace(adapter_name_or_path=["adapter"], model_name_or_path="base")
    tuner.load_model(None, asked, None).save_pretrained(save_directory="merged")
    assert read_record("merged").tasks == (DESKS,)
    assert warnings == []


def test_llamafactory_passes_over_our_key_of_an_entry(record):
    assert [one.dataset_name for one in get_dataset_list(["moved"], ".")] == ["b.jsonl"]
