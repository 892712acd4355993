"""Random classification heads: as transformers' trainer saves them, and as a LoRA adapter."""

import warnings
from functools import cache

import torch
from peft import LoraConfig, get_peft_model
from random_models import TEXTS
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PreTrainedTokenizerFast,
)

SHUFFLED = ("joy", "fear", "anger", "surprise", "sadness", "love")
ROWS = (*TEXTS, "so glad!", "what now?! ", "\n\nwell", "<|eot_id|></s> joy", "long " * 90)


@cache
def word_pieces():
    """A tokenizer like BERT's, which puts a token before and one after every text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS], trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


def save_head(folder, *, labels=SHUFFLED, kind=BertConfig, tokenizer=None, **changes):
    """Save a random classification head as transformers' trainer does, and return its folder."""
    tokenizer = tokenizer or word_pieces()
    settings = _SIZES | {"vocab_size": len(tokenizer), "max_position_embeddings": 64} | changes
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(kind(**settings, **names))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_head_adapter(base, folder, *, with_configuration=True):
    """Save a LoRA adapter with a head in it, and return the model it makes."""
    config = AutoConfig.from_pretrained(
        base,
        id2label=dict(enumerate(SHUFFLED)),
        label2id={label: number for number, label in enumerate(SHUFFLED)},
        pad_token_id=1,
    )
    model = AutoModelForSequenceClassification.from_pretrained(base, config=config)
    lora = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"])
    adapted = get_peft_model(model, lora)
    torch.manual_seed(3)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter) * 0.3
            assert "lora" in name or "score" in name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted.save_pretrained(folder)
    if with_configuration:
        config.architectures = ["LlamaForSequenceClassification"]
        config.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    return adapted.eval(), tokenizer
