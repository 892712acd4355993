"""Export a model: load, cut out, write, check, and only then move the folder into place.

Stands between the command and everything that does a part of it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.reading import read_texts
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.export_classifier.card import card, read_evaluation
from llamafactory_emotion.export_classifier.model import (
    build_classifier,
    check_exportable,
    describe_prompt,
    padding_token,
)
from llamafactory_emotion.export_classifier.options import ExportOptions
from llamafactory_emotion.export_classifier.prompt import HARD_TEXTS, BakedPrompt, bake_prompt
from llamafactory_emotion.export_classifier.verification import (
    Comparison,
    check_alike,
    check_equal,
    compare,
    pipeline_probabilities,
    rounding_tolerance,
)
from llamafactory_emotion.files import check_output_folder, real_place, write_whole_folder
from llamafactory_emotion.predict.inputs import draw_examples
from llamafactory_emotion.scoring.batches import Scores
from llamafactory_emotion.scoring.heads import find_head
from llamafactory_emotion.scoring.loading import device_of, quiet_loading
from llamafactory_emotion.scoring.models import (
    LoadedModel,
    load_model,
    merge_adapter,
    stored_dtype,
)
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import Task

_TOKENIZER_CLASS = "PreTrainedTokenizerFast"


@dataclass(frozen=True)
class Exported:
    """What was written and what was found.

    Attributes:
        folder: The folder.
        dtype: The type of its weights.
        baked: The prompt in its tokenizer.
        checked: The comparison on texts with difficult edges.
        verified: The comparison on the rows of `verify`, or None.
        left_out: How many of these rows were too long to be compared, as predict cuts them.
    """

    folder: Path
    dtype: str
    baked: BakedPrompt
    checked: Comparison
    verified: Comparison | None
    left_out: int


@dataclass(frozen=True)
class _Sample:
    """Texts to compare on, and what the scorer gives for them."""

    texts: Sequence[str]
    scores: Scores
    left_out: int


def export(options: ExportOptions, task: Task) -> Exported:
    """Write a model as a sequence classifier.

    Raises:
        CallError: The call cannot be followed.
        DataError: A file that was named is wrong.
        ModelError: The model cannot be exported, or the folder does not answer as the model does.
        EmotionError: The folder cannot be written.
    """
    output = Path(options.output)
    check_output_folder(output, overwrite=options.overwrite)
    figures = None if options.evaluation is None else read_evaluation(options.evaluation, task)
    texts = _rows_to_verify(options, task)
    examples = draw_examples(options.few_shot, task, options.shots, seed=options.seed)
    loaded = _load(options)
    if Path(loaded.base).exists() and real_place(loaded.base).is_relative_to(real_place(output)):
        raise CallError(f"{output} would write over {loaded.base}, which is read; name another.")
    encoder = _encoder(loaded, task, examples, options)
    check_exportable(loaded, encoder)
    baked = bake_prompt(encoder)
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    with write_whole_folder(output, overwrite=options.overwrite) as folder:
        _write(folder, loaded, encoder, baked)
        base, device = loaded.base, device_of(options.source)
        samples = _score(loaded, encoder, baked, examples, options, texts)
        layers = loaded.model.config.get_text_config().num_hidden_layers
        # The language model makes room before the folder is loaded: one of the two at a time.
        del loaded
        found = [_compare(folder, sample, task, device) for sample in samples]
        check_alike(found[0])
        verified = found[1] if texts else None
        if verified is not None:
            tolerance = options.tolerance or rounding_tolerance(samples[1].scores, layers)
            check_equal(verified, str(options.verify), tolerance)
        text = card(output.name, base, encoder, baked, figures, _said(found[0], verified))
        (folder / "README.md").write_text(text, encoding="utf-8")
    return Exported(output, dtype, baked, found[0], verified, samples[-1].left_out)


def _rows_to_verify(options: ExportOptions, task: Task) -> list[str]:
    if options.verify is None:
        return []
    rows = read_texts(options.verify, task=task, text_column=options.text_column)
    texts = [row.text for row in rows]
    if not texts:
        raise DataError(f"{options.verify} holds no text; name another file with verify.")
    return texts


def _load(options: ExportOptions) -> LoadedModel:
    """Load the model in the type it will be written in, its adapter merged."""
    source = options.source
    if find_head(source) is not None:
        raise CallError(
            f"{options.adapter_name_or_path or options.model_name_or_path} is a classification "
            "head already; transformers, vLLM and predict read it as it is."
        )
    if source.dtype == "auto":
        source = replace(source, dtype=stored_dtype(source))
    return merge_adapter(load_model(source), rounded=True)


def _encoder(
    loaded: LoadedModel, task: Task, examples: Sequence[tuple[str, str]], options: ExportOptions
) -> PromptEncoder:
    return PromptEncoder(
        loaded.tokenizer,
        task,
        template=options.template,
        few_shot=examples,
        cutoff_len=options.cutoff_len,
        max_positions=loaded.max_positions,
    )


def _write(folder: Path, loaded: LoadedModel, encoder: PromptEncoder, baked: BakedPrompt) -> None:
    padding = padding_token(loaded, baked)
    number = int(loaded.tokenizer.convert_tokens_to_ids(padding))
    classifier = build_classifier(loaded, encoder, padding=number)
    describe_prompt(classifier, encoder, baked)
    with quiet_loading():
        classifier.save_pretrained(folder)
    _write_tokenizer(folder, loaded.tokenizer, encoder, baked, padding)


def _write_tokenizer(
    folder: Path, own: Any, encoder: PromptEncoder, baked: BakedPrompt, padding: str
) -> None:
    from transformers import PreTrainedTokenizerFast

    names = ("bos_token", "eos_token", "unk_token")
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
        **{name: getattr(own, name) for name in names if getattr(own, name, None) is not None},
    )
    tokenizer.save_pretrained(folder)
    # The name that transformers 4 knows as well, which serving programs may still stand on.
    place = folder / "tokenizer_config.json"
    settings = json.loads(place.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = _TOKENIZER_CLASS
    place.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _score(
    loaded: LoadedModel,
    encoder: PromptEncoder,
    baked: BakedPrompt,
    examples: Sequence[tuple[str, str]],
    options: ExportOptions,
    texts: Sequence[str],
) -> list[_Sample]:
    """Score the texts to compare on in float32, as `predict` does on a CPU."""
    loaded.model.float()
    scorer = LabelScorer(
        loaded,
        encoder.task,
        template=options.template,
        few_shot=examples,
        cutoff_len=options.cutoff_len,
    )
    samples = []
    for some in filter(None, (HARD_TEXTS, texts)):
        whole = [
            text
            for text, prompt in zip(some, encoder.encode(some), strict=True)
            if not prompt.truncated and (text or baked.empty_alike)
        ]
        if not whole:
            raise DataError(
                f"no text of {options.verify} fits into cutoff_len={options.cutoff_len}, so there "
                "is nothing to verify on; raise it or name another file."
            )
        samples.append(_Sample(whole, scorer.score(whole), len(some) - len(whole)))
    return samples


def _compare(folder: Path, sample: _Sample, task: Task, device: str) -> Comparison:
    found = pipeline_probabilities(folder, sample.texts, task.labels, device=device)
    return compare(found, sample.scores)


def _said(checked: Comparison, verified: Comparison | None) -> str:
    said = f"Against the language model it was cut from, in float32: {checked} (difficult texts)"
    return said + ("." if verified is None else f"; {verified} (rows of real data).")
