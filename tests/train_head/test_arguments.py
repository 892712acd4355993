"""What is wrong with a call is one sentence, said before anything is written."""

import re

import pytest
from head_models import QUICK, refused, train, write_rows
from transformers import TrainingArguments

from llamafactory_emotion.train_head.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
# What comes after it is worded by transformers and torch, and changes with them.
REFUSED = "training cannot begin with these settings: "


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["learning_rat=1"], "unknown key 'learning_rat' (did you mean 'learning_rate'?)"),
        (["quantization_bit=8"], "quantization_bit needs finetuning_type=lora"),
        (["quantization_bit=3", "finetuning_type=lora"], "quantization_bit=3 is neither 4 nor 8"),
        (["finetuning_type=lora", "freeze_blocks=1"], "LoRA freezes all blocks"),
        (["finetuning_type=some"], "finetuning_type='some' is none of full, lora"),
        (["learning_rate=fast"], "--learning_rate/--learning-rate: invalid float value: 'fast'"),
        (["validation=x", "validation_size=3"], "exclude each other; keep one"),
        (["eval_strategy=epoch"], "give validation or validation_size"),
        (["early_stopping_patience=1"], "load_best_model_at_end=true"),
        (["metric_for_best_model=f1"], "f1 is none of loss, accuracy, f1_macro"),
        (["overwrite=true", "resume_from_checkpoint=true"], "exclude each other"),
        (["cutoff_len=0", "lora_rank=0"], "cutoff_len=0 must be 1 or more"),
        (["finetuning_type=lora", "lora_dropout=2"], "lora_dropout=2.0 must be from 0 to 1"),
        (["resume_from_checkpoint=true"], "holds no checkpoint of a run"),
        (["train=nowhere"], "'nowhere' is no data set of"),
        (["task=gone.yaml"], "neither built in"),
        (["validation_size=48"], "leaves fewer of the 48 for training"),
        (["fp16=true", "bf16=true"], "transformers refuses these settings"),
        (
            ["gradient_accumulation_steps=0", "label_smoothing_factor=2"],
            "gradient_accumulation_steps=0 must be 1 or more; label_smoothing_factor=2.0 must be",
        ),
        (["report_to=nowhere"], REFUSED),
        (["fsdp=full_shard"], REFUSED),
        # From here on at the first step.
        (["lr_scheduler_type=cosine_with_min_lr"], REFUSED),
        (["learning_rate=.nan"], REFUSED),
        (["per_device_train_batch_size=0"], REFUSED),
        (["max_steps=-1", "num_train_epochs=0"], "no step would be made"),
        (["dataloader_drop_last=true", "per_device_train_batch_size=64"], "no step would be made"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_does_not_block_the_next(
    words, said, call, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")  # transformers 4 sets it, and leaves it so
    assert said in refused(capsys, *call, *QUICK, *words)
    assert not any((tmp_path / "out").rglob("*"))


def test_all_that_is_missing_is_said_at_once(capsys):
    message = refused(capsys, "learning_rate=1e-4")
    assert re.findall(r"(\w+) is missing", message) == ["model_name_or_path", "train", "output_dir"]


def test_labels_that_the_task_lacks_are_all_listed_with_their_counts(call, tmp_path, capsys):
    path = write_rows(tmp_path / "other.jsonl", 7, labels=("joy", "boredom", "pride"))
    assert main([*call[:1], call[2], f"train={path}", "use_cpu=true"]) == 1
    assert "'boredom' (2), 'pride' (2)" in capsys.readouterr().err


def test_yaml_that_reads_no_as_false_and_resuming_as_never(call, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("save_strategy: no\neval_strategy: no\nresume_from_checkpoint: false\n"
                      "lr_scheduler_kwargs: {}\nmax_steps: 1\nreport_to: [none]\n")  # fmt: skip
    train(recipe, *call)
    assert not list((tmp_path / "out").glob("checkpoint*"))


def test_an_order_of_rows_that_transformers_4_lacks_is_refused_there(call, capsys, monkeypatch):
    monkeypatch.delattr(TrainingArguments, "train_sampling_strategy", raising=False)
    said = refused(capsys, *call, *QUICK, "train_sampling_strategy=sequential")
    assert "train_sampling_strategy=sequential needs transformers 5; write random" in said
