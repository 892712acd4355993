"""Gold values as files write them: with reasoning, tokens, tags, JSON, keys, numbers."""

import pytest

from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.task import EMOTION, Task

STARS = Task("stars", ("1", "2", "3", "4", "5"), "How many?")
SIGNED = Task("signed", ("-1", "0", "1"), "For or against?")
PADDED = Task("padded", ("01", "02", "10"), "Which?")
CHINESE = Task("zh", ("负面", "正面", "中性"), "情感？")
BRACKETS = Task("brackets", ("[K,17]", "[K,42.5]"), "Which?")
INTENTS = Task("intents", ("parcel_delayed", "top-up failed"), "Which?")
TRUTH = Task("truth", ("true", "false"), "Is it?")
TICKETS = Task("tickets", ("bug report", "other"), "?", words={"bug report": "bug", "other": "1"})


@pytest.mark.parametrize(
    ("task", "value", "label"),
    [
        (EMOTION, " joy", "joy"),
        (EMOTION, "JOY", "joy"),
        (EMOTION, "<think>\n\n</think>\n\njoy\n", "joy"),
        (EMOTION, "joy<end_of_turn>\n", "joy"),
        (EMOTION, "joy<｜end▁of▁sentence｜>", "joy"),
        (EMOTION, "<|endoftext|><|endoftext|> joy<|im_end|>\n", "joy"),
        (EMOTION, "<answer>joy</answer>", "joy"),
        (EMOTION, "\\\\boxed{joy}", "joy"),
        (EMOTION, '{"emotion": "joy"}', "joy"),
        (EMOTION, "Emotion: joy", "joy"),
        (EMOTION, "Answer: joy, because of the sun", "joy"),
        (EMOTION, 1, "joy"),
        (EMOTION, 1.0, "joy"),
        (EMOTION, "1", "joy"),
        (EMOTION, "1</s>", "joy"),
        (EMOTION, True, None),
        (EMOTION, -1, None),
        (EMOTION, 6, None),
        (EMOTION, 1.5, None),
        (EMOTION, "happy", None),
        (EMOTION, "joy, love", None),
        (EMOTION, "the writer feels joy", None),
        (EMOTION, "", None),
        (EMOTION, None, None),
        (EMOTION, float("nan"), None),
        (EMOTION, "9" * 5_000, None),
        (CHINESE, "评价：正面，把握：0.8", "正面"),
        (CHINESE, "情感:负面", "负面"),
        (BRACKETS, "\n[K,42.5]", "[K,42.5]"),
        (BRACKETS, "\n[K,17", None),
        (STARS, 3, "3"),
        (STARS, 3.0, "3"),
        (STARS, "3.0", "3"),
        (STARS, 0, None),
        (SIGNED, -1, "-1"),
        (SIGNED, "–1", "-1"),
        (SIGNED, "\u22121", "-1"),
        (SIGNED, "+1", "1"),
        (SIGNED, 0, "0"),
        (SIGNED, 2, None),
        (PADDED, "01", "01"),
        (PADDED, 1, "01"),
        (PADDED, 0, None),
        (INTENTS, "Parcel Delayed", "parcel_delayed"),
        (INTENTS, "parcel-delayed", "parcel_delayed"),
        (INTENTS, "top_up_failed", "top-up failed"),
        (TRUTH, True, "true"),
        (TRUTH, "FALSE", "false"),
        (TICKETS, " bug</s>", "bug report"),
        (TICKETS, '{"label": "bug"}', "bug report"),
        (TICKETS, "Bug-Report", "bug report"),
        (TICKETS, "a bug", None),
        (TICKETS, "0", "bug report"),
        (TICKETS, 1, "other"),
        (TICKETS, 2, None),
    ],
)
def test_a_gold_value_is_read(task, value, label):
    assert GoldReader(task).read(value) == label


def test_space_hyphen_and_underscore_are_told_apart_where_labels_need_it():
    reader = GoldReader(Task("t", ("a_b", "a-b"), "Which?"))
    assert [reader.read(value) for value in ("a_b", "A-B", "a b")] == ["a_b", "a-b", None]


@pytest.mark.parametrize(
    ("gold", "answer", "label"),
    [
        ("3", "3", "anger"),
        (3, " 3</s>", "anger"),
        ("3</s>", "1", "joy"),
        ("anger", "3", None),
        ("3", "3 or 4", None),
        ("3", "7", None),
    ],
)
def test_an_answer_is_an_id_where_the_gold_labels_are(gold, answer, label):
    assert GoldReader(EMOTION).read_id(gold, answer) == label


def test_an_answer_is_no_id_where_labels_are_numbers():
    assert GoldReader(STARS).read_id("3", "0") is None
