"""The metrics that a run gets, and the figures of generated answers, against scikit-learn."""

import logging
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoTokenizer

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.plugin import registration
from llamafactory_emotion.plugin.generated import generated_figures, task_of_gold
from llamafactory_emotion.plugin.run_metrics import GeneratedMetrics
from llamafactory_emotion.plugin.training_metric import IGNORED, AnswerMetrics
from llamafactory_emotion.task import EMOTION

registration.register()


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
def test_the_figures_are_scikit_learns(pairs):
    gold, said = zip(*pairs, strict=True)
    if len({*gold}) == 1 and gold[0] not in EMOTION.labels:
        return
    labels = EMOTION.labels if set(gold) <= {*EMOTION.labels} else sorted({*gold})
    answers = [one.removeprefix("Answer: ") for one in said]
    answers = [one if one in labels else "invalid" for one in answers]

    figures = generated_figures(said, gold)

    assert figures["accuracy"] == pytest.approx(accuracy_score(gold, answers), abs=1e-12)
    assert figures["invalid"] == pytest.approx(answers.count("invalid") / len(answers), abs=1e-12)
    macro = f1_score(gold, answers, labels=labels, average="macro", zero_division=0)
    assert figures["f1_macro"] == pytest.approx(macro, abs=1e-12)


@pytest.fixture
def tokenizer(tiny_base: Any) -> Any:
    return AutoTokenizer.from_pretrained(tiny_base)


def template_of(tokenizer: Any, name: str) -> Any:
    return get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name))


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of LLaMA-Factory's supervised runs; its trainer shows what it was given."""
    module = SimpleNamespace(CustomSeq2SeqTrainer=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "llamafactory.train.sft.workflow", module)
    return module


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged where LLaMA-Factory's terminal and web page show it."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("llamafactory.emotion")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def similarity(evaluated: Any, compute_result: bool = True) -> dict[str, float] | None:
    return {"bleu-4": 1.5} if compute_result else None


def trainer(workflow: Any, tokenizer: Any, name: str, **arguments: Any) -> Any:
    """Do what LLaMA-Factory's workflow does up to its trainer."""
    template = template_of(tokenizer, name)
    return workflow.CustomSeq2SeqTrainer(
        **{
            "args": SimpleNamespace(predict_with_generate=True),
            "data_collator": SimpleNamespace(template=template),
            "tokenizer": tokenizer,
            "compute_metrics": similarity,
            "callbacks": ["theirs"],
        }
        | arguments
    )


class TestTheMetricOfARun:
    def test_it_counts_labels_beside_llamafactorys_figures_when_the_run_generates(
        self, workflow, tokenizer
    ):
        made = trainer(workflow, tokenizer, "emotion")

        assert isinstance(made.compute_metrics, GeneratedMetrics)
        theirs, rows_of_the_set = made.callbacks
        assert theirs == "theirs"
        for data, rows in (([1, 2, 3], 3), (iter([1]), None)):
            rows_of_the_set.on_prediction_step(eval_dataloader=SimpleNamespace(dataset=data))
            assert made.compute_metrics.rows == rows

    def test_it_counts_whole_labels_when_the_run_does_not_generate(self, workflow, tokenizer):
        training = SimpleNamespace(predict_with_generate=False)

        made = trainer(workflow, tokenizer, "emotion", args=training, callbacks=None)

        assert isinstance(made.compute_metrics, AnswerMetrics)

    def test_every_other_run_keeps_what_it_had_and_runs_may_take_turns(self, workflow, tokenizer):
        names = ("default", "emotion", "default", "emotion")

        made = [trainer(workflow, tokenizer, name) for name in names]

        for theirs in made[::2]:
            assert theirs.compute_metrics is similarity
            assert theirs.callbacks == ["theirs"]
        assert made[1].compute_metrics is not made[3].compute_metrics
        assert len(made[3].callbacks) == 2

    def test_nothing_is_replaced_before_a_run_has_our_template(self, workflow, tokenizer):
        trainer(workflow, tokenizer, "default")

        assert workflow.CustomSeq2SeqTrainer is SimpleNamespace

    def test_a_run_that_asks_for_no_metric_gets_none(self, workflow, tokenizer):
        made = trainer(workflow, tokenizer, "emotion", compute_metrics=None)

        assert made.compute_metrics is None
        assert made.callbacks == ["theirs"]

    def test_a_trainer_with_other_arguments_is_one_warning(self, workflow, tokenizer, warnings):
        for _time in range(2):
            made = trainer(workflow, tokenizer, "emotion", data_collator=None)
            assert made.compute_metrics is similarity

        assert warnings == ["no accuracy of labels: CustomSeq2SeqTrainer has other arguments"]

    def test_a_workflow_without_that_name_is_one_warning(self, workflow, tokenizer, warnings):
        del workflow.CustomSeq2SeqTrainer

        for _time in range(2):
            template_of(tokenizer, "emotion")

        assert len(warnings) == 1
        assert "has no CustomSeq2SeqTrainer" in warnings[0]


def generated(tokenizer: Any, *rows: tuple[str, str]) -> SimpleNamespace:
    """Rows of (gold, answer) as the trainer hands them in: both padded, the prompt blanked."""
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    encoded = [
        [[*tokenizer.encode(text, add_special_tokens=False), end] for text in row] for row in rows
    ]
    gold = np.full((len(rows), 12), IGNORED)
    predicted = np.full((len(rows), 16), pad)
    for number, (label, answer) in enumerate(encoded):
        gold[number, : len(label)] = label
        predicted[number, 4 : 4 + len(answer)] = answer
        predicted[number, 14:] = IGNORED
    return SimpleNamespace(predictions=predicted, label_ids=gold)


class TestGeneratedAnswers:
    @pytest.fixture
    def metrics(self, tokenizer: Any) -> GeneratedMetrics:
        template_of(tokenizer, "emotion")
        return GeneratedMetrics(similarity, tokenizer)

    def test_answers_are_decoded_and_judged(self, metrics, tokenizer):
        rows = [(" joy", " joy"), (" fear", " joy"), (" love", " joy or love"), (" joy", " happy")]

        figures = metrics(generated(tokenizer, *rows))

        # Joy: two hits, three answered, two gold. All other labels of the task: none.
        expected = {"bleu-4": 1.5, "accuracy": 0.5, "f1_macro": 0.8 / 6, "invalid": 0.25}
        assert figures == pytest.approx(expected)

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

        assert figures["accuracy"] == 1.0
        assert warnings == ["1 of 2 rows have no gold label: accuracy of the others"]

    def test_free_text_costs_the_figures_and_not_the_run(self, metrics, tokenizer, warnings):
        figures = metrics(generated(tokenizer, (" bliss", " joy"), (" bliss", " bliss")))

        assert figures == {"bleu-4": 1.5}
        (told,) = warnings
        assert "no accuracy of labels" in told

    def test_tensors_are_taken_too(self, metrics, tokenizer):
        torch = pytest.importorskip("torch")
        batch = generated(tokenizer, (" joy", " joy"))
        as_tensors = {name: torch.tensor(values) for name, values in vars(batch).items()}

        assert metrics(SimpleNamespace(**as_tensors))["accuracy"] == 1.0
