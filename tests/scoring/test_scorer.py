"""Label scores: logits, log-likelihoods, their lengths and corrections; others judge them."""

import numpy as np
import pytest
from random_models import (
    TEXTS,
    random_model,
    scorer_of,
    tokenizer_of,
)

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.scoring.scorer import CONTENT_FREE_TEXTS
from llamafactory_emotion.task import ANSWER_PREFIX, EMOTION, Task

EXACT = 1e-5


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("one_token_labels", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_log_likelihoods_equal_those_of_lm_evaluation_harness(architecture, one_token_labels):
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = random_model(architecture)
    tokenizer = tokenizer_of.__wrapped__(one_token_labels=one_token_labels)
    scores = scorer_of(model, tokenizer, log_likelihoods=True).score(TEXTS)
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, add_bos_token=False)
    requests = [
        Instance("loglikelihood", {}, (prompt, ANSWER_PREFIX + label), number)
        for number, prompt in enumerate(scores.prompts)
        for label in EMOTION.labels
    ]
    answers = theirs.loglikelihood(requests, disable_tqdm=True)
    wanted = np.array([found for found, _ in answers]).reshape(len(TEXTS), len(EMOTION.labels))
    np.testing.assert_allclose(scores.log_scores, wanted, atol=1e-4)


def test_contents_with_another_instruction_are_scored_with_it():
    model = random_model("llama")
    task = Task("other", EMOTION.labels, "Say what is felt.")
    contents = [task.user_content(text) for text in TEXTS]
    found = scorer_of(model, log_likelihoods=True).score_contents(contents).log_scores
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
    with pytest.raises(CallError, match="normalize 'words' is none of none, tokens, bytes"):
        scorer_of(model, tokenizer, normalize="words")


def test_calibration_makes_inputs_without_content_even():
    model = random_model("llama")
    plain, calibrated = scorer_of(model), scorer_of(model, calibrate=True)
    prior = plain.score(CONTENT_FREE_TEXTS).probabilities.mean(axis=0)
    wanted = plain.score(TEXTS).probabilities / prior

    found = calibrated.score(TEXTS).probabilities
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), atol=EXACT)
    assert found.argmax(axis=1).tolist() != plain.score(TEXTS).log_scores.argmax(axis=1).tolist()
