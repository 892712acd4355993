"""Predictions against their source and against the training data, on rows one can count."""

from dataclasses import dataclass

import numpy as np
import pytest

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.evaluate.rows import SourceJoin, TrainLookup, confused_pairs
from llamafactory_emotion.evaluate.texts import TextFinder
from llamafactory_emotion.metrics.counts import metrics_of
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.task import EMOTION

SADNESS, JOY, LOVE, INVALID = 0, 1, 2, 6


@dataclass
class Row:
    text: str
    label: str
    line: int = 0


def data(*pairs):
    return [Row(text, label, line) for line, (text, label) in enumerate(pairs, start=1)]


def prediction(line, text, label="joy", **more):
    prompt = f"{EMOTION.instruction}\n{text}\nAnswer:"
    return Prediction(line, "joy", label, prompt, None, None, None)._replace(**more)


def join(source, predictions):
    broken = BrokenRows("p.jsonl")
    joiner = SourceJoin(source, EMOTION, name="s.jsonl", finder=TextFinder(EMOTION))
    rows = list(joiner.correct(predictions, broken))
    return rows, joiner.result(), broken


def test_every_kind_of_misfit_is_counted_and_listed():
    source = data(("a a", "joy"), ("b", "love"), ("c", "fear"), ("d", "joy"))
    predictions = [
        prediction(1, "a  a"),
        prediction(2, "b", " joy"),
        prediction(3, "a a"),
        prediction(4, "x"),
        prediction(5, "d", None),
    ]

    rows, check, broken = join(source, predictions)

    assert [(row.line, row.label) for row in rows] == [(1, "joy"), (2, "love"), (5, "joy")]
    assert (check.source_rows, check.matched, broken.total) == (4, 3, 0)
    assert (check.missing.count, check.missing.first) == (1, ((3, "c"),))
    assert check.repeated.first == ((3, "a a"),)
    assert check.extra.first == ((4, "x"),)
    assert check.other_gold.count == 1
    assert "'joy' in the predictions, 'love' in the source: b" in check.other_gold.first[0][1]


def test_a_text_that_repeats_in_the_source_takes_the_row_with_its_label_first():
    source = data(("a", "joy"), ("a", "love"), ("a", "joy"))
    predictions = [prediction(1, "a", "love"), prediction(2, "a"), prediction(3, "a")]

    rows, check, _ = join(source, [*predictions, prediction(4, "a")])

    assert [row.label for row in rows] == ["love", "joy", "joy"]
    assert check.other_gold.count == 0
    assert check.repeated.count == 1


@pytest.mark.parametrize("own", ["love<|eot_id|>", " love</s>\n"])
def test_end_tokens_behind_a_gold_label_make_it_no_other_label(own):
    source = data(("a", "love"), ("a", "joy"))

    rows, check, _ = join(source, [prediction(1, "a", own), prediction(2, "a", "joy<|eot_id|>")])

    assert [row.label for row in rows] == ["love", "joy"]
    assert check.other_gold.count == 0


def test_lists_are_short_and_counts_whole():
    source = data(*((f"text {k}", "joy") for k in range(500)))

    _, check, _ = join(source, [prediction(1, "text 0")])

    assert check.missing.count == 499
    assert len(check.missing.first) == 10


def test_a_label_outside_the_task_is_a_label_that_differs():
    rows, check, _ = join(data(("a", "joy")), [prediction(1, "a", "neutral")])

    assert rows[0].label == "joy"
    assert "'neutral' in the predictions" in check.other_gold.first[0][1]


def test_a_row_without_a_prompt_is_broken():
    rows, _, broken = join(
        data(("a", "joy")), [prediction(1, "a"), prediction(2, "a", prompt=None)]
    )

    assert len(rows) == 1
    assert "hold no text" in broken.describe()


def test_another_prompt_is_learned_from_the_source():
    source = data(("i laughed", "joy"), ("i wept", "sadness"))
    asked = [prediction(k, "", prompt=f"Feeling of: {row.text}?") for k, row in enumerate(source)]

    rows, check, _ = join(source, asked)

    assert check.matched == 2
    assert [row.label for row in rows] == ["joy", "sadness"]


@pytest.mark.parametrize("prompt", [f"{EMOTION.instruction}\nz", "Which feeling?"])
def test_the_wrong_source_is_an_error_with_the_remedy(prompt):
    with pytest.raises(DataError, match=r"No row of p\.jsonl stands in s\.jsonl"):
        join(data(("a", "joy")), [prediction(1, "", prompt=prompt)])


def test_many_rows_of_one_text_take_time_in_proportion():
    source = data(*[("a", "joy")] * 50_000)

    rows, _, _ = join(source, (prediction(k, "a", "love") for k in range(50_000)))

    assert len(rows) == 50_000


def judged(text, gold, predicted, line=1):
    return Judged(prediction(line, text), gold, (predicted,), None, None)


def lookup(train, *rows):
    watcher = TrainLookup(train, EMOTION, name="t.jsonl", finder=TextFinder(EMOTION))
    for row in rows:
        watcher(row)
    return watcher.result(seed=0)


def test_errors_are_explained_by_train():
    train = data(("a", "love"), ("b", "joy"), ("c", "joy"), ("c", "love"))

    found = lookup(
        train,
        judged("a", JOY, LOVE, line=1),  # wrong, as trained
        judged("a", JOY, INVALID, line=2),  # wrong, train says otherwise
        judged("a", JOY, JOY, line=3),  # right although train says otherwise
        judged("b", JOY, LOVE, line=4),  # wrong, train agrees with gold
        judged("c", JOY, LOVE, line=5),  # wrong, train says both
        judged("z", JOY, SADNESS, line=6),  # wrong, not in train
        judged("y", JOY, JOY, line=7),
    )

    assert (found.rows_in_train, found.rows_other_label) == (5, 4)
    assert (found.errors, found.errors_in_train) == (5, 4)
    assert (found.errors_other_label, found.errors_as_trained) == (3, 2)
    assert [line for line, _ in found.examples.first] == [1, 2, 5]
    assert "'joy', in train love: a" in found.examples.first[0][1]
    assert (found.clean.n, found.clean.accuracy) == (2, 0.5)


def test_no_clean_rows_and_no_texts():
    assert lookup(data(("a", "joy")), judged("a", JOY, JOY)).clean is None
    blind = Judged(prediction(1, "", prompt="Which?"), JOY, (JOY,), None, None)
    assert lookup(data(("a", "joy")), blind, judged("a", JOY, JOY)).rows_without_text == 1
    with pytest.raises(DataError, match="--train needs the texts"):
        lookup(data(("a", "joy")), blind)


def test_confused_pairs_are_sorted_and_shares_are_of_all_errors():
    table = np.array([[5, 3, 0, 1], [4, 5, 0, 0], [0, 0, 2, 0]])

    pairs = confused_pairs(metrics_of(("a", "b", "c"), table))

    assert [(pair.gold, pair.predicted, pair.count) for pair in pairs] == [
        ("b", "a", 4),
        ("a", "b", 3),
    ]
    assert pairs[0].share == 0.5
