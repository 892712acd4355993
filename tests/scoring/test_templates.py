"""The ids of every template of LLaMA-Factory, and what is told where a model wants another."""

import copy
import re
import sys

import pytest
from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments
from random_models import TEXTS, chat_tokenizer, tokenizer_of

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.evaluate.lookup import TextFinder
from llamafactory_emotion.plugin import registration
from llamafactory_emotion.predictions.reading import Prediction
from llamafactory_emotion.run_record import RunRecord, write_record
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.scoring.templates import (
    read_template,
    saved_chat_template,
    template_notices,
)
from llamafactory_emotion.task import EMOTION

registration.register()
CONTROL = re.compile(r"<[^<>\s]+>|\[/?[A-Za-z_]+\]|\]~!?b\[|\]~b\]|\[e~\[")
# Answers that nothing ends, in LLaMA-Factory: here the tokenizer's own end token does.
ENDLESS = ("empty",)
QWEN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
QWEN += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
SMOLLM2 = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"


def knowing(name):
    """Return our tokenizer with the control tokens of a template."""
    template, tokenizer = TEMPLATES[name], tokenizer_of.__wrapped__()
    formats = ("prefix", "system", "user", "assistant")
    slots = [slot for kind in formats for slot in getattr(template, f"format_{kind}").slots]
    tokens = {slot["token"] for slot in slots if isinstance(slot, dict)} | {*template.stop_words}
    for text in filter(lambda slot: isinstance(slot, str), slots):
        tokens |= set(CONTROL.findall(text))
    tokenizer.add_special_tokens({"additional_special_tokens": sorted(tokens)})
    return tokenizer


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_ids_are_those_of_every_template_of_llamafactory(name):
    tokenizer = knowing(name)
    encoder = PromptEncoder(tokenizer, EMOTION, template=name)
    theirs = copy.deepcopy(tokenizer)
    template = get_template_and_fix_tokenizer(theirs, DataArguments(template=name))

    for text, encoded in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        user = {"role": "user", "content": EMOTION.user_content(text)}
        for label, label_ids in zip(EMOTION.labels, encoder.label_ids, strict=True):
            turns = [user, {"role": "assistant", "content": label}]
            prompt, answer = template.encode_oneturn(theirs, turns)
            ids = [*encoded.ids, *label_ids, *encoder.template.end_ids]
            end = [theirs.eos_token_id] if template.efficient_eos or name in ENDLESS else []
            assert [*prompt, *answer, *end][: len(ids)] == ids
        assert encoded.prompt == theirs.decode(prompt)
        row = Prediction(1, "joy", "joy", encoded.prompt, None, None, None)
        assert TextFinder(EMOTION).find(row) == text


def test_without_llamafactory_the_chat_template_is_taken(monkeypatch):
    tokenizer = chat_tokenizer()
    own = read_template(tokenizer, "llama3")[0]
    monkeypatch.setitem(sys.modules, "llamafactory", None)
    found, same = read_template(tokenizer, "llama3")

    assert same is tokenizer
    assert found.origin == "the model's own chat template, as LLaMA-Factory is not installed"
    assert found.prompt("x") == own.prompt("x")
    with pytest.raises(ModelError, match="no chat template; name a template of LLaMA-Factory"):
        read_template(tokenizer_of(), "llama3")


def test_a_template_that_llamafactory_lacks_is_refused():
    with pytest.raises(CallError, match=r"no template 'lama3' .* write template=chat_template"):
        read_template(chat_tokenizer(), "lama3")
    with pytest.raises(ModelError, match="uses tokens that the model's tokenizer does not have"):
        read_template(tokenizer_of(), "chatglm3")


def notices(tokenizer, asked, folder, *, is_adapter):
    template = read_template(tokenizer, asked)[0]
    names = (
        {"base": "a/base", "adapter": str(folder)}
        if is_adapter
        else {"base": str(folder), "adapter": None}
    )
    return "\n".join(template_notices(asked, template, tokenizer, **names))


def own_tokenizer():
    """Return a tokenizer as a training with our template saves it."""
    tokenizer = tokenizer_of.__wrapped__()
    get_template_and_fix_tokenizer(tokenizer, DataArguments(template="emotion"))
    return tokenizer


def smollm2_tokenizer():
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = SMOLLM2 + "<|im_end|>\n" + QWEN
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "asked", "is_adapter", "told"),
    [
        (tokenizer_of, "emotion", False, ""),
        (own_tokenizer, "emotion", False, ""),
        (chat_tokenizer, "emotion", True, ""),
        (chat_tokenizer, "emotion", False, "note: .* carries a chat template .* calibrate=true .*"),
        (chat_tokenizer, "llama3", False, "note: the prompt is LLaMA-Factory's template llama3"),
        (smollm2_tokenizer, "chat_template", False, ".* is the model's own chat template"),
        # The first difference: LLaMA-Factory's system prompt ends in a full stop.
        (
            smollm2_tokenizer,
            "smollm2",
            False,
            r"note: .*\nwarning: .* smollm2 has '[^']*Hugging Face\.<\|im_end[^']*' where the "
            r"model's own chat template has '[^']*Hugging Face<\|im_end\|>.*",
        ),
        (own_tokenizer, "alpaca", False, ".*\nwarning: .* write template=emotion"),
    ],
)
def test_the_chat_template_that_a_model_carries_tells(tokenizer, asked, is_adapter, told, tmp_path):
    found = notices(tokenizer(), asked, tmp_path, is_adapter=is_adapter)
    assert re.fullmatch(told, found, re.DOTALL), found


@pytest.mark.parametrize("is_adapter", [True, False])
@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("README.md", "---\ntags:\n- llama-factory\n- lora\n---\n"),  # beside what it trained
        ("Modelfile", "# ollama modelfile auto-generated by llamafactory\n"),  # what it exported
    ],
)
def test_a_model_of_llamafactory_is_asked_by_its_template_without_a_warning(
    tmp_path, name, mark, is_adapter
):
    checkpoint = tmp_path / "checkpoint-7"
    checkpoint.mkdir()
    other = smollm2_tokenizer()
    told = notices(other, "smollm2", checkpoint, is_adapter=is_adapter)
    assert "warning: LLaMA-Factory's template smollm2 has" in told
    (tmp_path / name).write_text(mark, encoding="utf-8")
    told = notices(other, "smollm2", checkpoint, is_adapter=is_adapter)
    assert told == "note: the prompt is LLaMA-Factory's template smollm2"


@pytest.mark.parametrize("is_adapter", [True, False])
def test_a_run_names_the_template_it_was_trained_with(tmp_path, is_adapter):
    checkpoint = tmp_path / "checkpoint-7"
    checkpoint.mkdir()
    page = tmp_path / "training_args.yaml"
    page.write_text("template: qwen3\n", encoding="utf-8")
    told = notices(chat_tokenizer(), "emotion", checkpoint, is_adapter=is_adapter)
    assert "the template qwen3" in told
    assert told.endswith("write template=qwen3")
    page.write_text("- template: [", encoding="utf-8")
    told = notices(chat_tokenizer(), "emotion", checkpoint, is_adapter=is_adapter)
    assert "warning: " not in told

    write_record(checkpoint, RunRecord((EMOTION,), "emotion"))
    assert notices(chat_tokenizer(), "emotion", checkpoint, is_adapter=is_adapter) == ""
    told = notices(chat_tokenizer(), "llama3", checkpoint, is_adapter=is_adapter)
    assert told.endswith("write template=emotion")

    write_record(checkpoint, RunRecord((EMOTION,), "llama3"))
    told = notices(chat_tokenizer(), "chat_template", checkpoint, is_adapter=is_adapter)
    assert "warning: " not in told, "the same ids by another name"
    write_record(checkpoint, RunRecord((EMOTION,), "unknown"))
    told = notices(chat_tokenizer(), "llama3", checkpoint, is_adapter=is_adapter)
    assert told.endswith("write template=unknown")


def test_the_chat_template_that_an_adapter_brings_tells_too(tmp_path):
    other = chat_tokenizer()
    other.save_pretrained(tmp_path)
    told = notices(other, "emotion", tmp_path, is_adapter=True)
    assert "warning: " in told
    assert "name the template of its training recipe with template=" in told


def test_a_chat_template_is_found_as_transformers_saves_it(tmp_path):
    assert saved_chat_template(str(tmp_path)) is None
    assert saved_chat_template("some/hub-id") is None
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text('{"chat_template": "older"}', encoding="utf-8")
    assert saved_chat_template(str(tmp_path)) == "older"
    (tmp_path / "chat_template.jinja").write_text("newer", encoding="utf-8")
    assert saved_chat_template(str(tmp_path)) == "newer"
    (tmp_path / "chat_template.jinja").unlink()
    settings.write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        saved_chat_template(str(tmp_path))
