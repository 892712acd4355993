"""The task of a recipe's data, its labels, and what the tokenizer makes of them."""

import pytest
from doctor_calls import PREDICT, is_told, sentences, serious

from llamafactory_emotion.run_record import RECORD_NAME, RunRecord, write_record
from llamafactory_emotion.task import EMOTION, Task

pytestmark = pytest.mark.filterwarnings("ignore")

WORDS, FRUIT = (Task("words", ("zygote", one), "Which word?") for one in ("quince", "plum"))
ALPACA, SOUND = {"dataset": "alpaca"}, {"dataset": "sound"}
EXPORT = dict.fromkeys(("do_train", "stage", "dataset", "output_dir")) | {"export_dir": "merged"}
TOLD = [
    ([], ALPACA, ""),
    ([], SOUND, "note: 'sound' is of the task 'emotion', as dataset_info.json says: "),
    ([WORDS], ALPACA, "note: 'alpaca' is of the task 'words', from {record}: "),
    ([WORDS], SOUND, "note: 'sound' is of the task 'emotion', as dataset_info.json says: "),
    ([WORDS], SOUND, "warning: dataset_info.json says that 'sound' is of the task 'emotion', and "
     "the model was trained for another: 'words' (from {record}): name a data set of the model's"),
    ([WORDS], PREDICT, "error: 40 of 40 rows of 'sound' have an answer that is no label of the "
     "task 'words': 'anger' (20), 'love' (20): mend them"),
    ([WORDS, EMOTION], SOUND, "note: 'sound' is of the task 'emotion', as dataset_info.json says"),
    ([WORDS, EMOTION], ALPACA, "note: the model was trained for 'words', 'emotion', and "
     "dataset_info.json does not say of which task 'alpaca' is: add task=NAME"),
    ([WORDS], EXPORT, "note: the task is 'words', from {record}: "),
    ([WORDS], ALPACA | {"labels": "zygote, plum"}, "warning: the call's task 'labels' is used, and "
     "the model was trained for another: 'words' (from {record})"),
    ([], ALPACA | {"labels": "zygote, plum"}, "error: 1 of 2 rows of 'alpaca' have an answer that "
     "is no label of the task 'labels': 'quince' (1): mend them"),
    ([WORDS, EMOTION], ALPACA | {"task": "words"}, "note: 'alpaca' is of the task 'words', named"),
    ([], ALPACA | {"task": WORDS}, "warning: 2 of 2 rows of 'alpaca' are asked with another ins"),
]  # fmt: skip


@pytest.mark.parametrize(("trained", "changes", "said"), TOLD, ids=str)
def test_the_task_is_found_as_other_commands_find_it(look, tmp_path, trained, changes, said):
    adapter = str(tmp_path / "checkpoint-3")
    if trained:
        write_record(tmp_path, RunRecord(tuple(trained), "emotion"))

    found = look(**{"adapter_name_or_path": adapter, **changes})["recipe"]

    told = [f"{one.level}: {one.sentence}: {one.remedy}" for one in found if one.check == "task"]
    said = said.format(record=tmp_path / RECORD_NAME)
    assert any(one.startswith(said) for one in told) or told == [] == [*said], told


def test_the_adapters_task_comes_before_the_models(look, tmp_path):
    write_record(tmp_path / "adapter", RunRecord((WORDS,), "emotion"))
    write_record(tmp_path / "model", RunRecord((FRUIT,), "emotion"))
    changes = {"model_name_or_path": str(tmp_path / "model"), **ALPACA}

    assert is_told(look(**changes)["recipe"], "task", "no label of the task 'words': 'quince' (1)")
    changes["adapter_name_or_path"] = str(tmp_path / "adapter")
    assert "no label" not in sentences(look(**changes)["recipe"])


@pytest.mark.parametrize(
    ("content", "said"), [("{}", "no key 'format'"), ('{"format": 2}', "a later version of")]
)
def test_a_record_that_cannot_be_read_is_told(look, tmp_path, content, said):
    (tmp_path / RECORD_NAME).write_text(content)

    found = look(adapter_name_or_path=str(tmp_path))["recipe"]

    assert is_told(found, "task", said, "mend it, or remove it and give task=")


LONG = ("quince of fear", "zygote or joy")
SHORT = dict(zip(LONG, ("fear", "joy"), strict=True))
TOKENS = [
    (None, "labels", "2 of 2 labels are several tokens", "nothing must be done"),
    (Task("t", LONG, "?"), "labels", "2 of 2 labels are several tokens",
     "words: {quince of fear: fear, zygote or joy: joy}"),
    (Task("t", LONG, "?", words=SHORT), "labels", "each of the 2 labels is one token", ""),
    # The rows answer `zygote`, which is a label here and not its word.
    (Task("t", WORDS.labels, "?", words={"zygote": "joy"}), "task", "1 of 2 rows of 'alpaca' "
     "answer with a label for which the task 't' has a word", "write them again"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "check", "said", "remedy"), TOKENS, ids=str)
def test_labels_of_several_tokens_get_words_of_one(look, task, check, said, remedy):
    found = look(dataset="alpaca", task=task)["recipe"]

    told = [one for one in found if one.check == check and said in one.sentence]
    assert remedy in told[0].remedy


@pytest.mark.parametrize(
    ("dataset", "said", "remedy"),
    [
        ("ordered", "", ""),
        ("hub_ordered", "", ""),
        ("reordered", "ids 0 anger, 1 fear, 2 joy", "register its file"),
        ("hub_reordered", "train other labels", "save it as Parquet"),
    ],
)
def test_ids_in_another_order_than_the_tasks_are_told(look, monkeypatch, dataset, said, remedy):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    found = look(dataset=dataset)["recipe"]

    assert is_told(found, "label-ids", said, remedy) if said else serious(found) == []


def test_an_answer_that_is_too_short_for_a_label_is_told(look):
    predict = {"predict_with_generate": True, "eval_dataset": "alpaca", "max_new_tokens": 8}

    assert serious(look(**predict)["recipe"], "answer-length") == []
    (told,) = serious(look(**predict | {"max_new_tokens": 3})["recipe"], "answer-length")
    assert "the label 'zygote' and its end are" in told.sentence
