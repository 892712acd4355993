"""The SVM that a language model has to beat."""

import pytest
from evaluations import judged, labelled, prediction

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.floor import BOTH, WORDS, floor_of
from llamafactory_emotion.evaluate.lookup import DataFile, TextFinder
from llamafactory_emotion.evaluate.matching import Answers
from llamafactory_emotion.task import EMOTION, Task

SADNESS, JOY, INVALID = 0, 1, 6


TRAIN = [(f"i laughed {k}", "joy") for k in range(20)]
TRAIN += [(f"i wept {k}", "sadness") for k in range(20)]


def floor(rows, train=TRAIN, task=EMOTION, ask=None):
    answers = Answers("p.jsonl", TextFinder(task), keeps_texts=True)
    for text, gold, predicted in rows:
        prompt = f"{ask or task.instruction}\n{text}\nAnswer:"
        answers(judged(prediction(prompt=prompt), gold, predicted))
    return floor_of(answers, DataFile("t.jsonl", labelled(*train)), task)


def test_the_svm_answers_the_same_rows():
    found = floor([("she laughed", JOY, JOY), ("she wept", SADNESS, INVALID)] * 10)

    assert found.metrics.accuracy == 1
    assert found.metrics.n == 20
    assert found.train_rows == 40
    assert found.comparison.accuracy_difference == -0.5
    assert (found.comparison.first_right, found.comparison.second_right) == (0, 10)
    assert found.comparison.p_value == pytest.approx(2 / 2**10)


def test_texts_in_chinese_are_told_apart_by_their_characters():
    task = Task(name="mood", labels=("好", "坏"), instruction="哪种心情？")
    train = [(f"今天我非常高兴极了{k}", "好") for k in range(9)]
    train += [(f"昨天他特别难过死了{k}", "坏") for k in range(9)]

    found = floor([("大家都很高兴", 0, 0), ("大家都很难过", 1, 0)] * 4, train=train, task=task)

    assert found.metrics.accuracy == 1


def test_characters_are_seen_where_they_help():
    stems = {"sadness": ("weep", "griev", "mourn"), "joy": ("laugh", "grinn", "smil")}
    endings = [f"{a}{b}" for a in "bcdfghklmnprstvz" for b in "aeiou"]
    rows = [
        (f"{stem}{endings[(7 * k + 20 * n) % len(endings)]}", label)
        for label, of_label in stems.items()
        for n, stem in enumerate(of_label)
        for k in range(20)
    ]
    asked = [("weepxx", SADNESS, SADNESS), ("grinnxx", JOY, JOY), ("smilxx", JOY, JOY)]

    assert (floor(asked).features, floor(asked, train=rows).features) == (WORDS, BOTH)
    assert floor(asked, train=rows).metrics.accuracy == 1


@pytest.mark.parametrize("rare", [0, 1, 2])
def test_labels_of_few_rows_stop_no_choice_of_features(rare):
    train = [*TRAIN, *[("i trembled", "fear")] * rare]

    assert floor([("she wept", SADNESS, JOY)], train=train).metrics.accuracy == 1
    few = [("i laughed", "joy"), ("i wept", "sadness")]
    assert floor([("she wept", SADNESS, JOY)], train=few).features == WORDS


def test_judged_rows_that_the_svm_was_fitted_on_are_counted():
    asked = [("i  wept 3", SADNESS, JOY), ("she wept", SADNESS, JOY), ("i wept 3", JOY, JOY)]

    assert floor(asked).rows_in_train == 2


def test_what_cannot_be_fitted_is_an_error():
    with pytest.raises(DataError, match="one label only"):
        floor([("a", JOY, JOY)], train=TRAIN[:20])
    with pytest.raises(DataError, match="no SVM can be fitted"):
        floor([("a", JOY, JOY)], train=[("?", "joy"), ("!", "love")])


def test_a_prompt_without_its_text_is_an_error_with_the_remedy():
    with pytest.raises(DataError, match=r"floor needs the texts.*source="):
        floor([("she wept", JOY, JOY)], ask="Which feeling?")
