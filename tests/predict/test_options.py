"""What a call of `predict` may hold."""

import pytest

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import read_options
from llamafactory_emotion.predict.options import PredictOptions


def options(*words: str) -> PredictOptions:
    return read_options(words, PredictOptions)[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rope_scaling=linear"], "rope_scaling is not followed here"),
        (["shots=2"], "shots needs few_shot"),
        (["resume=true", "overwrite=true"], "resume and overwrite exclude"),
        (["stage=dpo"], "stage=dpo has no answers"),
        (["adapter_name_or_path=a,b"], "merge them first"),
        (["output=-", "resume=true"], "cannot be resumed"),
        (["output=x.CSV"], "output=x.CSV would hold JSON Lines; name it .jsonl"),
        (["input=-", "checkpoints=x"], "read only once"),
        (["bf16=true", "fp16=true"], "exclude each other"),
        (["cutoff_len=8,8"], "names a length twice"),
        (["cutoff_len=8,16", "input=-"], "several lengths read it again"),
        (["cutoff_len=8,16", "output=-"], "name a folder for the files"),
        (["cutoff_len=8,16", "output=x.jsonl"], "each checkpoint or length gets its own"),
        (["cutoff_len=8,16", "checkpoints=x"], "one of them at a time"),
    ],
)
def test_values_that_cannot_be_are_refused(words, message):
    with pytest.raises(CallError, match=message):
        options("model_name_or_path=m", "input=i", "output=o", *words)


def test_a_recipe_of_the_host_is_taken_as_it_is():
    found = options("examples/emotion_predict.yaml", "model_name_or_path=m", "text_column=0")
    assert str(found.output_path) == "saves/emotion_predict/generated_predictions.jsonl"
    assert found.eval_dataset == "emotion_test"
    assert found.text_column == "0"
    assert found.source.dtype == "auto"


def test_what_is_missing_is_told_at_once():
    with pytest.raises(CallError, match=r"model_name_or_path is missing.*output is missing.*input"):
        options("seed=1")


def test_precision_follows_the_hosts_keys():
    def source(*words: str):
        return options("model_name_or_path=m", "input=i", "output=o", *words).source

    assert source("bf16=true").dtype == "bfloat16"
    assert source("fp16=true").dtype == "float16"
    assert source("infer_dtype=float32").dtype == "float32"
    assert source("use_cpu=true", "device=cuda").device == "cpu"
