"""Log-likelihoods against lm-evaluation-harness's own, for labels of one token and of several."""

import numpy as np
import pytest
from random_models import TEXTS, random_model, tokenizer_of

from llamafactory_emotion.scoring.models import LoadedModel
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import ANSWER_PREFIX, EMOTION

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("one_token_labels", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_log_likelihoods_equal_those_of_lm_evaluation_harness(architecture, one_token_labels):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = random_model(architecture)
    tokenizer = tokenizer_of.__wrapped__(one_token_labels=one_token_labels)
    scores = LabelScorer(
        LoadedModel(model, tokenizer, None, "random", None), log_likelihoods=True
    ).score(TEXTS)
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, add_bos_token=False)
    requests = [
        Instance("loglikelihood", {}, (prompt, ANSWER_PREFIX + label), number)
        for number, prompt in enumerate(scores.prompts)
        for label in EMOTION.labels
    ]
    answers = theirs.loglikelihood(requests, disable_tqdm=True)
    wanted = np.array([found for found, _ in answers]).reshape(len(TEXTS), len(EMOTION.labels))
    np.testing.assert_allclose(scores.log_scores, wanted, atol=1e-4)
