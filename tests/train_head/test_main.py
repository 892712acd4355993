"""Training a head: every architecture is trained, saved and read again with the same logits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_models import BASES, DECODERS, QUICK, read, train, write_base, write_rows
from peft import PeftModel
from random_models import TEXTS
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    pipeline,
)

from llamafactory_emotion.evaluate.__main__ import main as evaluate
from llamafactory_emotion.predict.__main__ import main as predict
from llamafactory_emotion.task import EMOTION

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

QUANTISED = {
    8: BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["score"]),
    4: BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["score"],
    ),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {
        "train": write_rows(folder / "train.jsonl", 48),
        "test": write_rows(folder / "test.jsonl", 13),
    }


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {kind: write_base(folder / kind, kind) for kind in BASES}


def call(bases, rows, kind: str, output: Path) -> list[str]:
    return [
        f"model_name_or_path={bases[kind]}",
        f"train={rows['train']}",
        f"test={rows['test']}",
        f"output_dir={output}",
        *QUICK,
    ]


def probabilities(path: Path) -> np.ndarray:
    return np.array([list(row["probabilities"].values()) for row in read(path)])


def through_transformers(folder: Path, texts: list[str], **options: Any) -> np.ndarray:
    """What stock transformers makes of a folder, one text at a time, thus without padding."""
    config = AutoConfig.from_pretrained(folder)
    adapter = folder / "adapter_config.json"
    base = (
        json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.exists() else folder
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        base, config=config, dtype=torch.float32, **options
    )
    if adapter.exists():
        model = PeftModel.from_pretrained(model, folder)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    return torch.stack(logits).softmax(-1).numpy()


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", BASES)
def test_a_head_is_trained_saved_and_read_again_with_the_same_probabilities(
    kind, method, bases, rows, tmp_path
):
    train(*call(bases, rows, kind, tmp_path / "out"), f"finetuning_type={method}")

    written = read(tmp_path / "out" / "test_predictions.jsonl")
    texts = [row["prompt"] for row in written]
    found = probabilities(tmp_path / "out" / "test_predictions.jsonl")
    np.testing.assert_allclose(through_transformers(tmp_path / "out", texts), found, atol=2e-6)
    assert (tmp_path / "out" / "adapter_config.json").exists() == (method == "lora")
    if kind in DECODERS:
        assert AutoTokenizer.from_pretrained(tmp_path / "out").padding_side == "right"


@pytest.mark.parametrize(
    ("kind", "method", "rate"), [("bert", "full", 0.003), ("llama", "lora", 0.01)]
)
def test_a_head_learns_what_the_texts_say(kind, method, rate, bases, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", 60, labels=EMOTION.labels[:2])
    train(
        *call(bases, {"train": file, "test": file}, kind, tmp_path / "out"),
        f"finetuning_type={method}",
        f"learning_rate={rate}",
        "max_steps=60",
    )

    written = read(tmp_path / "out" / "test_predictions.jsonl")
    assert sum(row["predict"] == row["label"] for row in written) >= 54


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "llama", "bert"])
def test_an_adapter_holds_everything_that_did_not_stand_in_the_base(kind, bases, rows, tmp_path):
    base = bases[kind]
    if kind == "bert":  # as the hub has it: trained to fill gaps, without a pooling layer
        base = write_base(tmp_path / "masked", "bert", auto=AutoModelForMaskedLM)
    train(*call({kind: base}, rows, kind, tmp_path / "out"), "finetuning_type=lora")

    saved = {
        key.removeprefix("base_model.model.")
        for key in load_file(tmp_path / "out" / "adapter_model.safetensors")
    }
    config = AutoConfig.from_pretrained(tmp_path / "out")
    _, found = AutoModelForSequenceClassification.from_pretrained(
        base, config=config, output_loading_info=True
    )
    assert ("bert.pooler.dense.weight" in found["missing_keys"]) == (kind == "bert")
    assert found["missing_keys"]
    assert set(found["missing_keys"]) <= saved


def test_the_folder_is_one_for_the_stock_pipeline(bases, rows, tmp_path):
    train(*call(bases, rows, "gpt2", tmp_path / "out"))

    classify = pipeline("text-classification", str(tmp_path / "out"), device="cpu")
    first = read(tmp_path / "out" / "test_predictions.jsonl")[0]
    answer = classify(first["prompt"])[0]
    assert answer["label"] == first["predict"]
    assert answer["score"] == pytest.approx(max(first["probabilities"].values()), abs=2e-6)
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert [config.id2label[number] for number in range(6)] == list(EMOTION.labels)
    assert config.problem_type == "single_label_classification"


def test_predictions_are_in_the_order_of_the_test_file_and_evaluate_reads_them(
    bases, rows, tmp_path, capsys
):
    train(
        *call(bases, rows, "bert", tmp_path / "out"),
        "train_sampling_strategy=group_by_length",
        "per_device_eval_batch_size=4",
    )

    written = read(tmp_path / "out" / "test_predictions.jsonl")
    gold = read(rows["test"])
    assert [row["id"] for row in written] == list(range(13))
    assert [(row["prompt"], row["label"]) for row in written] == [
        (row["text"], row["label"]) for row in gold
    ]
    sidecar = json.loads((tmp_path / "out" / "test_predictions.jsonl.meta.json").read_text())
    assert (sidecar["rows"], sidecar["task"], sidecar["seed"]) == (13, "emotion", 42)
    assert sidecar["trained_parameters"] == sidecar["model_parameters"]
    capsys.readouterr()
    assert evaluate([str(tmp_path / "out" / "test_predictions.jsonl")]) == 0
    right = sum(row["predict"] == row["label"] for row in written)
    assert f"{right / 13:.4f}" in capsys.readouterr().out


def test_nothing_but_the_model_is_left_in_the_folder(bases, rows, tmp_path):
    train(*call(bases, rows, "bert", tmp_path / "out"))

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "test_predictions.jsonl",
        "test_predictions.jsonl.meta.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "train_head.json",
        "trainer_state.json",
    ]


@pytest.mark.parametrize("kind", BASES)
def test_frozen_blocks_and_embeddings_stay_as_they_are(kind, bases, rows, tmp_path):
    train(*call(bases, rows, kind, tmp_path / "out"), "freeze_blocks=2")

    before = AutoModelForSequenceClassification.from_pretrained(bases[kind], num_labels=6)
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    changed = {
        name
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed
    for name in changed:
        assert "embed" not in name.lower()
        assert "wte" not in name
        assert not any(f".{number}." in name for number in (0, 1))
    assert any(".2." in name for name in changed)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_a_quantised_base_trains_an_adapter_and_a_head(kind, bits, bases, rows, tmp_path):
    pytest.importorskip("bitsandbytes")
    train(
        *call(bases, rows, kind, tmp_path / "out"),
        "finetuning_type=lora",
        "lora_target=q_proj,v_proj",
        f"quantization_bit={bits}",
        # What 8 bits leave in half precision depends on the other rows of a batch.
        "per_device_eval_batch_size=1",
    )

    assert not hasattr(AutoConfig.from_pretrained(tmp_path / "out"), "quantization_config")
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {key.split(".")[-3] for key in weights if "lora_" in key} == {"q_proj", "v_proj"}
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    head = next(weight for key, weight in weights.items() if key.endswith("score.weight"))
    assert head.shape == (6, 64)
    written = read(tmp_path / "out" / "test_predictions.jsonl")
    wanted = through_transformers(
        tmp_path / "out", [row["prompt"] for row in written], quantization_config=QUANTISED[bits]
    )
    found = probabilities(tmp_path / "out" / "test_predictions.jsonl")
    np.testing.assert_allclose(wanted, found, atol=1e-4)


def test_another_task_and_a_long_text(bases, tmp_path, capsys):
    task = tmp_path / "task.yaml"
    task.write_text("name: mood\ninstruction: Which?\nlabels: [Fed | Banks, 'no', up]\n")
    labels = ("Fed | Banks", "no", "up")
    file = write_rows(tmp_path / "rows.jsonl", 12, labels=labels)
    with file.open("a") as more:
        more.write(json.dumps({"text": " ".join(TEXTS * 9), "label": "up"}) + "\n")
    train(
        f"model_name_or_path={bases['roberta']}",
        f"train={file}",
        f"test={file}",
        f"task={task}",
        f"output_dir={tmp_path / 'out'}",
        *QUICK,
    )

    # RoBERTa keeps two of its 130 positions free: the padding token has the number 1.
    assert "1 texts cut at 128 tokens" in capsys.readouterr().err
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length == 128
    assert AutoConfig.from_pretrained(tmp_path / "out").label2id == {
        label: number for number, label in enumerate(labels)
    }
    first = read(tmp_path / "out" / "test_predictions.jsonl")[0]
    assert list(first["probabilities"]) == list(labels)
    assert sum(first["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_predict_gives_what_the_training_predicted(kind, method, bases, rows, tmp_path):
    train(*call(bases, rows, kind, tmp_path / "out"), f"finetuning_type={method}")
    again = tmp_path / "again.jsonl"
    words = [f"model_name_or_path={tmp_path / 'out'}", f"input={rows['test']}", f"output={again}"]
    assert predict([*words, "use_cpu=true"]) == 0

    first = read(tmp_path / "out" / "test_predictions.jsonl")
    for key in ("id", "prompt", "predict", "label"):
        assert [row[key] for row in read(again)] == [row[key] for row in first]
    np.testing.assert_allclose(
        probabilities(again), probabilities(tmp_path / "out" / "test_predictions.jsonl"), atol=2e-6
    )
