"""Every recipe: read by LLaMA-Factory's own parser, and run by its own command on a tiny base."""

import json
import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from calls import read_lines
from llamafactory.hparams.parser import get_infer_args, get_train_args
from programs import PREDICTED, RECIPES, ROOT, learned, llamafactory, run_program
from recipe_tables import SECTIONS, sections_of
from safetensors.numpy import load_file

from llamafactory_emotion.run_record import read_record
from llamafactory_emotion.task import EMOTION

EXAMPLES = ROOT / "examples"
DATA = f"dataset_dir={ROOT / 'data'}"
TEST_SET = "dataset=emotion_demo_test"
HEADLINE = {
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_is_read_and_says_what_it_needs_and_how_it_is_called(
    recipe: Path, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    sections = sections_of(recipe)
    assert sections == [section for section in SECTIONS if section in sections]
    if recipe.stem in ("emotion_cpu", "emotion_predict"):  # which any device must run
        assert not {"fp16", "bf16", "pure_bf16", "eval_strategy"} & content.keys()
    if recipe.stem == "emotion_lora":  # the settings of the seed project
        assert content.items() >= HEADLINE.items()
    # These need a GPU or torchrun; whole runs below and in test_overrides read them.
    for key in ("bf16", "pure_bf16", "deepspeed"):
        content.pop(key, None)

    parse = get_infer_args if "export_dir" in content else get_train_args

    assert parse(content)[1].template == "emotion"


def run(
    recipe: str, model: Path, folder: Path, *words: str, **environment: str
) -> CompletedProcess[str]:
    """Run a recipe with our data; what it writes goes to `out` in the folder."""
    words = (f"model_name_or_path={model}", DATA, f"output_dir={folder / 'out'}", *words)
    return llamafactory("train", EXAMPLES / f"{recipe}.yaml", *words, cwd=folder, **environment)


def state(folder: Path) -> dict:
    return json.loads((folder / "out" / "trainer_state.json").read_text(encoding="utf-8"))


def test_the_headline_recipe_trains_merges_and_predicts(tiny_base: Path, tmp_path: Path):
    """LLaMA-Factory prints its first training example; its labels are what is learned."""
    trained = run("emotion_lora", tiny_base, tmp_path, TEST_SET, "max_steps=2", "fp16=false")
    assert "FlashAttention-2 is not installed" in trained.stderr + trained.stdout
    labels = re.search(r"^labels:\n(.*)$", trained.stdout, re.MULTILINE)
    assert labels
    assert labels[1].removesuffix("<|end_of_text|>").strip() in EMOTION.labels
    assert learned(tmp_path)

    merged = tmp_path / "merged"
    llamafactory(
        "export", EXAMPLES / "emotion_merge.yaml", f"model_name_or_path={tiny_base}",
        f"adapter_name_or_path={tmp_path / 'out'}", f"export_dir={merged}", cwd=tmp_path,
    )  # fmt: skip
    run("emotion_predict", merged, tmp_path, "eval_dataset=emotion_demo_test", "max_samples=8")
    rows = read_lines(tmp_path / "out" / PREDICTED)
    assert len(rows) == 8
    for row in rows:
        assert row["label"].strip() in EMOTION.labels
        assert row["prompt"].startswith(f"<|begin_of_text|>{EMOTION.instruction}\n")
        assert row["prompt"].endswith("\nAnswer:")


def test_the_packed_recipe_keeps_the_best_checkpoint_by_the_true_accuracy(
    tiny_base: Path, tmp_path: Path
):
    run(
        "emotion_lora_packed", tiny_base, tmp_path, "dataset=emotion_demo_train",
        "eval_dataset=emotion_demo_test", "max_samples=96", "num_train_epochs=2", "bf16=false",
    )  # fmt: skip

    evaluated = [entry for entry in state(tmp_path)["log_history"] if "eval_accuracy" in entry]
    assert [entry["epoch"] for entry in evaluated] == [1.0, 2.0]
    assert state(tmp_path)["best_metric"] == max(entry["eval_accuracy"] for entry in evaluated)
    # 96 rows were judged, however many packs they made.
    for entry in evaluated:
        assert entry["eval_accuracy"] * 96 == pytest.approx(round(entry["eval_accuracy"] * 96))
    assert state(tmp_path)["max_steps"] < 2 * 20  # a pack is a step
    assert learned(tmp_path)


def test_the_four_bit_recipe_trains_on_quantised_weights(tiny_base: Path, tmp_path: Path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (the extra `bnb`)")
    result = run("emotion_qlora", tiny_base, tmp_path, TEST_SET, "max_steps=2", "bf16=false")
    assert "Quantizing model to 4 bit with bitsandbytes" in result.stdout + result.stderr
    assert learned(tmp_path)


def test_the_freeze_recipe_trains_the_last_blocks_alone(tiny_base: Path, tmp_path: Path):
    words = ("max_steps=2", "pure_bf16=false", "freeze_trainable_layers=1")
    run("emotion_freeze", tiny_base, tmp_path, TEST_SET, *words)

    before = load_file(tiny_base / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    changed = {name for name in before if (before[name] != after[name]).any()}
    last = max(int(name.split(".")[2]) for name in before if name.startswith("model.layers."))
    assert changed
    assert all(name.startswith(f"model.layers.{last}.") for name in changed)


def test_the_multitask_recipe_reads_both_tasks(tiny_base: Path, tmp_path: Path):
    data = "dataset=emotion_demo_train,sentiment_demo_train"
    words = ("max_samples=32", "max_steps=2", "bf16=false")
    run("emotion_multitask", tiny_base, tmp_path, data, *words)

    # 32 rows of each task are 13 batches of 5, and two steps take 8 of them.
    assert state(tmp_path)["epoch"] == pytest.approx(8 / 13, abs=1e-3)
    assert learned(tmp_path)
    record = read_record(tmp_path / "out")
    assert [task.name for task in record.tasks] == ["emotion", "demo_sentiment"]


def test_two_torchrun_processes_know_the_template(tiny_base: Path, tmp_path: Path):
    words = (TEST_SET, "max_steps=2", "max_samples=64", "fp16=false")
    torchrun = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "1"}
    run("emotion_lora", tiny_base, tmp_path, *words, **torchrun)
    assert learned(tmp_path)
    assert read_record(tmp_path / "out").tasks == (EMOTION,)


def test_the_hub_entries_are_read_as_they_are_published(tiny_base: Path, tmp_path: Path):
    """A local folder of the hub's name stands in for the hub: `datasets` reads it first."""
    import pyarrow
    from pyarrow import parquet

    hub = tmp_path / "dair-ai" / "emotion" / "split"
    hub.mkdir(parents=True)
    texts = ["so it goes", "the post has come", "nobody called"]
    for split in ("train", "validation", "test"):
        table = pyarrow.table({"text": texts, "label": [0, 5, 3]})
        parquet.write_table(table, hub / f"{split}-00000-of-00001.parquet")

    data = "eval_dataset=emotion_train,emotion_validation,emotion_test"
    run("emotion_predict", tiny_base, tmp_path, data, f"cache_dir={tmp_path / 'cache'}")

    labels = [row["label"].strip() for row in read_lines(tmp_path / "out" / PREDICTED)]
    assert labels == ["sadness", "surprise", "anger"] * 3


def test_a_bad_label_stops_the_host_with_the_label_and_the_text(tiny_base: Path, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"text": "so it goes", "label": 9}\n', encoding="utf-8")
    columns = {"prompt": "text", "response": "label"}
    entry = {"file_name": "rows.jsonl", "formatting": "emotion", "columns": columns}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": entry}), encoding="utf-8")

    with pytest.raises(AssertionError, match="unknown label 9 in the column 'label'") as error:
        run("emotion_cpu", tiny_base, tmp_path, f"dataset_dir={tmp_path}", "dataset=mine")

    assert "so it goes" in str(error.value)


OLDER = ("llamafactory==0.9.4", "transformers==4.57.1", "huggingface_hub<1.0", "peft==0.17.1")


@pytest.fixture
def base_for_both(tiny_base: Path, tmp_path: Path) -> Path:
    """The tiny Llama under the name of a tokenizer class that transformers 4 has, too."""
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    file = folder / "tokenizer_config.json"
    content = json.loads(file.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("base", ["base_for_both", pytest.param("smollm2", marks=pytest.mark.slow)])
def test_the_oldest_llamafactory_we_support_trains_and_predicts(
    base: str, request, tmp_path_factory, tmp_path: Path
):
    model = request.getfixturevalue(base)
    folder = tmp_path_factory.mktemp("older")
    run_program(
        "python", "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *OLDER,
        "tyro<0.9", "hf-transfer", cwd=folder,
    )  # fmt: skip
    older = {"PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}

    # Its parser refuses neat packing beside a transformers of its own range.
    run("emotion_cpu", model, tmp_path, "neat_packing=false", "max_samples=16", **older)
    adapter = (tmp_path / "out").rename(tmp_path / "adapter")
    assert read_record(adapter).versions["llamafactory"] == "0.9.4"
    words = (f"adapter_name_or_path={adapter}", "eval_dataset=emotion_demo_test", "max_samples=8")
    run("emotion_predict", model, tmp_path, *words, **older)

    assert len(read_lines(tmp_path / "out" / PREDICTED)) == 8
    results = json.loads((tmp_path / "out" / "predict_results.json").read_text("utf-8"))
    assert {"predict_accuracy", "predict_f1_macro", "predict_invalid"} <= results.keys()
