"""LLaMA-Factory's grammar and keys, read without importing LLaMA-Factory."""

import sys

import pytest

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import host_keys, read_call, unknown_keys
from llamafactory_emotion.predict.options import read_options


def test_the_command_line_overrides_the_recipe(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model_name_or_path: base\ncutoff_len: 512\nlearning_rate: 1.0e-4\n")
    call = read_call([str(recipe), "cutoff_len=64", "input=-", "output=out dir/a=b.jsonl"])
    assert call.recipe == recipe
    assert call.values == {
        "model_name_or_path": "base",
        "cutoff_len": 64,
        "learning_rate": 1e-4,
        "input": "-",
        "output": "out dir/a=b.jsonl",
    }


def test_a_json_recipe_is_read_too(tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"template": "llama3"}')
    assert read_call([str(recipe)]).values == {"template": "llama3"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "x"], "'--input', 'x': write key=value"),
        (["=x"], "write key=value"),
        (["a={b"], "a value cannot be read"),
        (["a=${b"], "a value cannot be read"),
        (["missing.yaml"], "missing.yaml cannot be read"),
    ],
)
def test_what_is_no_key_and_value_is_refused(arguments, message):
    with pytest.raises(CallError, match=message):
        read_call(arguments)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\ttab"])
def test_a_broken_recipe_is_refused(tmp_path, content):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    with pytest.raises(CallError, match=r"recipe\.yaml"):
        read_call([str(recipe)])


def test_the_hosts_keys_are_its_own_parsers_keys():
    from dataclasses import fields

    from llamafactory.hparams import (
        DataArguments,
        FinetuningArguments,
        GeneratingArguments,
        ModelArguments,
        TrainingArguments,
    )

    theirs = {
        field.name
        for parser in (
            DataArguments,
            FinetuningArguments,
            GeneratingArguments,
            ModelArguments,
            TrainingArguments,
        )
        for field in fields(parser)
        if field.init
    }
    assert theirs - host_keys() == set()


def test_a_key_that_nobody_knows_is_told_with_the_nearest_one():
    assert unknown_keys(["inptu", "lora_rnk", "zzzzzzzzzz"], ["input"]) == [
        "unknown key 'inptu' (did you mean 'input'?)",
        "unknown key 'lora_rnk' (did you mean 'lora_rank'?)",
        "unknown key 'zzzzzzzzzz'",
    ]
    assert unknown_keys(["input", "lora_rank", "report_to"], ["input"]) == []


def options(*arguments):
    return read_options(read_call(arguments))


def test_every_problem_is_told_at_once():
    with pytest.raises(CallError) as caught:
        options("resume=true", "overwrite=true", "cutoff_len=abc", "shots=2", "rope_scaling=linear")
    for part in (
        "model_name_or_path is missing",
        "input is missing",
        "output is missing",
        "resume and overwrite exclude",
        "cutoff_len='abc' is not a whole number",
        "shots needs few_shot",
        "rope_scaling is not followed here",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume=1"], "resume=1 is not true or false"),
        (["cutoff_len=true"], "cutoff_len=True is not a whole number"),
        (["cutoff_len=0"], "cutoff_len=0 must be 1 or more"),
        (["stage=dpo"], "stage=dpo has no answers"),
        (["adapter_name_or_path=a,b"], "merge them first"),
        (["output=-", "resume=true"], "can neither be resumed"),
        (["input=-", "checkpoints=x"], "read only once"),
        (["bf16=true", "fp16=true"], "exclude each other"),
        (["task=[a]"], "task=.* is not text"),
    ],
)
def test_values_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(CallError, match=message):
        options("model_name_or_path=m", "input=i", "output=o", *arguments)


def test_a_recipe_of_the_host_is_taken_as_it_is():
    found = options("examples/emotion_predict.yaml", "model_name_or_path=m", "text_column=0")
    assert found.place == "saves/emotion_predict/generated_predictions.jsonl"
    assert found.eval_dataset == "emotion_test"
    assert found.text_column == "0"
    assert found.source.dtype == "auto"


@pytest.mark.parametrize("names", ["eval_dataset=[a,b]", "eval_dataset=a,b"])
def test_data_sets_may_be_a_list_as_in_the_host(names):
    assert options("model_name_or_path=m", "output=o", names).eval_dataset == "a,b"


@pytest.mark.parametrize("names", ["[]", "[a,{b: c}]"])
def test_a_list_without_names_is_refused(names):
    with pytest.raises(CallError, match=r"eval_dataset=.* is not text"):
        options("model_name_or_path=m", "input=i", "output=o", f"eval_dataset={names}")


def test_precision_follows_the_hosts_keys():
    def source(*arguments):
        return options("model_name_or_path=m", "input=i", "output=o", *arguments).source

    assert source("bf16=true").dtype == "bfloat16"
    assert source("fp16=true").dtype == "float16"
    assert source("infer_dtype=float32").dtype == "float32"
    assert source("use_cpu=true", "device=cuda").device == "cpu"


def test_reading_a_call_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys; from llamafactory_emotion.options import unknown_keys;"
        "from llamafactory_emotion.predict.__main__ import main;"
        "code = main(['model_name_or_path=m', 'inptu=x']);"
        "print(code, {'torch', 'transformers', 'llamafactory'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["2", "set()"]
    assert "did you mean 'input'?" in run.stderr


def test_a_value_that_is_a_file_is_no_recipe():
    call = read_call(["task=labels.yaml", "input=x"])

    assert call.recipe is None
    assert call.values == {"task": "labels.yaml", "input": "x"}


def test_a_recipe_with_an_equals_sign_in_its_name_is_read(tmp_path):
    recipe = tmp_path / "rank=8.yaml"
    recipe.write_text("lora_rank: 8\n", encoding="utf-8")

    assert read_call([str(recipe)]).values == {"lora_rank": 8}


@pytest.mark.parametrize("name", ["deep.yaml", "deep.json"])
def test_a_recipe_nested_too_deeply_is_one_sentence(tmp_path, name):
    # PyYAML has a bound of its own from 6.0.4 on, and its own words for it.
    (tmp_path / name).write_text('{"a": ' + "[" * 3_000 + "]" * 3_000 + "}")
    with pytest.raises(CallError, match=rf"{name} (is nested too deeply to|cannot) be read"):
        read_call([str(tmp_path / name)])


def test_a_recipe_in_another_encoding_says_what_to_do(tmp_path):
    (tmp_path / "recipe.yaml").write_text("cutoff_len: 8\n", encoding="utf-16")
    with pytest.raises(CallError, match="; save it as UTF-8"):
        read_call([str(tmp_path / "recipe.yaml")])
