"""`python -m llamafactory_emotion.predict`: give every text its labels' probabilities.

The command over `scoring`: it opens the inputs, goes through them in chunks and writes each chunk
when it is done. The grammar is LLaMA-Factory's: `predict [recipe.yaml] key=value ...`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.files import STANDARD_STREAM, check_output, is_one_of
from llamafactory_emotion.options import read_call
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
    study_cutoffs,
    study_places,
    study_table,
    with_cutoff,
)
from llamafactory_emotion.predict.options import PredictOptions, read_options
from llamafactory_emotion.tables import print_blocks
from llamafactory_emotion.task import Task, load_task
from llamafactory_emotion.terminal import run_recipe_command

if TYPE_CHECKING:
    from llamafactory_emotion.scoring.scores import Scorer

_USAGE = """usage: python -m llamafactory_emotion.predict [recipe.yaml] key=value ...

  model_name_or_path=MODEL      a folder or hub id (an adapter's folder stands for both);
                                a sequence classifier, exported or trained, is taken too
  adapter_name_or_path=ADAPTER  a LoRA adapter
  input=FILE|-                  JSON Lines, JSON, CSV, TSV, Parquet, one text a line, or stdin
  output=FILE|-                 where the predictions go
  text_column= label_column=    which columns hold the texts and the gold labels
  eval_dataset=NAME             data sets of dataset_dir's dataset_info.json instead of input
  task=NAME|FILE                the labels and the instruction (default: emotion)
  few_shot=FILE shots=K         K examples of each label before every text
  checkpoints=DIR               predict with every checkpoint of a training run
  generate=true                 free answers instead of scored labels
  cutoff_len=512,1024,...       a file for each length in the folder output, and a table
  normalize=tokens|bytes  calibrate=true  log_likelihoods=true  margin=true
  resume=true                   go on with what a killed run left
  overwrite=true                replace the output

A recipe of LLaMA-Factory (examples/emotion_predict.yaml) is taken as it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Predict and write; give the exit code."""
    return run_recipe_command(_run, argv, usage=_USAGE)


def _run(arguments: Sequence[str]) -> int:
    call = read_call(arguments)
    cutoffs = study_cutoffs(call)
    options = read_options(with_cutoff(call, cutoffs))
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
    if is_one_of(output, (options.input, options.few_shot, options.task, recipe)):
        raise CallError(f"{output} is read and would be written over; name another output.")


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
        return [_Target(str(place), replace(options, cutoff_len=cut)) for cut, place in places]
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
    from llamafactory_emotion.scoring.opening import scorer_of

    loaded = models.load(target.checkpoint)
    check_reach(cutoffs, loaded.max_positions)
    options = target.options
    return scorer_of(
        loaded,
        task,
        template=options.template,
        few_shot=examples,
        cutoff_len=options.cutoff_len,
        normalize=options.normalize,
        calibrate=options.calibrate,
        log_likelihoods=options.log_likelihoods,
        tokens_per_batch=options.tokens_per_batch,
    )


if __name__ == "__main__":
    sys.exit(main())
