"""When two spellings are one, what a special token is, and what is left of a long text."""

import pytest

from llamafactory_emotion.text import SPECIAL_TOKEN, fold, name_key, shorten


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("JOY", "joy"),
        ("ＪＯＹ", "joy"),
        ("𝗷𝗼𝘆", "joy"),
        ("Alegri\u0301a", "alegría"),
        ("Spaß", "spass"),
        ("SURPRİSE", "surprise"),
        ("j\u200bo\u00ady\ufeff", "joy"),
        ("“it’s”", '"it\'s"'),
        ("non\u2010toxic, \u22121", "non-toxic, -1"),
        ("\ufdfa", " "),
        ("\u0301" * 100, "\u0301" * 32),
        ("喜悦。", "喜悦。"),
    ],
)
def test_spellings_that_look_alike_fold_to_one(text, folded):
    assert fold(text) == folded
    assert fold(folded) == folded


def test_a_name_is_compared_without_its_white_space():
    assert name_key(" Very\n Positive\u3000") == "very positive"
    assert name_key("\u200b") == ""


@pytest.mark.parametrize(
    "token",
    [
        *("<|eot_id|>", "<|im_start|>", "</s>", "<<SYS>>", "[INST]", "[/INST]", "[CLS]", "<pad>"),
        *("<0x0A>", "<end_of_turn>", "<start_of_turn>", "<extra_id_12>", "<end_of_utterance>"),
        *("<reserved_103>", "<seed:eos>", "<[end▁of▁sentence]>", "[gMASK]", "<sop>", "<用户>"),
    ],
)
def test_a_special_token_is_known_by_its_name(token):
    assert SPECIAL_TOKEN.fullmatch(token)


@pytest.mark.parametrize("text", ["<b>", "[1]", "<|", "<joy>", "a < b | c > d"])
def test_other_brackets_are_no_special_tokens(text):
    assert not SPECIAL_TOKEN.search(text)


def test_a_text_is_cut_to_a_length():
    assert shorten("a" * 60) == "a" * 60
    assert shorten("a" * 61) == "a" * 59 + "…"
    assert shorten("joyful", 4) == "joy…"
