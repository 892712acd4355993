"""The preflight: a fault a check in a table of broken recipes, and none in the shipped ones."""

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from doctor_calls import judge

from llamafactory_emotion.doctor import __main__ as doctor
from llamafactory_emotion.doctor import context, environment, machine, needs
from llamafactory_emotion.doctor.context import Context
from llamafactory_emotion.doctor.finding import Level
from llamafactory_emotion.doctor.machine import FLASH_ATTENTION, Gpu, Machine, own_requirement
from llamafactory_emotion.task import EMOTION

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples").glob("emotion_*.yaml"))
OLD_GPU = Machine((Gpu("an old GPU", 16, (7, 5)),), cpus=4)
NEW_GPU = Machine((Gpu("a new GPU", 24, (9, 0)),), cpus=4)
CPU = Machine((), cpus=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A working folder: data sets that are sound and others that are not, and a tiny base."""
    place = tmp_path_factory.mktemp("doctor")
    (place / "saves").mkdir()
    (place / "saves" / "tiny_base").symlink_to(tiny_base)
    files = {
        "sound": [("the train was late again", 3), ("my sister sent me flowers", 2)] * 20,
        "leaking": [("the train was late again", 0), ("somebody knocked", 4)],
        "conflicting": [("so it goes", 0), ("so it goes", 1)],
        "strange": [("so it goes", "boredom")],
        "long": [("word " * 700, 1)],
        "empty": [],
    }
    data = place / "data"
    data.mkdir()
    columns = {"prompt": "text", "response": "label"}
    entries = {"gone": {"file_name": "gone.jsonl", "formatting": "emotion", "columns": columns}}
    for name, rows in files.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (data / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        entries[name] = {
            "file_name": f"{name}.jsonl",
            "formatting": "emotion",
            "columns": columns,
        }
    (data / "twin.json").write_text(
        json.dumps(
            [{"instruction": word, "input": "", "output": word} for word in ("zygote", "quince")]
        )
    )
    entries["alpaca"] = {"file_name": "twin.json"}
    entries["hub"] = {"hf_hub_url": "someone/emotion", "formatting": "emotion"}
    entries["misspelt"] = {**entries["sound"], "formating": "emotion"}
    entries["miscolumned"] = {**entries["sound"], "columns": {**columns, "promt": "text"}}
    entries["split"] = {**entries["sound"], "split": "validation"}
    entries["formless"] = {"file_name": "sound.jsonl", "formatting": "no_such_formatting"}
    entries["listed"] = {**entries["sound"], "columns": ["text", "label"]}
    entries["textless"] = {**entries["sound"], "file_name": "twin.json", "formatting": "alpaca"}
    for name, names in (("ordered", EMOTION.labels), ("reordered", sorted(EMOTION.labels))):
        entries[name] = {**entries["sound"], "file_name": f"{name}/train.parquet"}
        entries[f"hub_{name}"] = {"hf_hub_url": str(data / name), "formatting": "emotion",
                                  "columns": columns}  # fmt: skip
        write_named_ids(data / name, names)
    entries["alpaca_ids"] = {**entries["ordered"], "formatting": "alpaca"}
    (data / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    (place / "zero3.json").write_text('{"zero_optimization": {"stage": 3}}')
    (place / "broken.json").write_text("{")
    adapter = place / "saves" / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "other/base"}')
    trained = place / "saves" / "trained"
    (trained / "checkpoint-8").mkdir(parents=True)
    (trained / "model.safetensors").write_bytes(b"")
    return place


def write_named_ids(folder: Path, names) -> None:
    """Write label ids and their names as the hub has them: beside the rows and in the card."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    rows = [{"text": f"text {number}", "label": number % 6} for number in range(12)]
    Dataset.from_list(rows, features=features).to_parquet(folder / "train.parquet")
    named = "".join(f"          '{number}': {name}\n" for number, name in enumerate(names))
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n"
        f"    dtype:\n      class_label:\n        names:\n{named}---\n"
    )


@pytest.fixture
def look(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Judge a sound recipe with some keys changed; give the findings by part."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(machine, "import_failure", lambda _: None)

    def examined(on: Machine = NEW_GPU, **changes: object):
        monkeypatch.setattr(machine, "this_machine", lambda: on)
        values = {
            "model_name_or_path": "saves/tiny_base",
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "dataset": "sound",
            "template": "emotion",
            "cutoff_len": 512,
            "output_dir": "saves/new",
            "report_to": "none",
            "per_device_train_batch_size": 4,
            "num_train_epochs": 20,
            "bf16": True,
        }
        values |= changes
        kept = {key: value for key, value in values.items() if value is not None}
        return doctor.examine(kept)

    return examined


def serious(findings):
    return [one for one in findings if one.level is not Level.NOTE]


def test_a_sound_recipe_has_no_fault(look):
    found = look()

    assert serious(found["recipe"]) == []
    assert serious(found["environment"]) == []


PREDICT = {"do_train": None, "do_predict": True, "predict_with_generate": True,
           "eval_dataset": "sound", "do_sample": False, "max_new_tokens": 8}  # fmt: skip
BEST = {"eval_dataset": "long", "eval_strategy": "epoch", "load_best_model_at_end": True,
        "save_strategy": "epoch", "cutoff_len": 4096}  # fmt: skip

BROKEN = [
    # keys and values
    ({"lora_rnk": 8}, "unknown-key", "lora_rnk", "write lora_rank"),
    ({"max_seq_length": 512}, "unknown-key", "max_seq_length", "cutoff_len"),
    ({"text_column": "text"}, "unknown-key", "a key of `llamafactory_emotion.predict`", "predict"),
    ({"learning_rate": "5e-5"}, "value", "'5e-5' is text", "learning_rate: 5e-05"),
    ({"lora_rank": "eight"}, "value", "'eight' is not of the kind whole number", ""),
    ({"lora_rank": 8.5}, "value", "8.5 is not of the kind whole number", ""),
    ({"bf16": "yes"}, "value", "'yes' is not of the kind true or false", "bf16: true"),
    ({"save_strategy": False}, "value", "is none of no, steps", 'save_strategy: "no"'),
    ({"finetuning_type": "lore"}, "value", "is none of lora", "finetuning_type: lora"),
    ({"flash_attn": "flash2"}, "value", "is none of auto", ""),
    ({"lr_scheduler_type": "cosin"}, "value", "is none of linear", "cosine"),
    ({"model_name_or_path": None}, "missing-key", "no model", "model_name_or_path"),
    ({"dataset": None}, "missing-key", "do_train without a dataset", "dataset"),
    ({"do_train": None}, "missing-key", "neither do_train", "do_train"),
    ({"template": None}, "missing-key", "no template", "emotion"),
    ({"do_eval": True}, "missing-key", "without anything to evaluate on", "eval_dataset"),
    ({"template": "lama3"}, "template", "no template 'lama3'", "llama3"),
    # data
    ({"dataset_dir": "nowhere"}, "dataset-dir", "it is not there", "init"),
    ({"dataset": "soudn"}, "dataset", "no data set 'soudn'", "write sound"),
    ({"dataset": "gone"}, "rows", "gone.jsonl is not there", "mend"),
    ({"dataset": "strange"}, "rows", "boredom", "mend"),
    ({"dataset": "empty"}, "rows", "no rows", "another"),
    ({"dataset": "formless"}, "rows", "'no_such_formatting' is not known; write alpaca", "mend"),
    ({"dataset": "listed"}, "rows", "must be an object of names", "mend"),
    ({"dataset": "textless"}, "rows", "the column 'text' is missing", "mend"),
    ({"dataset": "alpaca_ids"}, "rows", "no rows with a prompt and an answer", "mend"),
    ({"dataset": "reordered"}, "label-ids", "ids 0 anger, 1 fear, 2 joy", "register its file"),
    ({"dataset": "hub_reordered"}, "label-ids", "train other labels", "save it as Parquet"),
    ({"eval_dataset": "leaking"}, "audit", "1 of them with another label", "--drop leaks"),
    ({"dataset": "long"}, "cutoff", "1 of 1 rows", "raise cutoff_len"),
    # model
    ({"model_name_or_path": "./nowhere"}, "model", "is not there", "train or export"),
    ({"model_name_or_path": "saves/adapter"}, "model", "it is an adapter", "adapter_name_or_path"),
    ({"adapter_name_or_path": "saves/none"}, "adapter", "is not there", "train"),
    ({"adapter_name_or_path": "saves/tiny_base"}, "adapter", "adapter_config.json", "LoRA"),
    ({"adapter_name_or_path": "saves/adapter"}, "adapter", "other/base", "model_name_or_path"),
    ({"template": "llama3"}, "end-token", "never learned", "template: emotion"),
    ({"lora_target": "c_attn"}, "targets", "no layer of that name", "q_proj"),
    ({"finetuning_type": "freeze", "freeze_trainable_layers": 30},
     "targets", "the model has", "train"),
    # training
    ({"fp16": True}, "precision", "exclude each other", "bf16"),
    ({"bf16": False, "fp16": True, "finetuning_type": "full"}, "precision", "NaN", "bf16"),
    ({"flash_attn": "fa2", "bf16": False}, "attention", "FlashAttention-2 computes", "bf16"),
    ({"flash_attn": "fa3", "bf16": False}, "attention", "FlashAttention-3 computes", "bf16"),
    ({"neat_packing": True, "flash_attn": "fa2"}, "packing", "stops", "batch_size: 1"),
    ({"neat_packing": True, "flash_attn": "fa3"}, "packing", "not fa3", "flash_attn: fa2"),
    ({"packing": True}, "packing", "attend to one another", "neat_packing"),
    ({"quantization_bit": 4, "finetuning_type": "full"}, "quantization", "full", "lora"),
    ({"quantization_bit": 4, "pure_bf16": True}, "quantization", "pure_bf16", "bf16"),
    ({"deepspeed": "gone.json"}, "deepspeed", "cannot be read", "examples/deepspeed"),
    ({"deepspeed": "broken.json"}, "deepspeed", "not valid JSON", "examples/deepspeed"),
    ({**PREDICT, "deepspeed": "zero3.json"}, "deepspeed", "does not predict", "predict"),
    ({"deepspeed": "zero3.json", "pure_bf16": True}, "deepspeed", "does not go", "bf16"),
    ({"learning_rate": 0.5}, "number", "very high", "usual"),
    ({"warmup_steps": 5000}, "steps", "200 of 200 steps are warm-up", "add warmup_steps=20"),
    ({"warmup_ratio": 0.5}, "steps", "100 of 200 steps are warm-up", "add warmup_ratio=0.1"),
    ({"warmup_steps": 5, "warmup_ratio": 0.1}, "steps", "both given", "override warmup_ratio"),
    ({"save_steps": 200}, "steps", "save_steps 200, and there are 200 steps", "lower save_steps"),
    ({"neat_packing": True, "cutoff_len": 128, "num_train_epochs": 1}, "steps", "too few", "add"),
    ({"interleave_probs": "0.5,0.5"}, "steps", "only valid for interleaved", "mend mix_strategy"),
    ({**BEST, "save_strategy": "steps"}, "evaluation", "load_best_model_at_end", "the same"),
    ({**BEST, "metric_for_best_model": "accuracy"}, "evaluation", "not computed", "compute_acc"),
    ({**BEST, "metric_for_best_model": "f1_macro", "compute_accuracy": True, "template": "default"},
     "evaluation", "under the template emotion only", "accuracy"),
    ({**BEST, "metric_for_best_model": "accuracy", "predict_with_generate": True,
      "template": "default"}, "evaluation", "there is no accuracy", "bleu-4"),
    ({**PREDICT, "do_sample": None}, "prediction", "sampling is on", "do_sample: false"),
    ({**PREDICT, "max_new_tokens": None}, "prediction", "1024 tokens", "max_new_tokens: 8"),
    ({**PREDICT, "predict_with_generate": None}, "prediction", "without predict_with", "true"),
    ({"output_dir": "saves/trained"}, "output", "goes on from it", "another output_dir"),
    ({"split_special_tokens": True}, "template", "split_special_tokens", "remove"),
    # numbers
    ({"per_device_train_batch_size": 0}, "number", "must be 1 or more", "change"),
    ({"gradient_accumulation_steps": 0}, "number", "must be 1 or more", "change"),
    ({"num_train_epochs": -1}, "number", "must be more than 0", "change"),
    ({"lora_rank": 0}, "number", "must be 1 or more", "change"),
    ({"lora_dropout": 1.5}, "number", "must be from 0 to 1", "change"),
    ({"learning_rate": -0.0001}, "number", "must be more than 0", "change"),
    ({"cutoff_len": 0}, "number", "must be 1 or more", "change"),
    ({"max_samples": -1}, "number", "must be 1 or more", "change"),
    ({"warmup_ratio": 10.0}, "number", "must be from 0 to 1", "change"),
    ({"cutoff_len": 100_000}, "number", "reads 2048 tokens at most", "2048"),
    ({"cutoff_len": None, "max_length": 512}, "number", "belongs to generation", "cutoff_len: 512"),
    ({"finetuning_type": "freeze", "freeze_trainable_layers": 0},
     "number", "nothing to train", "last blocks"),
    # more of what others wrote
    ({"group_by_length": True}, "unknown-key", "group_by_length", "train_sampling_strategy"),
    ({"optim": "adamw"}, "value", "...", "write optim: adamw_torch"),
    ({"dataset": "sound,,alpaca"}, "dataset", "comma", "remove"),
    ({"dataset": ["sound", "soudn"]}, "dataset", "no data set 'soudn'", "write sound"),
    ({"dataset": "misspelt"}, "entry", "a key 'formating'", "write formatting"),
    ({"dataset": "miscolumned"}, "entry", "a key 'promt'", "write prompt"),
    ({"dataset": "split"}, "entry", "names the split 'validation'", "remove split"),
    ({"stage": "dpo"}, "stage", "compares two answers", "stage: sft"),
    ({"stage": "pt"}, "stage", "does not learn to answer", "stage: sft"),
    ({"lora_target": ["q_proj", "qproj"]}, "targets", "lora_target qproj", "q_proj"),
    ({"finetuning_type": "freeze", "freeze_trainable_layers": 1,
      "freeze_trainable_modules": "attention"}, "targets", "no such part", "self_attn"),
    ({"quantization_bit": 5}, "quantization", "does not make 5 bits", "4 or 8"),
    ({"quantization_bit": 4, "quantization_method": "gptq"}, "quantization", "nothing", "bnb"),
    ({"quantization_bit": 8, "deepspeed": "zero3.json"}, "quantization", "ZeRO-3", "4 with bnb"),
    ({"resume_from_checkpoint": "saves/none"}, "output", "is not there", "checkpoint-N"),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "steps", "least rate", "min_lr_rate"),
    ({"early_stopping_steps": 3}, "evaluation", "without an evaluation", "eval_strategy"),
    ({**BEST, "metric_for_best_model": "eval_f1"}, "evaluation", "there is no f1", "loss"),
    ({**BEST, "compute_accuracy": True, "eval_on_each_dataset": True,
      "metric_for_best_model": "eval_accuracy"}, "evaluation", "no accuracy", "long_accuracy"),
    ({**BEST, "compute_accuracy": True, "greater_is_better": False,
      "metric_for_best_model": "accuracy"}, "evaluation", "the worst", "remove"),
    ({"eval_dataset": "sound", "do_eval": True}, "evaluation", "trained on and", "another"),
    ({"mask_history": True, "train_on_prompt": True}, "refused", "mask_history", ""),
    ({"streaming": True}, "refused", "max_steps", ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "check", "said", "remedy"), BROKEN, ids=str)
def test_a_broken_recipe_is_told_with_its_remedy(look, changes, check, said, remedy):
    found = [one for one in serious(look(**changes)["recipe"]) if one.check == check]

    assert any(said in one.sentence and remedy in one.remedy for one in found), found


def test_a_run_that_generates_chooses_by_its_labels(look):
    found = look(**BEST, predict_with_generate=True, metric_for_best_model="f1_macro")

    assert not [one for one in serious(found["recipe"]) if one.check == "evaluation"]


NEEDY = [
    (CPU, {}, "precision", "bf16 needs a GPU"),
    (CPU, {"bf16": False, "fp16": True}, "precision", "fp16 needs a GPU"),
    (OLD_GPU, {}, "precision", "does not compute in bfloat16"),
    (OLD_GPU, {"bf16": False, "fp16": True, "flash_attn": "fa2"}, "attention", "older than"),
    (NEW_GPU, {"report_to": "wandb"}, "packages", "wandb is not installed"),
    (NEW_GPU, {"deepspeed": "zero3.json"}, "launcher", "torchrun"),
    (NEW_GPU, {"fsdp": "full_shard auto_wrap"}, "launcher", "several processes"),
]


@pytest.mark.parametrize(("on", "changes", "check", "said"), NEEDY, ids=str)
def test_what_the_machine_lacks_stands_apart_from_the_recipe(look, on, changes, check, said):
    found = look(on, **changes)

    assert any(one.check == check and said in one.sentence for one in serious(found["environment"]))
    assert serious(found["recipe"]) == []


@pytest.mark.parametrize(
    ("changes", "module"),
    [
        ({"flash_attn": "fa2"}, "flash_attn"),
        ({"deepspeed": "zero3.json"}, "deepspeed"),
        ({"quantization_bit": 4}, "bitsandbytes"),
    ],
    ids=str,
)
def test_packages_are_really_imported(look, monkeypatch, changes, module):
    monkeypatch.setattr(
        needs, "import_failure", lambda name: "undefined symbol" if name == module else None
    )

    found = look(**changes)["environment"]

    assert any("undefined symbol" in one.sentence for one in serious(found))


@pytest.fixture
def fa3_is_loaded(monkeypatch):
    """A LLaMA-Factory that loads models with fa3, unlike 0.9.5."""
    monkeypatch.setattr(needs.host, "loads_attention", lambda _: True)


def attention_of(found):
    return [one for one in found["environment"] if one.check == "attention"]


def test_a_host_that_lists_fa3_and_does_not_load_it(look):
    found = [attention_of(look(on, flash_attn="fa3")) for on in (CPU, NEW_GPU)]

    for findings in found:
        assert [one.level for one in findings] == [Level.ERROR]
        assert "takes flash_attn: fa3 and stops" in findings[0].sentence


@pytest.mark.usefixtures("fa3_is_loaded")
def test_fa3_needs_its_package_and_a_gpu_of_2022(look, monkeypatch):
    failures = {"flash_attn_interface": "it is not installed"}
    monkeypatch.setattr(needs, "import_failure", failures.get)
    ampere = Machine((Gpu("an A100", 80, (8, 0)),), cpus=4)

    missing, old, none = (attention_of(look(on, flash_attn="fa3")) for on in (NEW_GPU, ampere, CPU))
    assert [(one.level, one.remedy) for one in missing] == [
        (Level.WARNING, f"{FLASH_ATTENTION['fa3'].remedy}, or flash_attn: sdpa")
    ]
    assert "(it is not installed)" in missing[0].sentence
    assert [one.sentence for one in old] == ["an A100 is older than FlashAttention-3 needs"]
    assert [one.level for one in none] == [Level.NOTE]


def failing_transformers() -> str:
    """The release that our own requirement excludes."""
    excluded = [one for one in own_requirement("transformers").specifier if one.operator == "!="]
    return excluded[0].version


@pytest.mark.parametrize("assumed", [False, True], ids=["installed", "assumed"])
def test_fa2_with_a_transformers_that_stops_at_the_first_step(look, monkeypatch, assumed):
    monkeypatch.setattr(needs, "import_failure", lambda _: None)
    monkeypatch.setattr(needs, "version_of", lambda _: failing_transformers())
    on = Machine(NEW_GPU.gpus, cpus=4, assumed=assumed)

    (found,) = attention_of(look(on, flash_attn="fa2"))

    assert found.level is Level.ERROR
    assert "'NoneType' object has no attribute 'to'" in found.sentence
    command, other = found.remedy.split(", or ")
    assert shlex.split(command) == [
        "pip", "install", f"transformers!={failing_transformers()}", "llamafactory",
    ]  # fmt: skip
    assert other == "flash_attn=sdpa"


def test_a_transformers_that_fails_under_fa2_is_no_fault_without_it(look, monkeypatch):
    monkeypatch.setattr(needs, "import_failure", lambda _: "it is not installed")
    monkeypatch.setattr(needs, "version_of", lambda _: failing_transformers())

    found = [
        *attention_of(look(NEW_GPU, flash_attn="fa2")),
        *attention_of(look(NEW_GPU, flash_attn="sdpa")),
        *attention_of(look(CPU, flash_attn="fa2")),
    ]

    assert [one.level for one in found] == [Level.WARNING, Level.NOTE]


def test_ray_asks_for_more_processors_than_there_are(look, monkeypatch):
    monkeypatch.setenv("USE_RAY", "1")
    monkeypatch.setattr(needs, "version_of", lambda _: "2.40.0")

    gpus = NEW_GPU.gpus * 2

    few = look(Machine(gpus, cpus=4), ray_num_workers=1)["environment"]
    told = look(Machine(gpus, cpus=4), ray_init_kwargs={"num_cpus": 20})["environment"]
    alone = look(Machine(gpus, cpus=64), ray_num_workers=3)["environment"]
    none = look(CPU, bf16=None)["environment"]

    assert any("20 in all, and there are 4" in one.sentence for one in serious(few))
    assert serious(told) == []
    assert any("ray_num_workers 3, and there are 2 GPUs" in one.sentence for one in serious(alone))
    assert any("without a GPU" in one.sentence for one in serious(none))


def test_a_model_that_does_not_fit_the_gpu(look):
    small = Machine((Gpu("a very small GPU", 0.001),), cpus=2)

    found = look(small)["environment"]

    assert any(one.check == "memory" for one in serious(found))


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 2.0),
        ({"bf16": None}, 2.0),
        ({"quantization_bit": 8}, 1.1),
        ({"finetuning_type": "full"}, 16.0),
        ({"finetuning_type": "full", "bf16": None, "pure_bf16": True}, 8.0),
        ({"finetuning_type": "full", "deepspeed": {"zero_optimization": {"stage": 3}}}, 4.0),
        ({"finetuning_type": "full", "deepspeed": {"zero_optimization": {"stage": 2}}}, 5.5),
        ({"deepspeed": {"zero_optimization": {"stage": 2}}}, 2.0),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, 0.5),
        ({"fsdp": "full_shard"}, 0.5),
    ],
    ids=str,
)
def test_memory_is_bytes_a_parameter_shared_out_over_four_processes(tiny_base, changes, share):
    values = {"model_name_or_path": str(tiny_base), "do_train": True, "finetuning_type": "lora"}
    values |= {"bf16": True, **changes}
    context = Context(values, NEW_GPU, None, {"NPROC_PER_NODE": "4"})
    parameters = sum(one.numel() for one in context.base.skeleton.parameters())

    assert needs.memory_needed(context) == pytest.approx(share * parameters / machine.GIB)


def test_a_key_without_a_value_is_found(folder, monkeypatch):
    monkeypatch.chdir(folder)

    found = doctor.examine({"do_train": True, "lora_rank": None, "template": None})

    said = [one.sentence for one in found["recipe"] if one.check == "value"]
    assert said == ["lora_rank has no value"]


def test_an_adapter_is_not_merged_into_a_quantised_base(look):
    found = look(
        do_train=None, stage=None, dataset=None, output_dir=None, bf16=None, export_dir="saves/x",
        report_to=None, per_device_train_batch_size=None, quantization_bit=8,
        adapter_name_or_path="saves/adapter",
    )  # fmt: skip

    assert any("merged into a quantised base" in one.sentence for one in found["recipe"])


@pytest.mark.parametrize("name", ["ordered", "hub_ordered"])
def test_ids_in_the_order_of_the_task_are_no_fault(look, name):
    assert serious(look(dataset=name)["recipe"]) == []


def test_all_rows_make_the_steps_where_only_the_first_are_looked_at(look, monkeypatch):
    monkeypatch.setattr(context, "ROWS_READ", 30)
    found = look(num_train_epochs=6, save_steps=59)["recipe"]

    assert serious(found) == []
    said = [one.sentence for one in found]
    assert "60 optimizer steps, 0 of them warm-up: 6 epochs of 40 rows, effective batch 4" in said
    assert "'sound' has 40 rows; the first 30 rows are looked at" in said
    assert any(one.startswith("'sound': the first 30 rows, ") for one in said)
    assert any("labels of the first 30 rows is one token" in one for one in said)


def test_what_is_found_in_the_first_rows_says_so(look, monkeypatch):
    monkeypatch.setattr(context, "ROWS_READ", 1)
    leaking = look(eval_dataset="leaking", cutoff_len=8)["recipe"]
    monkeypatch.setattr(context, "ROWS_READ", 2)
    conflicting = look(dataset="conflicting,sound")["recipe"]

    said = [one.sentence for one in leaking]
    assert any("(in texts of the first 1 rows)" in one for one in said)
    assert any("1 of the first 1 rows of 'sound' are cut" in one for one in said)
    said = [one.sentence for one in conflicting]
    assert "1 training texts of the first 2 rows stand there with two labels" in said


def test_conflicting_labels_are_noted(look):
    found = look(dataset="conflicting")["recipe"]

    assert any("1 training texts stand there with two labels" in one.sentence for one in found)


def test_labels_of_several_tokens_are_noted(look):
    found = look(dataset="alpaca")["recipe"]

    assert any(one.check == "labels" and "several tokens" in one.sentence for one in found)


def test_data_of_another_task_is_told_with_every_label_and_its_rows(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "task.yaml").write_text(
        "name: words\ninstruction: Which word?\nlabels: [quince, medlar]\n", encoding="utf-8"
    )
    call = ["dataset=sound,alpaca", "do_train=true", "output_dir=saves/new", "--json"]

    assert doctor.main([*call, "--task", "task.yaml"]) == 1

    found = json.loads(capsys.readouterr().out)["recipe"]
    told = [one["sentence"] for one in found if one["check"] == "task"]
    assert "'anger' (20), 'love' (20)" in told[0]
    assert "1 of 2 rows of 'alpaca' have an answer that is no label" in told[1]
    assert "'zygote' (1)" in told[1]
    assert sum("another instruction" in one for one in told) == 2


def test_an_answer_that_is_too_short_for_a_label_is_told(look):
    predict = {**PREDICT, "eval_dataset": "alpaca"}

    assert not [one for one in serious(look(**predict)["recipe"]) if one.check == "answer-length"]
    short = [
        one
        for one in look(**(predict | {"max_new_tokens": 3}))["recipe"]
        if one.check == "answer-length"
    ]
    assert len(short) == 1
    assert "the label 'zygote' and its end are" in short[0].sentence


STRANGE = (["a"], {"a": 1}, [["a"]], [None], float("inf"), float("nan"), -1, 10**400, "", "\x00")


@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_a_value_of_any_kind_ends_in_findings(look, value):
    for key in (
        *("template", "dataset", "model_name_or_path", "adapter_name_or_path", "output_dir"),
        *("cutoff_len", "max_steps", "num_train_epochs", "learning_rate", "val_size", "lora_rank"),
        *("quantization_bit", "deepspeed", "ref_model_quantization_bit", "lora_target"),
    ):
        found = look(**{key: value})
        assert set(found) == {"environment", "recipe"}


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "LlamaForSequenceClassification", "GPT2Model"])
def test_a_checkpoint_that_is_no_language_model_is_told(look, folder, kind):
    shutil.copytree(folder / "saves" / "tiny_base", folder / "saves" / kind)
    config = folder / "saves" / kind / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": [kind]}))

    found = serious(look(model_name_or_path=f"saves/{kind}")["recipe"])

    assert any(f"was saved as {kind}" in one.sentence for one in found)


def test_a_language_model_of_an_old_name_is_one(look, folder):
    shutil.copytree(folder / "saves" / "tiny_base", folder / "saves" / "old_name")
    config = folder / "saves" / "old_name" / "config.json"
    text = json.dumps(json.loads(config.read_text()) | {"architectures": ["GPT2LMHeadModel"]})
    config.write_text(text)
    assert serious(look(model_name_or_path="saves/old_name")["recipe"]) == []


def test_a_value_of_the_wrong_type_is_told_once(look):
    found = serious(look(template=["emotion"])["recipe"])
    assert [one.check for one in found] == ["value"]


def test_an_output_that_cannot_be_written_is_found_before_the_training(look, folder, monkeypatch):
    (folder / "file").write_text("")
    found = serious(look(output_dir="file/out")["environment"])
    assert any("is a file and cannot hold" in one.sentence for one in found)

    monkeypatch.setattr(os, "access", lambda place, mode: False)
    found = serious(look()["environment"])
    assert any("cannot be written" in one.sentence for one in found)


def test_all_problems_are_told_at_once(look):
    found = look(lora_rnk=8, learning_rate="fast", dataset="soudn", template="lama3")["recipe"]

    assert {"unknown-key", "value", "dataset", "template"} <= {one.check for one in serious(found)}


def test_a_broken_tokenizer_file_is_a_finding(look, folder):
    broken = folder / "saves" / "broken"
    shutil.copytree(folder / "saves" / "tiny_base", broken)
    (broken / "tokenizer.json").write_text('{"version": "1.0"')

    found = look(model_name_or_path="saves/broken")["recipe"]

    assert any("the tokenizer of saves/broken" in one.sentence for one in serious(found))


@pytest.fixture
def untrained_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with recipes and data, and nothing that a demo has trained."""
    for name in ("data", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
@pytest.mark.usefixtures("untrained_clone")
def test_the_shipped_recipes_have_no_fault(recipe: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(
        "llamafactory_emotion.doctor.base_model.hub_problem",
        lambda *_, **__: "the hub cannot be reached (not asked)",
    )
    monkeypatch.setattr(context, "hub_class_names", lambda *_, **__: {})

    found = judge(recipe.relative_to(ROOT))

    assert serious(found["recipe"]) == []


@pytest.mark.usefixtures("untrained_clone")
def test_a_folder_that_another_recipe_writes_is_to_be_made_first():
    def told(recipe: str, *words: str) -> list[str]:
        found = judge(Path(recipe), *words)["recipe"]
        return [f"{one.level} {one.sentence} {one.remedy}" for one in found]

    assert any(
        "note" in said and "emotion_merge.yaml" in said
        for said in told("examples/emotion_predict.yaml")
    )
    assert any(
        "error" in said and "saves/other is not there" in said
        for said in told("examples/emotion_predict.yaml", "model_name_or_path=saves/other")
    )


def test_the_command_prints_and_ends_with_one_when_something_fails(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    code = doctor.main(["do_train=true", "lora_rnk=8", "--assume-gpu", "24"])

    printed = capsys.readouterr().out
    assert code == 1
    assert "ERROR    LLaMA-Factory does not know the key lora_rnk" in printed
    assert "-> write lora_rank" in printed


def test_json_holds_every_finding(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    code = doctor.main(["--json"])

    content = json.loads(capsys.readouterr().out)
    assert code == 0
    assert content["recipe"] == []
    assert {"level", "check", "sentence", "remedy"} == set(content["environment"][0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a\n- b\n", "holds no keys"),
        ("model_name_or_path:\tx\n\ty: 1\n", "cannot be read"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_recipe_that_is_no_mapping_is_one_sentence(tmp_path, capsys, content, said):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)

    assert doctor.main([str(recipe)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def environment_of(check, variables=None):
    return list(check(Context({}, CPU, None, variables or {})))


def test_versions_outside_the_hosts_ranges_are_found(monkeypatch):
    monkeypatch.setattr(
        environment, "version_of", lambda name: {"peft": "0.1.0"}.get(name, "0.9.5")
    )

    found = environment_of(environment.check_llamafactory)

    assert any("peft 0.1.0: LLaMA-Factory takes" in one.sentence for one in found)


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"torch": "2.15.0", "torchaudio": "2.11.0", "torchvision": "0.30.0"}, "torchaudio 2.11.0"),
        ({"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.20.0"}, "torchvision 0.20"),
        ({}, "torch is not installed"),
    ],
)
def test_a_trio_that_does_not_go_together_is_found(monkeypatch, versions, said):
    monkeypatch.setattr(environment, "version_of", versions.get)
    monkeypatch.setattr(environment, "import_failure", lambda _: None)

    found = serious(environment_of(environment.check_torch))

    assert any(said in one.sentence for one in found)


def test_packages_that_do_not_import_are_found(monkeypatch):
    monkeypatch.setattr(environment, "version_of", lambda _: "0.18.4")
    monkeypatch.setattr(environment, "import_failure", lambda _: "undefined symbol")

    for check in (
        environment.check_flash_attention,
        environment.check_deepspeed,
        environment.check_bitsandbytes,
    ):
        assert any("undefined symbol" in one.sentence for one in environment_of(check))


def test_a_deepspeed_outside_the_range_is_found(monkeypatch):
    monkeypatch.setattr(environment, "version_of", lambda _: "0.99.0")
    monkeypatch.setattr(environment, "import_failure", lambda _: None)

    assert serious(environment_of(environment.check_deepspeed))


def test_the_hook_is_told_apart(monkeypatch, tmp_path):
    off = environment_of(environment.check_hook, {"LLAMAFACTORY_EMOTION_AUTOLOAD": "0"})
    first = environment_of(environment.check_hook, {"USE_V1": "1"})
    monkeypatch.setattr(environment.sysconfig, "get_path", lambda _: str(tmp_path))
    missing = environment_of(environment.check_hook)

    assert any("turns the start-up hook off" in one.sentence for one in off)
    assert any("v1 engine" in one.sentence for one in first)
    assert any("is not there" in one.sentence for one in missing)


def test_missing_programs_packages_and_space_are_found(monkeypatch):
    monkeypatch.setattr(environment.shutil, "which", lambda _: None)
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: os.terminal_size((1, 1)))

    assert len(environment_of(environment.check_launcher)) == 2
    assert "jieba" in environment_of(environment.check_prediction_packages)[0].sentence


def test_little_space_is_found(monkeypatch):
    class Usage:
        free = 1 << 20

    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: Usage)

    assert "0.0 GiB left" in environment_of(environment.check_disk)[0].sentence


def test_an_import_that_crashes_is_told(tmp_path, monkeypatch):
    (tmp_path / "crashing_module.py").write_text("import os; os._exit(3)")
    (tmp_path / "raising_module.py").write_text("raise ImportError('undefined symbol: x')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert machine.import_failure.__wrapped__("crashing_module") == "it ends Python with 3"
    assert "undefined symbol: x" in machine.import_failure.__wrapped__("raising_module")
    assert machine.import_failure.__wrapped__("no_such_module") == "it is not installed"
    assert machine.import_failure.__wrapped__("json") is None


def test_no_weights_are_loaded(look, monkeypatch):
    import transformers

    def refuse(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", refuse)

    assert serious(look()["recipe"]) == []


def test_assumed_memory_must_be_a_number_above_zero(capsys):
    assert doctor.main(["--assume-gpu", "0", "do_train=true"]) == 2
    assert "assume_gpu=0" in capsys.readouterr().err


def test_options_may_stand_between_keys(capsys):
    code = doctor.main(["do_train=true", "--assume-gpu", "24", "lora_rnk=8"])

    assert code == 1
    assert "lora_rank" in capsys.readouterr().out
