"""Whole labels counted while training: packed rows, padding, labels of several tokens."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from llamafactory_emotion.plugin.training_metric import IGNORED, AnswerMetrics

END = 1
JOY, FEAR, LOVE = 11, 12, 13
CUE = (20, 21)
_ = IGNORED


def evaluated(*rows):
    """Rows of (gold labels, tokens predicted in their place), as a trainer hands them in."""
    width = max(len(gold) for gold, _ in rows)
    gold = np.full((len(rows), width), IGNORED)
    predicted = np.zeros((len(rows), width), dtype=np.int64)
    for number, (labels, answers) in enumerate(rows):
        gold[number, : len(labels)] = labels
        # What is predicted for a place stands one place before it.
        predicted[number, : len(answers) - 1] = answers[1:]
    return SimpleNamespace(predictions=predicted, label_ids=gold)


def metrics(labels=((JOY,), (FEAR,), (LOVE,)), cue=()):
    return AnswerMetrics(end_id=END, labels=labels, cue=cue)


def test_the_end_token_does_not_count():
    batch = evaluated(
        ([_, _, _, JOY, END], [5, 5, 5, JOY, 7]),
        ([_, _, _, FEAR, END], [5, 5, 5, JOY, END]),
    )

    assert metrics()(batch)["accuracy"] == 0.5


@pytest.mark.parametrize(
    "row",
    [
        ([_, _, JOY, END, _, _], [0, 0, JOY, END, 0, 0]),
        ([_, _, _, _, JOY, END], [0, 0, 0, 0, JOY, END]),
    ],
    ids=["padded on the right", "padded on the left"],
)
def test_padding_on_either_side_changes_nothing(row):
    assert metrics()(evaluated(row))["accuracy"] == 1.0


@pytest.mark.parametrize("at_once", [True, False])
def test_rows_that_fill_up_the_last_batch_do_not_count_again(at_once):
    right, wrong = ([_, JOY, END], [0, JOY, END]), ([_, FEAR, END], [0, JOY, END])
    counted = metrics()
    counted.rows = 3

    for _time in range(2):
        if at_once:
            found = counted(evaluated(right, right, wrong, wrong, wrong))
        else:
            assert counted(evaluated(right, right), compute_result=False) is None
            found = counted(evaluated(wrong, wrong, wrong))
        assert found["accuracy"] == pytest.approx(2 / 3)


def test_packed_rows_count_one_by_one():
    gold = [_, _, JOY, END, _, FEAR, END, _, _, _, LOVE, END, _]
    predicted = [0, 0, JOY, END, 0, JOY, END, 0, 0, 0, LOVE, 9, 0]

    figures = metrics()(evaluated((gold, predicted)))

    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["f1_macro"] == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_a_label_of_several_tokens_is_right_as_a_whole_or_not_at_all(caplog):
    labels = ((JOY, 30), (JOY, 31), (FEAR,))
    batch = evaluated(
        ([_, JOY, 30, END], [0, JOY, 30, END]),
        ([_, JOY, 31, END], [0, JOY, 30, END]),
        ([_, FEAR, END], [0, FEAR, END]),
        ([_, JOY, 31, END], [0, FEAR, 31, END]),
    )

    with caplog.at_level(logging.WARNING):
        figures = metrics(labels)(batch)

    assert figures["accuracy"] == 0.5
    assert "labels of several tokens" in caplog.text


def test_a_label_that_begins_another_must_end():
    """The greedy answer to the first row is the longer label, and the last row was cut."""
    labels = ((JOY,), (JOY, 30), (FEAR,))
    batch = evaluated(
        ([_, JOY, END], [0, JOY, 30]),
        ([_, JOY, END], [0, JOY, END]),
        ([_, JOY, 30, END], [0, JOY, 30, 9]),
        ([_, FEAR, END], [0, FEAR, 30]),
        ([_, JOY], [0, JOY]),
    )

    assert metrics(labels)(batch)["accuracy"] == pytest.approx(4 / 5)


def test_labels_that_the_task_lacks_are_taken_from_the_gold():
    batch = evaluated(([_, 40, END], [0, 40, END]), ([_, 41, END], [0, JOY, END]))

    assert metrics()(batch) == {"accuracy": 0.5, "f1_macro": 0.5}


def test_a_class_of_the_task_without_rows_counts_in_macro_f1():
    assert metrics()(evaluated(([_, JOY, END], [0, JOY, END])))["f1_macro"] == pytest.approx(1 / 3)


def test_where_the_prompt_bears_loss_too_the_answer_stands_after_the_cue():
    row = [_, 8, 9, *CUE, JOY, END, 8, 9, *CUE, 9, *CUE, FEAR, END]
    wrong_prompt = [0, 0, 0, 0, 0, JOY, END, 0, 0, 0, 0, 0, 0, 0, JOY, END]

    assert metrics(cue=CUE)(evaluated((row, wrong_prompt)))["accuracy"] == 0.5


def test_batch_by_batch_gives_what_all_at_once_gives():
    rows = [
        ([_, JOY, END], [0, JOY, END]),
        ([_, FEAR, END], [0, JOY, END]),
        ([_, LOVE, END], [0, LOVE, END]),
    ]
    stepwise = metrics()

    assert stepwise(evaluated(rows[0]), compute_result=False) is None
    assert stepwise(evaluated(*rows[1:]), compute_result=True) == metrics()(evaluated(*rows))
    assert stepwise(evaluated(rows[0]))["accuracy"] == 1.0, "the state of one set leaks into it"


def test_a_set_without_answers_has_no_figure():
    figures = metrics()(evaluated(([_, _, _], [0, 0, 0])))

    assert np.isnan(figures["accuracy"])
    assert np.isnan(figures["f1_macro"])


def test_tensors_are_taken_too():
    torch = pytest.importorskip("torch")
    batch = evaluated(([_, JOY, END], [0, JOY, END]))
    as_tensors = SimpleNamespace(
        predictions=torch.tensor(batch.predictions), label_ids=torch.tensor(batch.label_ids)
    )

    assert metrics()(as_tensors)["accuracy"] == 1.0


TOKENS = st.sampled_from([JOY, FEAR, LOVE])


@given(st.lists(st.tuples(TOKENS, st.one_of(TOKENS, st.just(99))), min_size=1), st.integers(1, 4))
def test_the_figures_are_scikit_learns(pairs, packed):
    rows = []
    for start in range(0, len(pairs), packed):
        gold, predicted = [], []
        for label, answer in pairs[start : start + packed]:
            gold += [_, _, label, END]
            predicted += [0, 0, answer, END]
        rows.append((gold, predicted))

    figures = metrics()(evaluated(*rows))

    gold, answers = zip(*pairs, strict=True)
    assert figures["accuracy"] == pytest.approx(accuracy_score(gold, answers), abs=1e-12)
    assert figures["f1_macro"] == pytest.approx(
        f1_score(gold, answers, labels=[JOY, FEAR, LOVE], average="macro", zero_division=0),
        abs=1e-12,
    )
