"""`python -m llamafactory_emotion.predict`: write the probability of every label of every text."""

import sys
from collections.abc import Sequence

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.options import Call
from llamafactory_emotion.predict.inputs import draw_examples, open_inputs
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.predict.outputs import (
    Models,
    Output,
    check_outputs,
    length_table,
    list_outputs,
)
from llamafactory_emotion.task import load_task
from llamafactory_emotion.terminal import print_blocks, run_command


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
    task = load_task(options.task)
    examples = draw_examples(options.few_shot, task, options.shots, seed=options.seed)
    models = Models()

    def write(output: Output) -> None:
        inputs = open_inputs(options, task)
        from llamafactory_emotion.predict.writing import PredictionRun
        from llamafactory_emotion.scoring.scorer import scorer_of

        loaded = models.load(output.source)
        most = loaded.max_positions
        beyond = [str(one) for one in sorted(options.cutoff_len) if most and one > most]
        if beyond and len(options.cutoff_len) > 1:
            # The model's own limit would be measured instead.
            raise CallError(
                f"cutoff_len={','.join(beyond)} is more than the {most} tokens this model reads; "
                "leave it out."
            )
        scorer = scorer_of(
            loaded,
            inputs.task,
            template=options.template,
            few_shot=examples,
            cutoff_len=output.cutoff_len,
            normalize=options.normalize,
            calibrate=options.calibrate,
            log_likelihoods=options.log_likelihoods,
            tokens_per_batch=options.tokens_per_batch,
        )
        PredictionRun(output, inputs, scorer, options, call.recipe).write()

    for output in outputs:
        # A call of its own, at whose end nothing holds the model: the next one needs its room.
        write(output)
    if len(options.cutoff_len) > 1:
        print_blocks([length_table(outputs, task)], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
