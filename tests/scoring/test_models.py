"""Loading: adapters that fit and that do not, folders that are no model, types and devices."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from head_models import BASES, write_base
from peft import get_peft_model
from random_models import ARCHITECTURES, TEXTS, random_model, save_adapter, tokenizer_of
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring.models import (
    LoadedModel,
    ModelSource,
    exchange_adapter,
    load_model,
    merge_adapter,
)
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import EMOTION


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    # Not as wide as the others: what is compared here is added up in another order.
    model = random_model("llama", tie_word_embeddings=False, initializer_range=0.2)
    model.save_pretrained(folder)
    tokenizer_of().save_pretrained(folder)
    return folder


def plain_logits(model, scorer):
    """Give the label logits of each text by the model's own forward, one by one."""
    first = [ids[0] for ids in scorer.encoder.label_ids]
    with torch.inference_mode():
        rows = [
            model(input_ids=torch.tensor([prompt.ids])).logits[0, -1, first]
            for prompt in scorer.encoder.encode(TEXTS)
        ]
    return torch.stack(rows).numpy()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("layers", {}),
        ("output layer", {"target_modules": ["q_proj", "lm_head"]}),
        ("whole output layer", {"modules_to_save": ["lm_head", "embed_tokens"]}),
        ("dora", {"use_dora": True}),
        ("rslora", {"use_rslora": True}),
    ],
)
def test_an_adapter_is_scored_exactly_merged_or_not(base, tmp_path, name, options):
    model = save_adapter(base, tmp_path / "adapter", **options)
    bare = LabelScorer(load_model(ModelSource(str(base)))).score(TEXTS).log_scores
    found = {}
    for merge in (True, False):
        loaded = load_model(ModelSource(str(base), str(tmp_path / "adapter")), merge=merge)
        scorer = LabelScorer(loaded)
        found[merge] = scorer.score(TEXTS).log_scores

        assert (loaded.peft_model is None) == merge
        assert scorer.forward.caches
        assert scorer.forward.readout == (
            "whole head" if "output" in name and not merge else "label rows"
        )
        assert abs(found[merge] - plain_logits(model, scorer)).max() < 2e-5
    assert abs(found[True] - bare).max() > 0.1
    assert abs(found[True] - found[False]).max() < 2e-5


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"modules_to_save": ["lm_head", "embed_tokens"]},
    ],
)
def test_an_adapter_on_an_output_layer_that_is_the_input_layer_too(tmp_path, options):
    base = tmp_path / "base"
    random_model("llama", tie_word_embeddings=True).save_pretrained(base)
    tokenizer_of().save_pretrained(base)
    model = save_adapter(base, tmp_path / "adapter", **options)
    for merge in (True, False):
        loaded = load_model(ModelSource(str(base), str(tmp_path / "adapter")), merge=merge)
        scorer = LabelScorer(loaded)
        assert (loaded.peft_model is None) == merge
        assert abs(scorer.score(TEXTS).log_scores - plain_logits(model, scorer)).max() < 2e-5


def test_half_precision_keeps_the_adapter_beside_its_weights(base, tmp_path):
    save_adapter(base, tmp_path / "adapter")
    source = ModelSource(str(base), str(tmp_path / "adapter"), dtype="bfloat16")
    loaded = load_model(source)
    layer = loaded.model.model.layers[0].self_attn.q_proj
    plain = load_model(replace(source, adapter=None)).model.model.layers[0].self_attn.q_proj
    exact = LabelScorer(load_model(replace(source, dtype="float32"))).score(TEXTS).log_scores

    assert loaded.peft_model is not None
    assert torch.equal(layer.base_layer.weight, plain.weight)
    assert abs(LabelScorer(loaded).score(TEXTS).log_scores - exact).max() < 0.3

    merged = merge_adapter(loaded, rounded=True)
    assert merged.peft_model is None
    assert merged.model.model.layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16


def test_an_adapter_alone_names_its_base(base, tmp_path):
    save_adapter(base, tmp_path / "adapter")
    alone = load_model(ModelSource(str(tmp_path / "adapter")))
    both = load_model(ModelSource(str(base), str(tmp_path / "adapter")))
    assert alone.base == str(base)
    assert alone.adapter == str(tmp_path / "adapter")
    assert (
        LabelScorer(alone).score(TEXTS).log_scores == LabelScorer(both).score(TEXTS).log_scores
    ).all()


def test_adapters_are_exchanged_on_one_base(base, tmp_path):
    source = ModelSource(str(base))
    current = load_model(source, merge=False)
    for seed in (1, 2, 3):
        model = save_adapter(base, tmp_path / f"checkpoint-{seed}", seed=seed)
        current = exchange_adapter(current, str(tmp_path / f"checkpoint-{seed}"), source)
        scorer = LabelScorer(current)
        assert abs(scorer.score(TEXTS).log_scores - plain_logits(model, scorer)).max() < 2e-5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": 128}, ""),
        ({"num_hidden_layers": 1}, "weights find no place"),
        ({"num_hidden_layers": 3}, "no weights for some"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(base, tmp_path, changes, reason):
    save_adapter(base, tmp_path / "adapter")
    other = tmp_path / "other"
    random_model("llama", tie_word_embeddings=False, **changes).save_pretrained(other)
    tokenizer_of().save_pretrained(other)
    with pytest.raises(ModelError, match=f"does not fit the base model .*{reason}"):
        load_model(ModelSource(str(other), str(tmp_path / "adapter")))


def test_an_adapter_for_other_layers_is_refused(base, tmp_path):
    save_adapter(base, tmp_path / "adapter")
    other = tmp_path / "other"
    random_model("gpt2").save_pretrained(other)
    tokenizer_of().save_pretrained(other)
    with pytest.raises(ModelError, match="does not fit the base model"):
        load_model(ModelSource(str(other), str(tmp_path / "adapter")))


def test_learned_prompts_are_refused(base, tmp_path):
    from peft import PromptTuningConfig

    model = load_model(ModelSource(str(base))).model
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match="puts learned tokens before the prompt"):
        load_model(ModelSource(str(base), str(tmp_path / "adapter")))


def test_a_folder_that_is_no_model_is_refused(base, tmp_path):
    with pytest.raises(ModelError, match="is not there"):
        load_model(ModelSource(str(tmp_path / "nothing")))
    with pytest.raises(ModelError, match=r"neither config\.json nor adapter_config\.json"):
        load_model(ModelSource(str(tmp_path)))
    with pytest.raises(ModelError, match=r"adapter folder .* is not there"):
        load_model(ModelSource(str(base), str(tmp_path / "nothing")))
    (tmp_path / "config.json").write_text('{"model_type": "llama"')
    with pytest.raises(ModelError, match="cannot be"):
        load_model(ModelSource(str(tmp_path)))


def test_a_model_without_weights_is_refused(base, tmp_path):
    random_model("llama").config.save_pretrained(tmp_path)
    tokenizer_of().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded: "):
        load_model(ModelSource(str(tmp_path)))


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_broken_file_is_one_sentence(base, tmp_path, file):
    shutil.copytree(base, tmp_path / "model")
    (tmp_path / "model" / file).write_text("version https://git-lfs.example/spec/v1\n")

    with pytest.raises(ModelError, match="cannot be") as raised:
        load_model(ModelSource(str(tmp_path / "model")))

    assert str(raised.value).count("\n") == 0


def test_types(base):
    assert load_model(ModelSource(str(base), device="cpu")).model.dtype == torch.float32
    assert load_model(ModelSource(str(base), dtype="bfloat16")).model.dtype == torch.bfloat16
    assert load_model(ModelSource(str(base))).max_positions == 512


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there(base):
    with pytest.raises(CallError, match="torch sees no GPU"):
        load_model(ModelSource(str(base), device="cuda"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [one for one in (*ARCHITECTURES.values(), *BASES.values()) if one[0] != "MambaConfig"],
)
def test_models_of_the_tests_have_shapes_that_every_processor_quantises(name, settings):
    with torch.device("meta"):
        model = AutoModel.from_config(getattr(transformers, name)(**settings))

    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    assert [str(one) for one in layers if one.in_features % 64 or one.out_features % 32] == []


@pytest.mark.filterwarnings("ignore")  # bitsandbytes has advice for those without a GPU
@pytest.mark.parametrize(
    # Eight bits round what goes through the model too, and a cached prefix is rounded by itself.
    ("bits", "tolerance"),
    [(8, 0.15), (4, 1e-3)],
)
@pytest.mark.parametrize("adapted", [False, True])
def test_a_quantised_model_scores_as_its_own_forward_does(base, tmp_path, bits, tolerance, adapted):
    functional = pytest.importorskip(
        "bitsandbytes.functional", reason="bitsandbytes is not installed (the extra `bnb`)"
    )
    if bits == 4 and functional.has_avx512bf16():
        tolerance = 0.02  # bitsandbytes multiplies in bfloat16 there
    if adapted:
        save_adapter(base, tmp_path)
    adapter = str(tmp_path) if adapted else None
    loaded = load_model(ModelSource(str(base), adapter, quantization_bit=bits))
    scorer = LabelScorer(loaded)

    found = scorer.score(TEXTS).log_scores

    exact = LabelScorer.from_pretrained(str(base), adapter=adapter).score(TEXTS).log_scores
    assert getattr(loaded.model, f"is_loaded_in_{bits}bit")
    assert (loaded.peft_model is not None) == adapted
    assert not np.allclose(found, exact, atol=1e-4)  # else nothing was quantised
    np.testing.assert_allclose(found, plain_logits(loaded.model, scorer), atol=tolerance)


def test_the_adapters_chat_template_is_used_where_the_base_has_none(base, tmp_path):
    save_adapter(base, tmp_path / "adapter")
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.chat_template = "{{ messages[0]['content'] }}!"
    tokenizer.save_pretrained(tmp_path / "adapter")
    loaded = load_model(ModelSource(str(base), str(tmp_path / "adapter")))
    assert isinstance(loaded, LoadedModel)
    assert loaded.tokenizer.chat_template == "{{ messages[0]['content'] }}!"


def changed(base, folder, change):
    """Copy a model and change its weights."""
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return ModelSource(str(folder))


def test_weights_that_would_be_random_are_refused(base, tmp_path):
    lost = "model.layers.1.mlp.down_proj.weight"
    source = changed(base, tmp_path / "model", lambda weights: weights.pop(lost))
    with pytest.raises(ModelError, match=rf"lacks 1 weights of a language model \({lost}, ...\)"):
        load_model(source)


def test_an_encoder_is_no_language_model(tmp_path):
    with pytest.raises(ModelError, match="trained to write text"):
        load_model(ModelSource(str(write_base(tmp_path / "bert", "bert"))))


def test_a_shared_output_layer_is_not_missing(tmp_path):
    random_model("llama", tie_word_embeddings=True).save_pretrained(tmp_path)
    tokenizer_of().save_pretrained(tmp_path)
    assert load_model(ModelSource(str(tmp_path))).model.lm_head.weight.isfinite().all()


def test_scores_that_are_no_numbers_stop_the_run(base, tmp_path):
    def spoil(weights):
        weights["model.norm.weight"][:] = float("nan")

    scorer = LabelScorer(load_model(changed(base, tmp_path / "model", spoil)), EMOTION)
    with pytest.raises(ModelError, match="scores that are no finite numbers"):
        scorer.score(["a text"])


def test_the_tokenizer_of_another_model_is_refused(base, tmp_path):
    def shorten(weights):
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            weights[name] = weights[name][:40].clone()

    source = changed(base, tmp_path / "model", shorten)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"vocab_size": 40}))
    with pytest.raises(ModelError, match="the model has rows for 40 alone; put the model's own"):
        LabelScorer(load_model(source), EMOTION)
