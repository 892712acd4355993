"""Cut the label rows out of a language model's output matrix: a sequence classifier with its head.

Nothing is trained and nothing approximated: a label's logit is the same product of the same state
with the same row, so a model that does more than that is refused.
"""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedTokenizerFast

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.export_classifier.prompt import BakedPrompt
from llamafactory_emotion.run_record import BAKED_PROMPT, RunRecord, write_record
from llamafactory_emotion.scoring.forward import logit_factor
from llamafactory_emotion.scoring.heads import set_labels
from llamafactory_emotion.scoring.loading import quiet_loading
from llamafactory_emotion.scoring.models import LoadedModel, versions
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.scoring.words import suggest_words, words_line


def check_exportable(loaded: LoadedModel, encoder: PromptEncoder) -> None:
    """Refuse a model whose label probabilities a sequence classifier cannot give."""
    problems = [*_label_problems(encoder), *_model_problems(loaded)]
    if problems:
        raise ModelError(
            f"{loaded.adapter or loaded.base} cannot be exported to a sequence classifier: "
            + "; ".join(problems)
            + ". predict and EmotionClassifier score it as it is."
        )


def _label_problems(encoder: PromptEncoder) -> Iterator[str]:
    tokenizer = encoder.tokenizer
    long: list[str] = []
    first: dict[int, list[str]] = {}
    for label, ids in zip(encoder.task.labels, encoder.label_ids, strict=True):
        first.setdefault(ids[0], []).append(label)
        if len(ids) > 1:
            long.append(f"{label!r} ({' '.join(tokenizer.convert_ids_to_tokens(list(ids)))})")
    if long:
        words = suggest_words(encoder.task, encoder.answer_ids)
        found = f"`{words_line(words)}`, say" if words else "answer words of one token"
        yield (
            f"{len(long)} of {len(encoder.task.labels)} labels have several tokens after this "
            f"prompt, and a head has one row a label: {', '.join(long)}; write into the task's "
            f"file {found}, prepare and train again, or train a classification head with "
            "train_head"
        )
    shared = [labels for labels in first.values() if len(labels) > 1]
    if shared:
        groups = ", ".join(" and ".join(map(repr, labels)) for labels in shared)
        yield f"labels begin with the same token and would share a row: {groups}"


def _model_problems(loaded: LoadedModel) -> Iterator[str]:
    config = loaded.model.config
    text = config.get_text_config()
    if MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None) is None:
        yield f"transformers has no sequence classifier for the model type {config.model_type!r}"
    if getattr(text, "final_logit_softcapping", None):
        yield (
            f"the model bends its logits (final_logit_softcapping {text.final_logit_softcapping}), "
            "which a head does not do"
        )
    head = loaded.model.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        yield f"its output layer is a {type(head).__name__}, not a plain matrix"
    elif head.bias is not None:
        yield "its output layer has a bias, and a sequence classifier's head has none"


def save_classifier(
    folder: Path, loaded: LoadedModel, encoder: PromptEncoder, baked: BakedPrompt
) -> None:
    """Save the classifier, which shares the language model's weights, and its tokenizer."""
    padding = _padding_token(loaded, baked)
    classifier = _build_classifier(
        loaded, encoder, padding=loaded.tokenizer.convert_tokens_to_ids(padding)
    )
    # By this predict writes the whole prompt into each row.
    record = {
        "task": encoder.task.name,
        "instruction": encoder.task.instruction,
        "before": encoder.template.before + encoder.opening,
        "after": encoder.template.tail + encoder.template.after,
        "lost_when_truncated": baked.glue_after,
    }
    setattr(classifier.config, BAKED_PROMPT, record)
    with quiet_loading():
        classifier.save_pretrained(folder)
    made = RunRecord((encoder.task,), encoder.template_name, versions=versions())
    write_record(folder, made)
    own = loaded.tokenizer
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=baked.tokenizer,
        pad_token=padding,
        padding_side="right",
        truncation_side="right",
        model_max_length=encoder.limit,
        # A special token's name inside a text stays text.
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        bos_token=own.bos_token,
        eos_token=own.eos_token,
        unk_token=own.unk_token,
    )
    tokenizer.save_pretrained(folder)
    # transformers 5 writes a name that transformers 4, which serving programs may use, lacks.
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for weights in folder.glob("*.safetensors"):  # written for their owner alone
        shutil.copymode(path, weights)


def _padding_token(loaded: LoadedModel, baked: BakedPrompt) -> str:
    # A head reads the last token that is no padding, so a prompt must not end with it.
    tokenizer = loaded.tokenizer
    rows = loaded.model.get_input_embeddings().num_embeddings
    last = (baked.after_ids or baked.before_ids)[-1]
    for name in (tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token):
        number = None if name is None else tokenizer.convert_tokens_to_ids(name)
        if number is not None and 0 <= number < rows and number != last:
            return str(name)
    raise ModelError(
        f"the tokenizer of {loaded.base} has neither a padding nor an end token, so texts could "
        "not be put into batches; set pad_token in its tokenizer_config.json."
    )


def _build_classifier(loaded: LoadedModel, encoder: PromptEncoder, *, padding: int) -> Any:
    config = copy.deepcopy(loaded.model.config)
    set_labels(config, encoder.task, padding=padding)
    kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    with torch.device("meta"):
        classifier = kind(config)
    classifier.config.architectures = [type(classifier).__name__]
    body = getattr(loaded.model, loaded.model.base_model_prefix)
    getattr(classifier, classifier.base_model_prefix).load_state_dict(
        body.state_dict(), strict=True, assign=True
    )
    head = _label_rows(loaded, encoder)
    classifier.score.weight = torch.nn.Parameter(head, requires_grad=False)
    return classifier


def _label_rows(loaded: LoadedModel, encoder: PromptEncoder) -> torch.Tensor:
    """Compute the head's matrix: each label's row of the output matrix times the logit scale.

    In the model's own type; in float32 where a scale is multiplied in, so that it is not rounded
    once more. In float32 the mean of the rows is taken off each of them: probabilities do not
    change, and smaller logits are rounded less.
    """
    weight: torch.Tensor = loaded.model.get_output_embeddings().weight
    rows = weight.detach()[[ids[0] for ids in encoder.label_ids]]
    scale = logit_factor(loaded.model.config.get_text_config())
    if scale == 1.0 and rows.dtype != torch.float32:
        return rows.clone()
    scaled = rows.double() * scale
    return (scaled - scaled.mean(dim=0, keepdim=True)).float()
