"""The tiny base: its vocabulary, its sameness, what it refuses."""

from pathlib import Path

import pytest
import torch
from conftest import OWN_TEXTS
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamafactory_emotion.errors import CallError, DataError, ModelError
from llamafactory_emotion.task import EMOTION, Task
from llamafactory_emotion.tiny.reading import BLOCK_TOKENS, pretrain
from llamafactory_emotion.tiny.tokenizer import SPECIAL_TOKENS, _corpus, build_tokenizer
from llamafactory_emotion.tiny.weights import LOOK_BACK, build_model
from llamafactory_emotion.tiny_model import main, write_tiny_model

TEXT_FILE = "".join(f"{text}\n" for text in OWN_TEXTS)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(OWN_TEXTS, EMOTION)


@pytest.mark.parametrize("label", EMOTION.labels)
def test_each_label_with_its_space_is_one_token(tokenizer, label):
    assert len(tokenizer.encode(f" {label}", add_special_tokens=False)) == 1


def test_the_special_tokens_are_those_of_llama_3(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert tokenizer.bos_token == "<|begin_of_text|>"
    assert tokenizer.eos_token == "<|end_of_text|>"
    assert tokenizer.pad_token is None
    assert tokenizer.encode("so it goes")[0] == tokenizer.bos_token_id


def test_the_frame_of_the_prompt_is_learned_with_every_text():
    texts = list(_corpus(["a text", "another"], EMOTION))

    assert texts[::2] == ["a text", "another"]
    assert texts[1] == texts[3]
    assert all(f" {label}" in texts[1] for label in EMOTION.labels)


@pytest.mark.parametrize(
    "text", ["so it goes", "don't", " 1234567 ", "爱 and 😊", "a\r\n\n b\t", "x" * 300, "\u2028"]
)
def test_any_text_comes_back_as_it_was(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)

    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_words_are_split_as_llama_3_splits_them(tokenizer):
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("I'll pay 12345 now!\n")

    assert [piece for piece, _ in pieces] == ["I", "'ll", "Ġpay", "Ġ", "123", "45", "Ġnow", "!Ċ"]


def test_the_same_seed_gives_the_same_files_to_the_byte(tmp_path):
    for name in ("one", "two"):
        write_tiny_model(OWN_TEXTS, tmp_path / name, epochs=1, seed=3)
    write_tiny_model(OWN_TEXTS, tmp_path / "other", epochs=1, seed=4)

    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "model.safetensors" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    weights = "model.safetensors"
    assert (tmp_path / "one" / weights).read_bytes() != (tmp_path / "other" / weights).read_bytes()


def test_the_random_state_of_the_caller_is_left_alone(tokenizer):
    before = torch.random.get_rng_state()

    build_model(tokenizer, seed=1)

    assert torch.equal(before, torch.random.get_rng_state())


def test_the_first_heads_look_as_far_back_as_they_should(tokenizer):
    model = build_model(tokenizer)
    model.set_attn_implementation("eager")
    ids = tokenizer(" ".join(OWN_TEXTS), return_tensors="pt")["input_ids"]

    attention = model(ids, output_attentions=True).attentions[0][0]

    for head, distance in enumerate(LOOK_BACK):
        looked_at = attention[head].diagonal(-distance)
        assert looked_at.mean() > 0.9
        assert looked_at.min() > 0.5
    assert attention[len(LOOK_BACK)].diagonal(-1)[8:].max() < 0.5


def test_transformers_loads_it_and_it_reads(tiny_base: Path):
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)

    assert model.config.model_type == "llama"
    logits = model(**tokenizer("so it goes", return_tensors="pt")).logits
    assert logits.shape[-1] == len(tokenizer)


def test_reading_the_texts_lowers_the_loss_on_them(tokenizer):
    model = build_model(tokenizer)

    first = pretrain(model, tokenizer, OWN_TEXTS, epochs=1)
    later = pretrain(model, tokenizer, OWN_TEXTS, epochs=60)

    assert first is not None
    assert later is not None
    assert later < first / 2
    assert not model.training


def test_a_stream_shorter_than_a_block_is_read_too(tokenizer):
    assert len(tokenizer.encode(OWN_TEXTS[0])) < BLOCK_TOKENS

    assert pretrain(build_model(tokenizer), tokenizer, OWN_TEXTS[:1], epochs=1) is not None


def test_no_epochs_train_nothing(tokenizer):
    model = build_model(tokenizer)
    before = model.lm_head.weight.clone()

    assert pretrain(model, tokenizer, OWN_TEXTS, epochs=0) is None
    assert torch.equal(before, model.lm_head.weight)


def test_another_tasks_labels_are_tokens_too():
    task = Task("t", ("肯定", "否定"), "判断。")
    tokenizer = build_tokenizer(["这是一个句子"], task)

    assert [len(tokenizer.encode(f" {label}", add_special_tokens=False)) for label in task.labels]


def test_a_vocabulary_that_cannot_hold_the_labels_is_refused():
    with pytest.raises(ModelError, match="too small to hold the labels"):
        build_tokenizer(OWN_TEXTS, EMOTION, vocabulary_size=270)


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine").touch()

    with pytest.raises(CallError, match="is not an empty folder"):
        write_tiny_model(OWN_TEXTS, tmp_path, epochs=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_place_that_cannot_be_written_is_told_before_the_reading(tmp_path, monkeypatch, capsys):
    def read(*_arguments, **_options):
        raise AssertionError("it has read already")

    monkeypatch.setattr("llamafactory_emotion.tiny.reading.pretrain", read)
    (tmp_path / "texts.txt").write_text(TEXT_FILE)
    (tmp_path / "file").write_text("in the way")

    call = ["--texts", str(tmp_path / "texts.txt"), "--output", str(tmp_path / "file" / "base")]

    assert main(call) == 2
    assert "is a file and cannot hold" in capsys.readouterr().err


def test_no_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="no text"):
        write_tiny_model([], tmp_path / "out", epochs=0)
    assert not (tmp_path / "out").exists()


def test_the_command_reads_files_and_says_what_it_made(tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text(TEXT_FILE, encoding="utf-8")
    (tmp_path / "out").mkdir()

    code = main(["--texts", str(texts), "--output", str(tmp_path / "out"), "--epochs", "1"])

    assert code == 0
    assert "parameters with a loss of" in capsys.readouterr().out
    assert (tmp_path / "out" / "tokenizer.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--texts", "missing.txt", "--output", "out"], 2, "missing.txt is not there"),
        (["--texts", "empty.txt", "--output", "out"], 1, "empty.txt"),
        (["--texts", "texts.txt", "--output", "out", "--task", "moods"], 2, "neither built in"),
        (["--texts", "texts.txt", "--output", "out", "--epochs", "-1"], 2, "cannot be negative"),
        (["--texts", "texts.txt", "--output", "texts.txt"], 2, "not an empty folder"),
    ],
)
def test_a_wrong_call_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, code, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text(TEXT_FILE, encoding="utf-8")
    (tmp_path / "empty.txt").touch()

    assert main(arguments) == code

    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
