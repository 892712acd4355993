"""`python -m llamafactory_emotion.predict`: give every text its labels' probabilities.

The command over `scoring`: it opens the inputs, goes through them in chunks and writes each chunk
when it is done. The grammar is LLaMA-Factory's: `predict [recipe.yaml] key=value ...`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamafactory_emotion.files import STANDARD_STREAM, check_apart, check_output
from llamafactory_emotion.options import Call
from llamafactory_emotion.predict.checkpoints import Models, checkpoint_places
from llamafactory_emotion.predict.inputs import (
    Inputs,
    draw_examples,
    first_rows,
    open_dataset,
    open_file,
)
from llamafactory_emotion.predict.length_study import (
    check_reach,
    study_places,
    study_table,
)
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.task import Task, load_task
from llamafactory_emotion.terminal import print_blocks, run_command

if TYPE_CHECKING:
    from llamafactory_emotion.scoring.batches import Scorer


def main(argv: Sequence[str] | None = None) -> int:
    """Predict and write; return the exit code."""
    return run_command(
        "predict",
        PredictOptions,
        _run,
        argv,
        about="Write the probability of every label of every text.",
        notes="A recipe of LLaMA-Factory (examples/emotion_predict.yaml) is taken as it is.",
    )


def _run(options: PredictOptions, call: Call) -> int:
    cutoffs = tuple(sorted(options.cutoff_len)) if len(options.cutoff_len) > 1 else ()
    task = load_task(options.task)
    targets = _targets(options, cutoffs)
    for target in targets:
        if target.place != STANDARD_STREAM:
            check_output(Path(target.place), overwrite=options.overwrite or options.resume)
            _check_not_read(Path(target.place), options, call.recipe)
    examples = draw_examples(options.few_shot, task, options.shots, seed=options.seed)
    from llamafactory_emotion.predict.run import Job, write_predictions

    models = Models(options.source)
    for target in targets:
        inputs = _open_inputs(options, task)
        scorer = _scorer(models, target, inputs.task, examples, cutoffs)
        write_predictions(Job(scorer, inputs, target.place, target.options, call.recipe))
        del scorer  # lets go of the model, so that the next one has room
    if cutoffs:
        print_blocks([study_table(study_places(options, cutoffs), task)], sys.stdout)
    return 0


def _check_not_read(output: Path, options: PredictOptions, recipe: Path | None) -> None:
    """Refuse an output that is read too."""
    check_apart([output], (options.input, options.few_shot, options.task, recipe))


@dataclass(frozen=True)
class _Target:
    """One predictions file: where it goes and what is its own."""

    place: str
    options: PredictOptions
    checkpoint: Path | None = None


def _targets(options: PredictOptions, cutoffs: Sequence[int]) -> list[_Target]:
    """Give what a call writes: one file, or one for each checkpoint or each cutoff."""
    if options.checkpoints is not None:
        found = checkpoint_places(options).items()
        return [_Target(str(place), options, checkpoint) for checkpoint, place in found]
    if cutoffs:
        places = study_places(options, cutoffs).items()
        return [_Target(str(place), replace(options, cutoff_len=[cut])) for cut, place in places]
    return [_Target(options.place, options)]


def _open_inputs(options: PredictOptions, task: Task) -> Inputs:
    if options.input is not None:
        inputs = open_file(
            options.input, task, text_column=options.text_column, label_column=options.label_column
        )
    else:
        inputs = open_dataset(
            options.eval_dataset or "",
            options.dataset_dir,
            task,
            cache_dir=options.cache_dir,
            token=options.hf_hub_token,
        )
    # The first row is read now: what is wrong with a file is told before a model is loaded.
    return first_rows(inputs, options.max_samples)


def _scorer(
    models: Models,
    target: _Target,
    task: Task,
    examples: Sequence[tuple[str, str]],
    cutoffs: Sequence[int],
) -> "Scorer":
    from llamafactory_emotion.scoring.scorer import scorer_of

    loaded = models.load(target.checkpoint)
    check_reach(cutoffs, loaded.max_positions)
    options = target.options
    return scorer_of(
        loaded,
        task,
        template=options.template,
        few_shot=examples,
        cutoff_len=options.longest,
        normalize=options.normalize,
        calibrate=options.calibrate,
        log_likelihoods=options.log_likelihoods,
        tokens_per_batch=options.tokens_per_batch,
    )


if __name__ == "__main__":
    sys.exit(main())
