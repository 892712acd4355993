"""Label scores: logits, log-likelihoods, their lengths and corrections; others judge them."""

import numpy as np
import pytest
from random_models import TEXTS, random_model, scorer_of, tokenizer_of

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring.scorer import CONTENT_FREE_TEXTS
from llamafactory_emotion.task import EMOTION, Task

EXACT = 1e-5


def test_contents_with_another_instruction_are_scored_with_it():
    model = random_model("llama")
    task = Task("other", EMOTION.labels, "Say what is felt.")
    contents = [task.user_content(text) for text in TEXTS]
    scorer = scorer_of(model, log_likelihoods=True)
    found = scorer.score_prompts(scorer.encode_contents(contents)).log_scores
    wanted = scorer_of(model, task=task, log_likelihoods=True).score(TEXTS).log_scores
    np.testing.assert_allclose(found, wanted, atol=EXACT)


def test_lengths_divide_log_likelihoods():
    tokenizer, model = tokenizer_of(one_token_labels=False), random_model("llama")
    plain = scorer_of(model, tokenizer).score(TEXTS).log_scores
    tokens = scorer_of(model, tokenizer, normalize="tokens")
    of_bytes = scorer_of(model, tokenizer, normalize="bytes").score(TEXTS).log_scores

    lengths = [len(ids) for ids in tokens.encoder.label_ids]
    assert len(set(lengths)) > 1
    np.testing.assert_allclose(tokens.score(TEXTS).log_scores, plain / lengths, rtol=1e-5)
    np.testing.assert_allclose(of_bytes, plain / [7, 3, 4, 5, 4, 8], rtol=1e-5)
    with pytest.raises(
        CallError, match="normalize=words is no rule; write one of none, tokens, bytes"
    ):
        scorer_of(model, tokenizer, normalize="words")


def test_calibration_makes_inputs_without_content_even():
    model = random_model("llama")
    plain, calibrated = scorer_of(model), scorer_of(model, calibrate=True)
    prior = plain.score(CONTENT_FREE_TEXTS).probabilities.mean(axis=0)
    wanted = plain.score(TEXTS).probabilities / prior

    found = calibrated.score(TEXTS).probabilities
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), atol=EXACT)
    assert found.argmax(axis=1).tolist() != plain.score(TEXTS).log_scores.argmax(axis=1).tolist()
