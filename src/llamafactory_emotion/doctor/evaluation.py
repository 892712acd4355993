"""Is what is evaluated there, does it say something, and is the best checkpoint chosen by it?"""

from collections.abc import Callable, Iterator

from llamafactory_emotion.doctor.context import Context
from llamafactory_emotion.doctor.finding import Finding, error, note, warning

_TIMES = ("runtime", "samples_per_second", "steps_per_second")


def check_best_checkpoint(context: Context) -> Iterator[Finding]:
    """The best checkpoint, and the metric it is chosen by."""
    strategy = _strategy(context)
    if context.is_on("load_best_model_at_end"):
        saved = str(context.value("save_strategy") or "steps")
        if saved not in ("best", strategy):
            yield error(
                "evaluation",
                f"load_best_model_at_end with eval_strategy {strategy} and save_strategy {saved}",
                "make both the same",
            )
    best = str(context.value("metric_for_best_model") or "").removeprefix("eval_")
    if not best or strategy == "no":
        return
    computed = _metrics(context)
    generates = context.is_on("predict_with_generate")
    counted = generates or context.is_on("compute_accuracy")
    if best.endswith(("accuracy", "f1_macro")) and not counted:
        yield error(
            "evaluation",
            f"metric_for_best_model: {best} is not computed",
            "add compute_accuracy: true",
        )
    elif best.endswith("f1_macro") and context.value("template") != "emotion":
        yield error(
            "evaluation",
            f"{best} is computed under the template emotion only",
            "template: emotion, or metric_for_best_model: accuracy",
        )
    elif best not in computed:
        yield error(
            "evaluation",
            f"metric_for_best_model: there is no {best}",
            f"name one of {', '.join(one for one in computed if not one.endswith(_TIMES))}",
        )
    elif best.endswith(("accuracy", "f1_macro")) and context.value("greater_is_better") is False:
        yield warning(
            "evaluation",
            f"greater_is_better: false with {best}: the worst checkpoint is kept",
            "remove greater_is_better",
        )


def _strategy(context: Context) -> str:
    return str(context.value("eval_strategy") or "no")


def _metrics(context: Context) -> list[str]:
    """Give the names of what is computed, without `eval_`."""
    own = ["loss", *_TIMES]
    ours = context.value("template") == "emotion"
    if context.is_on("predict_with_generate"):
        own += ["rouge-1", "rouge-2", "rouge-l", "bleu-4"]
        own += ["accuracy", "f1_macro", "invalid"] if ours else []
    elif context.is_on("compute_accuracy"):
        own += ["accuracy"] + ["f1_macro"] * ours
    if not context.is_on("eval_on_each_dataset"):
        return own
    return [f"{name}_{one}" for name in context.data_sets("eval_dataset") for one in own]


def check_early_stopping(context: Context) -> Iterator[Finding]:
    """Stopping early by nothing."""
    if context.value("early_stopping_steps") is None:
        return
    chosen = context.value("metric_for_best_model") or context.is_on("load_best_model_at_end")
    if _strategy(context) == "no" or not chosen:
        yield error(
            "evaluation",
            "early_stopping_steps without an evaluation to stop by: the run ends at its start",
            "add eval_strategy, save_strategy, load_best_model_at_end: true and "
            "metric_for_best_model",
        )


def check_what_is_judged(context: Context) -> Iterator[Finding]:
    """Figures that say less than they seem to."""
    if context.is_on("compute_accuracy") and context.value("template") != "emotion":
        yield note(
            "evaluation",
            "LLaMA-Factory's own accuracy counts the end token, which is always right, as well",
            "template: emotion counts whole labels",
        )
    evaluates = _strategy(context) != "no" or context.is_on("do_eval")
    seen = set(context.data_sets("dataset")) & set(context.data_sets("eval_dataset"))
    if context.is_on("do_train") and evaluates and seen:
        yield warning(
            "evaluation",
            f"{', '.join(sorted(seen))} is trained on and evaluated: the figures say how well it "
            "is remembered",
            "name another eval_dataset",
        )


def check_prediction(context: Context) -> Iterator[Finding]:
    """Sampling left on, and answers of a thousand tokens."""
    if not context.is_on("do_predict"):
        return
    if not context.is_on("predict_with_generate"):
        yield error("prediction", "do_predict without predict_with_generate", "set it to true")
    if context.value("do_sample") is not False:
        yield warning(
            "prediction",
            "sampling is on (LLaMA-Factory's default): every run gives other answers",
            "do_sample: false",
        )
    if context.number("max_new_tokens") > 64:  # a label is a few tokens
        yield warning(
            "prediction",
            f"answers may have {context.number('max_new_tokens'):.0f} tokens; a label has a few, "
            "and a model that does not stop writes on for minutes",
            "max_new_tokens: 8",
        )


EVALUATION: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    check_best_checkpoint,
    check_early_stopping,
    check_what_is_judged,
    check_prediction,
)
