"""The prompt in the tokenizer: every text gets the ids that it is scored with."""

import json

import pytest
from exports import ROWS, export_to
from random_models import TEXTS, chat_tokenizer, tokenizer_of
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.export_classifier.prompt import HARD_TEXTS, bake_prompt
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.scoring.scorer import open_scorer
from llamafactory_emotion.task import EMOTION

FRAME = EMOTION.user_content("x") + "\nAnswer:" + "".join(f" {one}" for one in EMOTION.labels)


def test_the_tokenizer_gives_the_ids_that_predict_gives(base, exported):
    tokenizer = AutoTokenizer.from_pretrained(exported)
    encoder = open_scorer(base).encoder
    texts = [*HARD_TEXTS, *ROWS]
    for text, wanted in zip(texts, encoder.encode(texts), strict=True):
        assert tuple(tokenizer(text)["input_ids"]) == wanted.ids, text
    assert (tokenizer.pad_token, tokenizer.padding_side) == ("</s>", "right")
    # The answer's token and its end are kept free, as when the model is scored.
    assert tokenizer.model_max_length == encoder.limit == 512 - 1


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
    special = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
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
        (chat_tokenizer, "chat_template", (".\n", "")),
        (tokenizer_of, "qwen3", (".\n", "")),
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


def test_truncation_cuts_only_the_text_and_what_the_export_says(base, tmp_path, capsys):
    folder = export_to(tmp_path / "head", base, "cutoff_len=60")
    assert r"loses '\n' before the cue" in capsys.readouterr().out
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = open_scorer(base, cutoff_len=60).encoder
    after = list(bake_prompt(encoder).after_ids)
    for text in ("happy words " * 90, "sad. " * 200, "🙂" * 90, "爱" * 120):
        whole = open_scorer(base).encoder.encode([text])[0].ids
        cut = tokenizer(text, truncation=True)["input_ids"]
        room = len(cut) - len(after)
        assert len(cut) == tokenizer.model_max_length == encoder.limit == 58
        assert cut == [*whole[:room], *after] == [*whole[:room], *whole[-len(after) :]]
    cut = tokenizer("happy " * 90, truncation=True)["input_ids"]
    assert tokenizer.decode(cut).endswith("happyAnswer:")
