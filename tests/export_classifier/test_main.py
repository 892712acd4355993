"""The exported folder: a stock classifier that gives what the language model gives."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_models import LLAMA3_CHAT_TEMPLATE, TEXTS, random_model, save_adapter, tokenizer_of
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, pipeline

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.export_classifier.__main__ import main
from llamafactory_emotion.export_classifier.prompt import HARD_TEXTS, bake_prompt
from llamafactory_emotion.scoring.models import ModelSource, load_model
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import EMOTION, Task

# Rounding in float32: these random models have wide weights, and spread it.
ROUNDING = 5e-6
FRAME = EMOTION.user_content("x") + "\nAnswer:" + "".join(f" {one}" for one in EMOTION.labels)
ROWS = (*TEXTS, "so glad!", "what now?! ", "\n\nwell", "爱", "<|eot_id|></s> joy", "Answer: joy")


def save(folder, architecture="llama", tokenizer=None, **changes):
    """Save a random model and give its folder."""
    random_model(architecture, **changes).save_pretrained(folder)
    (tokenizer or tokenizer_of()).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def exported(base, tmp_path_factory):
    output = tmp_path_factory.mktemp("exported") / "head"
    export(base, output)
    return output


def export(base, output, *more):
    assert main([f"model_name_or_path={base}", f"output={output}", *more]) == 0


def refused(capsys, *arguments):
    capsys.readouterr()  # what saving a model printed
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return code, captured.err


def answers(folder, texts, **options):
    """Give a stock pipeline's probabilities, columns in the task's order."""
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    found = classify(list(texts), top_k=None, batch_size=4, **options)
    return np.array([scores_of(row) for row in found])


def scores_of(row):
    scores = {one["label"]: one["score"] for one in row}
    return [scores[label] for label in EMOTION.labels]


@pytest.mark.parametrize(
    "architecture", ["llama", "qwen2", "qwen3", "mistral", "gpt2", "gemma", "gpt_neox", "opt"]
)
def test_a_stock_pipeline_gives_what_the_scorer_gives(architecture, tmp_path):
    base = save(tmp_path / "base", architecture)
    export(base, tmp_path / "head")
    wanted = LabelScorer.from_pretrained(base).score(ROWS)
    found = answers(tmp_path / "head", ROWS)

    np.testing.assert_allclose(found, wanted.probabilities, atol=ROUNDING)
    assert [EMOTION.labels[best] for best in found.argmax(axis=1)] == list(wanted.predictions)
    config = json.loads((tmp_path / "head" / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert list(config["id2label"].values()) == list(EMOTION.labels)
    assert config["label2id"] == {label: n for n, label in enumerate(EMOTION.labels)}


def test_it_works_where_this_package_cannot_be_imported(base, exported):
    program = """
import json, sys
for name in [name for name in sys.modules if name.startswith("llamafactory_emotion")]:
    del sys.modules[name]
sys.modules["llamafactory_emotion"] = None
try:
    import llamafactory_emotion
    sys.exit("the package can be imported")
except ImportError:
    pass
from transformers import pipeline
texts = json.loads(sys.argv[2])
rows = pipeline("text-classification", model=sys.argv[1])(texts, top_k=None, batch_size=5)
print(json.dumps(rows))
"""
    call = [sys.executable, "-c", program, str(exported), json.dumps(ROWS)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.array([scores_of(row) for row in json.loads(done.stdout.splitlines()[-1])])
    wanted = LabelScorer.from_pretrained(base).score(ROWS)
    np.testing.assert_allclose(found, wanted.probabilities, atol=ROUNDING)


def test_the_tokenizer_gives_the_ids_that_predict_gives(base, exported):
    tokenizer = AutoTokenizer.from_pretrained(exported)
    encoder = LabelScorer.from_pretrained(base).encoder
    texts = [*HARD_TEXTS, *ROWS]
    for text, wanted in zip(texts, encoder.encode(texts), strict=True):
        assert tuple(tokenizer(text)["input_ids"]) == wanted.ids, text
    assert tokenizer.pad_token == "</s>"
    assert tokenizer.padding_side == "right"
    # The answer's token and its end are kept free, as when the model is scored.
    assert tokenizer.model_max_length == encoder.limit == 512 - 1


def chat_tokenizer():
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.chat_template = LLAMA3_CHAT_TEMPLATE
    tokenizer.add_special_tokens({"eos_token": "<|eot_id|>"})
    return tokenizer


def byte_level():
    """A tokenizer like GPT-2's: breaks and punctuation are words of their own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, *[FRAME] * 20], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


def sentence_pieces(kind):
    """A tokenizer like Llama-2's or Mistral's: spaces are characters, and one begins a text."""
    taught = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    taught.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "removed"), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    special = ["<unk>", "<s>", "</s>", *bytes_]
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=special, show_progress=False, limit_alphabet=60
    )
    taught.train_from_iterator([*TEXTS, *[FRAME] * 20], trainer)
    content = json.loads(taught.to_str())
    content["model"]["byte_fallback"] = True
    whole = Tokenizer.from_str(json.dumps(content))
    if kind == "prepend":
        whole.pre_tokenizer = pre_tokenizers.Sequence([])
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        whole.normalizer = normalizers.Sequence(steps)
    else:
        whole.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=whole, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize(
    ("tokenizer", "template", "glue"),
    [
        (tokenizer_of, "emotion", (".\n", "\n")),
        (chat_tokenizer, "llama3", (".\n", "")),
        (byte_level, "emotion", ("", "")),
        (lambda: sentence_pieces("prepend"), "emotion", ("", "")),
        (lambda: sentence_pieces("metaspace"), "emotion", ("", "")),
    ],
)
def test_every_kind_of_tokenizer_gets_the_prompt(tokenizer, template, glue):
    encoder = PromptEncoder(tokenizer(), EMOTION, template=template)
    baked = bake_prompt(encoder)
    texts = [*HARD_TEXTS, *ROWS, "x!\n!", "\n.\n", "end: "]

    assert (baked.glue_before, baked.glue_after) == glue
    for text, wanted in zip(texts, encoder.encode(texts), strict=True):
        assert tuple(baked.tokenizer.encode(text).ids) == wanted.ids, text
    assert baked.empty_alike == (
        tuple(baked.tokenizer.encode("").ids) == encoder.encode([""])[0].ids
    )


def test_a_tokenizer_that_strips_texts_is_refused():
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.backend_tokenizer.normalizer = normalizers.Strip()
    with pytest.raises(ModelError, match="cannot be put into this tokenizer"):
        bake_prompt(PromptEncoder(tokenizer, EMOTION))


@pytest.mark.parametrize("text", ["happy words " * 90, "sad. " * 200, "🙂" * 90, "爱" * 120])
def test_truncation_cuts_only_the_text(base, tmp_path, text):
    export(base, tmp_path / "head", "cutoff_len=60")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "head")
    encoder = LabelScorer.from_pretrained(base, cutoff_len=60).encoder
    whole = LabelScorer.from_pretrained(base).encoder.encode([text])[0].ids
    baked = bake_prompt(encoder)
    cut = tokenizer(text, truncation=True)["input_ids"]
    room = len(cut) - len(baked.after_ids)

    assert len(cut) == tokenizer.model_max_length == encoder.limit == 58
    assert cut[:room] == list(whole[:room])
    assert cut[room:] == list(baked.after_ids) == list(whole[-len(baked.after_ids) :])


def test_a_cut_text_loses_no_more_of_the_cue_than_the_export_says(base, exported, tmp_path, capsys):
    export(base, tmp_path / "head", "cutoff_len=60")
    assert r"loses '\n' before the cue" in capsys.readouterr().out
    cut = AutoTokenizer.from_pretrained(tmp_path / "head")("happy " * 90, truncation=True)
    assert tokenizer_of().decode(cut["input_ids"]).endswith("happyAnswer:")

    save(tmp_path / "base", "gpt2", byte_level())
    export(tmp_path / "base", tmp_path / "plain", "cutoff_len=60")
    assert "cuts loses" not in capsys.readouterr().out
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    cut = tokenizer("happy " * 90, truncation=True)["input_ids"]
    assert tokenizer.decode(cut).endswith("happy\nAnswer:")


@pytest.mark.parametrize(
    ("tied", "layers"), [(False, ["q_proj", "down_proj"]), (True, ["q_proj", "lm_head"])]
)
def test_an_adapter_is_merged(tmp_path, tied, layers):
    other = save(tmp_path / "base", tie_word_embeddings=tied)
    save_adapter(other, tmp_path / "adapter", target_modules=layers)
    export(other, tmp_path / "head", f"adapter_name_or_path={tmp_path / 'adapter'}")
    export(tmp_path / "adapter", tmp_path / "alone")
    loaded = load_model(ModelSource(other, str(tmp_path / "adapter")))
    wanted = LabelScorer(loaded).score(ROWS).probabilities
    for folder in ("head", "alone"):
        np.testing.assert_allclose(answers(tmp_path / folder, ROWS), wanted, atol=ROUNDING)
    assert abs(wanted - LabelScorer.from_pretrained(other).score(ROWS).probabilities).max() > 0.01


def test_the_checkpoints_type_is_kept_unless_another_is_asked_for(tmp_path):
    from safetensors.torch import load_file

    random_model("llama").to(torch.bfloat16).save_pretrained(tmp_path / "base")
    tokenizer_of().save_pretrained(tmp_path / "base")
    export(tmp_path / "base", tmp_path / "half")
    export(tmp_path / "base", tmp_path / "full", "infer_dtype=float32")
    save_adapter(tmp_path / "base", tmp_path / "adapter")
    export(tmp_path / "adapter", tmp_path / "merged")
    assert abs(answers(tmp_path / "merged", TEXTS) - answers(tmp_path / "half", TEXTS)).max() > 0.01
    half, full = torch.bfloat16, torch.float32
    for name, dtype in (("half", half), ("full", full), ("merged", half)):
        weights = load_file(tmp_path / name / "model.safetensors")
        assert {weight.dtype for weight in weights.values()} == {dtype}
        assert weights["score.weight"].shape == (6, 64)
        assert not any("lm_head" in key for key in weights)


def test_examples_become_a_part_of_the_prompt(base, tmp_path):
    path = tmp_path / "train.jsonl"
    rows = [{"text": f"{text}", "label": n % 6} for n, text in enumerate([*TEXTS, "ok", "no"])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    export(base, tmp_path / "head", f"few_shot={path}", "shots=1")
    from llamafactory_emotion.predict.inputs import draw_examples

    examples = draw_examples(str(path), EMOTION, 1, seed=42)
    wanted = LabelScorer.from_pretrained(base, few_shot=examples).score(ROWS).probabilities
    np.testing.assert_allclose(answers(tmp_path / "head", ROWS), wanted, atol=ROUNDING)


def test_real_rows_are_verified_and_the_long_ones_counted(base, tmp_path, capsys):
    path = tmp_path / "rows.csv"
    lines = [json.dumps(text, ensure_ascii=False) for text in [*TEXTS, "long " * 600]]
    path.write_text("words\n" + "\n".join(lines) + "\n", encoding="utf-8")
    export(base, tmp_path / "head", f"verify={path}", "text_column=words")
    said = capsys.readouterr().out
    assert f"verified on {path}: 10 rows, 10 labels identical, largest difference" in said
    assert "1 rows are empty or too long and were not compared" in said
    assert "10 rows, 10 labels identical" in (tmp_path / "head" / "README.md").read_text()


def test_more_than_the_tolerance_on_the_rows_to_verify_is_told(base, tmp_path, capsys):
    path = tmp_path / "rows.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    call = [f"model_name_or_path={base}", f"output={tmp_path / 'head'}", f"verify={path}"]
    code, said = refused(capsys, *call, "tolerance=1e-12")
    assert code == 1
    assert f"does not give what predict gives on {path}: 10 rows, 10 labels identical" in said
    assert re.search(r"\(in row \d; 1.0e-12 is allowed\)", said)
    assert "Allow more with tolerance=" in said
    assert not (tmp_path / "head").exists()
    assert main([*call, "tolerance=2e-3"]) == 0
    assert (tmp_path / "head" / "config.json").is_file()


TASKS = {
    "several tokens": ("labels: [joy, deep sadness]", "1 of 2 labels have several tokens"),
    "shared token": ("labels: [joy, joy fear]", "begin with the same token.*'joy' and 'joy fear'"),
}


@pytest.mark.parametrize("name", TASKS)
def test_labels_that_are_no_row_of_their_own_are_refused(base, tmp_path, capsys, name):
    labels, reason = TASKS[name]
    task = tmp_path / "task.yaml"
    task.write_text(f"name: moods\ninstruction: Which mood?\n{labels}\n")
    call = [f"model_name_or_path={base}", f"output={tmp_path / 'head'}", f"task={task}"]
    code, said = refused(capsys, *call)
    assert code == 1
    assert "cannot be exported to a sequence classifier" in said
    assert re.search(reason, said)
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("phi", "its output layer has a bias"),
        ("gemma2", r"bends its logits (final_logit_softcapping 3.0)"),
        ("mamba", "no sequence classifier for the model type 'mamba'"),
        ("granite", "no sequence classifier for the model type 'granite'"),
    ],
)
def test_models_whose_logits_are_more_than_rows_are_refused(architecture, reason, tmp_path, capsys):
    base = save(tmp_path / "base", architecture)
    code, said = refused(capsys, f"model_name_or_path={base}", f"output={tmp_path / 'head'}")
    assert code == 1
    assert reason in said
    assert not (tmp_path / "head").exists()


def test_a_tokenizer_without_any_token_to_pad_with_is_refused(tmp_path, capsys):
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.eos_token = None
    base = save(tmp_path / "base", tokenizer=tokenizer)
    code, said = refused(capsys, f"model_name_or_path={base}", f"output={tmp_path / 'head'}")
    assert code == 1
    assert "neither a padding nor an end token" in said


def test_what_stands_at_the_output_is_not_lost(base, exported, tmp_path, capsys):
    output = tmp_path / "mine"
    output.mkdir()
    (output / "note.txt").write_text("keep me")
    call = [f"model_name_or_path={base}", f"output={output}"]
    assert refused(capsys, *call) == (
        2,
        f"error: {output} exists and holds files; name another or allow overwriting.\n",
    )
    code, said = refused(capsys, *call, "overwrite=true")
    assert code == 2
    assert "holds note.txt, which no export writes, so the folder is not replaced" in said
    assert (output / "note.txt").read_text() == "keep me"
    for name in ("checkpoint-8/model.safetensors", "adapter_config.json"):
        shutil.copytree(exported, tmp_path / "trained", dirs_exist_ok=True)
        (tmp_path / "trained" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "trained" / name).write_text("")
        code, said = refused(capsys, call[0], f"output={tmp_path / 'trained'}", "overwrite=true")
        assert (code, f"holds {name.split('/')[0]}, which" in said) == (2, True)
        shutil.rmtree(tmp_path / "trained")

    file = tmp_path / "file"
    file.write_text("x")
    code, said = refused(capsys, call[0], f"output={file}")
    assert (code, "is a file; name a folder" in said) == (2, True)
    code, said = refused(capsys, call[0], f"output={base}", "overwrite=true")
    assert (code, "is an input and would be overwritten" in said) == (2, True)


@pytest.mark.parametrize("key", ["verify", "few_shot", "evaluation", "task"])
def test_a_file_that_is_read_is_not_lost_with_the_folder(base, tmp_path, capsys, key):
    output = tmp_path / "head"
    output.mkdir()
    (output / "config.json").write_text("{}")
    (output / "mine.jsonl").write_text("keep me")

    words = (f"{key}={output / 'mine.jsonl'}", "overwrite=true")
    code, said = refused(capsys, f"model_name_or_path={base}", f"output={output}", *words)

    assert (code, "is an input and would be overwritten" in said) == (2, True)
    assert (output / "mine.jsonl").read_text() == "keep me"


def test_a_model_folder_is_replaced_when_asked(base, tmp_path):
    output = tmp_path / "head"
    export(base, output)
    old = output / "model-00001-of-00002.safetensors"
    old.write_text("of the folder before")
    export(base, output, "overwrite=true", "cutoff_len=100")
    assert not old.exists()
    assert AutoTokenizer.from_pretrained(output).model_max_length == 98
    assert [place.name for place in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["output=x"], 2, "model_name_or_path is missing"),
        (["model_name_or_path=x"], 2, "output is missing"),
        (["model_name_or_path=/no/such", "output=x"], 1, "the model folder /no/such is not there"),
        (["model_name_or_path=x", "output=x", "calibrate=true"], 2, "calibrate cannot be put into"),
        (["model_name_or_path=x", "output=x", "normalize=bytes"], 2, "normalize cannot be put"),
        (["model_name_or_path=x", "output=x", "quantization_bit=4"], 2, "cannot be exported"),
        (["model_name_or_path=x", "output=x", "cutoff_len=0"], 2, "cutoff_len=0 must be 1 or more"),
        (["model_name_or_path=x", "output=x", "verifi=f"], 2, "did you mean 'verify'?"),
        (["model_name_or_path=x", "output=x", "verify=/no/f.csv"], 2, "/no/f.csv is not there"),
        (
            ["model_name_or_path=x", "output=x", "tolerance=2"],
            2,
            "tolerance=2.0 must be a number above",
        ),
        (["model_name_or_path=x", "output=x", "shots=2"], 2, "shots needs few_shot=FILE"),
        (["model_name_or_path=x", "output=x", "task=moods"], 2, "neither built in"),
    ],
)
def test_a_wrong_call_is_told_in_one_sentence(
    arguments, code, reason, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found, said = refused(capsys, *arguments)
    assert (found, reason in said) == (code, True), said
    assert list(tmp_path.iterdir()) == []


def test_a_head_is_not_exported_again(exported, tmp_path, capsys):
    call = [f"model_name_or_path={exported}", f"output={tmp_path / 'again'}"]
    code, said = refused(capsys, *call)
    assert (code, "is a classification head already" in said) == (2, True)


def test_a_training_recipe_is_taken_as_it_is(base, tmp_path):
    export(base, tmp_path / "head", "cutoff_len=64")
    assert (
        main(
            [
                "examples/emotion_predict.yaml",
                f"model_name_or_path={base}",
                f"output={tmp_path / 'by_recipe'}",
            ]
        )
        == 0
    )
    np.testing.assert_allclose(
        answers(tmp_path / "head", TEXTS), answers(tmp_path / "by_recipe", TEXTS), atol=ROUNDING
    )


def evaluation(tmp_path, **changes):
    content = {
        "file": "/home/somebody/test.jsonl",
        "task": "emotion",
        "match": "flexible",
        "n": 2000,
        "accuracy": 0.9,
        "accuracy_ci": [0.886, 0.912],
        "f1_macro": 0.85,
        "f1_macro_ci": [0.83, 0.87],
        "invalid": 1,
        "invalid_rate": 0.0005,
        "majority_label": "joy",
        "majority_baseline": 0.3475,
        "broken": 0,
    }
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_the_hub_reads_the_evaluation_off_the_card(base, tmp_path):
    from huggingface_hub import ModelCard

    export(base, tmp_path / "head", f"evaluation={evaluation(tmp_path)}")
    data = ModelCard.load(tmp_path / "head" / "README.md").data
    accuracy, f1 = data.eval_results
    text = (tmp_path / "head" / "README.md").read_text()

    assert (data.model_name, data.pipeline_tag) == ("head", "text-classification")
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.9)
    assert (f1.metric_type, f1.metric_value, f1.dataset_name) == ("f1", 0.85, "test.jsonl")
    assert "Accuracy 0.9000 (95 % interval 0.8860 to 0.9120)" in text
    assert "## Licence and data" in text
    assert "somebody" not in text


def test_the_card_takes_what_evaluate_writes(base, tmp_path):
    from llamafactory_emotion.evaluate.__main__ import main as evaluate

    rows = [{"predict": "joy", "label": "joy"}, {"predict": "joy", "label": "fear"}]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluate([str(path), "--json", str(tmp_path / "e.json")]) == 0
    export(base, tmp_path / "head", f"evaluation={tmp_path / 'e.json'}")
    assert "Accuracy 0.5000" in (tmp_path / "head" / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "sentiment"}, "is an evaluation of the task 'sentiment'"),
        ({"n": "many"}, "has no usable n"),
        ({"accuracy_ci": [0.5]}, "has no usable accuracy_ci"),
        ({"files": []}, "compares several files"),
    ],
)
def test_an_evaluation_of_something_else_is_refused(base, tmp_path, capsys, changes, reason):
    path = evaluation(tmp_path, **changes)
    call = [f"model_name_or_path={base}", f"output={tmp_path / 'head'}", f"evaluation={path}"]
    code, said = refused(capsys, *call)
    assert (code, reason in said) == (1, True), said
    assert not (tmp_path / "head").exists()


def test_another_task_is_exported_too(base, tmp_path):
    task = Task("two", ("joy", "fear"), "Glad or afraid?")
    (tmp_path / "two.yaml").write_text(
        "name: two\ninstruction: Glad or afraid?\nlabels: [joy, fear]\n"
    )
    export(base, tmp_path / "head", f"task={tmp_path / 'two.yaml'}")
    wanted = LabelScorer.from_pretrained(base, replace(task)).score(ROWS)
    classify = pipeline("text-classification", model=str(tmp_path / "head"), device="cpu")
    found = classify(list(ROWS))
    assert [row["label"] for row in found] == list(wanted.predictions)
    np.testing.assert_allclose(
        [row["score"] for row in found], wanted.probabilities.max(axis=1), atol=ROUNDING
    )


def test_2000_real_rows_through_the_pipeline(shared_data, tiny_base, tmp_path):
    path = shared_data / "dair_emotion" / "test.jsonl"
    export(tiny_base, tmp_path / "head", f"verify={path}")
    assert "2,000 rows, 2,000 labels identical" in (tmp_path / "head" / "README.md").read_text()


def test_the_base_of_an_adapter_is_not_replaced(base, tmp_path, capsys):
    own, adapter = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(base, own)
    (own / "generation_config.json").unlink(missing_ok=True)
    save_adapter(own, adapter)
    before = (own / "model.safetensors").read_bytes()
    capsys.readouterr()

    code, said = refused(capsys, f"model_name_or_path={adapter}", f"output={own}", "overwrite=true")

    assert (code, "is an input and would be overwritten" in said) == (2, True)
    assert (own / "model.safetensors").read_bytes() == before
