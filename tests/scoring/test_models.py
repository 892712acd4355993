"""Loading: adapters that fit and that do not, folders that are no model, types and devices."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from calls import save_model
from head_models import write_base
from peft import PromptTuningConfig, get_peft_model
from random_models import TEXTS, plain_logits, save_adapter, tokenizer_of
from safetensors.torch import load_file, save_file

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.scoring.loading import ModelSource
from llamafactory_emotion.scoring.models import hardware, load_model, merge_adapter, versions
from llamafactory_emotion.scoring.scorer import LabelScorer, open_scorer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    # Not as wide as the others: what is compared here is added up in another order.
    return save_model(
        tmp_path_factory.mktemp("base"), tie_word_embeddings=False, initializer_range=0.2
    )


def log_scores(model, adapter=None, **options):
    scorer = open_scorer(str(model), adapter=adapter and str(adapter), **options)
    return scorer.score(TEXTS).log_scores


@pytest.mark.parametrize(
    ("tied", "options", "readout"),
    [
        (False, {}, "label rows"),
        (False, {"use_dora": True}, "label rows"),
        (False, {"use_rslora": True}, "label rows"),
        (False, {"target_modules": ["q_proj", "lm_head"]}, "whole head"),
        (False, {"modules_to_save": ["lm_head", "embed_tokens"]}, "whole head"),
        # An output layer that is the input layer too.
        (True, {"target_modules": ["q_proj", "lm_head"]}, "whole head"),
        (True, {"target_modules": ["q_proj", "embed_tokens"]}, "label rows"),
        (True, {"modules_to_save": ["lm_head", "embed_tokens"]}, "whole head"),
    ],
)
def test_an_adapter_is_scored_exactly_merged_or_not(base, tmp_path, tied, options, readout):
    base = save_model(tmp_path / "base", tie_word_embeddings=True) if tied else base
    model = save_adapter(base, tmp_path / "adapter", **options)
    found = {}
    for merge in (True, False):
        loaded = load_model(ModelSource(str(base), str(tmp_path / "adapter")), merge=merge)
        scorer = LabelScorer(loaded)
        found[merge] = scorer.score(TEXTS).log_scores

        assert (loaded.peft_model is None) == merge
        assert scorer.forward.caches
        assert scorer.readout == ("label rows" if merge else readout)
        assert abs(found[merge] - plain_logits(scorer, model)).max() < 2e-5
    assert abs(found[True] - log_scores(base)).max() > 0.1


def test_half_precision_keeps_the_adapter_beside_its_weights(base, tmp_path):
    save_adapter(base, tmp_path / "adapter")
    source = ModelSource(str(base), str(tmp_path / "adapter"), dtype="bfloat16")
    loaded = load_model(source)
    layer = loaded.model.model.layers[0].self_attn.q_proj
    plain = load_model(replace(source, adapter=None)).model.model.layers[0].self_attn.q_proj
    exact = log_scores(base, tmp_path / "adapter", dtype="float32")

    assert loaded.peft_model is not None
    assert torch.equal(layer.base_layer.weight, plain.weight)
    assert abs(LabelScorer(loaded).score(TEXTS).log_scores - exact).max() < 0.3

    merged = merge_adapter(loaded, rounded=True)
    assert merged.peft_model is None
    assert merged.model.model.layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16


def test_an_adapter_alone_names_its_base_and_may_bring_its_chat_template(base, tmp_path):
    adapter = tmp_path / "adapter"
    save_adapter(base, adapter)
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.chat_template = "{{ messages[0]['content'] }}!"
    tokenizer.save_pretrained(adapter)
    alone = load_model(ModelSource(str(adapter)))

    assert (alone.base, alone.adapter) == (str(base), str(adapter))
    assert alone.tokenizer.chat_template == tokenizer.chat_template
    asked = {"template": "chat_template"}
    np.testing.assert_array_equal(log_scores(adapter, **asked), log_scores(base, adapter, **asked))


@pytest.mark.parametrize(
    ("architecture", "changes", "reason"),
    [
        ("llama", {"hidden_size": 128}, ""),
        ("llama", {"num_hidden_layers": 1}, "weights have no layer"),
        ("llama", {"num_hidden_layers": 3}, "some layers have no weights"),
        ("gpt2", {}, ""),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(base, tmp_path, architecture, changes, reason):
    save_adapter(base, tmp_path / "adapter")
    other = save_model(tmp_path / "other", architecture, **changes)
    with pytest.raises(ModelError, match=f"does not fit the base model .*{reason}"):
        load_model(ModelSource(str(other), str(tmp_path / "adapter")))


def test_learned_prompts_are_refused(base, tmp_path):
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    model = load_model(ModelSource(str(base))).model
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match="puts learned tokens before the prompt"):
        load_model(ModelSource(str(base), str(tmp_path / "adapter")))


def test_an_adapter_on_an_adapter_and_one_without_a_base_are_refused(base, tmp_path):
    save_adapter(base, tmp_path / "adapter")
    with pytest.raises(ModelError, match="is an adapter and so is"):
        load_model(ModelSource(str(tmp_path / "adapter"), str(tmp_path / "adapter")))
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="does not name its base model; name it yourself"):
        load_model(ModelSource(str(tmp_path / "adapter")))


def test_a_folder_that_is_no_model_is_refused(base, tmp_path):
    with pytest.raises(ModelError, match=r"neither config\.json nor adapter_config\.json"):
        load_model(ModelSource(str(tmp_path)))
    with pytest.raises(ModelError, match=r"adapter folder .* is not there"):
        load_model(ModelSource(str(base), str(tmp_path / "nothing")))
    (tmp_path / "config.json").write_text('{"model_type": "llama"')
    with pytest.raises(ModelError, match="cannot be"):
        load_model(ModelSource(str(tmp_path)))


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("broken", [True, False])
def test_a_broken_or_missing_file_is_one_sentence(base, tmp_path, file, broken):
    shutil.copytree(base, tmp_path / "model")
    (tmp_path / "model" / file).unlink()
    if broken:
        (tmp_path / "model" / file).write_text("version https://git-lfs.example/spec/v1\n")

    with pytest.raises(ModelError, match="cannot be") as raised:
        load_model(ModelSource(str(tmp_path / "model")))

    assert "\n" not in str(raised.value)


def test_types_and_what_a_run_says_of_itself(base):
    loaded = load_model(ModelSource(str(base), device="cpu"))
    assert loaded.model.dtype == torch.float32
    assert loaded.max_positions == 512
    assert load_model(ModelSource(str(base), dtype="bfloat16")).model.dtype == torch.bfloat16
    assert hardware(loaded.model).endswith(" threads")
    assert versions()["transformers"] == transformers.__version__


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there(base):
    with pytest.raises(CallError, match="torch sees no GPU"):
        load_model(ModelSource(str(base), device="cuda"))


@pytest.mark.parametrize("device", ["gpu", "cpu:x", "opengl"])
def test_a_device_that_torch_has_not(base, device):
    with pytest.raises(CallError, match=f"device={device} is none that torch has here"):
        load_model(ModelSource(str(base), device=device))


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

    assert getattr(loaded.model, f"is_loaded_in_{bits}bit")
    assert (loaded.peft_model is not None) == adapted
    assert not np.allclose(found, log_scores(base, adapter), atol=1e-4)  # else nothing is quantised
    np.testing.assert_allclose(found, plain_logits(scorer), atol=tolerance)


def changed(base, folder, change):
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
    with pytest.raises(ModelError, match="trained to write text"):
        load_model(ModelSource(str(write_base(tmp_path / "bert", "bert"))))


def test_scores_that_are_no_numbers_stop_the_run(base, tmp_path):
    def spoil(weights):
        weights["model.norm.weight"][:] = float("nan")

    scorer = LabelScorer(load_model(changed(base, tmp_path / "model", spoil)))
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
        LabelScorer(load_model(source))
