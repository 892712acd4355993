"""The metrics that a run gets: whole labels while training, and of generated answers."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoTokenizer

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.plugin import registration
from llamafactory_emotion.plugin.metrics import (
    IGNORED,
    AnswerMetrics,
    GeneratedMetrics,
    generated_figures,
    task_of_gold,
)
from llamafactory_emotion.plugin.record import RecordOfTheRun
from llamafactory_emotion.task import EMOTION, Task

registration.register()

END = 1
JOY, FEAR, LOVE = 11, 12, 13
CUE = (20, 21)
_ = IGNORED


@pytest.fixture
def tokenizer(tiny_base: Any) -> Any:
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of LLaMA-Factory's supervised runs; its trainer shows what it was given."""
    module = SimpleNamespace(CustomSeq2SeqTrainer=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "llamafactory.train.sft.workflow", module)
    return module


def as_tensors(batch: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(**{name: torch.tensor(value) for name, value in vars(batch).items()})


def macro_f1(gold: Any, answers: Any, labels: Any) -> Any:
    macro = f1_score(gold, answers, labels=labels, average="macro", zero_division=0)
    return pytest.approx(macro, abs=1e-12)


class TestTheMetricOfARun:
    def prepare(self, tokenizer: Any, name: str) -> Any:
        return get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name))

    def trainer(self, workflow: Any, tokenizer: Any, name: str, **arguments: Any) -> Any:
        """Do what LLaMA-Factory's workflow does up to its trainer."""
        usual = {
            "args": SimpleNamespace(predict_with_generate=True),
            "data_collator": SimpleNamespace(template=self.prepare(tokenizer, name)),
            "tokenizer": tokenizer,
            "compute_metrics": similarity,
            "callbacks": ["theirs"],
        }
        return workflow.CustomSeq2SeqTrainer(**usual | arguments)

    def test_it_counts_labels_beside_llamafactorys_figures_when_the_run_generates(
        self, workflow, tokenizer
    ):
        made = self.trainer(workflow, tokenizer, "emotion")

        assert isinstance(made.compute_metrics, GeneratedMetrics)
        theirs, _record, rows_of_the_set = made.callbacks
        assert theirs == "theirs"
        for data, rows in (([1, 2, 3], 3), (iter([1]), None)):
            rows_of_the_set.on_prediction_step(eval_dataloader=SimpleNamespace(dataset=data))
            assert made.compute_metrics.rows == rows

    @pytest.mark.parametrize(("loggers", "logged"), [(["tensorboard"], 1), ([], 0)])
    def test_a_prediction_runs_figures_reach_its_loggers(
        self, workflow, tokenizer, loggers, logged
    ):
        said = []
        made = self.trainer(workflow, tokenizer, "emotion", log=said.append)
        figures = {"predict_accuracy": 0.5, "predict_f1_macro": 0.4, "predict_invalid": 0.0}
        arguments = SimpleNamespace(report_to=loggers)

        made.callbacks[-1].on_predict(arguments, None, None, {**figures, "predict_bleu-4": 9.0})

        assert said == [figures] * logged

    def test_it_counts_whole_labels_when_the_run_does_not_generate(self, workflow, tokenizer):
        training = SimpleNamespace(predict_with_generate=False)

        made = self.trainer(workflow, tokenizer, "emotion", args=training, callbacks=None)

        assert isinstance(made.compute_metrics, AnswerMetrics)

    def test_every_other_run_keeps_what_it_had_and_runs_may_take_turns(self, workflow, tokenizer):
        names = ("default", "emotion", "default", "emotion")

        made = []
        for name in names:
            made.append(self.trainer(workflow, tokenizer, name))
            # Nothing is replaced before a run has our template.
            assert (workflow.CustomSeq2SeqTrainer is SimpleNamespace) is (len(made) == 1)

        for theirs in made[::2]:
            assert theirs.compute_metrics is similarity
            assert theirs.callbacks == ["theirs"]
        assert made[1].compute_metrics is not made[3].compute_metrics
        assert len(made[3].callbacks) == 3

    def test_a_run_that_asks_for_no_metric_gets_the_record_alone(self, workflow, tokenizer):
        made = self.trainer(workflow, tokenizer, "emotion", compute_metrics=None)

        assert made.compute_metrics is None
        assert [type(one) for one in made.callbacks] == [str, RecordOfTheRun]

    def test_a_host_of_another_shape_is_one_warning_each(self, workflow, tokenizer, warnings):
        for _time in range(2):
            made = self.trainer(workflow, tokenizer, "emotion", data_collator=None)
            assert made.compute_metrics is similarity
        del workflow.CustomSeq2SeqTrainer
        for _time in range(2):
            self.prepare(tokenizer, "emotion")

        assert warnings == [
            "no accuracy of labels: CustomSeq2SeqTrainer has other arguments",
            "no accuracy of labels: llamafactory.train.sft.workflow has no CustomSeq2SeqTrainer",
        ]


def similarity(evaluated: Any, compute_result: bool = True) -> dict[str, float] | None:
    return {"bleu-4": 1.5} if compute_result else None


def evaluated(*rows):
    """Rows of (gold labels, tokens predicted for their positions), as a trainer hands them in."""
    width = max(len(gold) for gold, _ in rows)
    gold = np.full((len(rows), width), IGNORED)
    predicted = np.zeros((len(rows), width), dtype=np.int64)
    for number, (labels, answers) in enumerate(rows):
        gold[number, : len(labels)] = labels
        # The token at a position is predicted at the one before.
        predicted[number, : len(answers) - 1] = answers[1:]
    return SimpleNamespace(predictions=predicted, label_ids=gold)


def metrics(labels=((JOY,), (FEAR,), (LOVE,)), cue=()):
    return AnswerMetrics(end_id=END, labels=labels, cue=cue)


TOKENS = st.sampled_from([JOY, FEAR, LOVE])


class TestWholeLabels:
    @pytest.mark.parametrize(
        ("rows", "accuracy"),
        [
            # The end token does not count, nor does padding on either side.
            ([([_, JOY, END], [5, JOY, 7]), ([_, FEAR, END], [5, JOY, END])], 0.5),
            ([([_, _, JOY, END, _, _], [0, 0, JOY, END, 0, 0])], 1.0),
            ([([_, _, _, _, JOY, END], [0, 0, 0, 0, JOY, END])], 1.0),
        ],
        ids=["end token", "padded on the right", "padded on the left"],
    )
    def test_the_label_alone_counts(self, rows, accuracy):
        assert metrics()(evaluated(*rows))["accuracy"] == accuracy
        assert metrics()(as_tensors(evaluated(*rows)))["accuracy"] == accuracy

    def test_a_label_of_several_tokens_is_right_as_a_whole_or_not_at_all(self, warnings):
        batch = evaluated(
            ([_, JOY, 30, END], [0, JOY, 30, END]),
            ([_, JOY, 31, END], [0, JOY, 30, END]),
            ([_, FEAR, END], [0, FEAR, END]),
            ([_, JOY, 31, END], [0, FEAR, 31, END]),
        )

        assert metrics(((JOY, 30), (JOY, 31), (FEAR,)))(batch)["accuracy"] == 0.5
        assert "labels of several tokens" in warnings[0]

    def test_a_label_that_begins_another_must_end(self):
        """The greedy answer to the first row is the longer label, and the last row was cut."""
        batch = evaluated(
            ([_, JOY, END], [0, JOY, 30]),
            ([_, JOY, END], [0, JOY, END]),
            ([_, JOY, 30, END], [0, JOY, 30, 9]),
            ([_, FEAR, END], [0, FEAR, 30]),
            ([_, JOY], [0, JOY]),
        )

        figures = metrics(((JOY,), (JOY, 30), (FEAR,)))(batch)

        assert figures["accuracy"] == pytest.approx(4 / 5)

    def test_labels_that_the_task_lacks_are_taken_from_the_gold(self):
        batch = evaluated(([_, 40, END], [0, 40, END]), ([_, 41, END], [0, JOY, END]))

        assert metrics()(batch) == {"accuracy": 0.5, "f1_macro": 0.5}

    def test_where_the_prompt_bears_loss_too_the_answer_comes_after_the_cue(self):
        row = [_, 8, 9, *CUE, JOY, END, 8, 9, *CUE, 9, *CUE, FEAR, END]
        wrong_prompt = [0, 0, 0, 0, 0, JOY, END, 0, 0, 0, 0, 0, 0, 0, JOY, END]

        assert metrics(cue=CUE)(evaluated((row, wrong_prompt)))["accuracy"] == 0.5

    def test_a_set_without_answers_has_no_figure(self):
        assert np.isnan(list(metrics()(evaluated(([_, _, _], [0, 0, 0]))).values())).all()

    @pytest.mark.parametrize("at_once", [True, False])
    def test_rows_that_fill_up_the_last_batch_do_not_count_again(self, at_once):
        right, wrong = ([_, JOY, END], [0, JOY, END]), ([_, FEAR, END], [0, JOY, END])
        counted = metrics()
        counted.rows = 3

        for _time in range(2):
            if at_once:
                found = counted(evaluated(right, right, wrong, wrong, wrong))
            else:
                assert counted(evaluated(right, right), compute_result=False) is None
                found = counted(evaluated(wrong, wrong))
            assert found["accuracy"] == pytest.approx(2 / 3)

    @given(
        st.lists(st.tuples(TOKENS, st.one_of(TOKENS, st.just(99))), min_size=1), st.integers(1, 4)
    )
    def test_the_figures_are_scikit_learns(self, pairs, packed):
        rows = []
        for start in range(0, len(pairs), packed):
            part = pairs[start : start + packed]
            rows.append(
                (
                    [token for label, _answer in part for token in (_, _, label, END)],
                    [token for _label, answer in part for token in (0, 0, answer, END)],
                )
            )

        figures = metrics()(evaluated(*rows))

        gold, answers = zip(*pairs, strict=True)
        assert figures["accuracy"] == pytest.approx(accuracy_score(gold, answers), abs=1e-12)
        assert figures["f1_macro"] == macro_f1(gold, answers, [JOY, FEAR, LOVE])


def generated(tokenizer: Any, *rows: tuple[str, str]) -> SimpleNamespace:
    """Rows of (gold, answer) as the trainer hands them in: both padded, the prompt blanked."""
    gold = np.full((len(rows), 12), IGNORED)
    predicted = np.full((len(rows), 16), tokenizer.pad_token_id)
    for number, row in enumerate(rows):
        label, answer = (
            [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
            for text in row
        )
        gold[number, : len(label)] = label
        predicted[number, 4 : 4 + len(answer)] = answer
        predicted[number, 14:] = IGNORED
    return SimpleNamespace(predictions=predicted, label_ids=gold)


class TestGeneratedAnswers:
    @pytest.fixture
    def metrics(self, tokenizer: Any) -> GeneratedMetrics:
        get_template_and_fix_tokenizer(tokenizer, DataArguments(template="emotion"))
        return GeneratedMetrics(similarity, tokenizer)

    def test_answers_are_decoded_and_judged(self, metrics, tokenizer):
        rows = [(" joy", " joy"), (" fear", " joy"), (" love", " joy or love"), (" joy", " happy")]
        batch = generated(tokenizer, *rows)

        # Joy: two hits, three answered, two gold. All other labels of the task: none.
        expected = {"bleu-4": 1.5, "accuracy": 0.5, "f1_macro": 0.8 / 6, "invalid": 0.25}
        assert metrics(batch) == pytest.approx(expected)
        assert metrics(as_tensors(batch)) == pytest.approx(expected)

    @pytest.mark.parametrize("at_once", [True, False])
    def test_rows_that_fill_up_the_last_batch_are_not_counted(self, metrics, tokenizer, at_once):
        right, wrong = (" joy", " joy"), (" fear", " joy")
        metrics.rows = 3

        for _time in range(2):
            if at_once:
                figures = metrics(generated(tokenizer, right, right, wrong, wrong))
            else:
                assert metrics(generated(tokenizer, right, right), compute_result=False) is None
                figures = metrics(generated(tokenizer, wrong, wrong))
            assert figures["accuracy"] == pytest.approx(2 / 3)

    def test_rows_without_gold_labels_are_left_out_and_told(self, metrics, tokenizer, warnings):
        figures = metrics(generated(tokenizer, (" joy", " joy"), (" ", " fear")))
        none = metrics(generated(tokenizer, (" ", " fear")))

        assert figures["accuracy"] == 1.0
        assert none == {"bleu-4": 1.5}
        assert warnings == [
            "1 of 2 rows have no gold label: accuracy of the others",
            "1 of 1 rows have no gold label: no accuracy",
        ]

    def test_free_text_costs_the_figures_and_not_the_run(self, metrics, tokenizer, warnings):
        figures = metrics(generated(tokenizer, (" bliss", " joy"), (" bliss", " bliss")))

        assert figures == {"bleu-4": 1.5}
        (told,) = warnings
        assert "no accuracy of labels" in told


@pytest.mark.parametrize(
    ("gold", "labels"),
    [
        ([" joy", "fear "], EMOTION.labels),
        (["Joy"], EMOTION.labels),
        ([" positive", "negative", "positive"], ("negative", "positive")),
        (["joy", "positive"], ("joy", "positive")),
        (["1", "3"], ("1", "3")),  # ids of the emotion task elsewhere, here the answers themselves
        (["Yes", "no", "yes"], ("no", "yes")),
    ],
)
def test_the_gold_answers_say_which_task_it_is(gold, labels):
    assert task_of_gold(gold).labels == labels


def test_the_task_of_the_data_counts_with_its_words_and_labels_that_do_not_occur():
    task = Task("desks", ("Bug report", "Login", "Praise"), "?", words={"Bug report": "bug"})
    gold, said = ["bug", "Login"], ["bug report", "praise"]
    assert task_of_gold(gold, task) is task
    assert task_of_gold(["joy", "bug"], task).labels == ("bug", "joy")
    figures = generated_figures(said, gold, task)
    assert figures == pytest.approx({"accuracy": 0.5, "f1_macro": 1 / 3, "invalid": 0.0})


@pytest.mark.parametrize(
    ("gold", "why"),
    [
        (["bliss", "bliss"], "two labels or more"),
        (["one\ntwo", "three"], "line break"),
        ([f"free text {number}" for number in range(1_001)], "1,001 different gold answers"),
    ],
)
def test_gold_answers_that_are_no_label_set_are_named(gold, why):
    with pytest.raises(DataError, match=why):
        task_of_gold(gold)


LABELS = [*EMOTION.labels, "positive", "negative"]
SAID = st.sampled_from([*LABELS, "Answer: joy", "<think> joy", "no idea", ""])


@given(st.lists(st.tuples(st.sampled_from(LABELS), SAID), min_size=1))
def test_the_figures_of_generated_answers_are_scikit_learns(pairs):
    gold, said = zip(*pairs, strict=True)
    if len({*gold}) == 1 and gold[0] not in EMOTION.labels:
        return
    labels = EMOTION.labels if set(gold) <= {*EMOTION.labels} else sorted({*gold})
    answers = [one.removeprefix("Answer: ") for one in said]
    answers = [one if one in labels else "invalid" for one in answers]

    figures = generated_figures(said, gold)

    assert figures["accuracy"] == pytest.approx(accuracy_score(gold, answers), abs=1e-12)
    assert figures["invalid"] == pytest.approx(answers.count("invalid") / len(answers), abs=1e-12)
    assert figures["f1_macro"] == macro_f1(gold, answers, labels)
