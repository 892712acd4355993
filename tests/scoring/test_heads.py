"""Classification heads: exported, trained, and as adapters."""

import json

import numpy as np
import pytest
import torch
from random_heads import ROWS, SHUFFLED, save_head, save_head_adapter
from random_models import ROUNDING, TEXTS, random_model, tokenizer_of
from transformers import BertConfig, LlamaConfig, RobertaConfig, pipeline

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.scoring.scorer import open_scorer
from llamafactory_emotion.task import EMOTION, Task


def test_long_texts_are_cut_as_the_model_has_them_cut(model, exported):
    texts = ["happy words " * 60, "sad. " * 90, "🙂" * 90, "爱" * 200, "stop! " * 60, "short"]
    scorers = [open_scorer(one, EMOTION, cutoff_len=50) for one in (model, exported)]
    wanted, found = ([(p.prompt, p.truncated) for p in one.encode(texts)] for one in scorers)
    assert found == wanted
    assert sum(truncated for _, truncated in found) == 5
    wanted, found = (one.score(texts).probabilities for one in scorers)
    np.testing.assert_allclose(found, wanted, atol=ROUNDING)


@pytest.mark.parametrize("kind", [BertConfig, RobertaConfig, LlamaConfig])
def test_a_trained_head_gives_what_the_pipeline_gives(kind, tmp_path):
    folder = save_head(tmp_path / "head", kind=kind)
    scorer = open_scorer(folder, EMOTION, cutoff_len=40)
    prompts = scorer.encode(ROWS)
    scores = scorer.score_prompts(prompts)
    classify = pipeline("text-classification", model=folder, device="cpu")
    answers = classify(list(ROWS), top_k=None, truncation=True, max_length=40)
    wanted = [[{a["label"]: a["score"] for a in one}[x] for x in EMOTION.labels] for one in answers]

    np.testing.assert_allclose(scores.probabilities, wanted, atol=ROUNDING)
    assert list(scores.predictions) == [one[0]["label"] for one in answers]
    # A head reads the text alone: no instruction, no cue.
    assert tuple(prompt.prompt for prompt in prompts) == ROWS
    assert sum(prompt.truncated for prompt in prompts) == 1
    assert len(set(scores.predictions)) > 1
    # A model reads no more than its positions; RoBERTa counts from behind its padding id.
    (prompt,) = open_scorer(folder, EMOTION).encode_contents(["word " * 500])
    assert (len(prompt.ids), prompt.truncated) == (64 - (kind is RobertaConfig), True)


def test_an_adapter_with_a_head_is_scored_alone_and_on_its_base(model, tmp_path):
    adapted, tokenizer = save_head_adapter(model, tmp_path / "adapter")
    with torch.inference_mode():
        logits = [adapted(torch.tensor([tokenizer(text)["input_ids"]])).logits[0] for text in TEXTS]
    columns = [SHUFFLED.index(label) for label in EMOTION.labels]
    wanted = torch.stack(logits)[:, columns].softmax(dim=-1).numpy()

    alone = open_scorer(str(tmp_path / "adapter"), EMOTION)
    both = open_scorer(model, EMOTION, adapter=str(tmp_path / "adapter"))
    for scorer in (alone, both):
        np.testing.assert_allclose(scorer.score(TEXTS).probabilities, wanted, atol=1e-5)
    assert both.loaded.peft_model is None
    half = open_scorer(model, EMOTION, adapter=str(tmp_path / "adapter"), dtype="bfloat16")
    assert half.loaded.peft_model is not None
    assert abs(half.score(TEXTS).probabilities - wanted).mean() < 0.02
    assert alone.loaded.base == model
    assert alone.loaded.adapter == str(tmp_path / "adapter")
    assert alone.loaded.adapter_parameters > 0


def test_labels_in_capitals_are_the_same_labels(tmp_path):
    lower = save_head(tmp_path / "lower")
    capital = save_head(tmp_path / "capital", labels=[label.title() for label in SHUFFLED])
    found = [open_scorer(folder, EMOTION).score(TEXTS).log_scores for folder in (lower, capital)]
    np.testing.assert_array_equal(*found)


def test_its_own_task_is_enough_for_another_label_set(tmp_path):
    folder = save_head(tmp_path / "head", labels=("no", "yes"))
    task = Task("consent", ("yes", "no"), "Does it agree?")
    scores = open_scorer(folder, task).score(TEXTS)
    classify = pipeline("text-classification", model=folder, device="cpu")
    assert list(scores.predictions) == [one["label"] for one in classify(list(TEXTS))]


def no_padding(model, folder):
    save_head(folder, kind=LlamaConfig)
    for name in ("tokenizer_config.json", "config.json"):
        content = json.loads((folder / name).read_text())
        content.pop("pad_token", None)
        content |= {"pad_token_id": None} if name == "config.json" else {}
        (folder / name).write_text(json.dumps(content))


def no_head(model, folder):
    """Save a language model whose configuration says that it is a classifier."""
    save_head(folder, kind=LlamaConfig, tokenizer=tokenizer_of.__wrapped__())
    head, random = json.loads((folder / "config.json").read_text()), random_model("llama")
    keys = ("architectures", "id2label", "label2id", "pad_token_id")
    wanted = json.loads(random.config.to_json_string()) | {key: head[key] for key in keys}
    random.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(wanted))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (
            {"labels": ("sadness", "joy", "love")},
            r"has 3 labels \(sadness, joy, love\), and task 'emotion' has 6",
        ),
        ({"labels": (*SHUFFLED, "disgust")}, r"7 labels .*disgust\), and task 'emotion' has 6"),
        ({"labels": (*SHUFFLED[:5], "disgust")}, r"has 6 labels .*disgust\)"),
        ({"labels": [f"LABEL_{n}" for n in range(6)]}, "have no names .*write them into id2label"),
        ({"problem_type": "multi_label_classification"}, "was trained for multi_label_classif"),
        (no_padding, "no padding token, so texts cannot be put into batches"),
        (no_head, r"lacks 1 weights of its classifier \(score.weight"),
        (
            lambda model, folder: save_head_adapter(model, folder, with_configuration=False),
            r"no config.json beside it names its labels",
        ),
    ],
)
def test_a_head_that_does_not_give_the_tasks_labels_is_refused(model, tmp_path, head, reason):
    folder = tmp_path / "head"
    save_head(folder, **head) if isinstance(head, dict) else head(model, folder)
    with pytest.raises(ModelError, match=reason):
        open_scorer(str(folder), EMOTION)
