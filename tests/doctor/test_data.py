"""Data sets that are not there, not sound, too long or of another task."""

import json

import pytest
from doctor_calls import is_told, sentences, serious

from llamafactory_emotion.doctor import __main__ as doctor
from llamafactory_emotion.doctor import loading

pytestmark = pytest.mark.filterwarnings("ignore")

BROKEN = [
    ({"dataset_dir": "nowhere"}, "dataset-dir", "it is not there", "init"),
    ({"dataset": "soudn"}, "dataset", "no data set 'soudn'", "write sound"),
    ({"dataset": ["sound", "soudn"]}, "dataset", "no data set 'soudn'", "write sound"),
    ({"dataset": "sound,,alpaca"}, "dataset", "comma", "remove"),
    ({"dataset": "misspelt"}, "entry", "a key 'formating'", "write formatting"),
    ({"dataset": "miscolumned"}, "entry", "a key 'promt'", "write prompt"),
    ({"dataset": "split"}, "entry", "names the split 'validation'", "remove split"),
    ({"stage": "dpo"}, "stage", "compares two answers", "stage: sft"),
    ({"stage": "pt"}, "stage", "does not learn to answer", "stage: sft"),
    ({"dataset": "gone"}, "rows", "gone.jsonl is not there", "mend"),
    ({"dataset": "strange"}, "rows", "boredom", "mend"),
    ({"dataset": "empty"}, "rows", "no rows", "another"),
    ({"dataset": "formless"}, "rows", "'no_such_formatting' is not known; write alpaca", "mend"),
    ({"dataset": "listed"}, "rows", "must be an object of names", "mend"),
    ({"dataset": "nowhere"}, "rows", "names no file_name and no hub", "mend"),
    ({"dataset": "textless"}, "rows", "the column 'text' is missing", "mend"),
    ({"dataset": "alpaca_ids"}, "rows", "no rows with a prompt and an answer", "mend"),
    ({"dataset": "reordered"}, "label-ids", "ids 0 anger, 1 fear, 2 joy", "register its file"),
    ({"dataset": "hub_reordered"}, "label-ids", "train other labels", "save it as Parquet"),
    ({"eval_dataset": "leaking"}, "audit", "1 of them with another label", "--drop leaks"),
    ({"dataset": "long"}, "cutoff", "1 of 1 rows", "raise cutoff_len"),
]


@pytest.mark.parametrize(("changes", "check", "said", "remedy"), BROKEN, ids=str)
def test_broken_data_is_told_with_its_remedy(look, changes, check, said, remedy):
    found = look(**changes)["recipe"]

    assert is_told(found, check, said, remedy), found


@pytest.mark.parametrize("name", ["ordered", "hub_ordered"])
def test_ids_in_the_order_of_the_task_are_no_fault(look, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    assert serious(look(dataset=name)["recipe"]) == []


def test_a_hub_that_is_not_to_be_asked_is_told(look, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert is_told(look(dataset="hub")["recipe"], "rows", "HF_HUB_OFFLINE=1", "unset")


def test_conflicting_labels_are_noted(look):
    assert "1 training texts stand there with two labels" in sentences(
        look(dataset="conflicting")["recipe"]
    )


def test_all_rows_make_the_steps_where_only_the_first_are_looked_at(look, monkeypatch):
    monkeypatch.setattr(loading, "ROWS_READ", 30)
    found = look(num_train_epochs=6, save_steps=59)["recipe"]

    assert serious(found) == []
    said = sentences(found)
    assert "60 optimizer steps, 0 of them warm-up: 6 epochs of 40 rows, effective batch 4" in said
    assert "'sound' has 40 rows; the first 30 rows are looked at" in said
    assert "'sound': the first 30 rows, " in said
    assert "labels of the first 30 rows is one token" in said


def test_what_is_found_in_the_first_rows_says_so(look, monkeypatch):
    monkeypatch.setattr(loading, "ROWS_READ", 1)
    leaking = sentences(look(eval_dataset="leaking", cutoff_len=8)["recipe"])
    monkeypatch.setattr(loading, "ROWS_READ", 2)
    conflicting = sentences(look(dataset="conflicting,sound")["recipe"])

    assert "(in texts of the first 1 rows)" in leaking
    assert "1 of the first 1 rows of 'sound' are cut" in leaking
    assert "1 training texts of the first 2 rows stand there with two labels" in conflicting


def test_data_of_another_task_is_told_with_every_label_and_its_rows(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "task.yaml").write_text(
        "name: words\ninstruction: Which word?\nlabels: [quince, medlar]\n", encoding="utf-8"
    )
    call = ["dataset=sound,alpaca", "do_train=true", "output_dir=saves/new", "--json"]

    assert doctor.main([*call, "task=task.yaml"]) == 1

    found = json.loads(capsys.readouterr().out)["recipe"]
    told = [one["sentence"] for one in found if one["check"] == "task"]
    assert "'anger' (20), 'love' (20)" in told[0]
    assert "1 of 2 rows of 'alpaca' have an answer that is no label" in told[1]
    assert "'zygote' (1)" in told[1]
    assert sum("another instruction" in one for one in told) == 2


def test_an_answer_that_is_too_short_for_a_label_is_told(look):
    predict = {"predict_with_generate": True, "eval_dataset": "alpaca", "max_new_tokens": 8}

    assert serious(look(**predict)["recipe"], "answer-length") == []
    (told,) = serious(look(**predict | {"max_new_tokens": 3})["recipe"], "answer-length")
    assert "the label 'zygote' and its end are" in told.sentence
