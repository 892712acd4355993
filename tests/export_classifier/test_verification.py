"""What `verify` calls rounding, and what it refuses."""

import shutil

import numpy as np
import pytest
from calls import save_model
from random_models import TEXTS, save_adapter
from safetensors.torch import load_file, save_file

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.export_classifier.__main__ import main
from llamafactory_emotion.export_classifier.verification import (
    Sample,
    check_equal,
    compare,
    rounding_tolerance,
)
from llamafactory_emotion.scoring.batches import Scores
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import EMOTION

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
OTHER_TASK = "name: other\ninstruction: Name the mood of this text.\nlabels: [{}]\n"


@pytest.fixture(scope="module")
def random_llama(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("llama"), initializer_range=0.05)


@pytest.fixture(scope="module", params=["random_llama", "smollm2"])
def verified(request, tmp_path_factory):
    """Export an adapter of a usual size with `verify`; return call, folder, scores, layers."""
    base = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    save_adapter(
        base, folder / "adapter", r=8, lora_alpha=16, target_modules=list(LAYERS), spread=0.02
    )
    (folder / "rows.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    call = [f"model_name_or_path={base}", f"adapter_name_or_path={folder / 'adapter'}"]
    assert main([*call, f"output={folder / 'head'}", f"verify={folder / 'rows.txt'}"]) == 0
    scorer = LabelScorer.from_pretrained(str(base), adapter=str(folder / "adapter"))
    layers = scorer.loaded.model.config.num_hidden_layers
    return call, folder / "head", scorer.score(TEXTS), layers


def swap_rows(weights):
    weights["score.weight"] = weights["score.weight"][[1, 0, 2, 3, 4, 5]]


def change_a_weight(weights):
    row = weights["score.weight"][0]
    row[row.abs().argmax()] *= 1.01


def change_a_layer(weights):
    weights["model.layers.1.mlp.down_proj.weight"] *= 1.01


@pytest.mark.parametrize("change", [None, swap_rows, change_a_weight, change_a_layer])
def test_a_fault_is_told_from_rounding(verified, tmp_path, change):
    _, folder, scores, layers = verified
    shutil.copytree(folder, tmp_path / "head")
    weights = load_file(folder / "model.safetensors")
    if change is not None:
        change(weights)
    save_file(weights, tmp_path / "head" / "model.safetensors", metadata={"format": "pt"})
    found = compare(tmp_path / "head", Sample(TEXTS, scores), device="cpu")
    allowed = rounding_tolerance(scores, layers)

    if change is None:
        check_equal(found, "rows", allowed)
        return
    with pytest.raises(ModelError, match="does not give what predict gives on rows: 10 rows"):
        check_equal(found, "rows", allowed)


def test_the_tokenizer_of_another_prompt_is_refused(verified, tmp_path):
    call, folder, scores, layers = verified
    task = tmp_path / "task.yaml"
    task.write_text(OTHER_TASK.format(", ".join(EMOTION.labels)))
    assert main([*call, f"output={tmp_path / 'head'}", f"task={task}"]) == 0
    shutil.copy(folder / "model.safetensors", tmp_path / "head")
    found = compare(tmp_path / "head", Sample(TEXTS, scores), device="cpu")

    with pytest.raises(ModelError, match="does not give what predict gives on rows"):
        check_equal(found, "rows", rounding_tolerance(scores, layers))


def test_the_tolerance_grows_with_logits_and_the_root_of_layers():
    logits = np.array([[103.0, 97.0], [100.5, 99.5]], dtype=np.float32)
    scores = Scores(("a", "b"), logits, ("", ""), (False, False), 0)
    # Eight steps of 2 ** -23 for logits of up to 3, and twice that for four layers.
    assert rounding_tolerance(scores, 1) == 24 * 2**-23
    assert rounding_tolerance(scores, 4) == 48 * 2**-23
