"""The classifier as a pipeline, as a scikit-learn estimator and as a batch callable."""

import pickle

import numpy as np
import pytest
from random_models import TEXTS
from sklearn.base import clone, is_classifier
from sklearn.metrics import log_loss

from llamafactory_emotion.classifier import EmotionClassifier
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.scoring.scorer import open_scorer
from llamafactory_emotion.task import EMOTION

SORTED = ["anger", "fear", "joy", "love", "sadness", "surprise"]
GOLD = np.array([EMOTION.labels[row % 6] for row in range(len(TEXTS))])


@pytest.fixture(scope="module")
def classifier(model):
    return EmotionClassifier.from_pretrained(model)


def test_it_answers_as_the_pipeline_does(classifier):
    best = classifier(TEXTS[0])
    every = classifier(TEXTS[0], top_k=None)
    scores = [entry["score"] for entry in every]

    assert best == every[:1]
    assert set(best[0]) == {"label", "score"}
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)
    assert sorted(entry["label"] for entry in every) == SORTED
    for several, text in zip(classifier(list(TEXTS)), TEXTS, strict=True):
        alone = classifier(text)[0]
        assert several["label"] == alone["label"]
        assert several["score"] == pytest.approx(alone["score"], abs=1e-5)
    assert [len(row) for row in classifier(TEXTS[:2], top_k=3)] == [3, 3]
    assert classifier([TEXTS[0]], top_k=1) == [best]
    assert classifier([]) == []
    with pytest.raises(CallError, match="top_k is 0"):
        classifier(TEXTS, top_k=0)


def test_a_changed_parameter_is_followed(model):
    changed = EmotionClassifier.from_pretrained(model)
    before = changed.predict_proba(TEXTS)
    loaded = changed.scorer
    changed.set_params(text_column="words")
    assert changed.scorer is loaded

    changed.set_params(calibrate=True)

    wanted = EmotionClassifier(model, calibrate=True).predict_proba(TEXTS)
    assert np.abs(wanted - before).max() > 1e-3
    np.testing.assert_allclose(changed.predict_proba(TEXTS), wanted, atol=1e-6)


def test_a_task_file_is_read_once(model, tmp_path):
    task = tmp_path / "task.yaml"
    task.write_text("name: t\ninstruction: Say it.\nlabels: [joy, anger]\n")
    classifier = EmotionClassifier.from_pretrained(model, task=str(task))
    task.unlink()

    assert classifier.classes_.tolist() == ["anger", "joy"]
    assert classifier.predict_proba(TEXTS).shape == (len(TEXTS), 2)
    with pytest.raises(CallError, match="neither built in"):
        classifier.set_params(task="moods").predict(TEXTS)


def test_it_has_the_shapes_of_the_pipeline(classifier, classifier_folder):
    from transformers import pipeline

    theirs = pipeline("text-classification", model=str(classifier_folder), device="cpu")

    def shape(value):
        if isinstance(value, dict):
            return {key: type(entry) for key, entry in value.items()}
        return [shape(entry) for entry in value]

    for inputs in (TEXTS[0], list(TEXTS[:2])):
        assert shape(classifier(inputs)) == shape(theirs(inputs))
        for top_k in (None, 1, 2):
            ours = classifier(inputs, top_k=top_k)
            assert shape(ours) == shape(theirs(inputs, top_k=top_k))


def test_probabilities_are_the_scores_and_scikit_learns_log_loss_takes_them(classifier, model):
    probabilities = classifier.predict_proba(TEXTS)
    logarithms = classifier.predict_log_proba(TEXTS)
    wanted = -np.mean([logarithms[row, SORTED.index(gold)] for row, gold in enumerate(GOLD)])

    scores = open_scorer(model).score(TEXTS).probabilities
    for column, label in enumerate(SORTED):
        wanted_column = scores[:, EMOTION.labels.index(label)]
        np.testing.assert_allclose(probabilities[:, column], wanted_column, atol=1e-6)
    assert classifier.classes_.tolist() == SORTED
    np.testing.assert_allclose(np.log(probabilities), logarithms, atol=1e-9)
    assert log_loss(GOLD, probabilities, labels=classifier.classes_) == pytest.approx(wanted)
    assert classifier.predict(TEXTS).tolist() == [
        SORTED[best] for best in probabilities.argmax(axis=1)
    ]
    assert classifier.score(TEXTS, GOLD) == np.mean(classifier.predict(TEXTS) == GOLD)


def test_scikit_learn_knows_it_as_a_classifier(classifier, model):
    assert is_classifier(classifier)
    copy = clone(EmotionClassifier(model, cutoff_len=99))
    assert copy.get_params()["cutoff_len"] == 99
    assert copy.fit(TEXTS, GOLD).predict(TEXTS[:1]).shape == (1,)


def test_it_is_pickled_by_path(classifier):
    carried = pickle.dumps(classifier)
    again = pickle.loads(carried)
    assert len(carried) < 2000
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_a_batch_of_columns_gets_two_more(classifier, model):
    batch = {"id": np.arange(len(TEXTS)), "sentence": np.array(TEXTS, dtype=object)}
    found = EmotionClassifier(model, text_column="sentence")(batch)
    assert list(found) == ["id", "sentence", "predict", "probabilities"]
    assert found["predict"].tolist() == classifier.predict(TEXTS).tolist()
    np.testing.assert_allclose(found["probabilities"], classifier.predict_proba(TEXTS), atol=1e-6)
    with pytest.raises(CallError, match="no column 'text', only id, sentence"):
        classifier(batch)


def test_what_is_no_text_is_refused(classifier):
    with pytest.raises(DataError, match="text 1 is None, not text"):
        classifier.predict(["fine", None])
    with pytest.raises(DataError, match=r"text 0 is '.ud800', not text"):
        classifier.predict(["\ud800"])
    with pytest.raises(CallError, match="put it in a list"):
        classifier.predict("fine")
