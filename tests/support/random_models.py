"""Small models with random weights, one of each architecture, and a tokenizer of our own."""

import warnings
from functools import cache
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from llamafactory_emotion.scoring.loading import ModelSource
from llamafactory_emotion.scoring.models import LoadedModel, load_model
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import ANSWER_CUE, EMOTION

TEXTS = (
    "i feel so happy that you came to see me today",
    "nobody called and the rooms were silent all evening",
    "she holds my hand and everything is warm",
    "how dare they take the credit for my work!",
    "the stairs creaked behind me. then they stopped.",
    "wait, what? you are here already?",
    "my heart is pounding",
    "fine.",
    "I am not angry, I am just disappointed; 3 times in 12 days.",
    "爱是什么 — who knows 🙂",
)
# Rounding in float32: these random models have wide weights, and spread it.
ROUNDING = 5e-6
SPECIAL_TOKENS = ["<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
_LLAMA3_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# As in real models, every layer reads a multiple of 64 and writes a multiple of 32 numbers: where
# the processor has avx512_bf16, bitsandbytes repacks 4-bit weights and fails for any other shape.
_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
# Wide random weights, so that a mistake in a position or a mask moves the scores visibly.
_SPREAD = {"initializer_range": 0.25}


def _like_llama(name: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    return name, _SIZES | _SPREAD | changes


ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": _like_llama("LlamaConfig", tie_word_embeddings=True),
    "qwen2": _like_llama("Qwen2Config"),
    "qwen3": _like_llama("Qwen3Config"),
    "mistral": _like_llama("MistralConfig", sliding_window=9),
    "gemma": _like_llama("GemmaConfig"),
    "gemma2": _like_llama("Gemma2Config", sliding_window=9, final_logit_softcapping=3.0),
    "gemma3": _like_llama("Gemma3TextConfig", sliding_window=9),
    "gpt2": (
        "GPT2Config",
        _SPREAD | {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512},
    ),
    "opt": (
        "OPTConfig",
        {
            "hidden_size": 128,
            "ffn_dim": 192,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "word_embed_proj_dim": 64,
            "init_std": 0.15,
            "pad_token_id": 1,
        },
    ),
    "gpt_neox": _like_llama("GPTNeoXConfig"),
    "phi": _like_llama("PhiConfig"),
    # LongRoPE: beyond 40 tokens other angles, which our texts do not reach.
    "phi3": _like_llama(
        "Phi3Config",
        original_max_position_embeddings=40,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 8,
            "long_factor": [1.0 + number for number in range(8)],
        },
    ),
    "bloom": ("BloomConfig", _SPREAD | {"hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "cohere": _like_llama("CohereConfig", logit_scale=0.25),
    "granite": _like_llama("GraniteConfig", logits_scaling=4.0),
    "mamba": ("MambaConfig", _SPREAD | {"hidden_size": 64, "num_hidden_layers": 2}),
}
# Architectures without keys and values to share are run on whole prompts.
WITHOUT_CACHE = ("mamba",)


@cache
def tokenizer_of(*, one_token_labels: bool = True) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; ` joy` and its like are one token only if wanted."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
                "isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    frame = EMOTION.user_content("") + ANSWER_CUE
    labels = "".join(f" {label}" for label in EMOTION.labels) if one_token_labels else ""
    tokenizer.train_from_iterator([*TEXTS, *[frame + labels] * 20], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that carries Llama 3's chat template."""
    tokenizer = tokenizer_of.__wrapped__()
    tokenizer.chat_template = _LLAMA3_CHAT_TEMPLATE
    tokenizer.add_special_tokens({"eos_token": "<|eot_id|>"})
    return tokenizer


def random_model(architecture: str, *, seed: int = 0, **changes: Any) -> Any:
    """Build a model of one architecture with random float32 weights."""
    name, settings = ARCHITECTURES[architecture]
    vocabulary = len(tokenizer_of())
    config = getattr(transformers, name)(vocab_size=vocabulary, **(settings | changes))
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for module in model.modules():
        # Norms start as the identity and biases at zero, which would hide mistakes.
        if isinstance(module, torch.nn.LayerNorm | torch.nn.Linear) and module.bias is not None:
            torch.nn.init.normal_(module.bias, std=0.2)
    return model.eval()


def scorer_of(model, tokenizer=None, task=EMOTION, **options) -> LabelScorer:
    """Build the scorer of a model that lies in no folder."""
    loaded = LoadedModel(model, tokenizer or tokenizer_of(), None, "random", None)
    return LabelScorer(loaded, task, **options)


def plain_log_likelihoods(scorer, texts=TEXTS):
    """Run prompt and label together, one by one, without cache, padding or batch."""
    rows = []
    for prompt in scorer.encoder.encode(texts):
        start = len(prompt.ids) - 1
        row = []
        for ids in scorer.encoder.label_ids:
            tokens = torch.tensor([[*prompt.ids, *ids]])
            with torch.inference_mode():
                logits = scorer.loaded.model(tokens, use_cache=False).logits[0]
            found = logits.float().log_softmax(dim=-1)
            row.append(sum(found[start + step, token].item() for step, token in enumerate(ids)))
        rows.append(row)
    return np.array(rows)


def plain_logits(scorer, model=None):
    """Compute the label logits of each text by a model's own forward, one by one."""
    first = [ids[0] for ids in scorer.encoder.label_ids]
    model = model or scorer.loaded.model
    with torch.inference_mode():
        rows = [
            model(input_ids=torch.tensor([prompt.ids])).logits[0, -1, first]
            for prompt in scorer.encoder.encode(TEXTS)
        ]
    return torch.stack(rows).numpy()


def before_each_run(model, change):
    """Call `change` with the keywords of each run of a model's decoder; it may alter them."""

    def hook(_, words, keywords):
        change(keywords)
        return words, keywords

    return model.base_model.register_forward_pre_hook(hook, with_kwargs=True)


def save_adapter(base, folder, *, seed=0, spread=0.2, **options):
    """Save a LoRA adapter with random weights and return the model that it makes."""
    model = load_model(ModelSource(str(base))).model
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # peft has advice for those who adapt the output layer
        peft_model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        torch.manual_seed(seed)
        for parameter in filter(lambda one: one.requires_grad, peft_model.parameters()):
            parameter.data = parameter.data + torch.randn_like(parameter) * spread
        peft_model.save_pretrained(folder)
    return peft_model.eval()
