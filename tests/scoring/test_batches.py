"""Batches: neither their composition nor a lack of memory changes a score."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import TEXTS, before_each_run, random_model, scorer_of, tokenizer_of

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.scoring.batches import Scores

EXACT = 1e-5


@pytest.fixture(scope="module")
def property_scorers():
    model = random_model("mistral")
    return [scorer_of(model), scorer_of(model, tokenizer_of(one_token_labels=False))]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.text(max_size=60) | st.sampled_from(TEXTS), min_size=2, max_size=9),
    order=st.randoms(use_true_random=False),
    budget=st.integers(1, 200),
)
def test_batch_and_order_do_not_change_a_result(property_scorers, texts, order, budget):
    for scorer in property_scorers:
        scorer.tokens_per_batch = 10_000
        alone = [scorer.score([text]) for text in texts]
        shuffled = list(range(len(texts)))
        order.shuffle(shuffled)
        scorer.tokens_per_batch = budget
        found = scorer.score([texts[row] for row in shuffled])
        wanted = np.concatenate([alone[row].log_scores for row in shuffled])
        np.testing.assert_allclose(found.log_scores, wanted, atol=EXACT, rtol=1e-6)


def test_running_out_of_memory_halves_the_budget_and_goes_on():
    scorer = scorer_of(random_model("llama"), tokens_per_batch=200)
    wanted = scorer.score(TEXTS).log_scores
    most, sizes = 60, []

    def little_memory(keywords):
        sizes.append(keywords["input_ids"].numel())
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("out of memory")

    before_each_run(scorer.loaded.model, little_memory)
    found = scorer.score(TEXTS).log_scores

    assert max(sizes) > most
    assert scorer.tokens_per_batch < 100
    np.testing.assert_allclose(found, wanted, atol=EXACT)
    most = 3
    with pytest.raises(ModelError, match="memory does not suffice for a single text of"):
        scorer.score(TEXTS)


def test_probabilities_do_not_underflow_and_a_tie_goes_to_the_first_label():
    scores = Scores(("a", "b", "c"), np.array([[0, -2000, 0], [1, 3, 2]], dtype=np.float32))
    assert scores.predictions == ("a", "b")
    assert scores.margins.tolist() == [0, 1]
    np.testing.assert_allclose(scores.probabilities[0], [0.5, 0, 0.5])
    np.testing.assert_allclose(scores.log_probabilities[0, 1], -2000 - np.log(2))
