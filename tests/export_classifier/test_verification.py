"""What `verify` calls rounding, and what it refuses."""

import shutil

import numpy as np
import pytest
import torch
from calls import save_model
from exports import export_to
from random_models import TEXTS, random_model, save_adapter, tokenizer_of
from safetensors.torch import load_file, save_file

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.export_classifier.verification import (
    Sample,
    check_equal,
    compare,
    rounding_tolerance,
)
from llamafactory_emotion.scoring.batches import Scores
from llamafactory_emotion.scoring.scorer import open_scorer

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def random_llama(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("llama"), initializer_range=0.05)


@pytest.fixture(scope="module", params=["random_llama", "smollm2"])
def verified(request, tmp_path_factory):
    """Export an adapter of a usual size with `verify`; return folder, scores, layers."""
    base = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    save_adapter(
        base, folder / "adapter", r=8, lora_alpha=16, target_modules=list(LAYERS), spread=0.02
    )
    (folder / "rows.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    adapter, rows = f"adapter_name_or_path={folder / 'adapter'}", f"verify={folder / 'rows.txt'}"
    export_to(folder / "head", base, adapter, rows)
    scorer = open_scorer(str(base), adapter=str(folder / "adapter"))
    layers = scorer.loaded.model.config.num_hidden_layers
    return folder / "head", scorer.score(TEXTS), layers


def swap_rows(weights):
    weights["score.weight"] = weights["score.weight"][[1, 0, 2, 3, 4, 5]]


def change_a_weight(weights):
    row = weights["score.weight"][0]
    row[row.abs().argmax()] *= 1.01


def change_a_layer(weights):
    weights["model.layers.1.mlp.down_proj.weight"] *= 1.01


@pytest.mark.parametrize("change", [None, swap_rows, change_a_weight, change_a_layer])
def test_a_fault_is_told_from_rounding(verified, tmp_path, change):
    folder, scores, layers = verified
    shutil.copytree(folder, tmp_path / "head")
    weights = load_file(folder / "model.safetensors")
    if change is not None:
        change(weights)
    save_file(weights, tmp_path / "head" / "model.safetensors", metadata={"format": "pt"})
    found = compare(tmp_path / "head", Sample(TEXTS, scores, [0] * len(TEXTS)), device="cpu")
    allowed = rounding_tolerance(scores, layers)

    if change is None:
        check_equal(found, "rows", allowed)
        return
    with pytest.raises(ModelError, match="does not give what predict gives on rows: 10 rows"):
        check_equal(found, "rows", allowed)


def test_a_type_in_which_the_classifier_overflows_is_refused(export_refuses, tmp_path):
    model = random_model("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight *= 20_000
    model.save_pretrained(tmp_path / "base")
    tokenizer_of().save_pretrained(tmp_path / "base")
    call = (f"model_name_or_path={tmp_path / 'base'}", f"output={tmp_path / 'head'}")
    code, said = export_refuses(*call, "infer_dtype=float16")
    assert (code, "in float16, as it would be written" in said) == (1, True), said
    assert not (tmp_path / "head").exists()


def test_texts_on_either_side_of_a_switch_of_the_rope_share_no_batch(tmp_path):
    """LongRoPE reads a short text otherwise in a batch whose longest is beyond its switch."""
    base = save_model(tmp_path / "base", "phi3")
    (tmp_path / "rows.txt").write_text("\n".join([*TEXTS, "happy " * 30]), encoding="utf-8")
    folder = export_to(tmp_path / "head", base, f"verify={tmp_path / 'rows.txt'}")
    assert "11 rows, 11 labels identical" in (folder / "README.md").read_text()


def test_the_tolerance_grows_with_logits_and_the_root_of_layers():
    logits = np.array([[103.0, 97.0], [100.5, 99.5]], dtype=np.float32)
    scores = Scores(("a", "b"), logits)
    # Eight steps of 2 ** -23 for logits of up to 3, and twice that for four layers.
    assert rounding_tolerance(scores, 1) == 24 * 2**-23
    assert rounding_tolerance(scores, 4) == 48 * 2**-23
