"""Answers as a hostile reader makes them: nothing but what a careful person would say counts."""

import pytest

from llamafactory_emotion.parsing.rules import LabelParser
from llamafactory_emotion.task import EMOTION, Task


def task_of(*labels: str) -> Task:
    return Task("t", labels, "Classify the text.")


STARS, LETTERS = task_of("1", "2", "3", "4", "5"), task_of("A", "B", "C", "D")
OPINION = task_of("positive", "negative", "neutral")
SPANISH, CHINESE = task_of("positivo", "negativo"), task_of("正面", "负面", "中性")

HOSTILE = {
    "what is denied behind it, or by other words than not": (
        EMOTION,
        {
            "Joy is not the emotion here.": None,
            "joy is absent": None,
            "joy can be ruled out": None,
            "hardly any joy": None,
            "far from joy": None,
            "anything but joy": None,
            "Answer: other than joy": None,
            "The opposite of joy": None,
            "the loss of love": None,
            "不太像是喜悦": None,
            "除了喜悦": None,
            "缺乏爱": None,
        },
    ),
    "what is asked or supposed": (
        EMOTION,
        {
            "Is this joy?": None,
            "Is it joy? No.": None,
            "joy? No, sadness.": "sadness",
            "喜悦？不，悲伤": "sadness",
            "If it were joy, he would smile.": None,
            "It isn't clear whether this is joy": None,
            "很难说是喜悦": None,
            "joy... wait, I mean sadness": None,
        },
    ),
    "options that are repeated": (
        EMOTION,
        {
            "Options: sadness, joy, love, anger, fear, surprise. I choose fear.": "fear",
            "Emotion (sadness, joy, love, anger, fear, surprise): anger": "anger",
            "The options are sadness, joy, love, anger, fear, surprise.": None,
        },
    ),
    "another word than a label": (
        EMOTION,
        {
            "Emotion: neutral, with a hint of joy": None,
            "Disgust. There is some anger in it.": None,
            "disgust (closest: anger)": None,
            "Okay. The emotion is joy": "joy",
            "Analysis\nThe text expresses joy.": "joy",
        },
    ),
    "scores, other keys, quotes, verbs": (
        EMOTION,
        {
            "joy: 0.1, sadness: 0.9": "sadness",
            '{"joy": 0.1, "sadness": 0.9}': "sadness",
            "joy: 1, sadness: 2": None,
            "joy: 0.5, sadness: 0.5": None,
            '{"primary_emotion": "joy", "secondary_emotion": "love"}': "joy",
            'The text "i feel joy" expresses sadness.': "sadness",
            "Love you!": None,
        },
    ),
    "numbers that count something else": (
        STARS,
        {
            "Rating: 4/5": "4",
            "I rate it 4 out of 5 stars": "4",
            "On a scale of 1 to 5, I'd say 3.": "3",
            "3/4": None,
            "between 3 and 4": None,
            "The text has 3 sentences": None,
            "2 reasons: the food and the staff": None,
            "5 years ago I went there": None,
            "4%": None,
            "$5": None,
            "4+": None,
        },
    ),
    "letters that are part of something else": (
        LETTERS,
        {
            "A) positive": "A",
            "A项": "A",
            "选择B。": "B",
            "Both A and B": None,
            "Vitamin C": None,
            "Plan B": None,
        },
    ),
    "a base model that writes the next example": (
        OPINION,
        {
            "positive\n\nReview: I hated it.\nSentiment: negative": "positive",
            "Sentiment: positive\nReview: I hated it\nSentiment: negative": "positive",
            "positive\nClassify the text.\nI hated it\nAnswer: negative": "positive",
            "Here it is:\nText: fine\nSentiment: positive": "positive",
            "Is this positive or negative? Negative.": "negative",
            "Sentiment (positive/negative/neutral): neutral": "neutral",
        },
    ),
    "side by side": (task_of("World", "Business"), {"Category: World Business": None}),
    "a hyphened opposite": (task_of("toxic", "non-toxic"), {"Toxic? No: non-toxic": "non-toxic"}),
    "in Spanish": (
        SPANISH,
        {
            "nada positivo": None,
            "poco positivo": None,
            "El texto carece de tono positivo": None,
        },
    ),
    "in Chinese": (
        CHINESE,
        {"正面吗？不是": None, "标签：正面 负面": None, "请问是正面还是负面？": None},
    ),
    "of law": (task_of("盗窃", "抢劫"), {"构成抢劫罪，不构成盗窃罪": "抢劫"}),
}


@pytest.mark.parametrize(
    ("task", "answer", "label"),
    [(task, answer, label) for task, pairs in HOSTILE.values() for answer, label in pairs.items()],
)
def test_no_more_is_read_than_is_said(task, answer, label):
    assert LabelParser(task).parse(answer).label == label
