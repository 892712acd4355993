"""The template and the formatting, judged by LLaMA-Factory's own encoder and loader."""

import copy
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dill
import pytest
from llamafactory.data.converter import DATASET_CONVERTERS, get_dataset_converter
from llamafactory.data.parser import DatasetAttr
from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments
from transformers import AutoTokenizer

from llamafactory_emotion.errors import DataError, EmotionError
from llamafactory_emotion.plugin import registration
from llamafactory_emotion.task import EMOTION

registration.register()

TEXTS = [
    "the train was late again",
    "  leading spaces",
    "\nstarts with a line break",
    "ends with a colon:",
    "trailing space ",
    "我很高兴",
    "¡qué alegría!",
    "quotes ' and \" and {{content}} and {% if %}",
    "line one\nline two\r\nline three",
    "emoji 😊 and zero\u200bwidth",
]
CONTROL_NAMES = ["<|eot_id|>", "a <|end_of_text|> b", "<|begin_of_text|><|start_header_id|>x"]


@pytest.fixture
def tokenizer(tiny_base: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture
def template(tokenizer: Any) -> Any:
    return get_template_and_fix_tokenizer(tokenizer, DataArguments(template="emotion"))


def converter(**columns: str | None) -> Any:
    attributes = DatasetAttr("file", dataset_name="rows.jsonl", formatting="emotion")
    attributes.join({"formatting": "emotion", "columns": columns})
    return get_dataset_converter("emotion", attributes, SimpleNamespace())


def encode(template: Any, tokenizer: Any, text: str, label: str) -> tuple[list[int], list[int]]:
    messages = [
        {"role": "user", "content": EMOTION.user_content(text)},
        {"role": "assistant", "content": label},
    ]
    return template.encode_oneturn(tokenizer, messages)


@pytest.mark.parametrize("label", EMOTION.labels)
def test_an_answer_is_one_token_and_the_end_token(template, tokenizer, label):
    _, answer = encode(template, tokenizer, "text", label)

    assert len(answer) == 2
    assert tokenizer.decode(answer[:1]) == f" {label}"
    assert answer[1] == tokenizer.eos_token_id


@pytest.mark.parametrize("text", TEXTS + CONTROL_NAMES)
def test_a_prompt_is_instruction_text_and_cue(template, tokenizer, text):
    prompt, _ = encode(template, tokenizer, text, "joy")

    assert prompt[0] == tokenizer.bos_token_id
    assert tokenizer.decode(prompt[1:]) == f"{EMOTION.instruction}\n{text}\nAnswer:"
    assert not set(prompt[1:]) & set(tokenizer.all_special_ids), "its name is text, too"


@pytest.mark.parametrize("text", TEXTS)
def test_the_saved_chat_template_gives_the_same_ids(template, tokenizer, text, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    prompt, answer = encode(template, tokenizer, text, "joy")
    messages = [{"role": "user", "content": EMOTION.user_content(text)}]

    asked = saved.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    answered = saved.apply_chat_template(
        [*messages, {"role": "assistant", "content": "joy"}], return_dict=False
    )

    assert asked == prompt
    assert answered == prompt + answer


def test_the_splitting_of_special_tokens_is_not_saved_with_the_tokenizer(tiny_base, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base, split_special_tokens=True)
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="emotion"))
    prompt, _ = encode(template, tokenizer, "text", "joy")

    tokenizer.save_pretrained(tmp_path)

    saved = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": EMOTION.user_content("text")}]
    assert saved.apply_chat_template(messages, return_dict=False) == prompt


def test_a_tokenizer_without_a_begin_token_gets_none(template, tokenizer):
    tokenizer.bos_token = None

    prompt, _ = encode(template, tokenizer, "text", "joy")

    assert tokenizer.decode(prompt) == f"{EMOTION.instruction}\ntext\nAnswer:"


def test_other_templates_are_untouched(tokenizer):
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="llama3"))

    assert type(template) is type(TEMPLATES["default"])
    prompt, _ = encode(template, tokenizer, "a <|eot_id|> b", "joy")
    eot = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert prompt.count(eot) == 2, "LLaMA-Factory's own reading of a control token's name"


@pytest.mark.parametrize(
    ("label", "answer"), [(0, "sadness"), (5, "surprise"), ("1", "joy"), (" Anger", "anger")]
)
def test_a_row_becomes_instruction_text_and_label(label, answer):
    row = converter(prompt="text", response="label")({"text": "so it goes", "label": label})

    assert row["_prompt"] == [{"role": "user", "content": f"{EMOTION.instruction}\nso it goes"}]
    assert row["_response"] == [{"role": "assistant", "content": answer}]
    assert row["_system"] == row["_tools"] == ""


def test_a_row_has_the_keys_that_llamafactory_gives_its_own_rows():
    alpaca = DATASET_CONVERTERS["alpaca"](DatasetAttr("file", "rows.jsonl"), SimpleNamespace())
    expected = alpaca({"instruction": "a", "input": "b", "output": "c", "history": None})

    row = converter(prompt="text", response="label")({"text": "a", "label": 0})

    assert row.keys() == expected.keys()


def test_a_row_without_a_label_column_has_no_response():
    assert converter(prompt="text")({"text": "so it goes"})["_response"] == []


@pytest.mark.parametrize("label", [6, -1, "bliss", None, True, 1.5, ""])
def test_an_unknown_label_is_reported_with_the_label_and_the_first_words(label):
    text = "one two three four five six seven eight nine"
    said = rf"{re.escape(repr(label))}.*'one two three four five six seven eight \.\.\.'.*0 sadness"

    with pytest.raises(DataError, match=said):
        converter(prompt="text", response="label")({"text": text, "label": label})


@pytest.mark.parametrize("text", [{}, {"text": ""}, {"text": None}])
def test_a_row_without_text_is_reported(text):
    with pytest.raises(DataError, match="no text in the column 'text'"):
        converter(prompt="text", response="label")({"label": 0, **text})


def test_another_instruction_changes_what_datasets_sees_of_the_converter():
    one = converter(prompt="text", response="label")
    other = copy.copy(one)
    assert dill.dumps(one) == dill.dumps(other)

    other.fingerprint = "another task"

    assert EMOTION.fingerprint in one.fingerprint
    assert dill.dumps(one) != dill.dumps(other)


@pytest.mark.parametrize(
    ("names", "what"), [(TEMPLATES, "template"), (DATASET_CONVERTERS, "dataset formatting")]
)
def test_a_name_that_somebody_else_has_taken_is_named(monkeypatch, names, what):
    monkeypatch.setitem(names, "emotion", object())

    with pytest.raises(EmotionError, match=f"a {what} named 'emotion'"):
        registration.register()
