"""Answer words of one token: which are suggested for which labels."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.parsing.rules import LabelParser
from llamafactory_emotion.scoring.words import suggest_words, words_line
from llamafactory_emotion.task import Task, task_of

TOKENS = (
    "bug feature refund cancel Refund A B C D Q AB 盗窃 抢劫 罪 жалоба Ж one crude 1 2 100 report"
)


def encode(words):
    """Encode known words as one token, and others by their characters."""
    known = {word: 10**6 + number for number, word in enumerate(TOKENS.split())}
    return [[known[word]] if word in known else [*map(ord, f" {word}")] for word in words]


def words(*labels, **more):
    return suggest_words(Task("t", labels, "Which?", **more), encode)


@pytest.mark.parametrize(
    ("labels", "suggested"),
    [
        (("bug", "refund"), {}),
        (("bug report", "refund"), {"bug report": "bug"}),
        # A word of two labels is neither's, nor is one that is a label.
        (("bug report", "feature report"), {"bug report": "bug", "feature report": "feature"}),
        (("bug report", "bug"), {"bug report": "report"}),
        (("REFUND!", "cancel / Refund"), {"REFUND!": "B", "cancel / Refund": "cancel"}),
        # Ordinary words are no answers in prose: here `one`, and the letter A.
        (("one quark", "other"), {"one quark": "Q", "other": "B"}),
        (("盗窃罪", "抢劫罪"), {"盗窃罪": "盗窃", "抢劫罪": "抢劫"}),
        (("старая жалоба", "bug"), {"старая жалоба": "жалоба"}),
        (("Жук", "bug"), {"Жук": "Ж"}),
        # Only its own id is a safe number: 100 would mean no label, and 1 is the id of another.
        (("100% off", "1 % off", *"BCDQ", "AB"), {"1 % off": "1"}),
        (("1", "no. 2", *"BCDQ", "AB"), {}),
    ],
)
def test_a_word_is_one_token_and_means_one_label(labels, suggested):
    assert words(*labels) == suggested


def test_words_and_aliases_of_the_task_count():
    assert words("oil, gas", "bug", aliases={"crude": "oil, gas"}) == {"oil, gas": "crude"}
    assert words("crude quark", "bug", aliases={"crude": "bug"}) == {"crude quark": "C"}
    given_words = {"bug report": "bug", "spam": "two words"}
    assert words("bug report", "spam", words=given_words) == {"bug report": "bug", "spam": "B"}


def test_labels_of_the_same_tokens_get_words():
    found = suggest_words(Task("t", ("xx", "yy"), "Which?"), lambda all_: [[len(w)] for w in all_])
    assert found == {"yy": "B"}


# Letters, digits and signs of several scripts, some of which are folded.
NAMES = st.lists(
    st.text(st.sampled_from("abc XY/-_.,&'1290жщ爱盗窃罪กำ🙂ｱé"), min_size=1, max_size=12)
    .map(str.strip)
    .filter(bool),
    min_size=2,
    max_size=12,
)


def check_read_back(task):
    parser, gold = LabelParser(task), GoldReader(task)
    for label in task.labels:
        for answer in (label, task.word_of(label)):
            for said in (answer, f" {answer}\n", *([f"{answer}</s>"] if answer.isalpha() else [])):
                assert (gold.read(said), parser.parse(said).label) == (label, label)


@given(NAMES, NAMES)
def test_a_label_and_its_word_are_read_back(labels, others):
    words = dict(zip(labels, others, strict=False))
    try:
        task = Task("t", tuple(labels), "Which?", words=words)
    except DataError:
        return  # what cannot be told apart is refused
    check_read_back(task)


@given(NAMES, st.sets(st.integers(0, 40)))
def test_suggested_words_make_a_task_whose_answers_are_read_back(labels, several):
    try:
        task = Task("t", tuple(labels), "Which?")
    except DataError:
        return

    def tokens(answers):
        numbers = [int.from_bytes(answer.encode()) for answer in answers]
        return [[number] * (1 + (number % 41 in several)) for number in numbers]

    line = yaml.safe_load(words_line(suggest_words(task, tokens)))
    check_read_back(task_of({**task.as_mapping(), **line}, "the line"))
