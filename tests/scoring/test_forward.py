"""The forward pass against the model's own, on every architecture and where a shortcut fails."""

import numpy as np
import pytest
import torch
from random_models import (
    ARCHITECTURES,
    TEXTS,
    WITHOUT_CACHE,
    before_each_run,
    plain_log_likelihoods,
    random_model,
    scorer_of,
    tokenizer_of,
)

from llamafactory_emotion.scoring.forward import LABEL_ROWS, OWN_FORWARD, WHOLE_HEAD, rope_switch
from llamafactory_emotion.task import EMOTION

EXACT = {"atol": 1e-5, "rtol": 1e-6}
# Those without a sliding window, a cache of their own kind or positions inside attention (ALiBi):
# side by side is the fast way for them; the others may or may not bear it.
BRANCHING = set(ARCHITECTURES) - {"mistral", "gemma2", "gemma3", "mamba", "bloom"}


# Of BLOOM in transformers 4, which takes positions and needs none.
@pytest.mark.filterwarnings("ignore:.position_ids. have no functionality:FutureWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("one_token_labels", [True, False])
def test_scores_equal_an_uncached_forward(architecture, one_token_labels):
    tokenizer = tokenizer_of(one_token_labels=one_token_labels)
    scorer = scorer_of(random_model(architecture), tokenizer, log_likelihoods=True)
    wanted = plain_log_likelihoods(scorer)
    scores = scorer.score(TEXTS)

    assert scorer.readout == LABEL_ROWS
    assert scorer.forward.caches == (architecture not in WITHOUT_CACHE)
    assert {len(ids) == 1 for ids in scorer.encoder.label_ids} == {one_token_labels}
    if architecture in BRANCHING:
        assert scorer.forward.branches == (not one_token_labels)
    assert np.std(wanted) > 0.1
    np.testing.assert_allclose(scores.log_scores, wanted, **EXACT)
    normalized = wanted - np.logaddexp.reduce(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(scores.log_probabilities, normalized, **EXACT)
    if one_token_labels:  # label logits alone are enough then
        scores = scorer_of(random_model(architecture), tokenizer).score(TEXTS)
        np.testing.assert_allclose(scores.log_probabilities, normalized, **EXACT)
        np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-12)
        assert scores.predictions == tuple(EMOTION.labels[best] for best in wanted.argmax(axis=1))


@pytest.mark.parametrize("one_token_labels", [True, False])
def test_angles_that_follow_the_longest_row_are_those_of_each_row(one_token_labels):
    model, tokenizer = random_model("phi3"), tokenizer_of(one_token_labels=one_token_labels)
    scorer = scorer_of(model, tokenizer, log_likelihoods=True)
    texts = [*TEXTS, *(f"{text} " * 6 for text in TEXTS)]
    scores = scorer.score(texts).log_scores
    alone = np.concatenate([scorer.score([text]).log_scores for text in texts])
    np.testing.assert_allclose(scores, alone, **EXACT)

    # Rows whose labels alone reach beyond the switch are other rows for a whole forward.
    switch, longest = rope_switch(model.config), max(map(len, scorer.encoder.label_ids))
    lengths = np.array([len(prompt.ids) for prompt in scorer.encoder.encode(texts)])
    clear = np.flatnonzero((lengths > switch) | (lengths + longest <= switch))
    assert {*(lengths[clear] > switch)} == {True, False}
    wanted = plain_log_likelihoods(scorer, [texts[row] for row in clear])
    np.testing.assert_allclose(scores[clear], wanted, **EXACT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("one_token_labels", [True, False])
def test_half_precision_stays_close(dtype, one_token_labels):
    tokenizer = tokenizer_of(one_token_labels=one_token_labels)
    model = random_model("llama", initializer_range=0.05)
    wanted = scorer_of(model, tokenizer, log_likelihoods=True).score(TEXTS)
    scorer = scorer_of(model.to(dtype), tokenizer, log_likelihoods=True)
    scores = scorer.score(TEXTS)

    assert scorer.forward.caches
    assert scorer.readout == LABEL_ROWS
    assert scores.log_scores.dtype == np.float32
    np.testing.assert_allclose(scores.log_scores, wanted.log_scores, rtol=0.02, atol=0.05)


class OddHead(torch.nn.Module):
    """An output layer that is no plain matrix, like one with an adapter on it."""

    def __init__(self, head):
        super().__init__()
        self.head = head
        self.weight = head.weight

    def forward(self, states):
        return self.head(states) + states[..., :1]


def odd_head(model):
    model.lm_head = OddHead(model.lm_head)


def bent_logits(model):
    plain = model.forward

    def forward(*args, **kwargs):
        output = plain(*args, **kwargs)
        output.logits = output.logits.sin()
        return output

    model.forward = forward


def forgetful_cache(model):
    def forget(keywords):
        cache = keywords.get("past_key_values")
        if cache is not None and cache.get_seq_length():
            keywords["position_ids"] = torch.arange(keywords["input_ids"].shape[1])[None]

    before_each_run(model, forget)


@pytest.mark.parametrize("one_token_labels", [True, False])
@pytest.mark.parametrize(
    ("architecture", "spoil", "readout", "caches"),
    [
        ("gemma2", odd_head, WHOLE_HEAD, True),
        ("llama", bent_logits, OWN_FORWARD, True),
        ("llama", forgetful_cache, LABEL_ROWS, False),
    ],
)
def test_a_shortcut_that_gives_other_numbers_is_not_taken(
    architecture, spoil, readout, caches, one_token_labels
):
    model = random_model(architecture)
    spoil(model)
    tokenizer = tokenizer_of(one_token_labels=one_token_labels)
    scorer = scorer_of(model, tokenizer, log_likelihoods=True)

    assert (scorer.readout, scorer.forward.caches) == (readout, caches)
    assert (scorer.shared_prefix_tokens > 0) == caches
    np.testing.assert_allclose(
        scorer.score(TEXTS).log_scores, plain_log_likelihoods(scorer), **EXACT
    )


def test_a_few_shot_prefix_is_computed_once():
    examples = [(text, label) for text, label in zip(TEXTS, EMOTION.labels, strict=False)]
    scorer = scorer_of(random_model("llama"), few_shot=examples, log_likelihoods=True)
    wanted, sizes = plain_log_likelihoods(scorer), []
    before_each_run(
        scorer.loaded.model, lambda keywords: sizes.append(keywords["input_ids"].shape[1])
    )

    np.testing.assert_allclose(scorer.score(TEXTS).log_scores, wanted, **EXACT)

    assert scorer.shared_prefix_tokens > 100
    assert max(sizes) < 60


def test_texts_that_do_not_share_the_prefix_are_scored_whole():
    scorer = scorer_of(random_model("llama"), log_likelihoods=True)
    texts = ["", "\n\nfine", "fine", "\n"]
    prefix = scorer.encoder.prefix_ids
    shares = [prompt.ids[: len(prefix)] == prefix for prompt in scorer.encoder.encode(texts)]

    assert shares == [False, False, True, False]
    np.testing.assert_allclose(
        scorer.score(texts).log_scores, plain_log_likelihoods(scorer, texts), **EXACT
    )
