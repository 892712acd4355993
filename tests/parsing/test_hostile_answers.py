"""Answers as a hostile reader makes them: nothing but what a careful person would say counts."""

import pytest

from llamafactory_emotion.parsing.rules import LabelParser
from llamafactory_emotion.task import EMOTION, Task


def task_of(*labels: str) -> Task:
    return Task("t", labels, "Classify the text.")


STARS, LETTERS = task_of("1", "2", "3", "4", "5"), task_of("A", "B", "C", "D")
OPINION = task_of("positive", "negative", "neutral")
SPANISH, CHINESE = task_of("positivo", "negativo"), task_of("正面", "负面", "中性")

HOSTILE = [
    # What is denied behind it, or by other words than not.
    (
        EMOTION,
        None,
        [
            *("Joy is not the emotion here.", "joy is absent", "joy can be ruled out"),
            *("hardly any joy", "far from joy", "anything but joy", "Answer: other than joy"),
            *("The opposite of joy", "the loss of love", "不太像是喜悦", "除了喜悦", "缺乏爱"),
        ],
    ),
    # What is asked or supposed.
    (
        EMOTION,
        None,
        [
            *("Is this joy?", "Is it joy? No.", "If it were joy, he would smile."),
            *("It isn't clear whether this is joy", "很难说是喜悦", "joy... wait, I mean sadness"),
        ],
    ),
    (EMOTION, "sadness", ["joy? No, sadness.", "喜悦？不，悲伤"]),
    # Options that are repeated.
    (EMOTION, "fear", ["Options: sadness, joy, love, anger, fear, surprise. I choose fear."]),
    (EMOTION, "anger", ["Emotion (sadness, joy, love, anger, fear, surprise): anger"]),
    (EMOTION, None, ["The options are sadness, joy, love, anger, fear, surprise."]),
    # Another word than a label.
    (
        EMOTION,
        None,
        [
            *("Emotion: neutral, with a hint of joy", "Disgust. There is some anger in it."),
            "disgust (closest: anger)",
        ],
    ),
    (EMOTION, "joy", ["Okay. The emotion is joy", "Analysis\nThe text expresses joy."]),
    # Scores, other keys, quotes, verbs.
    (
        EMOTION,
        "sadness",
        [
            *("joy: 0.1, sadness: 0.9", '{"joy": 0.1, "sadness": 0.9}'),
            'The text "i feel joy" expresses sadness.',
        ],
    ),
    (EMOTION, None, ["joy: 1, sadness: 2", "joy: 0.5, sadness: 0.5", "Love you!"]),
    (EMOTION, "joy", ['{"primary_emotion": "joy", "secondary_emotion": "love"}']),
    # Numbers that count something else.
    (STARS, "4", ["Rating: 4/5", "I rate it 4 out of 5 stars"]),
    (STARS, "3", ["On a scale of 1 to 5, I'd say 3."]),
    (
        STARS,
        None,
        [
            *("3/4", "between 3 and 4", "The text has 3 sentences"),
            *("2 reasons: the food and the staff", "5 years ago I went there", "4%", "$5", "4+"),
        ],
    ),
    # Letters that are part of something else.
    (LETTERS, "A", ["A) positive", "A项"]),
    (LETTERS, "B", ["选择B。"]),
    (LETTERS, None, ["Both A and B", "Vitamin C", "Plan B"]),
    # A base model that writes the next example.
    (
        OPINION,
        "positive",
        [
            "positive\n\nReview: I hated it.\nSentiment: negative",
            "Sentiment: positive\nReview: I hated it\nSentiment: negative",
            "positive\nClassify the text.\nI hated it\nAnswer: negative",
            "Here it is:\nText: fine\nSentiment: positive",
        ],
    ),
    (OPINION, "negative", ["Is this positive or negative? Negative."]),
    (OPINION, "neutral", ["Sentiment (positive/negative/neutral): neutral"]),
    # Side by side.
    (task_of("World", "Business"), None, ["Category: World Business"]),
    # A hyphened opposite.
    (task_of("toxic", "non-toxic"), "non-toxic", ["Toxic? No: non-toxic"]),
    # In Spanish.
    (SPANISH, None, ["nada positivo", "poco positivo", "El texto carece de tono positivo"]),
    # In Chinese.
    (CHINESE, None, ["正面吗？不是", "标签：正面 负面", "请问是正面还是负面？"]),
    # A sentence that is not about what is classified.
    (
        task_of("account", "shipping", "other"),
        None,
        [
            *("Your account has been closed.", "Free shipping on all orders over $50!"),
            *("To see other orders, press 2.", "Please describe the other message."),
        ],
    ),
    (task_of("Lob", "Anfrage"), None, ["Vielen Dank für Ihre Anfrage!"]),
    (task_of("投诉", "咨询"), None, ["您的投诉已经受理。", "投诉电话是12315。"]),
    (
        task_of("account", "shipping", "other"),
        "shipping",
        ["The customer asks for shipping details.", "I'd file it under shipping", "Pure shipping"],
    ),
    (CHINESE, "正面", ["用户表达了正面情绪", "用户感到非常正面"]),
    # What follows from a condition, an instance, a bound, a word that is defined.
    (
        OPINION,
        None,
        [
            *("If the room were clean, it would be positive.", "It would be positive if it were."),
            *("Unless he lies, it is negative.", "A label such as neutral could fit."),
            *("Positive means that the review is kind.", "It's partly positive."),
            *("It may be negative, but it might also be irony.", "To be neutral, it needs facts."),
        ],
    ),
    (SPANISH, None, ["Si volviera, sería positivo.", "Como modelo de lenguaje soy positivo."]),
    (task_of("ódio", "não ódio"), None, ["Se fosse sério, seria ódio."]),
    (SPANISH, "positivo", ["Se trata de un mensaje positivo."]),
    (task_of("злость", "страх"), None, ["Это не злость."]),
    (task_of("ネガティブ", "ポジティブ"), None, ["このレビューはネガティブではありません。"]),
    (
        STARS,
        None,
        [
            *("The rating is higher than 3.", "At least 2 stars", "2½ stars", "5:30 pm"),
            *("1. Cold food.\n2. Rude staff.\n3. A big bill.", "The guest was in room 5."),
        ],
    ),
    (STARS, "4", ["It's a 4-star review.", "Score: 4\nConfidence: 5"]),
    (LETTERS, None, ["The options are A, B, C and D.", "Either option A or option B."]),
    # One is denied instead of another, or said to be right.
    (LETTERS, "B", ["Option B is correct."]),
    (OPINION, "negative", ["The tone gets negative, but not neutral"]),
    (task_of("Lob", "Beschwerde"), "Lob", ["Das ist keine Beschwerde, sondern ein Lob."]),
    (task_of("страх", "злость"), "страх", ["Это страх, а не злость."]),
    # The next example, whatever it is called; a heading is no line of its own.
    (OPINION, "neutral", ["neutral\n\nArticle: hm\nCategory: negative"]),
    (OPINION, "neutral", ["# Verdict\n\nneutral\n\n# Why\n\nIt is not negative."]),
    # A label that denies another, in other words; signs of HTML and their words.
    (task_of("toxic", "non-toxic"), "non-toxic", ["This comment is not toxic."]),
    (task_of("Home", "Home & Garden"), "Home & Garden", ["Home &amp; Garden", "home and garden"]),
    # Of law.
    (task_of("盗窃", "抢劫"), "抢劫", ["构成抢劫罪，不构成盗窃罪"]),
]


@pytest.mark.parametrize(("task", "label", "answers"), HOSTILE)
def test_no_more_is_read_than_is_said(task, label, answers):
    parser = LabelParser(task)

    assert {answer: parser.parse(answer).label for answer in answers} == dict.fromkeys(
        answers, label
    )
