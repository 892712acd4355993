"""The task of a recipe's data: which it is, whether the answers are its labels, their tokens."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile

from llamafactory_emotion.data.dataset_folder import EMOTION_FORMATTING, FILE_NAME
from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning
from llamafactory_emotion.doctor.loading import DataSet
from llamafactory_emotion.errors import EmotionError
from llamafactory_emotion.scoring.words import suggest_words, words_line
from llamafactory_emotion.task import EMOTION, ClassName, Task
from llamafactory_emotion.task_choice import trained_otherwise

LABELS_AT_MOST = 200
_LABELS_SHOWN, _IDS_SHOWN, _ANSWERS_SHOWN = 3, 8, 100
_NUMBERED = tuple((label, number) for number, label in enumerate(EMOTION.labels))
_WRITE_AGAIN = "write them again with `llamafactory_emotion.prepare --task FILE --overwrite`"


def check_task(context: Context) -> Iterator[Finding]:
    """Which task each data set is of and what says so; data of another task than the model's."""
    if context.record_problem is not None:
        yield _task_problem(context.record_problem)
    trained = [(task, task.origin) for task in context.trained]
    if context.task and (other := trained_otherwise(context.task, trained)):
        yield warning(
            f"the call's task {context.task.name!r} is used, and {other}",
            "leave it out of the call, or name the model that was trained for it",
        )
    for name, data_set in context.loaded.items():
        try:
            task, own = context.task_of(name), context.own_task(name)
        except EmotionError as problem:
            yield _task_problem(str(problem))
            continue
        if task is not None:
            yield note(f"{name!r} is of the task {task.name!r}, {task.origin}")
            yield from _unfit_rows(data_set, task)
        elif trained:
            names = ", ".join(repr(one.name) for one in context.trained)
            yield note(
                f"the model was trained for {names}, and {FILE_NAME} does not say of which task "
                f"{name!r} is",
                "add task=NAME",
            )
        if own and context.task is None and (other := trained_otherwise(own, trained)):
            yield warning(
                f"{FILE_NAME} says that {name!r} is of the task {own.name!r}, and {other}",
                "name a data set of the model's task, or the model that was trained for "
                f"{own.name!r}; nothing, if the model is to learn another task",
            )
    for task in () if context.loaded else tasks_of(context):
        yield note(f"the task is {task.name!r}, {task.origin}")


def _task_problem(problem: str) -> Finding:
    sentence, _, remedy = problem.rstrip(".").partition("; ")
    return error(sentence, remedy or "mend the task's file")


def _unfit_rows(data_set: DataSet, task: Task) -> Iterator[Finding]:
    """Answers that are no label of a task or not its word for one, and other questions."""
    answers = Counter(answer.strip() for _, answer in data_set.examples)
    words, extent = {*map(task.word_of, task.labels)}, f"{data_set.extent} of {data_set.name!r}"
    strange = Counter({one: n for one, n in answers.items() if one not in task.answers})
    if stale := answers.total() - strange.total() - sum(answers[word] for word in words):
        yield warning(
            f"{stale:,} of {extent} answer with a label for which the task {task.name!r} has a "
            "word, and the word is what will be scored",
            _WRITE_AGAIN,
        )
    if strange:
        shown = strange.most_common(_ANSWERS_SHOWN)
        named = ", ".join(f"{one!r} ({rows:,})" for one, rows in shown)
        more = ", ..." if len(strange) > _ANSWERS_SHOWN else ""
        yield error(
            f"{strange.total():,} of {extent} have an answer that is no label of the task "
            f"{task.name!r}: {named}{more}",
            f"mend them, or add them to the task, which has {', '.join(task.labels)}",
        )
    asked = task.user_content("")
    if other := sum(not prompt.startswith(asked) for prompt, _ in data_set.examples):
        yield warning(
            f"{other:,} of {extent} are asked with another instruction than the task "
            f"{task.name!r} has",
            _WRITE_AGAIN,
        )


def check_label_ids(context: Context) -> Iterator[Finding]:
    """Label ids that mean other labels in a data set than in the formatting `emotion`.

    LLaMA-Factory hands a formatting the ids alone.
    """
    for data_set in context.loaded.values():
        loaded = data_set.loaded
        if loaded is None or data_set.entry.get("formatting") != EMOTION_FORMATTING:
            continue
        names = loaded.names.get(loaded.columns.get("response", ""), ())
        differ = [
            f"{number} {name}"
            for number, name in enumerate(names)
            if (EMOTION.label_of(ClassName(name)), number) not in _NUMBERED
        ]
        if differ:
            known = ", ".join(f"{number} {label}" for label, number in _NUMBERED)
            first = "register its file" if data_set.path else "save it as Parquet and register that"
            yield error(
                f"{data_set.name!r} has the label ids {', '.join(differ[:_IDS_SHOWN])}"
                f"{', ...' if len(differ) > _IDS_SHOWN else ''}, and the formatting emotion reads "
                f"{known}: LLaMA-Factory would train other labels",
                f"{first} with `llamafactory_emotion.prepare`, which writes names",
            )


def tasks_of(context: Context) -> list[Task]:
    """Return the tasks of the data sets, or the model's; nothing where a data set has none."""
    known = [context.task] if context.task else context.trained
    with suppress(EmotionError):  # which `check_task` reports
        tasks = [task for name in context.loaded if (task := context.task_of(name))]
        if len(tasks) == len(context.loaded):
            return list({task.fingerprint: task for task in tasks or known}.values())
    return []


def possible_answers(context: Context) -> Sequence[str]:
    """Return the answers of the tasks, or those in the data where they can be a label set."""
    if tasks := tasks_of(context):
        words = (task.word_of(label) for task in tasks for label in task.labels)
        return list(dict.fromkeys(words))
    examples = (example for one in context.loaded.values() for example in one.examples)
    answers = {answer.strip() for _, answer in examples if answer}
    return sorted(answers) if len(answers) <= LABELS_AT_MOST else ()


def check_labels(context: Context) -> Iterator[Finding]:
    """How many tokens each label has under this tokenizer, and whether they can be told apart."""
    labels = possible_answers(context)
    if not labels or context.encode([]) is None:
        return
    answers = dict(zip(labels, _answer_ids(context, labels), strict=True))
    longer = [label for label, ids in answers.items() if len(ids) > 1]
    words: dict[str, str] = {}
    for task in tasks_of(context):
        words |= suggest_words(task, lambda answers: _answer_ids(context, answers))
    remedy = f"write into the task's file  {words_line(words)}" if words else ""
    same, rows = Counter(answers.values()).most_common(1)[0]
    if rows > 1:
        alike = ", ".join(repr(label) for label, ids in answers.items() if ids == same)
        yield error(
            f"the labels {alike} are the same tokens under this tokenizer",
            remedy or "rename one of them, or give it a word (`words:` in a task's file)",
        )
    seen = context.of_first_rows("dataset", "eval_dataset") if context.task is None else ""
    if not longer:
        yield note(f"each of the {len(labels)} labels{seen} is one token under this tokenizer")
        return
    firsts = len({ids[0] for ids in answers.values() if ids})
    yield note(
        f"{len(longer)} of {len(labels)} labels{seen} are several tokens "
        f"({', '.join(longer[:_LABELS_SHOWN])}{', ...' if len(longer) > _LABELS_SHOWN else ''});"
        f" {firsts} different first tokens; they are scored exactly, a little slower, and "
        "`export_classifier` needs labels of one token",
        remedy or "nothing must be done; `words:` in a task's file gives them words of one token",
    )


def _answer_ids(context: Context, answers: Sequence[str]) -> list[tuple[int, ...]]:
    """Encode answers as the run will, without their end token and a line break behind it."""
    encoded = context.encode(answers)
    ids = encoded.answers if encoded else ()
    return [tuple(takewhile(lambda one: encoded and one != encoded.end, row)) for row in ids]


def check_answer_length(context: Context) -> Iterator[Finding]:
    """Labels that `max_new_tokens` cuts off: what is left may read as another label."""
    most, answers = int(context.number("max_new_tokens")), possible_answers(context)
    if not context.is_on("predict_with_generate") or not answers or most < 1:
        return
    if (encoded := context.encode(answers)) is None:
        return
    needed, answer = max(zip(map(len, encoded.answers), answers, strict=True))
    if needed > most:
        yield error(
            f"max_new_tokens {most}: the label {answer!r} and its end are {needed} tokens, and "
            "what is left of a label once cut may read as another one",
            f"write max_new_tokens: {needed}",
        )
