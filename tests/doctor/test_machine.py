"""What a machine lacks for a recipe, and how much memory it needs."""

import shlex

import pytest
from doctor_calls import NEW_GPU, OLD_GPU, fail_imports, install, is_told, pretend, serious
from old_hosts import needs_transformers_5

from llamafactory_emotion.doctor.__main__ import examine
from llamafactory_emotion.doctor.context import GIB, Context, Gpu, Level, Machine
from llamafactory_emotion.doctor.environment import required_by
from llamafactory_emotion.doctor.machine import memory_needed
from llamafactory_emotion.plugin import host

pytestmark = pytest.mark.filterwarnings("ignore")

NEEDY = [
    ((), {}, "precision", "bf16 needs a GPU"),
    ((), {"bf16": False, "fp16": True}, "precision", "fp16 needs a GPU"),
    ((OLD_GPU,), {}, "precision", "does not compute in bfloat16"),
    ((OLD_GPU,), {"bf16": False, "fp16": True, "flash_attn": "fa2"}, "attention", "older than"),
    ((NEW_GPU,), {"flash_attn": "fa3"}, "attention", "takes flash_attn: fa3 and stops"),
    ((NEW_GPU,), {"report_to": "wandb"}, "packages", "wandb is not installed"),
    ((NEW_GPU,), {"deepspeed": "zero3.json"}, "launcher", "torchrun"),
    ((NEW_GPU,), {"fsdp": "full_shard auto_wrap"}, "launcher", "several processes"),
    ((Gpu("a very small GPU", 0.001),), {}, "memory", "a very small GPU has 0"),
]


@pytest.mark.parametrize(("gpus", "changes", "check", "said"), NEEDY, ids=str)
def test_what_the_machine_lacks_stands_apart_from_the_recipe(look, gpus, changes, check, said):
    found = look(gpus=gpus, **changes)

    assert is_told(found["environment"], check, said)
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
    fail_imports(monkeypatch, **{module: "undefined symbol"})

    assert "undefined symbol" in serious(look(**changes)["environment"])[0].sentence


def test_packing_needs_a_newer_llamafactory(look, monkeypatch):
    install(monkeypatch, llamafactory="0.9.4")

    assert is_told(look(neat_packing=True)["environment"], "packing", "does not pack rows")


def attention_of(found):
    return [one for one in found["environment"] if one.check == "attention"]


def test_the_host_itself_is_asked_which_attention_it_loads():
    assert [host.loads_attention(name) for name in ("sdpa", "fa3")] == [True, False]


def failing_transformers() -> str:
    """The release that our own requirement excludes."""
    specifier = required_by("llamafactory-emotion")["transformers"].specifier
    return next(one.version for one in specifier if one.operator == "!=")


@needs_transformers_5
@pytest.mark.parametrize("assume_gpu", [None, 80], ids=["installed", "assumed"])
def test_fa2_with_a_transformers_that_stops_at_the_first_step(look, monkeypatch, assume_gpu):
    look()  # so that transformers has looked for itself
    pretend(monkeypatch, (NEW_GPU,), 4)
    install(monkeypatch, transformers=failing_transformers())
    recipe = {"model_name_or_path": "saves/tiny_base", "do_train": True, "flash_attn": "fa2"}

    (found,) = attention_of(examine({**recipe, "bf16": True}, assume_gpu=assume_gpu))

    assert found.level is Level.ERROR
    assert "'NoneType' object has no attribute 'to'" in found.sentence
    command, other = found.remedy.split(", or ")
    assert shlex.split(command) == [
        "pip", "install", f"transformers!={failing_transformers()}", "llamafactory",
    ]  # fmt: skip
    assert other == "flash_attn=sdpa"


@needs_transformers_5
def test_a_transformers_that_fails_under_fa2_is_no_fault_without_it(look, monkeypatch):
    look()
    fail_imports(monkeypatch, flash_attn="it is not installed")
    install(monkeypatch, transformers=failing_transformers())

    found = [
        *attention_of(look(flash_attn="fa2")),
        *attention_of(look(flash_attn="sdpa")),
        *attention_of(look(gpus=(), flash_attn="fa2")),
    ]

    assert [one.level for one in found] == [Level.WARNING, Level.NOTE]


def test_ray_asks_for_more_processors_than_there_are(look, monkeypatch):
    monkeypatch.setenv("USE_RAY", "1")
    install(monkeypatch, ray="2.40.0")
    two = (NEW_GPU, NEW_GPU)

    assert is_told(look(gpus=two)["environment"], "launcher", "20 in all, and there are 4")
    assert serious(look(gpus=two, ray_init_kwargs={"num_cpus": 20})["environment"]) == []
    alone = look(gpus=two, cpus=64, ray_num_workers=3)["environment"]
    assert is_told(alone, "launcher", "ray_num_workers 3, and there are 2 GPUs")
    assert is_told(look(gpus=(), bf16=None)["environment"], "launcher", "without a GPU")
    install(monkeypatch, ray=None)
    assert is_told(look(gpus=two)["environment"], "launcher", "ray is not installed")


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
def test_memory_is_bytes_a_parameter_shared_out_over_four_processes(
    tiny_base, monkeypatch, changes, share
):
    monkeypatch.setenv("NPROC_PER_NODE", "4")
    values = {"model_name_or_path": str(tiny_base), "do_train": True, "finetuning_type": "lora"}
    context = Context(values | {"bf16": True, **changes}, Machine((NEW_GPU,), cpus=4))
    parameters = sum(one.numel() for one in context.base.skeleton.parameters())

    assert memory_needed(context) == pytest.approx(share * parameters / GIB)
