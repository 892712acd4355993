"""Keys and values that LLaMA-Factory does not take, and numbers that no run can use."""

import subprocess
import sys

import pytest
from doctor_calls import is_told, serious
from old_hosts import needs_transformers_5

from llamafactory_emotion.doctor.__main__ import examine, main

pytestmark = pytest.mark.filterwarnings("ignore")

BROKEN = [
    ({"lora_rnk": 8}, "unknown-key", "lora_rnk", "write lora_rank"),
    ({"max_seq_length": 512}, "unknown-key", "max_seq_length", "cutoff_len"),
    ({"batch_size": 8}, "unknown-key", "no key batch_size", "write per_device_train_batch_size"),
    ({"max_prompt_length": 8}, "unknown-key", "max_prompt", "write cutoff_len"),
    ({"dev_ratio": 0.1}, "unknown-key", "dev_ratio", "write val_size"),
    ({"new_special_tokens": "<joy>"}, "unknown-key", "new_special", "write add_special_tokens"),
    ({"checkpoint_dir": "saves/x"}, "unknown-key", "checkpoint_dir", "adapter_name_or_path"),
    ({"sft_packing": True}, "unknown-key", "sft_packing", "write packing"),
    pytest.param(
        {"group_by_length": True}, "unknown-key", "group_by_length", "train_sampling_strategy",
        marks=needs_transformers_5,
    ),
    ({"val_ratio": 0.1}, "unknown-key", "val_ratio", "write val_size"),
    ({"use_auth_token": "x"}, "unknown-key", "use_auth_token", "write hf_hub_token"),
    ({"lang": "en"}, "unknown-key", "takes no key lang in a recipe", "remove lang"),
    ({"text_column": "text"}, "unknown-key", "a key of `llamafactory_emotion.predict`", "predict"),
    ({"learning_rate": "5e-5"}, "value", "'5e-5': Input should be a valid number", "rate: 5e-05"),
    ({"lora_rank": "eight"}, "value", "'eight': Input should be a valid integer", "train -h"),
    ({"lora_rank": 8.5}, "value", "8.5: Input should be a valid integer", ""),
    ({"lora_rank": True}, "value", "True: Input should be a valid integer", ""),
    ({"bf16": "yes"}, "value", "'yes': Input should be a valid boolean", "bf16: true, without"),
    ({"dataset": ["sound", 3]}, "value", "Input should be a valid string", ""),
    ({"save_strategy": False}, "value", "is none of steps, no, ", 'save_strategy: "no"'),
    ({"finetuning_type": "lore"}, "value", "is none of lora", "finetuning_type: lora"),
    ({"flash_attn": "flash2"}, "value", "is none of fa2", "fa2"),
    ({"lr_scheduler_type": "cosin"}, "value", "is none of cosine, ", "cosine"),
    ({"optim": "adamw"}, "value", "...", "write optim: adamw_torch"),
    ({"model_name_or_path": None}, "refused", "provide `model_name_or_path`", "mend"),
    ({"dataset": None}, "refused", "specify dataset", "mend"),
    ({"do_train": None}, "missing-key", "neither do_train", "do_train"),
    ({"template": None}, "missing-key", "no template", "emotion"),
    ({"do_eval": True}, "refused", "eval_dataset be provided", "mend"),
    ({"eval_strategy": "steps"}, "refused", "eval_dataset be provided", "mend"),
    ({"template": "lama3"}, "template", "no template 'lama3'", "llama3"),
    ({"template": "?"}, "template", "no template '?'", "emotion"),
    ({"learning_rate": 0.5}, "number", "very high", "usual"),
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
    ({"mask_history": True, "train_on_prompt": True}, "refused", "mask_history", ""),
    ({"streaming": True, "dataloader_num_workers": 1}, "refused", "max_steps", ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "check", "said", "remedy"), BROKEN, ids=str)
def test_a_broken_recipe_is_told_with_its_remedy(look, changes, check, said, remedy):
    found = look(**changes)["recipe"]

    assert is_told(found, check, said, remedy), found


EARLY = """
import sys
from llamafactory_emotion.doctor import __main__ as doctor
doctor.examine = lambda *_, **__: sys.exit(repr({"torch", "llamafactory"} & {*sys.modules}))
doctor.main(sys.argv[1:])
"""


def test_a_misspelt_key_is_told_before_anything_slow_is_imported():
    call = [sys.executable, "-c", EARLY, "do_train=true", "lora_rnk=8", "text_column=x"]

    done = subprocess.run(call, capture_output=True, text=True, check=False)

    assert done.stderr.splitlines() == [
        "error: LLaMA-Factory does not know the key lora_rnk; write lora_rank",
        "set()",
    ]


@pytest.mark.parametrize(
    ("key", "meant"), [("taks", "task"), ("label", "labels"), ("assume_gpus", "assume_gpu")]
)
def test_a_misspelt_key_of_doctor_itself_ends_the_call(capsys, key, meant):
    assert main(["do_train=true", f"{key}=8"]) == 2

    said = f"error: unknown key {key!r} (did you mean {meant!r}?).\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.usefixtures("look")
def test_a_key_without_a_value_is_found():
    found = examine({"do_train": True, "lora_rank": None, "template": None})["recipe"]

    assert [one.sentence for one in serious(found, "value")] == ["lora_rank has no value"]


@pytest.mark.usefixtures("look")
def test_a_key_of_training_stops_an_export():
    found = examine({"model_name_or_path": "x", "export_dir": "y", "learning_rate": 1e-4})["recipe"]

    assert is_told(found, "unknown-key", "learning_rate belongs to training", "remove")


def test_a_value_of_the_wrong_type_is_told_once(look):
    assert [one.check for one in serious(look(template=["emotion"])["recipe"])] == ["value"]


def test_all_problems_are_told_at_once(look):
    found = look(lora_rnk=8, learning_rate="fast", dataset="soudn", template="lama3")["recipe"]

    assert {"unknown-key", "value", "dataset", "template"} <= {one.check for one in serious(found)}


STRANGE = (["a"], {"a": 1}, [["a"]], [None], float("inf"), float("nan"), -1, 10**400, "", "\x00")


@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_a_value_of_any_kind_ends_in_findings(look, value):
    for key in (
        *("template", "dataset", "model_name_or_path", "adapter_name_or_path", "output_dir"),
        *("cutoff_len", "max_steps", "num_train_epochs", "learning_rate", "val_size", "lora_rank"),
        *("quantization_bit", "deepspeed", "ref_model_quantization_bit", "lora_target"),
    ):
        assert set(look(**{key: value})) == {"environment", "recipe"}
