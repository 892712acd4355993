"""The text inside a prompt, under the templates that LLaMA-Factory has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.evaluate.texts import TextFinder, join_key
from llamafactory_emotion.predictions.reading import Prediction
from llamafactory_emotion.task import EMOTION

ASK = EMOTION.instruction


def row(prompt, text=None, line=1):
    return Prediction(line, "joy", "joy", prompt, text, None, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "\nAnswer:"),
        ("<|begin_of_text|>", "\nAnswer:"),
        (
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        ("<bos><start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),
        ("<s>[INST] ", " [/INST]"),
        ("<s> [INST] ", "[/INST] "),
        ("Human: ", "\nAssistant:"),
        ("user\n\n", "assistant\n\n"),
        ("user\n", "\nassistant\n"),
        ("user\n", "\nmodel\n"),
        ("A chat. USER: ", " ASSISTANT:"),
        ("### Instruction:\n", "\n\n### Response:\n"),
        ("<|user|>\n", "<|assistant|>\n"),
        ("", ""),
    ],
)
@pytest.mark.parametrize(
    "text", ["i laughed a lot", "我很高兴。", "Answer: what?\nNone", "a <b> c"]
)
def test_templates(before, after, text):
    finder = TextFinder(EMOTION)

    assert finder.find(row(f"{before}{ASK}\n{text}{after}")) == text


def test_a_key_text_is_taken_as_it_is():
    assert TextFinder(EMOTION).find(row("whatever", text=" as it is ")) == " as it is "


@pytest.mark.parametrize("prompt", [None, "", "Which feeling is it? i laughed"])
def test_a_prompt_without_the_instruction_tells_no_text(prompt):
    assert TextFinder(EMOTION).find(row(prompt)) is None


def test_the_frame_is_learned_from_known_texts():
    texts = ["i laughed", "i cried a lot", "it", "so what"]
    rows = [row(f"Q: What does {text!r} tell? Say it.") for text in texts]
    finder = TextFinder(EMOTION)

    finder.learn(rows, texts, {join_key(text) for text in texts})

    assert [finder.find(one) for one in rows] == texts
    assert finder.find(row("Q: What does 'an unknown text' tell? Say it.")) == "an unknown text"
    assert finder.find(row("Another prompt")) is None


def test_nothing_is_learned_where_no_text_is_known():
    finder = TextFinder(EMOTION)

    finder.learn([row("abc"), row(None)], ["xyz"], {"xyz"})

    assert finder.find(row("abc")) is None


@given(st.text(), st.text())
def test_no_prompt_breaks_the_finder(before, after):
    finder = TextFinder(EMOTION)

    assert finder.find(row(f"{before}{ASK}\n{after}")) is not None
    finder.find(row(before))


def test_spaces_do_not_matter_in_a_join():
    assert join_key(" do n't\tgo \n") == join_key("don't go")
