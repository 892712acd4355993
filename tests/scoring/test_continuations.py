"""Labels of several tokens: each way to continue gives the same log-likelihoods."""

import numpy as np
import pytest
import torch
from random_models import (
    TEXTS,
    before_each_run,
    plain_log_likelihoods,
    random_model,
    scorer_of,
    tokenizer_of,
)

from llamafactory_emotion.scoring.continuations import label_log_likelihoods, label_tree
from llamafactory_emotion.task import Task

EXACT = {"atol": 1e-5, "rtol": 1e-6}


def test_the_tree_of_labels_that_begin_alike():
    tree = label_tree(((1, 2), (1, 2, 3, 4), (1, 5), (6,)))
    assert tree.nodes == ((1,), (1, 2), (1, 2, 3))
    assert tree.paths == ((1, 2, 3),)
    assert tree.following == (((0, 2), (1, 2), (2, 5)), ((1, 3),), ((1, 4),))
    assert label_tree(((1,), (2,))).nodes == ()


@pytest.mark.parametrize(
    ("caches", "branches"),
    [(True, True), (True, False), (False, False)],
    ids=["side by side", "path by path", "whole prompts"],
)
def test_each_way_to_continue_gives_the_same(caches, branches):
    task = Task("tree", ("joy fear", "joy fear anger love", "joy joy", "so", "anger"), "Which?")
    scorer = scorer_of(random_model("llama"), task=task)
    forward, prefix = scorer.forward, scorer.encoder.prefix_ids
    assert forward.branches
    forward.caches, forward.branches = caches, branches
    shared = forward.cache_prefix(prefix)
    ids = [prompt.ids[len(prefix) if caches else 0 :] for prompt in scorer.encoder.encode(TEXTS)]

    with torch.inference_mode():
        found = label_log_likelihoods(forward, ids, shared).numpy()

    np.testing.assert_allclose(found, plain_log_likelihoods(scorer), **EXACT)


def test_side_by_side_is_not_used_when_it_gives_other_numbers():
    def blind(keywords):
        if keywords.get("attention_mask") is not None:
            keywords["attention_mask"] = keywords["attention_mask"] * 0

    model = random_model("llama")
    before_each_run(model, blind)
    assert not scorer_of(model, tokenizer_of(one_token_labels=False)).forward.branches
