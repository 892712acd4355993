"""Every architecture gets a head, is trained, saved and read again with the same probabilities."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calls import read_lines
from head_models import BASES, DECODERS, QUICK, refused, train, write_base, write_rows
from peft import PeftModel
from random_models import TEXTS
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainingArguments,
)

from llamafactory_emotion.predict.__main__ import main as predict
from llamafactory_emotion.scoring.loading import quantization
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.train_head.arguments import HeadArguments
from llamafactory_emotion.train_head.model import load_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
MASKED = "masked_bert"
TASK = "name: mood\ninstruction: Which?\nlabels: [Fed | Banks, 'no', up]\n"


@pytest.fixture(scope="module")
def test_rows(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("rows") / "test.jsonl", 13)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    written = {kind: write_base(folder / kind, kind) for kind in BASES}
    # As the hub has it: trained to fill gaps, without the pooling layer that a head needs.
    return written | {MASKED: write_base(folder / MASKED, "bert", auto=AutoModelForMaskedLM)}


@pytest.fixture
def call_for(bases, rows_file, test_rows, tmp_path):
    def words(kind: str) -> list[str]:
        named = {"model_name_or_path": bases[kind], "train": rows_file, "test": test_rows}
        named["output_dir"] = tmp_path / "out"
        return [*(f"{key}={value}" for key, value in named.items()), *QUICK]

    return words


def probabilities(path: Path) -> np.ndarray:
    return np.array([list(row["probabilities"].values()) for row in read_lines(path)])


def through_transformers(folder: Path, texts: list[str], **options: Any) -> np.ndarray:
    """What stock transformers makes of a folder, one text at a time, thus without padding."""
    adapter, base = folder / "adapter_config.json", folder
    if adapter.exists():
        base = json.loads(adapter.read_text())["base_model_name_or_path"]
    model = AutoModelForSequenceClassification.from_pretrained(
        base, config=AutoConfig.from_pretrained(folder), dtype=torch.float32, **options
    )
    if adapter.exists():
        model = PeftModel.from_pretrained(model, folder)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    return torch.stack(logits).softmax(-1).numpy()


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", [*BASES, MASKED])
def test_a_head_is_trained_saved_and_read_again(kind, method, call_for, test_rows, tmp_path):
    """Weights that a base lacks are drawn anew at each loading: an adapter must hold them all."""
    recomputed = f"gradient_checkpointing={str(method == 'lora').lower()}"
    train(*call_for(kind), f"finetuning_type={method}", recomputed)

    out = tmp_path / "out"
    texts = [row["prompt"] for row in read_lines(out / "test_predictions.jsonl")]
    found = probabilities(out / "test_predictions.jsonl")
    np.testing.assert_allclose(through_transformers(out, texts), found, atol=2e-6)
    assert (out / "adapter_config.json").exists() == (method == "lora")
    if kind in DECODERS:
        assert AutoTokenizer.from_pretrained(out).padding_side == "right"
    if kind == "gpt2":
        again = tmp_path / "again.jsonl"
        files = [f"model_name_or_path={out}", f"input={test_rows}", f"output={again}"]
        assert predict([*files, "use_cpu=true"]) == 0
        np.testing.assert_allclose(probabilities(again), found, atol=2e-6)
        assert AutoConfig.from_pretrained(out).id2label == dict(enumerate(EMOTION.labels))
    if (kind, method) == ("gpt2", "full"):
        written = {path.name for path in out.iterdir()}
        assert written - {"special_tokens_map.json"} == {  # which transformers 4 writes
            *("config.json", "model.safetensors", "test_predictions.jsonl"),
            *("test_predictions.jsonl.meta.json", "tokenizer.json", "tokenizer_config.json"),
            *("train_head.json", "trainer_state.json"),
        }


@pytest.mark.parametrize("kind", BASES)
def test_frozen_blocks_and_embeddings_are_not_trained(kind, bases, tmp_path):
    arguments = HeadArguments(model_name_or_path=str(bases[kind]), train="x", freeze_blocks=2)
    head = load_model(arguments, TrainingArguments(str(tmp_path), use_cpu=True), EMOTION)

    trained = {name for name, one in head.model.named_parameters() if one.requires_grad}
    assert head.trained_parameters < head.all_parameters
    parts = ("embed", "wte", "wpe", ".0.", ".1.")
    assert not [name for name in trained if any(part in name.lower() for part in parts)]
    assert any(".2." in name for name in trained)


@pytest.mark.parametrize(("kind", "bits"), [("opt", 8), ("llama", 4)])
def test_a_quantised_base_trains_an_adapter_and_a_head(kind, bits, call_for, tmp_path):
    pytest.importorskip("bitsandbytes")
    train(
        *call_for(kind),
        *("finetuning_type=lora", "lora_target=q_proj,v_proj", f"quantization_bit={bits}"),
        # What 8 bits leave in half precision depends on the other rows of a batch.
        "per_device_eval_batch_size=1",
    )

    out = tmp_path / "out"
    assert not hasattr(AutoConfig.from_pretrained(out), "quantization_config")
    weights = load_file(out / "adapter_model.safetensors")
    assert {key.split(".")[-3] for key in weights if "lora_" in key} == {"q_proj", "v_proj"}
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    head = next(weight for key, weight in weights.items() if key.endswith("score.weight"))
    assert head.shape == (6, 64)
    texts = [row["prompt"] for row in read_lines(out / "test_predictions.jsonl")]
    held = quantization(bits, torch.float32, whole=("score",))
    wanted = through_transformers(out, texts, quantization_config=held)
    np.testing.assert_allclose(wanted, probabilities(out / "test_predictions.jsonl"), atol=1e-4)


def test_another_task_and_a_long_text(call_for, tmp_path, capsys):
    (tmp_path / "task.yaml").write_text(TASK)
    labels = ("Fed | Banks", "no", "up")
    file = write_rows(tmp_path / "rows.jsonl", 12, labels=labels)
    with file.open("a") as more:
        more.write(json.dumps({"text": " ".join(TEXTS * 9), "label": "up"}) + "\n")
    named = [f"train={file}", f"test={file}", f"task={tmp_path / 'task.yaml'}"]
    train(*call_for("roberta"), *named)

    # RoBERTa keeps two of its 130 positions free: the padding token has the number 1.
    assert "1 texts cut at 128 tokens" in capsys.readouterr().err
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length == 128
    assert AutoConfig.from_pretrained(tmp_path / "out").label2id == {
        label: number for number, label in enumerate(labels)
    }
    first = read_lines(tmp_path / "out" / "test_predictions.jsonl")[0]
    assert list(first["probabilities"]) == list(labels)
    assert sum(first["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model_name_or_path=/gone"], "the model folder /gone is not there; check the path."),
        (["model_name_or_path=package:gone_x/model"], "pip install gone-x"),
        (["model_name_or_path=package:torch/gone"], "torch/gone is not there; check the path."),
        (["model_name_or_path=nobody/nothing"], "is no folder here, and the hub cannot be reached"),
        (["freeze_blocks=9"], "freeze_blocks=9 is more than the model's 3 blocks"),
        (["finetuning_type=lora", "lora_target=c_attn,q"], "lora_target=q is no linear layer"),
    ],
)
def test_a_model_that_is_not_there_or_lacks_what_is_named(words, said, call, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert said in refused(capsys, *call, *words)


def edited(name: str, **changes: Any) -> Any:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | changes))

    return spoil


def labels_of(*labels: str) -> Any:
    id2label = dict(enumerate(labels))
    label2id = {label: number for number, label in id2label.items()}
    head = ["GPT2ForSequenceClassification"]
    return edited("config.json", architectures=head, id2label=id2label, label2id=label2id)


def tokens_around(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.save_pretrained(folder)


def one_token_more(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["one_more"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (labels_of("up", "down"), "another number of labels: 2 (up, down), and task 'emotion' has"),
        (labels_of(*sorted(EMOTION.labels)), "a classifier with other labels: 6 (anger, fear, joy"),
        (lambda base: (base / "adapter_config.json").touch(), "is an adapter; name the base model"),
        (lambda base: (base / "config.json").unlink(), "holds no config.json; name the folder"),
        (edited("tokenizer_config.json", eos_token=None), "has no padding token and no end token"),
        (tokens_around, "cutoff_len=2 leaves no room for a text: 2 special tokens"),
        (one_token_more, "name the tokenizer's own model"),
        (edited("config.json", n_layer=4), "weights of the model's blocks"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(spoil, said, call, gpt2_base, tmp_path, capsys):
    shutil.copytree(gpt2_base, tmp_path / "base")
    spoil(tmp_path / "base")
    words = [f"model_name_or_path={tmp_path / 'base'}", *call[1:], "cutoff_len=2"]
    assert said in refused(capsys, *words)
