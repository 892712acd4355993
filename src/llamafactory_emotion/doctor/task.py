"""Do the data sets ask what the task asks, and may an answer be as long as its labels?"""

from collections import Counter
from collections.abc import Callable, Iterator

from llamafactory_emotion.doctor.context import Context, DataSet
from llamafactory_emotion.doctor.finding import Finding, error, warning
from llamafactory_emotion.plugin import host
from llamafactory_emotion.task import Task

_SHOWN = 100
_LABELS_AT_MOST = 200


def check_task(context: Context) -> Iterator[Finding]:
    """Answers that are no label of the task named with --task, and another instruction."""
    if context.task is not None:
        for data_set in context.loaded.values():
            yield from _against(data_set, context.task)


def _against(data_set: DataSet, task: Task) -> Iterator[Finding]:
    strange = Counter(
        answer.strip() for _, answer in data_set.examples if answer.strip() not in task.labels
    )
    if strange:
        named = ", ".join(f"{one!r} ({rows:,})" for one, rows in strange.most_common(_SHOWN))
        more = ", ..." if len(strange) > _SHOWN else ""
        yield error(
            "task",
            f"{strange.total():,} of {data_set.extent} of {data_set.name!r} have an answer that is "
            f"no label of the task {task.name!r}: {named}{more}",
            f"mend them, or add them to the task, which has {', '.join(task.labels)}",
        )
    asked = task.user_content("")
    other = sum(not prompt.startswith(asked) for prompt, _ in data_set.examples)
    if other:
        yield warning(
            "task",
            f"{other:,} of {data_set.extent} of {data_set.name!r} are asked with another "
            f"instruction than the task {task.name!r} has",
            "write them again with `llamafactory_emotion.prepare --task FILE --overwrite`",
        )


def check_answer_length(context: Context) -> Iterator[Finding]:
    """Labels that `max_new_tokens` cuts off: what is left may read as another label."""
    template = context.values.get("template")
    if not context.is_on("predict_with_generate") or template not in host.templates():
        return
    labels = {answer.strip() for one in context.loaded.values() for _, answer in one.examples}
    if context.task is not None:
        labels = set(context.task.labels)
    most = int(context.number("max_new_tokens"))
    if context.base.tokenizer_problem or not 0 < len(labels) <= _LABELS_AT_MOST or most < 1:
        return
    encoded = host.encode(
        context.base.tokenizer(), str(template), [("x", label) for label in sorted(labels)]
    )
    needed, label = max(
        (len(answer), label) for label, answer in zip(sorted(labels), encoded.answers, strict=True)
    )
    if needed > most:
        yield error(
            "answer-length",
            f"max_new_tokens {most}: the label {label!r} and its end are {needed} tokens, and what "
            "is left of a label once cut may read as another one",
            f"write max_new_tokens: {needed}",
        )


TASK: tuple[Callable[[Context], Iterator[Finding]], ...] = (check_task, check_answer_length)
