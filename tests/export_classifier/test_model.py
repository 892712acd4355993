"""Models of which no head can be cut."""

import re

import pytest
from calls import save_model
from random_models import tokenizer_of


def without_tokens_to_pad_with():
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.eos_token = None
    return tokenizer


@pytest.mark.parametrize(
    ("architecture", "tokenizer", "labels", "reason"),
    [
        ("llama", None, "joy, deep sadness", "1 of 2 labels have several tokens"),
        ("llama", None, "joy, joy fear", "begin with the same token.*'joy' and 'joy fear'"),
        ("phi", None, "joy, fear", "its output layer has a bias"),
        ("gemma2", None, "joy, fear", r"bends its logits \(final_logit_softcapping 3.0\)"),
        ("mamba", None, "joy, fear", "no sequence classifier for the model type 'mamba'"),
        ("granite", None, "joy, fear", "no sequence classifier for the model type 'granite'"),
        ("llama", without_tokens_to_pad_with, "joy, fear", "neither a padding nor an end token"),
    ],
)
def test_what_is_more_than_rows_of_one_matrix_is_refused(
    export_refuses, tmp_path, architecture, tokenizer, labels, reason
):
    base = save_model(tmp_path / "base", architecture, tokenizer and tokenizer())
    task = tmp_path / "task.yaml"
    task.write_text(f"name: moods\ninstruction: Which mood?\nlabels: [{labels}]\n")
    output = tmp_path / "head"
    code, said = export_refuses(f"model_name_or_path={base}", f"output={output}", f"task={task}")
    assert (code, bool(re.search(reason, said))) == (1, True), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "task.yaml"]
