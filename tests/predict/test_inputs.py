"""Rows from files and from data sets as LLaMA-Factory would ask them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.options import read_options
from llamafactory_emotion.predict.inputs import draw_examples, open_dataset, open_inputs
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.task import EMOTION, Task

ROWS = [("so glad", "joy"), ("go away", "anger"), ("who is there", "fear")]


def contents(inputs):
    return [tuple(row) for row in inputs.rows]


def asked(instruction=EMOTION.instruction):
    return [(f"{instruction}\n{text}", label) for text, label in ROWS]


def write_info(folder, **entries):
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def opened(*words):
    options = read_options(["model_name_or_path=m", "output=o", *words], PredictOptions)[0]
    return open_inputs(options, EMOTION)


def test_a_file_is_read_as_the_data_layer_reads_it(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("words,mood\nso glad,1\ngo away,anger\nwho is there,4\n")
    words = (f"input={path}", "text_column=words", "label_column=mood")
    assert contents(opened(*words)) == asked()
    assert contents(opened(*words, "max_samples=2")) == asked()[:2]


def test_the_formatting_emotion_of_a_file(tmp_path):
    write_lines(tmp_path / "rows.jsonl", [{"words": t, "mood": label} for t, label in ROWS])
    columns = {"prompt": "words", "response": "mood"}
    write_info(
        tmp_path, mine={"file_name": "rows.jsonl", "formatting": "emotion", "columns": columns}
    )
    assert contents(open_dataset("mine", str(tmp_path), EMOTION)) == asked()


def test_an_alpaca_files_instruction_becomes_the_tasks(tmp_path):
    rows = [{"instruction": "What is felt?", "input": t, "output": label} for t, label in ROWS]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    write_info(tmp_path, mine={"file_name": "rows.json"})
    inputs = open_dataset("mine", str(tmp_path), EMOTION)
    assert inputs.task.instruction == "What is felt?"
    assert inputs.task.labels == EMOTION.labels
    assert contents(inputs) == asked("What is felt?")


def test_an_alpaca_row_may_lack_its_input_where_others_have_one(tmp_path):
    rows = [{"instruction": "Is it sad?"}, {"instruction": "What is felt?", "input": "so glad"}]
    write_lines(tmp_path / "rows.jsonl", rows)
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    write_info(tmp_path, mine={"file_name": "rows.jsonl", "columns": columns})
    inputs = open_dataset("mine", str(tmp_path), EMOTION)
    assert contents(inputs) == [("Is it sad?", None), ("What is felt?\nso glad", None)]


def test_an_alpaca_file_without_inputs_or_labels(tmp_path):
    write_lines(tmp_path / "rows.jsonl", [{"q": "Is it sad?"}, {"q": "And now?", "output": "so"}])
    write_info(tmp_path, mine={"file_name": "rows.jsonl", "columns": {"prompt": "q"}})
    inputs = open_dataset("mine", str(tmp_path), EMOTION)
    assert inputs.task == EMOTION
    assert contents(inputs) == [("Is it sad?", None), ("And now?", None)]


def test_several_data_sets_follow_one_another(tmp_path):
    write_lines(tmp_path / "a.jsonl", [{"text": "one", "label": 1}])
    write_lines(tmp_path / "b.jsonl", [{"text": "two", "label": 2}])
    columns = {"prompt": "text", "response": "label"}
    write_info(
        tmp_path,
        a={"file_name": "a.jsonl", "formatting": "emotion", "columns": columns},
        b={"file_name": "b.jsonl", "formatting": "emotion", "columns": columns},
    )
    found = contents(open_dataset("a, b", str(tmp_path), EMOTION))
    assert [label for _, label in found] == ["joy", "love"]


def test_a_data_set_of_the_hub(tmp_path):
    hub = tmp_path / "hub"
    (hub / "data").mkdir(parents=True)
    table = pa.table({"text": [text for text, _ in ROWS], "label": [1, 3, 4]})
    pq.write_table(table, hub / "data" / "test-00000-of-00001.parquet")
    columns = {"prompt": "text", "response": "label"}
    entry = {
        "hf_hub_url": str(hub),
        "formatting": "emotion",
        "split": "test",
        "columns": columns,
    }
    write_info(tmp_path, mine=entry, other=entry | {"split": "nothing"})
    cache = str(tmp_path / "cache")
    assert contents(open_dataset("mine", str(tmp_path), EMOTION, cache_dir=cache)) == asked()
    with pytest.raises(DataError, match=r"split nothing\) cannot be loaded"):
        contents(open_dataset("other", str(tmp_path), EMOTION, cache_dir=cache))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file_name": "rows.jsonl", "formatting": "sharegpt"}, "formatting 'sharegpt'"),
        ({"file_name": "rows.jsonl", "num_samples": 3}, "num_samples"),
        ({"script_url": "x"}, "neither file_name nor hf_hub_url"),
        ({"file_name": "."}, "is a folder of files"),
        ({"file_name": "missing.jsonl"}, "is not there"),
    ],
)
def test_entries_that_are_not_read_are_refused(tmp_path, entry, message):
    write_info(tmp_path, mine=entry)
    with pytest.raises(CallError, match=message):
        contents(open_dataset("mine", str(tmp_path), EMOTION))


def test_an_undefined_data_set_is_told_with_those_there_are(tmp_path):
    write_info(tmp_path, mine={})
    with pytest.raises(CallError, match=r"'yours' is no data set of .*dataset_info\.json \(mine\)"):
        open_dataset("yours", str(tmp_path), EMOTION)


@pytest.mark.parametrize("line", ['{"text": "x"', '{"instruction": ""}', '{"instruction": 3}'])
def test_a_wrong_row_is_told(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    write_info(tmp_path, mine={"file_name": "rows.jsonl"})
    with pytest.raises(DataError, match=r"1"):
        contents(open_dataset("mine", str(tmp_path), EMOTION))


@pytest.mark.parametrize("key", ["input", "eval_dataset"])
def test_nothing_to_predict_is_told(tmp_path, key):
    (tmp_path / "rows.jsonl").write_text("")
    write_info(tmp_path, mine={"file_name": "rows.jsonl"})
    value = tmp_path / "rows.jsonl" if key == "input" else "mine"
    with pytest.raises(DataError, match="holds no"):
        opened(f"{key}={value}", f"dataset_dir={tmp_path}")


def test_examples_are_balanced_and_always_the_same(tmp_path):
    task = Task("two", ("joy", "fear"), "Which?")
    path = tmp_path / "rows.jsonl"
    write_lines(
        path, [{"text": f"text {n}", "label": "joy" if n % 5 else "fear"} for n in range(50)]
    )
    drawn = draw_examples(str(path), task, 3, seed=1)
    assert sorted(label for _, label in drawn) == ["fear"] * 3 + ["joy"] * 3
    assert len(set(drawn)) == 6
    assert all((int(text.split()[1]) % 5 == 0) == (label == "fear") for text, label in drawn)
    assert drawn == draw_examples(str(path), task, 3, seed=1)
    assert drawn != draw_examples(str(path), task, 3, seed=2)
    with pytest.raises(DataError, match="fewer than 11 examples of fear 10"):
        draw_examples(str(path), task, 11, seed=1)
