"""`python -m llamafactory_emotion.predict`: write the probability of every label of every text."""

import sys
from collections.abc import Sequence

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import Call
from llamafactory_emotion.predict.inputs import draw_examples, open_inputs
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.predict.outputs import check_outputs, length_table, list_outputs
from llamafactory_emotion.task_choice import Sources
from llamafactory_emotion.terminal import print_blocks, printable, run_command, tell

_SCORING = ("template", "normalize", "calibrate", "log_likelihoods", "tokens_per_batch")


def main(argv: Sequence[str] | None = None) -> int:
    """Predict and write; return the exit code."""
    return run_command(
        "predict",
        PredictOptions,
        predict,
        argv,
        about="Write the probability of every label of every text.",
        notes="A recipe of LLaMA-Factory (examples/emotion_predict.yaml) is taken as it is.",
    )


def predict(options: PredictOptions, call: Call) -> int:
    """Write each predictions file in turn; return the exit code."""
    outputs = list_outputs(options)
    check_outputs(outputs, options, call.recipe)
    named = outputs[0].source
    task = options.choose_task(
        Sources(
            models=[named.adapter, named.model],
            dataset_dir=options.dataset_dir,
            datasets=None if options.input else options.eval_dataset,
            files=[options.input],
        )
    )
    examples = draw_examples(options, task)
    loaded, source = None, None
    told: set[str] = set()
    for output in outputs:
        inputs = open_inputs(options, task)
        from llamafactory_emotion.predict.writing import PredictionRun
        from llamafactory_emotion.scoring import scorer

        if loaded is None or output.source != source:
            loaded = None  # one model in memory, not two
            loaded, source = scorer.open_model(output.source), output.source
        most = loaded.max_positions
        beyond = [str(one) for one in sorted(options.cutoff_len) if most and one > most]
        if beyond and len(options.cutoff_len) > 1:
            # The model's own limit would be measured instead.
            raise CallError(
                f"cutoff_len={','.join(beyond)} is more than the {most} tokens this model reads; "
                "leave it out."
            )
        asked = {name: getattr(options, name) for name in _SCORING}
        asked |= {"few_shot": examples, "cutoff_len": output.cutoff_len}
        run = PredictionRun(
            output,
            inputs,
            scorer.scorer_of(loaded, inputs.task, **asked),
            options,
            call.recipe,
            frozenset(text for text, _ in examples),
        )
        for notice in run.scorer.notices:
            if notice not in told:
                print(printable(notice), file=sys.stderr)
                told.add(notice)
        run.write()
        if skipped := inputs.notes.skipped:
            tell(
                f"{inputs.name}: {skipped:,} empty rows left out; id counts the others, line is "
                "their place in it"
            )
        del run  # nothing holds the model when the next one is loaded
    if len(options.cutoff_len) > 1:
        print_blocks([length_table(outputs, task)], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
