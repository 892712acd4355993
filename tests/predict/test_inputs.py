"""Rows from files and from data sets as LLaMA-Factory would ask them."""

import json
from dataclasses import replace

import pytest
from calls import write_lines

from llamafactory_emotion.data.reading import is_no_label
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.options import read_options
from llamafactory_emotion.predict.inputs import draw_examples, open_dataset, open_inputs
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.task import EMOTION, Task

ROWS = [("so glad", "joy"), ("go away", "anger"), ("who is there", "fear")]


def contents(inputs):
    return [(row.content, row.label) for row in inputs.rows]


def asked(instruction=EMOTION.instruction):
    return [(f"{instruction}\n{text}", label) for text, label in ROWS]


def write_info(folder, **entries):
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")


def read_call(*words):
    return read_options(["model_name_or_path=m", "output=o", *words], PredictOptions)[0]


def opened(*words):
    return open_inputs(read_call(*words), EMOTION)


def test_the_named_columns_serve_the_examples_too_and_are_told(tmp_path, capsys):
    few, plain = tmp_path / "few.csv", tmp_path / "plain.csv"
    few.write_bytes("id,words,mood\n1,très bien,joy\n2,déjà,fear\n".encode("cp1252"))
    plain.write_bytes("words,when\nça va,now\n".encode("cp1252"))
    words = (f"input={plain}", "text_column=words", "label_column=mood", "encoding=cp1252")
    with pytest.raises(DataError, match=r"plain.csv:2: no column 'mood'; .* with label_column"):
        opened(*words)
    with_examples = (*words, f"few_shot={few}")
    task = Task("two", ("joy", "fear"), "Which?")
    assert sorted(draw_examples(read_call(*with_examples), task)) == [
        ("déjà", "fear"),
        ("très bien", "joy"),
    ]
    assert contents(opened(*with_examples)) == [(EMOTION.user_content("ça va"), None)]
    assert capsys.readouterr().err.splitlines() == [
        f"{few}: texts from words, labels from mood; left: id",
        f"{plain}: texts from words, no labels; left: when",
    ]
    assert contents(opened(f"input={few}", *words[1::2], "label_column=none"))[0][1] is None


MISSING_INPUT = [{"q": "Is it sad?"}, {"q": "What is felt?", "x": "so glad"}]


@pytest.mark.parametrize(
    ("rows", "columns", "instruction", "wanted"),
    [
        (
            [{"instruction": "What is felt?", "input": t, "output": label} for t, label in ROWS],
            None,
            "What is felt?",
            asked("What is felt?"),
        ),
        (
            MISSING_INPUT,
            {"prompt": "q", "query": "x", "response": "output"},
            EMOTION.instruction,
            [("Is it sad?", None), ("What is felt?\nso glad", None)],
        ),
        # The evaluator reads what was trained.
        (
            [{"q": "Is it sad?", "output": "<think>\n\n</think>\n\njoy"}],
            {"prompt": "q", "response": "output"},
            EMOTION.instruction,
            [("Is it sad?", "<think>\n\n</think>\n\njoy")],
        ),
        ([{"q": "x", "output": "joy"}], {"prompt": "q"}, EMOTION.instruction, [("x", None)]),
    ],
)
def test_an_alpaca_row_is_asked_as_the_host_asks_it(tmp_path, rows, columns, instruction, wanted):
    write_lines(tmp_path / "rows.jsonl", rows)
    entry = {"file_name": "rows.jsonl"} | ({"columns": columns} if columns else {})
    write_info(tmp_path, mine=entry)
    inputs = open_dataset("mine", str(tmp_path), EMOTION)
    assert inputs.task == replace(EMOTION, instruction=instruction)
    assert contents(inputs) == wanted


def test_several_data_sets_follow_one_another(tmp_path):
    write_lines(tmp_path / "a.jsonl", [{"text": "one", "label": 1}])
    write_lines(tmp_path / "b.jsonl", [{"text": "two", "label": 2}])
    entry = {"formatting": "emotion", "columns": {"prompt": "text", "response": "label"}}
    write_info(tmp_path, **{name: entry | {"file_name": f"{name}.jsonl"} for name in "ab"})
    found = contents(open_dataset("a, b", str(tmp_path), EMOTION))
    assert [label for _, label in found] == ["joy", "love"]


@pytest.mark.parametrize(
    ("line", "columns", "said"),
    [
        ('{"text": "x"', {}, "rows.jsonl:1"),
        ('{"instruction": "\\ud800"}', {}, "rows.jsonl:1: the text holds half of a surrogate"),
        ('{"instruction": ""}', {}, "rows.jsonl:1: no text in the columns instruction, input"),
        ('{"instruction": 3}', {}, "rows.jsonl:1: no text"),
        ('{"q": "x"}', {"prompt": "other"}, "no column 'other'"),
        ('{"q": "x"}', {"prompt": "q", "query": "other"}, "no row has the column other"),
    ],
)
def test_a_wrong_row_is_told(tmp_path, line, columns, said):
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    write_info(tmp_path, mine={"file_name": "rows.jsonl", "columns": columns})
    with pytest.raises(DataError, match=said):
        contents(open_dataset("mine", str(tmp_path), EMOTION))


def test_gold_labels_outside_the_task_are_told_with_their_rows(tmp_path):
    rows = [{"input": "x", "output": label} for label in ("bug", "joy", "bug", ["joy"])]
    write_lines(tmp_path / "rows.jsonl", rows)
    write_info(tmp_path, mine={"file_name": "rows.jsonl"})
    with pytest.raises(DataError, match=r"'bug' \(2\), \['joy'\] \(1\); task 'emotion' \(the"):
        contents(open_dataset("mine", str(tmp_path), replace(EMOTION, origin="the default")))


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

    def drawn_with(*words):
        return draw_examples(read_call("input=-", f"few_shot={path}", *words), task)

    drawn = drawn_with("shots=3", "seed=1")
    assert sorted(label for _, label in drawn) == ["fear"] * 3 + ["joy"] * 3
    assert len(set(drawn)) == 6
    assert all((int(text.split()[1]) % 5 == 0) == (label == "fear") for text, label in drawn)
    assert drawn == drawn_with("shots=3", "seed=1")
    assert drawn != drawn_with("shots=3", "seed=2")
    with pytest.raises(DataError, match="fewer than 11 examples of fear 10"):
        drawn_with("shots=11")


@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        ({"formatting": "emotion", "columns": {"prompt": "text", "response": "label"}}, None),
        ({}, ("instruction", "input", "output")),
    ],
)
def test_examples_come_from_a_data_set_by_its_name(tmp_path, monkeypatch, entry, keys):
    monkeypatch.chdir(tmp_path)
    pairs = [(f"text {n}", EMOTION.labels[n % 6]) for n in range(30)]
    write_lines(tmp_path / "file.jsonl", [{"text": t, "label": label} for t, label in pairs])
    if keys:
        rows = [dict(zip(keys, ("Say it.", *pair), strict=True)) for pair in pairs]
        rows[7]["output"] = f"<think>\n\n</think>\n\n{pairs[7][1]}"
        write_lines(tmp_path / "set.jsonl", [*rows, {"input": "no label"}])
    name = "set.jsonl" if keys else "file.jsonl"
    write_info(tmp_path, mine={"file_name": name, **entry})

    def drawn(name):
        call = read_call("input=-", f"few_shot={name}", "shots=2", "dataset_dir=.")
        return draw_examples(call, EMOTION)

    assert len(drawn("mine")) == 12
    assert drawn("mine") == drawn("file.jsonl")
    with pytest.raises(CallError, match=r"'your' is no data set of dataset_info.json \(mine\)"):
        drawn("your")


def test_minus_one_is_a_label_where_the_task_has_it(tmp_path):
    assert is_no_label(-1, EMOTION)
    assert is_no_label(-1, None)
    assert not is_no_label(-1, Task("signed", ("-1", "1"), "For or against?"))


def test_empty_rows_are_left_out_where_the_call_says_so(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\n\ntwo\n", encoding="utf-8")
    with pytest.raises(DataError, match="empty rows: 1; skip_empty=true leaves them out"):
        opened(f"input={path}")

    inputs = opened(f"input={path}", "skip_empty=true")

    assert [(row.content.partition("\n")[2], row.line) for row in inputs.rows] == [
        ("one", 1),
        ("two", 3),
    ]
    assert inputs.notes.skipped == 1


@pytest.mark.parametrize(
    ("words", "asked", "told"),
    [
        (("labels=good, bad",), ("Good?", "Bad?"), "instruction, as the first row has it: Good?"),
        (
            (),
            2 * (EMOTION.instruction,),
            "instruction of the task 'emotion', not of the rows (Good?)",
        ),
    ],
)
def test_which_instruction_is_asked_is_told_where_the_rows_have_their_own(
    tmp_path, capsys, words, asked, told
):
    rows = [{"instruction": one, "input": "so glad"} for one in ("Good?", "Bad?")]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    assert contents(opened(f"input={path}", *words)) == [(f"{one}\nso glad", None) for one in asked]
    assert told in capsys.readouterr().err.splitlines()


def test_an_adapter_asked_with_an_instruction_made_of_labels_is_told(tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("so glad\n", encoding="utf-8")
    words = (f"input={tmp_path / 'texts.txt'}", "labels=good, bad")
    opened(*words)
    assert "task file" not in capsys.readouterr().err
    opened(*words, "adapter_name_or_path=a")
    assert "write it into a task file and name that with task=" in capsys.readouterr().err


def test_labels_of_another_task_are_offered_as_the_calls(tmp_path):
    path = write_lines(
        tmp_path / "rows.jsonl", [{"text": "t", "label": label} for label in ("good", "bad")]
    )
    task = replace(EMOTION, origin="the default")
    with pytest.raises(DataError, match='if these are the labels, write labels="bad, good"'):
        open_inputs(read_call(f"input={path}"), task)
    for odd in ("joy", 'say "so"', "a, b"):  # one is a label of both, the others must be quoted
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"text": "t", "label": odd}) + "\n")
        with pytest.raises(DataError, match="unknown labels") as error:
            open_inputs(read_call(f"input={path}"), task)
        assert "write labels=" not in str(error.value)


def test_columns_to_keep_stay_beside_the_row_as_they_are(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, [
        {"code": "PT-0412", "text": "one", "more": {"years": [2026, float("inf")]}},
        {"code": float("nan"), "text": "two"},
    ])  # fmt: skip

    rows = list(opened(f"input={path}", "keep_columns=code, more").rows)

    assert [row.kept for row in rows] == [
        {"code": "PT-0412", "more": {"years": [2026, "inf"]}},
        {"code": None, "more": None},
    ]
    with pytest.raises(DataError, match=r"no column 'codes'; .* one of these with keep_columns"):
        opened(f"input={path}", "keep_columns=codes")
    with pytest.raises(CallError, match="keep_columns needs an input"):
        read_call("eval_dataset=mine", "keep_columns=code")
