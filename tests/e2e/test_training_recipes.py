"""Every recipe: read by LLaMA-Factory's own parser, and run by its own command on a tiny base."""

import json
import re
from pathlib import Path

import pytest
import yaml
from llamafactory.hparams.parser import get_infer_args, get_train_args
from programs import RECIPES, ROOT, llamafactory, run_program
from safetensors.numpy import load_file

from llamafactory_emotion.task import EMOTION

EXPECTED = [
    "emotion_cpu",
    "emotion_freeze",
    "emotion_full_ds3",
    "emotion_lora",
    "emotion_lora_packed",
    "emotion_merge",
    "emotion_multitask",
    "emotion_predict",
    "emotion_qlora",
]
EXAMPLES = ROOT / "examples"
DATA = f"dataset_dir={ROOT / 'data'}"


def test_the_recipes_are_the_ones_we_know():
    assert [recipe.stem for recipe in RECIPES] == EXPECTED


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_llamafactory_accepts_every_key(recipe: Path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    # These need a GPU or torchrun; whole runs below and in test_overrides read them.
    for key in ("bf16", "pure_bf16", "deepspeed"):
        content.pop(key, None)

    parse = get_infer_args if "export_dir" in content else get_train_args

    arguments = parse(content)
    assert arguments[1].template == "emotion"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_fits_a_screen_and_says_what_it_needs_and_how_it_is_called(recipe: Path):
    lines = recipe.read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#") and not line.startswith("###")]

    assert len(lines) <= 50
    for word in ("Needs", "Command", "Override"):
        assert any(line.startswith(f"# {word}") for line in header)
    assert any(f"examples/{recipe.name}" in line for line in header)
    sections = [line[4:] for line in lines if line.startswith("### ")]
    order = ["model", "method", "dataset", "output", "train", "eval"]
    assert sections == [section for section in order if section in sections]


def test_the_headline_recipe_has_the_settings_of_the_seed_project():
    content = yaml.safe_load((EXAMPLES / "emotion_lora.yaml").read_text(encoding="utf-8"))

    expected = {
        "model_name_or_path": "meta-llama/Meta-Llama-3-8B",
        "flash_attn": "fa2",
        "finetuning_type": "lora",
        "lora_rank": 8,
        "cutoff_len": 512,
        "per_device_train_batch_size": 5,
        "gradient_accumulation_steps": 4,
        "learning_rate": 5e-5,
        "num_train_epochs": 3.0,
        "lr_scheduler_type": "cosine",
        "fp16": True,
    }
    assert {key: content.get(key) for key in expected} == expected


@pytest.mark.parametrize("name", ["emotion_cpu", "emotion_predict"])
def test_the_recipes_for_any_device_set_no_precision(name: str):
    content = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))

    assert not {"fp16", "bf16", "pure_bf16"} & content.keys()
    assert "eval_strategy" not in content


def test_the_headline_recipe_trains_merges_and_predicts(tiny_base: Path, tmp_path: Path):
    adapter, merged, predicted = (tmp_path / name for name in ("adapter", "merged", "predicted"))
    base = f"model_name_or_path={tiny_base}"

    trained = llamafactory(
        "train", EXAMPLES / "emotion_lora.yaml", base, DATA, "dataset=emotion_demo_test",
        "max_steps=2", f"output_dir={adapter}", "fp16=false", cwd=tmp_path,
    )  # fmt: skip
    llamafactory(
        "export", EXAMPLES / "emotion_merge.yaml", base, f"adapter_name_or_path={adapter}",
        f"export_dir={merged}", cwd=tmp_path,
    )  # fmt: skip
    llamafactory(
        "train", EXAMPLES / "emotion_predict.yaml", f"model_name_or_path={merged}", DATA,
        "eval_dataset=emotion_demo_test", "max_samples=8", f"output_dir={predicted}",
        cwd=tmp_path,
    )  # fmt: skip

    assert "FlashAttention-2 is not installed" in trained.stderr + trained.stdout
    assert load_file(adapter / "adapter_model.safetensors")
    rows = [
        json.loads(line)
        for line in (predicted / "generated_predictions.jsonl").read_text("utf-8").splitlines()
    ]
    assert len(rows) == 8
    for row in rows:
        assert row["label"].strip() in EMOTION.labels
        assert row["prompt"].startswith(f"<|begin_of_text|>{EMOTION.instruction}\n")
        assert row["prompt"].endswith("\nAnswer:")


def test_the_packed_recipe_keeps_the_best_checkpoint_by_the_true_accuracy(
    tiny_base: Path, tmp_path: Path
):
    output = tmp_path / "out"

    llamafactory(
        "train", EXAMPLES / "emotion_lora_packed.yaml", f"model_name_or_path={tiny_base}", DATA,
        "dataset=emotion_demo_train", "eval_dataset=emotion_demo_test", "max_samples=96",
        "num_train_epochs=2", "bf16=false", f"output_dir={output}", cwd=tmp_path,
    )  # fmt: skip

    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    evaluated = [entry for entry in state["log_history"] if "eval_accuracy" in entry]
    assert [entry["epoch"] for entry in evaluated] == [1.0, 2.0]
    assert state["best_metric"] == max(entry["eval_accuracy"] for entry in evaluated)
    # 96 rows were judged, however many packs they made.
    for entry in evaluated:
        assert entry["eval_accuracy"] * 96 == pytest.approx(round(entry["eval_accuracy"] * 96))
    assert state["max_steps"] < 2 * 20  # a pack is a step
    assert load_file(output / "adapter_model.safetensors")


def test_the_four_bit_recipe_trains_on_quantised_weights(tiny_base: Path, tmp_path: Path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (the extra `bnb`)")

    result = llamafactory(
        "train", EXAMPLES / "emotion_qlora.yaml", f"model_name_or_path={tiny_base}", DATA,
        "dataset=emotion_demo_test", "max_steps=2", "bf16=false", f"output_dir={tmp_path / 'out'}",
        cwd=tmp_path,
    )  # fmt: skip

    assert "Quantizing model to 4 bit with bitsandbytes" in result.stdout + result.stderr
    learned = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert any(abs(weights).max() > 0 for name, weights in learned.items() if "lora_B" in name)


def test_the_freeze_recipe_trains_the_last_blocks_alone(tiny_base: Path, tmp_path: Path):
    llamafactory(
        "train", EXAMPLES / "emotion_freeze.yaml", f"model_name_or_path={tiny_base}", DATA,
        "dataset=emotion_demo_test", "max_steps=2", "pure_bf16=false", "freeze_trainable_layers=1",
        f"output_dir={tmp_path / 'out'}", cwd=tmp_path,
    )  # fmt: skip

    before = load_file(tiny_base / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    changed = {name for name in before if (before[name] != after[name]).any()}
    last = max(int(name.split(".")[2]) for name in before if name.startswith("model.layers."))
    assert changed
    assert all(name.startswith(f"model.layers.{last}.") for name in changed)


def test_the_multitask_recipe_reads_both_tasks(tiny_base: Path, tmp_path: Path):
    llamafactory(
        "train", EXAMPLES / "emotion_multitask.yaml", f"model_name_or_path={tiny_base}", DATA,
        "dataset=emotion_demo_train,sentiment_demo_train", "max_samples=32", "max_steps=2",
        "bf16=false", f"output_dir={tmp_path / 'out'}", cwd=tmp_path,
    )  # fmt: skip

    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text(encoding="utf-8"))
    # 32 rows of each task are 13 batches of 5, and two steps take 8 of them.
    assert state["epoch"] == pytest.approx(8 / 13, abs=1e-3)
    assert load_file(tmp_path / "out" / "adapter_model.safetensors")


def test_only_the_label_and_the_end_token_bear_loss(tiny_base: Path, tmp_path: Path):
    """LLaMA-Factory prints its first training example; its labels are what is learned."""
    result = llamafactory(
        "train", EXAMPLES / "emotion_lora.yaml", f"model_name_or_path={tiny_base}", DATA,
        "dataset=emotion_demo_test", "max_steps=1", f"output_dir={tmp_path / 'out'}",
        "fp16=false", cwd=tmp_path,
    )  # fmt: skip

    labels = re.search(r"^labels:\n(.*)$", result.stdout, re.MULTILINE)
    assert labels
    assert labels[1].removesuffix("<|end_of_text|>").strip() in EMOTION.labels


def test_two_torchrun_processes_know_the_template(tiny_base: Path, tmp_path: Path):
    llamafactory(
        "train", EXAMPLES / "emotion_lora.yaml", f"model_name_or_path={tiny_base}", DATA,
        "dataset=emotion_demo_test", "max_steps=2", "max_samples=64", "fp16=false",
        f"output_dir={tmp_path / 'out'}",
        cwd=tmp_path, FORCE_TORCHRUN="1", NPROC_PER_NODE="2", OMP_NUM_THREADS="1",
    )  # fmt: skip

    assert load_file(tmp_path / "out" / "adapter_model.safetensors")


def test_the_hub_entries_are_read_as_they_are_published(tiny_base: Path, tmp_path: Path):
    """A local folder of the hub's name stands in for the hub: `datasets` reads it first."""
    import pyarrow
    from pyarrow import parquet

    hub = tmp_path / "dair-ai" / "emotion" / "split"
    hub.mkdir(parents=True)
    table = pyarrow.table(
        {"text": ["so it goes", "the post has come", "nobody called"], "label": [0, 5, 3]}
    )
    for split in ("train", "validation", "test"):
        parquet.write_table(table, hub / f"{split}-00000-of-00001.parquet")

    llamafactory(
        "train", EXAMPLES / "emotion_predict.yaml", f"model_name_or_path={tiny_base}", DATA,
        "eval_dataset=emotion_train,emotion_validation,emotion_test",
        f"output_dir={tmp_path / 'out'}", cwd=tmp_path, HF_HOME=str(tmp_path / "cache"),
    )  # fmt: skip

    written = (tmp_path / "out" / "generated_predictions.jsonl").read_text("utf-8")
    labels = [json.loads(line)["label"].strip() for line in written.splitlines()]
    assert labels == ["sadness", "surprise", "anger"] * 3


def test_a_bad_label_stops_the_host_with_the_label_and_the_text(tiny_base: Path, tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"text": "so it goes", "label": 9}\n', encoding="utf-8")
    entry = {
        "file_name": "rows.jsonl",
        "formatting": "emotion",
        "columns": {"prompt": "text", "response": "label"},
    }
    (folder / "dataset_info.json").write_text(json.dumps({"mine": entry}), encoding="utf-8")

    with pytest.raises(AssertionError, match="unknown label 9 in the column 'label'") as error:
        llamafactory(
            "train", EXAMPLES / "emotion_cpu.yaml", f"model_name_or_path={tiny_base}",
            f"dataset_dir={folder}", "dataset=mine", f"output_dir={tmp_path / 'out'}",
            cwd=tmp_path,
        )  # fmt: skip

    assert "so it goes" in str(error.value)


OLDER = ("llamafactory==0.9.4", "transformers==4.57.1", "huggingface_hub<1.0", "peft==0.17.1")


@pytest.fixture(scope="module")
def older_llamafactory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that puts LLaMA-Factory 0.9.4 and what it needs in front of the installed one."""
    folder = tmp_path_factory.mktemp("older")
    run_program(
        "python", "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *OLDER,
        "tyro<0.9", "hf-transfer", cwd=folder,
    )  # fmt: skip
    return folder


def test_the_oldest_llamafactory_we_support_trains_and_predicts(
    smollm2: Path, older_llamafactory: Path, tmp_path: Path
):
    older = {"PYTHONPATH": str(older_llamafactory), "PYTHONWARNINGS": "ignore"}
    version = run_program("llamafactory-cli", "version", cwd=tmp_path, **older)
    adapter = tmp_path / "adapter"

    # Its parser refuses neat packing beside a transformers of its own range.
    llamafactory(
        "train", EXAMPLES / "emotion_cpu.yaml", f"model_name_or_path={smollm2}", DATA,
        "neat_packing=false", "max_samples=16", f"output_dir={adapter}", cwd=tmp_path, **older,
    )  # fmt: skip
    llamafactory(
        "train", EXAMPLES / "emotion_predict.yaml", f"model_name_or_path={smollm2}",
        f"adapter_name_or_path={adapter}", DATA, "eval_dataset=emotion_demo_test",
        "max_samples=8", f"output_dir={tmp_path / 'predicted'}", cwd=tmp_path, **older,
    )  # fmt: skip

    assert "0.9.4" in version.stdout
    written = (tmp_path / "predicted" / "generated_predictions.jsonl").read_text("utf-8")
    assert len(written.splitlines()) == 8
    results = json.loads((tmp_path / "predicted" / "predict_results.json").read_text("utf-8"))
    assert {"predict_accuracy", "predict_f1_macro", "predict_invalid"} <= results.keys()
