"""Gold values as files write them: with reasoning, tokens, tags, JSON, keys, numbers."""

import pytest

from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.task import EMOTION, Task

STARS = Task("stars", ("1", "2", "3", "4", "5"), "How many?")
SIGNED = Task("signed", ("-1", "0", "1"), "For or against?")
PADDED = Task("padded", ("01", "02", "10"), "Which?")
CHINESE = Task("zh", ("负面", "正面", "中性"), "情感？")
FRENCH = Task("fr", ("joie", "tristesse"), "Quelle émotion ?")
JAPANESE = Task("ja", ("喜び", "悲しみ"), "感情は？")
HINDI = Task("hi", ("खुशी", "दुख"), "भावना?")
BRACKETS = Task("brackets", ("[K,17]", "[K,42.5]"), "Which?")
INTENTS = Task("intents", ("parcel_delayed", "top-up failed"), "Which?")
TRUTH = Task("truth", ("true", "false"), "Is it?")
TICKETS = Task("tickets", ("bug report", "other"), "?", words={"bug report": "bug", "other": "1"})


@pytest.mark.parametrize(
    ("task", "label", "values"),
    [
        (
            EMOTION,
            "joy",
            [
                *(" joy", "JOY", "<think>\n\n</think>\n\njoy\n", "joy<end_of_turn>\n"),
                *("joy<｜end▁of▁sentence｜>", "<|endoftext|><|endoftext|> joy<|im_end|>\n"),
                *("analysisassistantfinaljoy", "<|channel>thought\n<channel|>joy<turn|>\n"),
                *("<seed:think></seed:think>joy<seed:eos>", "thought\njoy"),
                *("This text expresses joy.", "The emotion of this tweet is joy."),
                *("<answer>joy</answer>", "\\\\boxed{joy}", '{"emotion": "joy"}', "Emotion: joy"),
                *("Answer: joy, because of the sun", 1, 1.0, "1", "1</s>"),
            ],
        ),
        (
            EMOTION,
            None,
            [
                *(True, -1, 6, 1.5, "happy", "joy, love", "the writer feels joy", "", None),
                *(
                    "It is not joy.",
                    "It is joy or love.",
                    "The text is joyless.",
                    "Other emotion: joy",
                ),
                *(float("nan"), "9" * 5_000),
            ],
        ),
        (CHINESE, "正面", ["评价：正面，把握：0.8"]),
        (CHINESE, "负面", ["情感:负面", "该评论属于负面评价。"]),
        (FRENCH, "joie", ["L'émotion est la joie.", "Émotion : joie"]),
        (JAPANESE, "喜び", ["感情は喜びです。"]),
        (HINDI, "खुशी", ["भावना: खुशी"]),
        (BRACKETS, "[K,42.5]", ["\n[K,42.5]"]),
        (BRACKETS, None, ["\n[K,17"]),
        (STARS, "3", [3, 3.0, "3.0"]),
        (STARS, None, [0]),
        (SIGNED, "-1", [-1, "–1", "\u22121"]),
        (SIGNED, "1", ["+1"]),
        (SIGNED, "0", [0]),
        (SIGNED, None, [2]),
        (PADDED, "01", ["01", 1]),
        (PADDED, None, [0]),
        (INTENTS, "parcel_delayed", ["Parcel Delayed", "parcel-delayed"]),
        (INTENTS, "top-up failed", ["top_up_failed"]),
        (TRUTH, "true", [True]),
        (TRUTH, "false", ["FALSE"]),
        (TICKETS, "bug report", [" bug</s>", '{"label": "bug"}', "Bug-Report", "0"]),
        (TICKETS, None, ["a bug", 2]),
        (TICKETS, "other", [1]),
    ],
)
def test_gold_values_are_read(task, label, values):
    reader = GoldReader(task)

    assert [(value, reader.read(value)) for value in values] == [(value, label) for value in values]


def test_space_hyphen_and_underscore_are_told_apart_where_labels_need_it():
    reader = GoldReader(Task("t", ("a_b", "a-b"), "Which?"))
    assert [reader.read(value) for value in ("a_b", "A-B", "a b")] == ["a_b", "a-b", None]


@pytest.mark.parametrize(
    ("gold", "answer", "label"),
    [
        ("3", "3", "anger"),
        (3, " 3</s>", "anger"),
        ("3</s>", "1", "joy"),
        ("3", "**3**.", "anger"),
        ("3", "Answer: 3", "anger"),
        ("3", '{"label": 1}', "joy"),
        ("anger", "3", None),
        ("3", "3 or 4", None),
        ("3", "7", None),
    ],
)
def test_an_answer_is_an_id_where_the_gold_labels_are(gold, answer, label):
    assert GoldReader(EMOTION).read_id(gold, answer) == label


def test_an_answer_is_no_id_where_labels_are_numbers():
    assert GoldReader(STARS).read_id("3", "0") is None
