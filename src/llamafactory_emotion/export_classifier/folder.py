"""Write the folder: load the model, cut out the classifier, compare the two, move it into place."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.data.columns import NO_COLUMN
from llamafactory_emotion.data.reading import read_texts
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.export_classifier.card import model_card, read_evaluation
from llamafactory_emotion.export_classifier.model import check_exportable, save_classifier
from llamafactory_emotion.export_classifier.prompt import HARD_TEXTS, bake_prompt
from llamafactory_emotion.export_classifier.verification import score_sample, verify
from llamafactory_emotion.files import check_apart, write_whole_folder
from llamafactory_emotion.predict.inputs import draw_examples
from llamafactory_emotion.scoring.heads import is_head
from llamafactory_emotion.scoring.loading import ModelSource
from llamafactory_emotion.scoring.models import load_model, merge_adapter, stored_dtype, with_base
from llamafactory_emotion.scoring.prompts import PromptEncoder
from llamafactory_emotion.scoring.scorer import LabelScorer
from llamafactory_emotion.task import Task
from llamafactory_emotion.terminal import tell

if TYPE_CHECKING:
    from llamafactory_emotion.export_classifier.__main__ import ExportOptions


def write_classifier(options: "ExportOptions", task: Task) -> list[str]:
    """Write a model as a sequence classifier; return what was found, in lines."""
    output = Path(options.output)
    figures = None if options.evaluation is None else read_evaluation(options.evaluation, task)
    texts = _texts_to_verify(options, task)
    examples = draw_examples(options, task)
    source = _language_model(options.source)
    check_apart([output], [source.model] if Path(source.model).exists() else [])
    tell(f"loading {source.adapter or source.model}")
    loaded = merge_adapter(load_model(source), rounded=True)
    cutoff = options.cutoff_len
    asked: Any = {"template": options.template, "few_shot": examples, "cutoff_len": cutoff}
    encoder = PromptEncoder(loaded.tokenizer, task, **asked, max_positions=loaded.max_positions)
    check_exportable(loaded, encoder)
    baked = bake_prompt(encoder)
    with write_whole_folder(output, overwrite=options.overwrite) as folder:
        tell(f"writing {output}")
        save_classifier(folder, loaded, encoder, baked)
        loaded.model.float()  # as predict scores on a CPU
        scorer = LabelScorer(loaded, task, **asked)
        hard = score_sample(scorer, baked, HARD_TEXTS)
        real = None if texts is None else score_sample(scorer, baked, texts)
        if real is not None and not real.texts:
            raise DataError(
                f"no text of {options.verify} fits into cutoff_len={cutoff}, so there is nothing "
                "to verify on; raise it or name another file."
            )
        layers, notices = loaded.model.config.get_text_config().num_hidden_layers, scorer.notices
        tell(f"comparing {output} with the language model")
        # The language model makes room before the folder is loaded: one of the two at a time.
        del loaded, scorer
        told = verify(folder, hard, real, options, source, layers)
        said = f"Against the language model in float32, {'; '.join(told)}."
        text = model_card(output.name, source.model, encoder, baked, figures, said)
        (folder / "README.md").write_text(text, encoding="utf-8")
    lines = [
        *notices,
        f"{output}: a sequence classifier ({source.dtype})",
        *(f"  {one}" for one in told),
    ]
    if real is not None and real.left_out:
        lines.append(f"  {real.left_out:,} rows are empty or too long and were not compared")
    if baked.glue_after:
        lines.append(
            f"  a text that truncation=True cuts loses {baked.glue_after!r} before the cue "
            "(predict on this folder keeps it)"
        )
    return lines


def _texts_to_verify(options: "ExportOptions", task: Task) -> list[str] | None:
    if options.verify is None:
        return None
    reading = options.reading | {"label_column": NO_COLUMN}
    return [row.text for row in read_texts(options.verify, task=task, **reading)]


def _language_model(source: ModelSource) -> ModelSource:
    """Return a source with its base named, in the type of its checkpoint or the one asked for."""
    source = with_base(source)
    if is_head(source):
        raise CallError(
            f"{source.adapter or source.model} is a classification head already; transformers, "
            "vLLM and predict read it as it is."
        )
    return replace(source, dtype=stored_dtype(source)) if source.dtype == "auto" else source
