"""Training a head: every mistake is one sentence, and nothing is lost or left behind."""

import json
import re
import shutil

import pytest
import torch
from head_models import QUICK, refused, train, write_base, write_rows
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, Trainer

from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
# What comes after it is worded by transformers and changes with it.
REFUSED = "training cannot begin with these settings: "


@pytest.fixture
def call(gpt2_base, rows_file, tmp_path):
    return [
        f"model_name_or_path={gpt2_base}",
        f"train={rows_file}",
        f"output_dir={tmp_path / 'out'}",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["learning_rat=1"], "unknown key 'learning_rat' (did you mean 'learning_rate'?)"),
        (["quantization_bit=8"], "quantization_bit needs finetuning_type=lora"),
        (["quantization_bit=3", "finetuning_type=lora"], "quantization_bit=3 is neither 4 nor 8"),
        (["finetuning_type=lora", "freeze_blocks=1"], "LoRA freezes all blocks"),
        (["finetuning_type=some"], "finetuning_type: "),
        (["learning_rate=fast"], "learning_rate: "),
        (["validation=x", "validation_size=3"], "exclude each other; keep one"),
        (["eval_strategy=epoch"], "give validation or validation_size"),
        (["early_stopping_patience=1"], "load_best_model_at_end=true"),
        (["metric_for_best_model=f1"], "f1 is none of loss, accuracy, f1_macro"),
        (["overwrite=true", "resume_from_checkpoint=true"], "exclude each other"),
        (["cutoff_len=0", "lora_rank=0"], "cutoff_len=0 must be 1 or more; lora_rank=0 must be"),
        (["resume_from_checkpoint=true"], "holds no checkpoint of a run"),
        (["train=nowhere"], "'nowhere' is no data set of"),
        (["train=gone.jsonl"], "'gone.jsonl' is no data set of"),
        (["task=gone.yaml"], "neither built in"),
        (["validation_size=48"], "leaves none of the 48 for training"),
        (["model_name_or_path=/gone"], "the model folder /gone is not there; check the path."),
        (["model_name_or_path=package:gone_x/model"], "pip install gone-x"),
        (["freeze_blocks=9"], "freeze_blocks=9 is more than the model's 3 blocks"),
        (["finetuning_type=lora", "lora_target=c_attn,q"], "lora_target=q is no linear layer"),
        (["fp16=true", "bf16=true"], "transformers refuses these settings"),
        (["model_name_or_path=data"], "data holds no config.json, so it is no model folder"),
        (["per_device_train_batch_size=0"], "per_device_train_batch_size=0 must be 1 or more"),
        (["learning_rate=-1", "seed=-1"], "learning_rate=-1 must be 0 or more; seed=-1 must be"),
        (["learning_rate=.nan"], "learning_rate=nan must be finite and 0 or more"),
        (["adam_beta1=5"], "adam_beta1=5 must be from 0 to 1"),
        (["finetuning_type=lora", "lora_dropout=2"], "lora_dropout=2 must be from 0 to 1"),
        (["gradient_accumulation_steps=0"], "gradient_accumulation_steps=0 must be 1 or more"),
        (["label_smoothing_factor=2"], "label_smoothing_factor=2 must be from 0 to 1"),
        (["dataloader_num_workers=-1"], "dataloader_num_workers=-1 must be 0 or more"),
        (["report_to=nowhere"], REFUSED),
        (["fsdp=full_shard"], REFUSED),
        (["accelerator_config={a: 1}"], "transformers refuses these settings"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_leaves_nothing(words, said, call, tmp_path, capsys):
    assert said in refused(capsys, *call, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr_scheduler_type=cosine_with_min_lr"], REFUSED),
        (["lr_scheduler_type=warmup_stable_decay"], REFUSED),
        (["optim=galore_adamw"], REFUSED),
        (["max_steps=-1", "num_train_epochs=0"], "num_train_epochs=0 trains nothing"),
        (
            ["dataloader_drop_last=true", "per_device_train_batch_size=64"],
            "fewer rows to train than a batch holds",
        ),
    ],
)
def test_a_setting_that_fails_at_the_first_step_does_not_block_the_next_call(
    words, said, call, tmp_path, capsys
):
    assert said in refused(capsys, *call, *QUICK, *words)
    assert not any((tmp_path / "out").iterdir())
    train(*call, *QUICK)


def test_an_error_after_the_first_step_is_not_taken_for_a_wrong_setting(call, monkeypatch):
    def fail(*_, **__):
        raise ValueError("something of ours")

    monkeypatch.setattr("llamafactory_emotion.train_head.saving.save_model", fail)
    with pytest.raises(ValueError, match="something of ours"):
        main([*call, *QUICK, "use_cpu=true"])


def test_weights_that_are_no_numbers_any_more_are_not_saved(call, tmp_path, capsys):
    words = [*QUICK, "learning_rate=1e38", "max_grad_norm=0", "optim=sgd", "max_steps=6"]
    assert "no finite numbers any more, so the model is not saved" in refused(capsys, *call, *words)
    assert not (tmp_path / "out" / "config.json").exists()


def test_all_that_is_missing_is_said_at_once(capsys):
    message = refused(capsys, "learning_rate=1e-4")
    assert re.findall(r"(\w+) is missing", message) == ["model_name_or_path", "train", "output_dir"]


def test_a_folder_with_files_is_left_alone(call, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    assert "holds files; name another folder" in refused(capsys, *call)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_labels_that_the_task_lacks_are_all_listed_with_their_counts(call, tmp_path, capsys):
    path = write_rows(tmp_path / "other.jsonl", 7, labels=("joy", "boredom", "pride"))
    assert main([*call[:1], call[2], f"train={path}", "use_cpu=true"]) == 1
    assert "'boredom' (2), 'pride' (2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["up", "down"], "another number of labels: 2 (up, down), and task 'emotion' has 6"),
        (sorted(EMOTION.labels), "a classifier with other labels: 6 (anger, fear, joy"),
    ],
)
def test_a_classifier_of_other_labels_is_refused(labels, said, gpt2_base, call, tmp_path, capsys):
    config = AutoConfig.from_pretrained(gpt2_base)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in config.id2label.items()}
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "other")
    message = refused(capsys, f"model_name_or_path={tmp_path / 'other'}", *call[1:])
    assert said in message


def test_an_adapter_is_no_base(call, tmp_path, capsys):
    train(*call, *QUICK, "finetuning_type=lora")
    message = refused(
        capsys, f"model_name_or_path={tmp_path / 'out'}", call[1], f"output_dir={tmp_path / 'b'}"
    )
    assert "is an adapter; name the base model" in message


def test_a_tokenizer_that_can_never_pad_is_refused(gpt2_base, call, tmp_path, capsys):
    shutil.copytree(gpt2_base, tmp_path / "bare")
    settings = tmp_path / "bare" / "tokenizer_config.json"
    content = json.loads(settings.read_text())
    del content["eos_token"]
    settings.write_text(json.dumps(content))
    message = refused(capsys, f"model_name_or_path={tmp_path / 'bare'}", *call[1:])
    assert "has no padding token and no end token" in message


def test_a_cutoff_that_leaves_no_text_is_refused(gpt2_base, call, tmp_path, capsys):
    bert = write_base(tmp_path / "bert", "bert")
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.save_pretrained(bert)
    message = refused(capsys, f"model_name_or_path={bert}", *call[1:], "cutoff_len=2")
    assert "cutoff_len=2 leaves no room for a text: 2 special tokens" in message


def test_a_tokenizer_of_another_model_is_refused(gpt2_base, call, tmp_path, capsys):
    shutil.copytree(gpt2_base, tmp_path / "mixed")
    tokenizer = AutoTokenizer.from_pretrained(gpt2_base)
    tokenizer.add_tokens(["one_more"])
    tokenizer.save_pretrained(tmp_path / "mixed")
    message = refused(capsys, f"model_name_or_path={tmp_path / 'mixed'}", *call[1:])
    assert "name the tokenizer's own model" in message


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "halve per_device_train_batch_size"),
        (OSError(28, "No space left on device"), "cannot be written (No space left on device)"),
    ],
)
def test_what_stops_a_training_is_one_sentence(error, said, call, capsys, monkeypatch):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(Trainer, "train", fail)
    assert said in refused(capsys, *call, *QUICK)


def test_memory_that_the_test_rows_lack_is_one_sentence(call, rows_file, capsys, monkeypatch):
    def fail(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "predict", fail)
    assert "halve per_device_eval_batch_size" in refused(capsys, *call, *QUICK, f"test={rows_file}")


def test_blocks_that_a_checkpoint_lacks_are_not_left_at_random(gpt2_base, call, tmp_path, capsys):
    shutil.copytree(gpt2_base, tmp_path / "taller")
    config = AutoConfig.from_pretrained(gpt2_base)
    config.n_layer = 4
    config.save_pretrained(tmp_path / "taller")
    message = refused(capsys, f"model_name_or_path={tmp_path / 'taller'}", *call[1:])
    assert "weights of the model's blocks" in message


def test_without_a_network_a_hub_id_is_one_sentence(call, tmp_path, capsys, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refused(capsys, "model_name_or_path=nobody/nothing", *call[1:])
    assert "nobody/nothing is no folder here, and the hub cannot be reached" in message


def test_8_bit_without_bitsandbytes_names_the_extra(call, capsys, monkeypatch):
    import importlib.util

    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else plain(name)
    )
    message = refused(capsys, *call, "finetuning_type=lora", "quantization_bit=8")
    assert "pip install 'llamafactory-emotion[bnb]'" in message


def test_the_model_that_is_read_is_not_written_over(gpt2_base, call, capsys, tmp_path):
    shutil.copytree(gpt2_base, tmp_path / "mine")
    before = (tmp_path / "mine" / "model.safetensors").read_bytes()

    words = [f"model_name_or_path={tmp_path / 'mine'}", call[1], f"output_dir={tmp_path / 'mine'}"]
    assert "holds the model that is read" in refused(capsys, *words, *QUICK, "overwrite=true")
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == before


def test_a_disk_that_fills_while_the_optimizer_is_saved_is_one_sentence(call, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(Trainer, "train", fail)
    assert "cannot be written ([enforce fail" in refused(capsys, *call, *QUICK)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_damaged_checkpoint_is_told_by_its_name(name, call, tmp_path, capsys):
    words = [*QUICK[1:3], "save_strategy=steps", "save_steps=2", "max_steps=4"]
    train(*call, *words)
    damaged = tmp_path / "out" / "checkpoint-4" / name
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])

    said = refused(capsys, *call, *words, "resume_from_checkpoint=true")

    assert f"{damaged.parent} cannot be read (" in said
    assert "remove it to go on from the one before" in said


def test_a_huge_number_is_refused_in_one_short_sentence(call, capsys):
    said = refused(capsys, *call, f"seed={'9' * 400}")
    assert re.search(r"seed=9+ must be finite and from 0 to 4294967295\.$", said.strip())
    assert len(said) < 100


def test_an_output_below_a_file_is_refused_before_anything_is_read(call, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = [*call[:2], f"output_dir={tmp_path / 'file' / 'out'}"]
    assert "is a file and cannot hold" in refused(capsys, *words)


def test_a_hub_that_cannot_be_reached_is_told_for_push_to_hub(call, capsys, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(Trainer, "init_hf_repo", unreachable)
    assert "remove push_to_hub, or log in" in refused(capsys, *call, *QUICK, "push_to_hub=true")


def test_a_checkpoint_that_is_the_base_is_not_removed(call, tmp_path, capsys):
    words = [*QUICK[1:3], "save_strategy=steps", "save_steps=2", "max_steps=2"]
    train(*call, *words)
    checkpoint = tmp_path / "out" / "checkpoint-2"

    base = f"model_name_or_path={checkpoint}"
    assert "holds the model that is read" in refused(capsys, base, *call[1:], "overwrite=true")
    assert (checkpoint / "config.json").is_file()


def test_a_run_on_another_base_in_the_same_place_is_not_resumed(gpt2_base, call, tmp_path, capsys):
    base = tmp_path / "base"
    shutil.copytree(gpt2_base, base)
    words = [f"model_name_or_path={base}", *call[1:], *QUICK[1:3], "save_steps=2", "max_steps=4"]
    train(*words)
    shutil.rmtree(tmp_path / "out" / "checkpoint-4")
    write_base(base, "gpt2", seed=7)

    said = refused(capsys, *words, "resume_from_checkpoint=true")
    assert "model_fingerprint was" in said
