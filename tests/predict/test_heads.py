"""`predict` and the classifier on sequence classifiers: exported, trained, and as adapters."""

import json
import pickle
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from calls import read_lines, read_sidecar, write_lines
from peft import LoraConfig, get_peft_model
from random_models import TEXTS, random_model, save_adapter, tokenizer_of
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    pipeline,
)

from llamafactory_emotion.classifier import EmotionClassifier
from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.export_classifier.__main__ import main as export
from llamafactory_emotion.scoring.opening import open_scorer
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import EMOTION, Task

SHUFFLED = ("joy", "fear", "anger", "surprise", "sadness", "love")
# Rounding in float32: these random models have wide weights, and spread it.
ROUNDING = 5e-6
ROWS = (*TEXTS, "so glad!", "what now?! ", "\n\nwell", "<|eot_id|></s> joy", "long " * 90)


def probabilities(rows):
    return np.array([[row["probabilities"][label] for label in EMOTION.labels] for row in rows])


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    output = tmp_path_factory.mktemp("exported") / "head"
    assert export([f"model_name_or_path={model}", f"output={output}"]) == 0
    return str(output)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    rows = [{"text": text, "label": number % 6} for number, text in enumerate(ROWS)]
    return write_lines(tmp_path_factory.mktemp("texts") / "texts.jsonl", rows)


@cache
def word_pieces():
    """A tokenizer like BERT's, which puts a token before and one after every text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS], trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


def save_head(folder, *, labels=SHUFFLED, kind=BertConfig, tokenizer=None, **changes):
    """Save a random classification head as transformers' trainer does, and give its folder."""
    tokenizer = tokenizer or word_pieces()
    settings = SIZES | {"vocab_size": len(tokenizer), "max_position_embeddings": 64} | changes
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(kind(**settings, **names))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_an_exported_folder_gives_the_file_its_model_gives(predict, exported, texts, tmp_path):
    predict(f"input={texts}", f"output={tmp_path / 'model.jsonl'}")
    folder = tmp_path / "folder.jsonl"
    predict(f"model_name_or_path={exported}", f"input={texts}", f"output={folder}")
    wanted, found = read_lines(tmp_path / "model.jsonl"), read_lines(folder)

    np.testing.assert_allclose(probabilities(found), probabilities(wanted), atol=ROUNDING)
    for key in ("id", "prompt", "predict", "label"):
        assert [row[key] for row in found] == [row[key] for row in wanted]
    assert list(found[0]["probabilities"]) == list(EMOTION.labels)
    sidecar = read_sidecar(folder)
    assert sidecar["readout"] == "classification head"
    assert sidecar["shared_prefix_tokens"] == 0
    assert (sidecar["rows"], sidecar["special_tokens"]) == (len(ROWS), 1)


def test_long_texts_are_cut_as_the_model_has_them_cut(model, exported):
    texts = ["happy words " * 60, "sad. " * 90, "🙂" * 90, "爱" * 200, "stop! " * 60, "short"]
    wanted = LabelScorer.from_pretrained(model, cutoff_len=50).score(texts)
    found = open_scorer(exported, EMOTION, cutoff_len=50).score(texts)
    assert found.truncated == wanted.truncated == 5
    assert found.prompts == wanted.prompts
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=ROUNDING)


def write_alpaca(folder, instruction):
    rows = [{"instruction": instruction, "input": text, "output": "joy"} for text in TEXTS]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
    return f"dataset_dir={folder}", "eval_dataset=rows"


def test_a_data_sets_instruction_is_not_read_twice(predict, exported, tmp_path):
    data = write_alpaca(tmp_path, EMOTION.instruction)
    predict(*data, f"output={tmp_path / 'model.jsonl'}")
    predict(f"model_name_or_path={exported}", *data, f"output={tmp_path / 'folder.jsonl'}")
    wanted, found = (read_lines(tmp_path / f"{name}.jsonl") for name in ("model", "folder"))
    assert [row["prompt"] for row in found] == [row["prompt"] for row in wanted]
    np.testing.assert_allclose(probabilities(found), probabilities(wanted), atol=ROUNDING)


def test_data_with_another_instruction_is_refused(predict_refuses, exported, tmp_path):
    data = write_alpaca(tmp_path, "What is felt?")
    output = tmp_path / "p.jsonl"
    code, said = predict_refuses(f"model_name_or_path={exported}", *data, f"output={output}")
    assert (code, "the data asks 'What is felt?'" in said) == (1, True)
    assert not output.exists()


@pytest.mark.parametrize("kind", [BertConfig, RobertaConfig, LlamaConfig])
def test_a_trained_head_gives_what_the_pipeline_gives(kind, predict, texts, tmp_path):
    folder = save_head(tmp_path / "head", kind=kind)
    output = tmp_path / "p.jsonl"
    predict(f"model_name_or_path={folder}", f"input={texts}", f"output={output}", "cutoff_len=40")
    rows = read_lines(output)
    classify = pipeline("text-classification", model=folder, device="cpu")
    answers = classify(list(ROWS), top_k=None, truncation=True, max_length=40)
    wanted = [[{a["label"]: a["score"] for a in one}[x] for x in EMOTION.labels] for one in answers]

    np.testing.assert_allclose(probabilities(rows), wanted, atol=ROUNDING)
    assert [row["predict"] for row in rows] == [one[0]["label"] for one in answers]
    # A head reads the text alone: no instruction, no cue.
    assert [row["prompt"] for row in rows] == list(ROWS)
    assert read_sidecar(output)["truncated"] == 1
    assert len({row["predict"] for row in rows}) > 1


def test_a_model_reads_no_more_than_its_positions(tmp_path):
    long = "word " * 500
    for kind, positions in ((BertConfig, 64), (RobertaConfig, 64 - 1)):
        folder = save_head(tmp_path / kind.__name__, kind=kind)
        scorer = open_scorer(folder, EMOTION)
        (prompt,) = scorer.encode_contents([long])
        assert (len(prompt.ids), prompt.truncated) == (positions, True)
        assert scorer.score([long]).probabilities.shape == (1, 6)


def save_head_adapter(base, folder, *, with_configuration=True):
    """Save a LoRA adapter with a head in it, and give the model it makes."""
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(
        base,
        id2label=dict(enumerate(SHUFFLED)),
        label2id={label: number for number, label in enumerate(SHUFFLED)},
        pad_token_id=1,
    )
    model = AutoModelForSequenceClassification.from_pretrained(base, config=config)
    lora = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"])
    adapted = get_peft_model(model, lora)
    torch.manual_seed(3)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter) * 0.3
            assert "lora" in name or "score" in name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted.save_pretrained(folder)
    if with_configuration:
        config.architectures = ["LlamaForSequenceClassification"]
        config.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    return adapted.eval(), tokenizer


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


def test_checkpoints_with_heads_are_predicted_in_turn(model, predict, texts, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    save_head_adapter(model, run / "checkpoint-2", with_configuration=False)
    save_head(run / "checkpoint-10")
    save_adapter(model, run / "checkpoint-11")
    save_head_adapter(model, run)
    predict(f"checkpoints={run}", f"input={texts}", f"output={out}")
    first, second, third = (read_lines(out / f"checkpoint-{step}.jsonl") for step in (2, 10, 11))
    wanted = open_scorer(str(run), EMOTION).score(ROWS).probabilities
    np.testing.assert_allclose(probabilities(first), wanted, atol=1e-5)
    assert abs(probabilities(second) - wanted).max() > 0.01
    assert third[0]["prompt"] != second[0]["prompt"], "a language model asks, a head does not"


def test_batches_order_and_memory_do_not_change_a_result(tmp_path, monkeypatch):
    scorer = open_scorer(save_head(tmp_path / "head"), EMOTION)
    alone = np.concatenate([scorer.score([text]).log_scores for text in ROWS])
    together = scorer.score(ROWS).log_scores
    backwards = scorer.score(ROWS[::-1]).log_scores[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(backwards, alone, atol=1e-5)

    plain, sizes = scorer._score_batch, []

    def in_little_memory(rows):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return plain(rows)

    monkeypatch.setattr(scorer, "_score_batch", in_little_memory)
    np.testing.assert_allclose(scorer.score(ROWS).log_scores, alone, atol=1e-5)
    assert max(sizes) > 3
    monkeypatch.setattr(scorer, "_score_batch", lambda rows: in_little_memory([0] * 9))
    with pytest.raises(ModelError, match="memory does not suffice for a single text"):
        scorer.score(ROWS)


def test_the_classifier_takes_a_head_and_travels(model, exported):
    wanted = EmotionClassifier(model).predict_proba(TEXTS)
    classifier = EmotionClassifier.from_pretrained(exported)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), wanted, atol=ROUNDING)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert list(classifier.classes_) == sorted(EMOTION.labels)


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
    """Take the padding token out of a head, as GPT-2 and Llama come without one."""
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


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("generate=true", "is a classification head and cannot write answers"),
        ("calibrate=true", "remove calibrate"),
        ("normalize=tokens", "remove normalize"),
        ("log_likelihoods=true", "remove log_likelihoods"),
        ("cutoff_len=11", "cutoff_len 11 leaves no room for a text"),
        ("tokens_per_batch=0", "tokens_per_batch=0 must be 1 or more"),
    ],
)
def test_what_a_head_cannot_do_is_refused(predict_refuses, exported, texts, tmp_path, key, reason):
    call = [f"model_name_or_path={exported}", f"input={texts}", f"output={tmp_path / 'p.jsonl'}"]
    code, said = predict_refuses(*call, key)
    assert (code, reason in said) == (CallError.exit_code, True), said
    assert not (tmp_path / "p.jsonl").exists()
