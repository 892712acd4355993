"""Scores against an uncached forward of the same model, on every architecture, in any batch."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import ARCHITECTURES, TEXTS, WITHOUT_CACHE, random_model, tokenizer_of

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring import scorer as scoring
from llamafactory_emotion.scoring.forward import LABEL_ROWS, OWN_FORWARD, WHOLE_HEAD
from llamafactory_emotion.scoring.models import LoadedModel
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import EMOTION, Task

EXACT = 1e-5
# Those without a sliding window, a cache of their own kind or positions inside attention (ALiBi):
# side by side is the fast way for them; the others may or may not bear it.
BRANCHING = set(ARCHITECTURES) - {"mistral", "gemma2", "gemma3", "mamba", "bloom"}


def loaded(model, tokenizer=None):
    return LoadedModel(model, tokenizer or tokenizer_of(), None, "random", None)


def plain_log_likelihoods(model, encoder, texts):
    """Run prompt and label together, one by one, without cache, padding or batch."""
    rows = []
    for prompt in encoder.encode(texts):
        row = []
        for ids in encoder.label_ids:
            with torch.inference_mode():
                logits = model(torch.tensor([[*prompt.ids, *ids]]), use_cache=False).logits[0]
            found = logits.float().log_softmax(dim=-1)
            start = len(prompt.ids) - 1
            row.append(sum(found[start + step, token].item() for step, token in enumerate(ids)))
        rows.append(row)
    return np.array(rows)


def normalized(log_likelihoods):
    return log_likelihoods - np.logaddexp.reduce(log_likelihoods, axis=1, keepdims=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("one_token_labels", [True, False])
def test_scores_equal_an_uncached_forward(architecture, one_token_labels):
    tokenizer = tokenizer_of(one_token_labels=one_token_labels)
    model = random_model(architecture)
    scorer = LabelScorer(loaded(model, tokenizer), log_likelihoods=True)
    wanted = plain_log_likelihoods(model, scorer.encoder, TEXTS)
    scores = scorer.score(TEXTS)

    assert scorer.forward.readout == LABEL_ROWS
    assert scorer.forward.caches == (architecture not in WITHOUT_CACHE)
    assert {len(ids) == 1 for ids in scorer.encoder.label_ids} == {one_token_labels}
    if architecture in BRANCHING:
        assert scorer.forward.branches == (not one_token_labels)
    assert np.std(wanted) > 0.1
    np.testing.assert_allclose(scores.log_scores, wanted, atol=EXACT, rtol=1e-6)
    np.testing.assert_allclose(scores.log_probabilities, normalized(wanted), atol=EXACT, rtol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_label_logits_give_the_same_probabilities_as_log_likelihoods(architecture):
    scorer = LabelScorer(loaded(random_model(architecture)))
    wanted = plain_log_likelihoods(scorer.loaded.model, scorer.encoder, TEXTS)
    scores = scorer.score(TEXTS)

    assert not scorer.gives_log_likelihoods
    np.testing.assert_allclose(scores.log_probabilities, normalized(wanted), atol=EXACT)
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-12)
    assert scores.predictions == tuple(EMOTION.labels[best] for best in wanted.argmax(axis=1))
    ordered = np.sort(wanted, axis=1)
    np.testing.assert_allclose(scores.margins, ordered[:, -1] - ordered[:, -2], atol=2 * EXACT)


def test_labels_whose_tokens_begin_others_are_scored_with_the_end_token():
    task = Task("nested", ("joy", "joy joy", "joy joy fear", "fear"), "Which?")
    model = random_model("llama")
    scorer = LabelScorer(loaded(model), task)
    wanted = plain_log_likelihoods(model, scorer.encoder, TEXTS)
    np.testing.assert_allclose(scorer.score(TEXTS).log_scores, wanted, atol=EXACT, rtol=1e-6)


@pytest.mark.parametrize("way", ["side by side", "path by path", "whole prompts"])
def test_each_way_to_continue_gives_the_same(way):
    task = Task("tree", ("joy fear", "joy fear anger love", "joy joy", "so", "anger"), "Which?")
    model = random_model("llama")
    scorer = LabelScorer(loaded(model), task, tokens_per_batch=60)
    assert scorer.forward.branches
    if way != "side by side":
        scorer.forward.branches = False
    if way == "whole prompts":
        scorer.forward.caches, scorer._cache = False, None
    texts = [*TEXTS, "", "\n"]
    wanted = plain_log_likelihoods(model, scorer.encoder, texts)
    np.testing.assert_allclose(scorer.score(texts).log_scores, wanted, atol=EXACT, rtol=1e-6)


def test_side_by_side_is_not_used_when_it_gives_other_numbers(monkeypatch):
    from llamafactory_emotion.scoring.forward import Forward

    plain = Forward.run

    def blind(self, tokens, cache, **own):
        return plain(self, tokens, cache, **{key: value * 0 for key, value in own.items()})

    monkeypatch.setattr(Forward, "run", blind)
    tokenizer = tokenizer_of(one_token_labels=False)
    assert not LabelScorer(loaded(random_model("llama"), tokenizer)).forward.branches


def test_texts_that_do_not_share_the_prefix_are_scored_whole():
    model = random_model("llama")
    scorer = LabelScorer(loaded(model), log_likelihoods=True)
    texts = ["", "\n\nfine", "fine", "\n"]
    prefix = scorer.encoder.prefix_ids
    shares = [prompt.ids[: len(prefix)] == prefix for prompt in scorer.encoder.encode(texts)]
    wanted = plain_log_likelihoods(model, scorer.encoder, texts)

    assert shares == [False, False, True, False]
    np.testing.assert_allclose(scorer.score(texts).log_scores, wanted, atol=EXACT)


def test_contents_with_another_instruction_are_scored_whole():
    scorer = LabelScorer(loaded(random_model("llama")), log_likelihoods=True)
    other = LabelScorer(
        scorer.loaded, Task("other", EMOTION.labels, "Say what is felt."), log_likelihoods=True
    )
    contents = [other.task.user_content(text) for text in TEXTS]
    np.testing.assert_allclose(
        scorer.score_contents(contents).log_scores, other.score(TEXTS).log_scores, atol=EXACT
    )


def test_nothing_gives_nothing():
    scores = LabelScorer(loaded(random_model("llama"))).score([])
    assert scores.probabilities.shape == (0, 6)
    assert scores.predictions == ()
    assert scores.margins.shape == (0,)


@pytest.fixture(scope="module")
def property_scorers():
    model = random_model("mistral")
    return [
        LabelScorer(loaded(model)),
        LabelScorer(loaded(model, tokenizer_of(one_token_labels=False))),
    ]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.text(max_size=60) | st.sampled_from(TEXTS), min_size=2, max_size=9),
    order=st.randoms(use_true_random=False),
    budget=st.integers(1, 200),
)
def test_batch_and_order_do_not_change_a_result(property_scorers, texts, order, budget):
    for scorer in property_scorers:
        scorer.tokens_per_batch = 10_000
        wanted = np.concatenate([scorer.score([text]).log_scores for text in texts])
        shuffled = list(range(len(texts)))
        order.shuffle(shuffled)
        scorer.tokens_per_batch = budget
        found = scorer.score([texts[row] for row in shuffled]).log_scores
        np.testing.assert_allclose(found, wanted[shuffled], atol=EXACT, rtol=1e-6)


def test_results_stand_in_input_order():
    scorer = LabelScorer(loaded(random_model("llama")), tokens_per_batch=20)
    texts = sorted(TEXTS, key=len, reverse=True)
    forward = scorer.score(texts)
    backward = scorer.score(texts[::-1])
    np.testing.assert_allclose(forward.log_scores, backward.log_scores[::-1], atol=EXACT)
    assert forward.prompts == backward.prompts[::-1]


def test_lengths_divide_log_likelihoods():
    tokenizer = tokenizer_of(one_token_labels=False)
    model = random_model("llama")
    plain = LabelScorer(loaded(model, tokenizer)).score(TEXTS).log_scores
    tokens = LabelScorer(loaded(model, tokenizer), normalize="tokens")
    of_bytes = LabelScorer(loaded(model, tokenizer), normalize="bytes").score(TEXTS).log_scores

    lengths = [len(ids) for ids in tokens.encoder.label_ids]
    assert len(set(lengths)) > 1
    np.testing.assert_allclose(tokens.score(TEXTS).log_scores, plain / lengths, rtol=1e-5)
    np.testing.assert_allclose(of_bytes, plain / [7, 3, 4, 5, 4, 8], rtol=1e-5)
    with pytest.raises(CallError, match="normalize 'words' is none of none, tokens, bytes"):
        LabelScorer(loaded(model, tokenizer), normalize="words")


def test_calibration_makes_inputs_without_content_even():
    model = random_model("llama")
    plain = LabelScorer(loaded(model))
    calibrated = LabelScorer(loaded(model), calibrate=True)
    prior = plain.score(scoring.CONTENT_FREE_TEXTS).probabilities.mean(axis=0)
    wanted = plain.score(TEXTS).probabilities / prior

    found = calibrated.score(TEXTS).probabilities
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), atol=EXACT)
    assert found.argmax(axis=1).tolist() != plain.score(TEXTS).log_scores.argmax(axis=1).tolist()


def test_running_out_of_memory_halves_the_budget_and_goes_on(monkeypatch):
    scorer = LabelScorer(loaded(random_model("llama")), tokens_per_batch=200)
    wanted = scorer.score(TEXTS).log_scores
    plain_run, most = scorer.forward.run, 60
    sizes = []

    def run_in_little_memory(input_ids, cache):
        sizes.append(input_ids.numel())
        if input_ids.numel() > most:
            raise torch.OutOfMemoryError("out of memory")
        return plain_run(input_ids, cache)

    monkeypatch.setattr(scorer.forward, "run", run_in_little_memory)
    found = scorer.score(TEXTS).log_scores
    assert max(sizes) > most
    assert scorer.tokens_per_batch < 100
    np.testing.assert_allclose(found, wanted, atol=EXACT)

    most = 3
    with pytest.raises(ModelError, match="memory does not suffice for a single text of"):
        scorer.score(TEXTS)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    scorer = LabelScorer(loaded(random_model("llama")))

    def fail(input_ids, cache):
        raise RuntimeError("a kernel failed")

    monkeypatch.setattr(scorer.forward, "run", fail)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        scorer.score(TEXTS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("one_token_labels", [True, False])
def test_half_precision_stays_close(dtype, one_token_labels):
    tokenizer = tokenizer_of(one_token_labels=one_token_labels)
    model = random_model("llama", initializer_range=0.05)
    wanted = LabelScorer(loaded(model, tokenizer), log_likelihoods=True).score(TEXTS)
    scorer = LabelScorer(loaded(model.to(dtype), tokenizer), log_likelihoods=True)
    scores = scorer.score(TEXTS)

    assert scorer.forward.caches
    assert scorer.forward.readout == LABEL_ROWS
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


def test_an_output_layer_that_is_no_plain_matrix_is_run_whole():
    model = random_model("gemma2")
    model.lm_head = OddHead(model.lm_head)
    scorer = LabelScorer(loaded(model), log_likelihoods=True)
    wanted = plain_log_likelihoods(model, scorer.encoder, TEXTS)

    assert scorer.forward.readout == WHOLE_HEAD
    np.testing.assert_allclose(scorer.score(TEXTS).log_scores, wanted, atol=EXACT, rtol=1e-6)


@pytest.mark.parametrize("one_token_labels", [True, False])
def test_an_unknown_treatment_of_logits_falls_back_to_the_models_own_forward(one_token_labels):
    model = random_model("llama")
    plain_forward = model.forward

    def bent_forward(*args, **kwargs):
        output = plain_forward(*args, **kwargs)
        output.logits = output.logits.sin()
        return output

    model.forward = bent_forward
    tokenizer = tokenizer_of(one_token_labels=one_token_labels)
    scorer = LabelScorer(loaded(model, tokenizer), log_likelihoods=True)
    wanted = plain_log_likelihoods(model, scorer.encoder, TEXTS)

    assert scorer.forward.readout == OWN_FORWARD
    assert scorer.forward.caches
    np.testing.assert_allclose(scorer.score(TEXTS).log_scores, wanted, atol=EXACT, rtol=1e-6)


def test_a_cache_that_gives_other_numbers_is_not_used(monkeypatch):
    from llamafactory_emotion.scoring.forward import SharedLayer

    model = random_model("llama")
    monkeypatch.setattr(SharedLayer, "get_seq_length", lambda self: 0)
    scorer = LabelScorer(loaded(model), log_likelihoods=True)
    wanted = plain_log_likelihoods(model, scorer.encoder, TEXTS)

    assert not scorer.forward.caches
    np.testing.assert_allclose(scorer.score(TEXTS).log_scores, wanted, atol=EXACT, rtol=1e-6)


def test_a_few_shot_prefix_is_computed_once(monkeypatch):
    model = random_model("llama")
    examples = [(text, label) for text, label in zip(TEXTS, EMOTION.labels, strict=False)]
    scorer = LabelScorer(loaded(model), few_shot=examples, log_likelihoods=True)
    wanted = plain_log_likelihoods(model, scorer.encoder, TEXTS)
    plain_run, sizes = scorer.forward.run, []

    def counted_run(input_ids, cache):
        sizes.append(input_ids.shape[1])
        return plain_run(input_ids, cache)

    monkeypatch.setattr(scorer.forward, "run", counted_run)
    np.testing.assert_allclose(scorer.score(TEXTS).log_scores, wanted, atol=EXACT, rtol=1e-6)
    assert len(scorer.encoder.prefix_ids) > 100
    assert max(sizes) < 60
