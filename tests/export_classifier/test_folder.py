"""The exported folder: a stock classifier that gives what the language model gives."""

import json
import re

import numpy as np
import pytest
import torch
from calls import save_model, write_lines
from exports import ROWS, export_to, pipeline_answers
from random_models import ROUNDING, TEXTS, random_model, save_adapter, tokenizer_of
from safetensors.torch import load_file
from transformers import pipeline

from llamafactory_emotion.export_classifier.__main__ import ExportOptions
from llamafactory_emotion.predict.inputs import draw_examples
from llamafactory_emotion.scoring.models import ModelSource, load_model
from llamafactory_emotion.scoring.scorer import LabelScorer, open_scorer
from llamafactory_emotion.task import EMOTION, load_task


@pytest.mark.parametrize(
    "architecture", ["llama", "qwen2", "qwen3", "mistral", "gpt2", "gemma", "gpt_neox", "opt"]
)
def test_a_stock_pipeline_gives_what_the_scorer_gives(architecture, tmp_path):
    base = save_model(tmp_path / "base", architecture)
    folder = export_to(tmp_path / "head", base)
    wanted = open_scorer(base).score(ROWS)
    found = pipeline_answers(folder, ROWS)

    np.testing.assert_allclose(found, wanted.probabilities, atol=ROUNDING)
    assert [EMOTION.labels[best] for best in found.argmax(axis=1)] == list(wanted.predictions)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert list(config["id2label"].values()) == list(EMOTION.labels)
    assert config["label2id"] == {label: n for n, label in enumerate(EMOTION.labels)}


@pytest.mark.parametrize(
    ("tied", "layers"), [(False, ["q_proj", "down_proj"]), (True, ["q_proj", "lm_head"])]
)
def test_an_adapter_is_merged(tmp_path, tied, layers):
    base = save_model(tmp_path / "base", tie_word_embeddings=tied)
    save_adapter(base, tmp_path / "adapter", target_modules=layers)
    both = export_to(tmp_path / "head", base, f"adapter_name_or_path={tmp_path / 'adapter'}")
    alone = export_to(tmp_path / "alone", tmp_path / "adapter")
    loaded = load_model(ModelSource(base, str(tmp_path / "adapter")))
    wanted = LabelScorer(loaded).score(ROWS).probabilities
    for folder in (both, alone):
        np.testing.assert_allclose(pipeline_answers(folder, ROWS), wanted, atol=ROUNDING)
    assert abs(wanted - open_scorer(base).score(ROWS).probabilities).max() > 0.01


def test_the_checkpoints_type_is_kept_unless_another_is_asked_for(tmp_path):
    base = tmp_path / "base"
    random_model("llama").to(torch.bfloat16).save_pretrained(base)
    tokenizer_of().save_pretrained(base)
    save_adapter(base, tmp_path / "adapter")
    half = export_to(tmp_path / "half", base)
    merged = export_to(tmp_path / "merged", tmp_path / "adapter")
    full = export_to(tmp_path / "full", base, "infer_dtype=float32")
    assert abs(pipeline_answers(merged, TEXTS) - pipeline_answers(half, TEXTS)).max() > 0.01
    for folder, dtype in ((half, torch.bfloat16), (full, torch.float32), (merged, torch.bfloat16)):
        weights = load_file(folder / "model.safetensors")
        assert {weight.dtype for weight in weights.values()} == {dtype}
        assert weights["score.weight"].shape == (6, 64)
        card = (folder / "README.md").read_text()
        assert ("as it is stored: " in card and "in bfloat16" in card) == (folder != full)
        assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
        assert not any("lm_head" in key for key in weights)


def test_another_task_is_exported_with_examples_in_its_prompt(base, tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text("name: two\ninstruction: Glad or afraid?\nlabels: [joy, fear]\n")
    task, file = load_task(path), tmp_path / "train.jsonl"
    write_lines(file, [{"text": text, "label": n % 2} for n, text in enumerate(TEXTS)])
    folder = export_to(tmp_path / "head", base, f"task={path}", f"few_shot={file}")
    call = ExportOptions(model_name_or_path=str(base), output="head", few_shot=str(file))
    examples = draw_examples(call, task)
    wanted = open_scorer(base, task, few_shot=examples).score(ROWS)
    found = pipeline("text-classification", model=str(folder), device="cpu")(list(ROWS))
    assert [row["label"] for row in found] == list(wanted.predictions)
    np.testing.assert_allclose(
        [row["score"] for row in found], wanted.probabilities.max(axis=1), atol=ROUNDING
    )


def test_real_rows_are_verified_and_the_long_ones_counted(base, export_refuses, tmp_path, capsys):
    path = tmp_path / "rows.csv"
    lines = [json.dumps(text, ensure_ascii=False) for text in [*TEXTS, "long " * 600]]
    path.write_text("words\n" + "\n".join(lines) + "\n", encoding="utf-8")
    call = (f"verify={path}", "text_column=words")
    head = tmp_path / "head"

    given = (f"model_name_or_path={base}", f"output={head}")
    code, said = export_refuses(*given, *call, "tolerance=1e-12")
    assert code == 1
    assert f"does not give what predict gives on {path}: 10 rows, 10 labels identical" in said
    assert re.search(r"\(in row \d; 1.0e-12 is allowed\)", said)
    assert list(tmp_path.iterdir()) == [path]

    export_to(head, base, *call)
    said = capsys.readouterr().out
    assert f"verified on {path}: 10 rows, 10 labels identical, largest difference" in said
    assert "1 rows are empty or too long and were not compared" in said
    assert "10 rows, 10 labels identical" in (head / "README.md").read_text()


@pytest.mark.parametrize(
    ("rows", "reason"), [("", "holds no rows"), ("long " * 600, "fits into cutoff_len=2048")]
)
def test_rows_on_which_nothing_can_be_verified_are_refused(
    base, export_refuses, tmp_path, rows, reason
):
    path = tmp_path / "rows.txt"
    path.write_text(rows)
    call = (f"model_name_or_path={base}", f"output={tmp_path / 'head'}", f"verify={path}")
    code, said = export_refuses(*call)
    assert (code, reason in said) == (1, True), said
    assert list(tmp_path.iterdir()) == [path]


def test_2000_real_rows_through_the_pipeline(shared_data, tiny_base, tmp_path):
    path = shared_data / "dair_emotion" / "test.jsonl"
    folder = export_to(tmp_path / "head", tiny_base, f"verify={path}")
    assert "2,000 rows, 2,000 labels identical" in (folder / "README.md").read_text()
