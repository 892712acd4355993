"""Models and adapters that are not there or do not fit, and labels under their tokenizer."""

import json
import shutil
from pathlib import Path

import pytest
import transformers
from doctor_calls import PREDICT, is_told, judge, sentences, serious, without_hub
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments

from llamafactory_emotion.doctor.__main__ import examine
from llamafactory_emotion.run_record import RECORD_NAME, RunRecord, write_record
from llamafactory_emotion.task import EMOTION, Task

pytestmark = pytest.mark.filterwarnings("ignore")

FREEZE = {"finetuning_type": "freeze", "freeze_trainable_layers": 1}
BROKEN = [
    ({"model_name_or_path": "./nowhere"}, "model", "is not there", "train or export"),
    ({"model_name_or_path": "saves/adapter"}, "model", "it is an adapter", "adapter_name_or_path"),
    ({"model_name_or_path": "saves/trained"}, "model", "holds no config.json", "wrote"),
    ({"adapter_name_or_path": "saves/none"}, "adapter", "is not there", "train"),
    ({"adapter_name_or_path": "saves/tiny_base"}, "adapter", "adapter_config.json", "LoRA"),
    ({"adapter_name_or_path": "saves/adapter"}, "adapter", "other/base", "model_name_or_path"),
    ({"template": "llama3"}, "end-token", "never learned", "template: emotion"),
    ({"template": "qwen"}, "vocabulary", "none for <|im_end|>", "resize_vocab"),
    ({"template": "gemma"}, "vocabulary", "token", "emotion"),
    ({"lora_target": "c_attn"}, "targets", "no layer of that name", "q_proj"),
    ({"lora_target": ["q_proj", "qproj"]}, "targets", "lora_target qproj", "q_proj"),
    ({**FREEZE, "freeze_trainable_modules": "attention"}, "targets", "no such part", "self_attn"),
]


@pytest.mark.parametrize(("changes", "check", "said", "remedy"), BROKEN, ids=str)
def test_a_model_that_does_not_fit_is_told_with_its_remedy(look, changes, check, said, remedy):
    found = look(**changes)["recipe"]

    assert is_told(found, check, said, remedy), found


@pytest.mark.parametrize(
    ("reason", "level", "remedy"),
    [
        ("it is gated", "error", "ask for access"),
        ("there is no such model on the hub", "error", "check the name"),
        ("the hub cannot be reached", "note", "hf auth login"),
    ],
)
def test_what_the_hub_says_of_a_model_is_judged(look, monkeypatch, reason, level, remedy):
    monkeypatch.setattr("llamafactory_emotion.doctor.loading.hub_problem", lambda *_, **__: reason)

    found = look(model_name_or_path="meta-llama/Meta-Llama-3-8B")["recipe"]

    (told,) = (one for one in found if one.check == "model")
    assert told.level == level
    assert remedy in told.remedy


@pytest.mark.parametrize(
    "kind", ["BertForMaskedLM", "LlamaForSequenceClassification", "GPT2Model", "GPT2LMHeadModel"]
)
def test_a_checkpoint_that_is_no_language_model_is_told(look, folder, kind):
    shutil.copytree(folder / "saves" / "tiny_base", folder / "saves" / kind)
    config = folder / "saves" / kind / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": [kind]}))

    found = serious(look(model_name_or_path=f"saves/{kind}")["recipe"])

    expected = "" if kind == "GPT2LMHeadModel" else f"saves/{kind} was saved as {kind}: the layer"
    assert sentences(found).startswith(expected)
    assert bool(found) is bool(expected)


@pytest.mark.parametrize(
    ("file", "said"),
    [("tokenizer.json", "the tokenizer of saves/broken"), ("config.json", "saves/broken cannot")],
)
def test_a_broken_file_is_a_finding(look, folder, file, said):
    broken = folder / "saves" / "broken"
    shutil.copytree(folder / "saves" / "tiny_base", broken, dirs_exist_ok=True)
    (broken / file).write_text('{"version": "1.0"')

    assert is_told(look(model_name_or_path="saves/broken")["recipe"], "model", said, "again")

    shutil.copy(folder / "saves" / "tiny_base" / file, broken / file)


def test_an_adapter_of_another_base_of_the_same_name_is_told(look, folder, tmp_path):
    for name in ("one", "other"):
        shutil.copytree(folder / "saves" / "tiny_base", tmp_path / name / "base")
    config = tmp_path / "other" / "base" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rope_theta": 5.0}))
    trained_on = {"base_model_name_or_path": str(tmp_path / "one" / "base")}
    (tmp_path / "adapter_config.json").write_text(json.dumps(trained_on))

    def told(base: str) -> list:
        adapter = {"adapter_name_or_path": str(tmp_path)}
        return serious(look(model_name_or_path=base, **adapter)["recipe"], "adapter")

    assert told(str(tmp_path / "one" / "base")) == []
    assert "one/base" in told(str(tmp_path / "other" / "base"))[0].remedy
    (tmp_path / "adapter_config.json").write_text("[1]")
    assert "no readable adapter_config.json" in told(str(tmp_path / "one" / "base"))[0].sentence


@pytest.mark.parametrize("trained", ["emotion", "llama3"])
@pytest.mark.parametrize("asked", ["emotion", "llama3"])
def test_a_folder_asked_with_another_template_than_it_carries_is_told(
    look, folder, tmp_path, trained, asked
):
    model = tmp_path / "model"
    shutil.copytree(folder / "saves" / "tiny_base", model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    get_template_and_fix_tokenizer(tokenizer, DataArguments(template=trained))
    tokenizer.save_pretrained(model)

    found = look(**PREDICT, model_name_or_path=str(model), template=asked)["recipe"]

    remedy = "set template: emotion" if trained == "emotion" else "trained with"
    told = is_told(found, "own-template", "ends an answer", remedy)
    assert told is (trained != asked)


@pytest.mark.parametrize("key", ["model_name_or_path", "adapter_name_or_path"])
@pytest.mark.parametrize("run", [PREDICT, {"do_train": True}], ids=["predicts", "trains on"])
@pytest.mark.parametrize("by", ["record", "training_args.yaml"])
def test_a_run_whose_record_names_another_template_is_told(look, folder, tmp_path, key, run, by):
    model = tmp_path / "model"
    shutil.copytree(folder / "saves" / "tiny_base", model)
    if by == "record":
        write_record(model, RunRecord((EMOTION,), "emotion"))
    else:
        (model / by).write_text("template: emotion\n")
    asked = {**run, key: str(model)}

    found = look(**asked, template="llama3")["recipe"]
    assert is_told(found, "own-template", "trained with the template emotion", "template: emotion")
    assert serious(look(**asked, template="emotion")["recipe"], "own-template") == []


def test_the_model_of_an_adapter_that_says_nothing_is_asked_for_its_template(
    look, folder, tmp_path
):
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    shutil.copytree(folder / "saves" / "tiny_base", model)
    write_record(model, RunRecord((EMOTION,), "emotion"))
    adapter.mkdir()
    both = {"model_name_or_path": str(model), "adapter_name_or_path": str(adapter)}

    told = look(**both, template="llama3")["recipe"]

    assert is_told(told, "own-template", str(model / RECORD_NAME), "set template: emotion")


def test_the_line_break_behind_an_end_token_is_no_part_of_labels(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    model = tmp_path / "model"
    shutil.copytree(folder / "saves" / "tiny_base", model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})
    tokenizer.save_pretrained(model)
    recipe = {"model_name_or_path": str(model), "template": "qwen", "stage": "sft"}

    found = examine(recipe, task=Task("t", ("a", "b"), "Which?"))["recipe"]

    assert "each of the 2 labels is one token" in sentences(found)


def test_no_weights_are_loaded(look, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", refuse)

    assert serious(look()["recipe"]) == []


@pytest.mark.usefixtures("untrained_clone")
def test_a_folder_that_another_recipe_writes_is_to_be_made_first(tmp_path, monkeypatch):
    without_hub(monkeypatch)
    recipe = Path("examples/emotion_predict.yaml")

    def told(*words: str, recipe: Path = recipe) -> list[str]:
        found = judge(recipe, *words)["recipe"]
        return [f"{one.level}: {one.sentence}: {one.remedy}" for one in found]

    assert any("note" in one and "emotion_merge.yaml" in one for one in told())
    assert any(
        "error" in one and "saves/other is not there" in one
        for one in told("model_name_or_path=saves/other")
    )
    plain = recipe.read_text().replace("###", "#").replace("emotion_merged", "other")
    (tmp_path / "plain.yaml").write_text(plain)
    found = told(recipe=tmp_path / "plain.yaml")
    assert any("error" in one and "saves/other is not there" in one for one in found)
