"""benchmarks/from_scratch.py and the maker of its model: vocabulary, first heads, reading."""

import pytest
from from_scratch import LOOK_BACK, let_heads_look_back, read
from own_texts import OWN_TEXTS
from tiny_llama import build_model, build_tokenizer

from llamafactory_emotion.task import EMOTION


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(OWN_TEXTS)


def test_the_vocabulary_has_each_label_as_one_token_and_any_text_comes_back(tokenizer):
    for label in EMOTION.labels:
        assert len(tokenizer.encode(f" {label}", add_special_tokens=False)) == 1
    text = "don't, 1234567  爱 😊\r\n\n b\t"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_first_heads_look_as_far_back_as_they_should(tokenizer):
    model = build_model(tokenizer)
    let_heads_look_back(model)
    model.set_attn_implementation("eager")
    ids = tokenizer(" ".join(OWN_TEXTS), return_tensors="pt")["input_ids"]

    attention = model(ids, output_attentions=True).attentions[0][0]

    for head, distance in enumerate(LOOK_BACK):
        looked_at = attention[head].diagonal(-distance)
        assert looked_at.mean() > 0.9
        assert looked_at.min() > 0.5
    assert attention[len(LOOK_BACK)].diagonal(-1)[8:].max() < 0.5


def test_reading_the_texts_lowers_the_loss_on_them(tokenizer):
    model = build_model(tokenizer)

    first = read(model, tokenizer, OWN_TEXTS, epochs=1, seed=0)
    later = read(model, tokenizer, OWN_TEXTS, epochs=60, seed=0)

    assert later < first / 2
