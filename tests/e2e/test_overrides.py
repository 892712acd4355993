"""docs/recipes.md: every row of its tables is executed as it stands, or parsed and checked."""

import copy
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from doctor_calls import judge, read, without_hub
from programs import ROOT, free_port, learned, llamafactory, run_program, served
from random_models import random_model, tokenizer_of
from recipe_tables import EXECUTED, TWO_PROCESSES, Entry, overrides, shipped
from safetensors.numpy import load_file

from llamafactory_emotion.doctor.context import Context, Level, assumed_machine
from llamafactory_emotion.doctor.machine import memory_needed
from llamafactory_emotion.plugin import host
from llamafactory_emotion.run_record import read_record
from llamafactory_emotion.task import EMOTION

ROWS = overrides()
SERVING = "serving with an OpenAI-style API"
# What a CPU and the hour ask for: no half precision, few steps, our own rows.
SMALL = (
    "fp16=false",
    "bf16=false",
    "max_steps=2",
    "max_samples=64",
    "dataset=emotion_demo_test",
    f"dataset_dir={ROOT / 'data'}",
)
# The published sizes of the models that the rows name; their files are not needed.
CONFIGURATIONS = {
    "Meta-Llama-3-8B": {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "tie_word_embeddings": False,
    },
    "opt-6.7b": {
        "model_type": "opt", "hidden_size": 4096, "ffn_dim": 16384, "num_hidden_layers": 32,
        "num_attention_heads": 32, "vocab_size": 50272, "word_embed_proj_dim": 4096,
    },
    "Qwen2.5-7B": {
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
        "vocab_size": 152064, "tie_word_embeddings": False,
    },
}  # fmt: skip


def rows_with(executed: str) -> list[Entry]:
    return [row for row in ROWS if row.executed == executed and row.name != SERVING]


@pytest.fixture(scope="module")
def bases(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random model of each architecture that a row names."""
    folder = tmp_path_factory.mktemp("bases")
    for architecture in ("opt", "qwen2"):
        random_model(architecture).save_pretrained(folder / architecture)
        tokenizer = copy.deepcopy(tokenizer_of())
        if architecture == "qwen2":
            tokenizer.bos_token = None  # as Qwen's own
        tokenizer.save_pretrained(folder / architecture)
    return {"opt": folder / "opt", "Qwen": folder / "qwen2", "": tiny_base}


def train(row: Entry, base: str, folder: Path, *words: str, **environment: str) -> str:
    """Run a row's recipe with its overrides; return what it prints."""
    done = llamafactory(
        "train", row.recipe, *row.overrides, base, *SMALL, *words,
        f"output_dir={folder / 'out'}", cwd=folder, **row.environment, **environment,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("row", rows_with(EXECUTED), ids=str)
def test_an_override_runs_as_the_page_has_it(row: Entry, bases, tmp_path: Path):
    named = " ".join(row.overrides)
    base = f"model_name_or_path={next(bases[word] for word in bases if word in named)}"
    validation = ("eval_dataset=emotion_demo_test",) if "packed" in row.recipe.stem else ()
    never = ('save_strategy="no"', 'eval_strategy="no"', "load_best_model_at_end=false")

    train(row, base, tmp_path, *validation, *never)

    assert learned(tmp_path)
    asked = json.loads((tmp_path / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    expected = dict(pair.split("=", 1) for pair in row.overrides)
    for key, name in (("lora_rank", "r"), ("use_dora", "use_dora"), ("use_rslora", "use_rslora")):
        assert str(asked[name]).lower() == expected.get(key, str(asked[name])).lower()


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in rows_with(TWO_PROCESSES) if "deepspeed" in str(row.overrides)], ids=str
)
def test_an_override_runs_in_two_processes_with_deepspeed(
    row: Entry, tiny_base: Path, deepspeed: dict[str, str], tmp_path: Path
):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    train(row, f"model_name_or_path={tiny_base}", tmp_path, **deepspeed)
    assert learned(tmp_path)


@pytest.mark.slow
def test_full_training_runs_in_two_processes_under_zero_3(
    tiny_base: Path, deepspeed: dict[str, str], tmp_path: Path
):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    row = next(row for row in shipped() if row.name == "emotion_full_ds3")
    torchrun = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}

    printed = train(row, f"model_name_or_path={tiny_base}", tmp_path, **torchrun, **deepspeed)

    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_base, tmp_path / "out")
    )
    assert {name: values.shape for name, values in after.items()} == {
        name: values.shape for name, values in before.items()
    }, "ZeRO-3 must gather the weights before it saves them"
    assert any((after[name] != before[name]).any() for name in before)
    assert "DeepSpeed" in printed
    assert read_record(tmp_path / "out").template == "emotion"


@pytest.mark.slow
def test_two_hosts_train_together(tiny_base: Path, tmp_path: Path):
    """Two commands on one machine, each told that it is one of two hosts."""
    row = next(row for row in ROWS if row.name == "two hosts")
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    rows = [
        replace(row, environment={**row.environment, **here, "NODE_RANK": rank}) for rank in "01"
    ]
    base = f"model_name_or_path={tiny_base}"
    with ThreadPoolExecutor() as pool:
        hosts = [pool.submit(train, one, base, tmp_path) for one in rows]

    assert "world size: 2" in hosts[0].result()
    assert hosts[1].result()
    assert learned(tmp_path)


@pytest.mark.slow
def test_a_served_model_answers_our_prompt_with_a_label(tiny_base: Path, tmp_path: Path):
    row = next(row for row in ROWS if row.name == SERVING)
    base, port = f"model_name_or_path={tiny_base}", free_port()
    lora = next(one for one in shipped() if one.name == "emotion_lora")
    train(lora, base, tmp_path, "learning_rate=1e-2", "max_steps=30")
    message = EMOTION.user_content("we won the match in the very last minute")
    with served(
        "llamafactory-cli", "api", row.recipe, *row.overrides, base,
        f"adapter_name_or_path={tmp_path / 'out'}", port=port, page="v1/models", cwd=tmp_path,
        **{**row.environment, "API_PORT": str(port)},
    ) as address:  # fmt: skip
        body = {"model": "any", "messages": [{"role": "user", "content": message}]}
        url = address.replace("models", "chat/completions")
        answer = httpx.post(url, json=body, timeout=60).json()["choices"][0]["message"]["content"]

    assert answer.strip() in EMOTION.labels


RAY_WORKER = """
import ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
@ray.remote
def known():
    import llamafactory.data
    from llamafactory.data.converter import DATASET_CONVERTERS
    from llamafactory.data.template import TEMPLATES
    return 'emotion' in TEMPLATES, 'emotion' in DATASET_CONVERTERS
print(ray.get(known.remote()))
"""


@pytest.mark.slow
def test_a_bare_ray_worker_knows_the_template(tmp_path: Path):
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    result = run_program(sys.executable, "-c", RAY_WORKER, cwd=tmp_path)

    assert result.stdout.split("\n")[-2] == "(True, True)"


ALL = [*shipped(), *ROWS]


@pytest.fixture(scope="module")
def published_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of configurations without weights, named as on the hub."""
    folder = tmp_path_factory.mktemp("published")
    for name, content in CONFIGURATIONS.items():
        for spelling in (name, f"{name}-Instruct"):
            (folder / spelling).mkdir()
            (folder / spelling / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("row", [row for row in ALL if row.memory], ids=str)
def test_the_memory_on_the_page_is_what_doctor_computes(
    row: Entry, published_models: Path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    values = read(row.recipe, *row.overrides).others
    named = str(values["model_name_or_path"])
    if named.startswith("saves/"):  # what is merged is as large as its base
        named = "Meta-Llama-3-8B"
    values = {**values, "model_name_or_path": str(published_models / Path(named).name)}
    processes = {"NPROC_PER_NODE": "4"} if row.name == "emotion_full_ds3" else {}
    for name, value in {**processes, **row.environment}.items():
        monkeypatch.setenv(name, value)

    context = Context(values, assumed_machine(80))

    assert round(memory_needed(context) or 0) == row.memory


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ALL, ids=str)
def test_a_row_is_passed_by_doctor(row: Entry, tmp_path: Path, monkeypatch):
    # A folder where nothing was trained yet, unlike a clone in which the demo was run.
    for name in ("data", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    for name, value in row.environment.items():
        monkeypatch.setenv(name, value)
    without_hub(monkeypatch)

    recipe = Path("examples") / row.recipe.name
    found = judge(recipe, *row.overrides)

    assert [one.sentence for one in found["recipe"] if one.level is Level.ERROR] == []
    by_environment = [one for one in found["environment"] if one.level is Level.ERROR]
    assert [one.sentence for one in by_environment] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", [row for row in ROWS if row.executed.startswith("no")], ids=str)
def test_a_row_that_cannot_run_here_is_taken_by_llamafactory(row: Entry, monkeypatch):
    monkeypatch.chdir(ROOT)
    values = read(row.recipe, *row.overrides).others

    assert host.refusal(values, training=True) is None


def test_the_page_lists_every_recipe_that_ships():
    there = {recipe.stem for recipe in (ROOT / "examples").glob("emotion_*.yaml")}

    assert {row.name for row in shipped()} == there
