"""A row's label and answer become two indices, under each match rule."""

import pytest
from evaluations import prediction, row

from llamafactory_emotion.evaluate.judging import AnswerJudge
from llamafactory_emotion.predictions.reading import BrokenRows
from llamafactory_emotion.task import EMOTION

INVALID = len(EMOTION.labels)


def judged(*pairs, match):
    rows = [prediction(label=gold, predict=answer) for gold, answer in pairs]
    return list(AnswerJudge(EMOTION, match=match).judge(rows, BrokenRows("p")))


@pytest.mark.parametrize(
    ("answer", "by_rule"),
    [
        ("joy", (1, 1, 1)),
        ("The answer is joy.", (1, INVALID, 1)),
        ("joy or love", (INVALID, INVALID, 1)),
        ("**love**", (2, INVALID, 2)),
        ("anger or fear", (INVALID, INVALID, INVALID)),
        ("", (INVALID, INVALID, INVALID)),
    ],
)
def test_match_rules(answer, by_rule):
    (one,) = judged(("joy", answer), match="all")

    assert one.predicted == by_rule  # flexible, strict, contains
    for rule, index in zip(("flexible", "strict", "contains"), by_rule, strict=True):
        (alone,) = judged(("joy", answer), match=rule)
        assert alone.predicted == (index,)
        assert (alone.reason is None) == (index != INVALID)


def test_the_reason_is_that_of_the_rule_that_counts():
    found = judged(("joy", "a love!"), ("joy", "?"), match="all")

    assert [one.predicted for one in found] == [(2, 6, 2), (6, 6, 6)]
    assert [one.reason for one in found] == [None, "empty"]


def test_long_answers_and_more_answers_than_are_remembered_are_judged_alike():
    pairs = [("joy", f"{answer} {k}") for k in range(9_000) for answer in ("joy", "")]
    pairs += [("joy", "joy" + "!" * 500)]

    found = judged(*pairs, *pairs, match="flexible")

    assert [one.predicted[0] for one in found[:18_001]] == [1, INVALID] * 9_000 + [1]
    assert [one[1:] for one in found[18_001:]] == [one[1:] for one in found[:18_001]]


@pytest.mark.parametrize(
    ("broken", "saying"),
    [
        ('{"predict": "joy", "label"', "not JSON"),
        ({"label": "joy"}, 'have no "predict"'),
        ({"predict": "joy"}, "have no gold label"),
        (row("joy", "joy", probabilities={"joy": 0.5}), "for other labels"),
        ('{"predict": "joy", "label": NaN}', "have no gold label"),
        (row("<think>\n\n</think>\n\n<|im_end|>", "joy"), "have no gold label"),
        *((row(gold, "joy"), "label outside") for gold in ("9" * 5000, " " * 200_000 + "x")),
        (row("<|" * 100_000, "joy"), "label outside"),
        (row("<think>\nIt is", "joy"), "label outside"),
    ],
    ids=[
        *("cut", "no answer", "no label", "other", "NaN"),
        *("blank", "digits", "spaces"),
        "tokens",
        "thinking",
    ],
)
def test_broken_rows_stop_or_are_counted(predictions, capsys, fails, figures, broken, saying):
    path = predictions(row("joy", "joy"), broken)

    assert saying in fails(path, code=1, saying=f"{path}:2")
    found = figures(path, "--skip-broken")

    assert (found["n"], found["broken"]) == (1, 1)
    assert saying in str(found["broken_kinds"])
    assert "left out           1 broken rows: 1 " in capsys.readouterr().out


def test_rows_without_gold_are_an_error_and_all_of_them_counted(predictions, fails):
    path = predictions(row("joy", "joy"), *[row("neutral", "joy")] * 3, row("disgust", "joy"))

    error = fails(path, code=1, saying="label outside the task 'emotion'")

    assert "'emotion' (the default, as nothing here names a task; name another with task=" in error
    assert "labels=): 'neutral' (3), 'disgust' (1)" in error
    assert f"{path}:2" in error
