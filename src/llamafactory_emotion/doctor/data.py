"""Does LLaMA-Factory read the data sets as they are meant: loaded, labelled, whole, of the task?"""

import contextlib
import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.dataset_folder import EMOTION_FORMATTING, FILE_NAME, TASK_KEY
from llamafactory_emotion.data.entries import HUB
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning
from llamafactory_emotion.doctor.loading import OFFLINE, ROWS_READ, DataSet
from llamafactory_emotion.errors import EmotionError
from llamafactory_emotion.plugin.host_data import Encoding, entry_keys
from llamafactory_emotion.task import EMOTION, ClassName, Task
from llamafactory_emotion.task_choice import trained_otherwise

LABELS_AT_MOST = 200
_IDS_SHOWN, _ANSWERS_SHOWN = 8, 100
_NUMBERED = tuple((label, number) for number, label in enumerate(EMOTION.labels))
# Beyond one row in so many a cut answer is no exception.
_MANY = 10
# What pandas takes for a missing value: https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html
_MISSING_VALUES = frozenset(
    {
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
_UNLABELLED = "they have no answer"
_OUT_OF_ORDER = "their turns are not user and assistant in turn"


def check_dataset_dir(context: Context) -> Iterator[Finding]:
    """`dataset_info.json` is not there or not readable."""
    problem = context.registry[1]
    if problem and _names_here(context):
        yield error(
            problem,
            "name the folder with dataset_dir, or write one with `llamafactory_emotion.init`",
        )


def check_dataset(context: Context) -> Iterator[Finding]:
    """Names that `dataset_info.json` does not have."""
    if "" in context.names("dataset") and context.data_sets("dataset"):
        yield error("dataset has a comma with no name beside it", "remove the comma")
    entries, problem = context.registry
    for name in () if problem else _names_here(context):
        if name not in entries:
            near = get_close_matches(name, entries, n=1)
            yield error(
                f"{context.dataset_dir / FILE_NAME} has no data set {name!r}",
                f"write {near[0]}" if near else "register it with `llamafactory_emotion.prepare`",
            )


def _names_here(context: Context) -> list[str]:
    """Return the data sets' names, unless `dataset_info.json` itself is on a hub."""
    folder = str(context.value("dataset_dir"))
    is_here = folder != "ONLINE" and not folder.startswith("REMOTE:")
    return context.data_sets("dataset", "eval_dataset") if is_here else []


def check_entry(context: Context) -> Iterator[Finding]:
    """Entries of `dataset_info.json` that LLaMA-Factory reads otherwise than they are meant."""
    known, columns = entry_keys()
    for data_set in context.loaded.values():
        entry = data_set.entry
        strange = [(key, known) for key in entry if key not in (*known, TASK_KEY)]
        strange += [(key, columns) for key in entry.get("columns") or () if key not in columns]
        for key, usual in strange:
            near = get_close_matches(key, usual, n=1)
            yield error(
                f"{context.dataset_dir / FILE_NAME}: {data_set.name!r} has a key {key!r}, which "
                "LLaMA-Factory passes over",
                f"write {near[0]}" if near else f"remove {key}",
            )


def check_stage(context: Context) -> Iterator[Finding]:
    """Training stages for which the rows are of the wrong kind."""
    stage = str(context.value("stage"))
    for data_set in context.loaded.values():
        ranks = data_set.entry.get("ranking") is True
        if ranks != (stage in ("rm", "dpo")):
            yield error(
                f"{data_set.name!r} has {'two answers' if ranks else 'one answer'} a row, which "
                f"stage: {stage} does not take: LLaMA-Factory stops",
                "remove ranking from its entry and name one response" if ranks else "stage: sft",
            )
        elif stage != "sft":
            yield warning(f"stage: {stage} does not learn to answer with labels", "stage: sft")


def check_rows(context: Context) -> Iterator[Finding]:
    """What LLaMA-Factory cannot load or encode, and what is not looked at."""
    registry = context.dataset_dir / FILE_NAME
    for name, data_set in context.loaded.items():
        place = data_set.path or data_set.entry.get(HUB) or registry
        encoding = context.encodings.get(name)
        if data_set.problem is not None:
            yield error(
                f"LLaMA-Factory cannot load the data set {name!r} ({place}): {data_set.problem}",
                f"mend it or its entry in {registry}, or write it with "
                "`llamafactory_emotion.prepare`, which reads more formats",
            )
        elif isinstance(encoding, str):
            yield error(
                f"LLaMA-Factory cannot encode the data set {name!r} ({place}): {encoding}",
                "mend that row",
            )
        elif data_set.unasked is not None and data_set.unasked.startswith(OFFLINE):
            yield warning(
                f"the data set {name!r} comes from a hub ({place}) and {data_set.unasked}",
                f"unset {data_set.unasked.split('=')[0]}, unless it is in the cache already",
            )
        elif data_set.unasked is not None:
            yield note(
                f"the data set {name!r} ({place}) is not on this machine, and its rows are not "
                f"checked: {data_set.unasked}"
            )
        elif data_set.more_rows:
            rows = "more rows" if data_set.rows is None else f"{data_set.rows:,} rows"
            yield note(
                f"{name!r} has {rows}; {data_set.extent} are looked at",
                "look at all with `llamafactory_emotion.prepare --check-only`",
            )


def check_answers(context: Context) -> Iterator[Finding]:
    """Rows without an answer that LLaMA-Factory can read: it drops them when it trains."""
    for name, data_set in context.loaded.items():
        if (loaded := data_set.loaded) is None or context.value("stage") != "sft":
            continue
        if data_set.entry.get("ranking") is True:  # told by `check_stage`
            continue
        generates = context.generates(name)
        unread = Counter(
            _why_unread(data_set, number)
            for number, row in enumerate(loaded.converted)
            if _is_dropped(context, name, number) or (generates and not row["_response"])
        )
        unlabelled = unread.pop(_UNLABELLED, 0)
        read = data_set.rows_read - unread.total() - unlabelled
        if not read and not generates:
            reasons = ", ".join(sorted(unread)) or _UNLABELLED
            yield error(
                f"none of {data_set.extent} of {name!r} ({data_set.path}) can be trained on: "
                f"{reasons}; LLaMA-Factory stops",
                "write the labels as text, with `llamafactory_emotion.prepare` say, or mend the "
                f"columns in {context.dataset_dir / FILE_NAME}",
            )
            continue
        verb = "predicts without their labels" if generates else "drops"
        for reason, rows in unread.items():
            report = warning if generates or reason == _OUT_OF_ORDER else error
            yield report(
                f"LLaMA-Factory {verb} {rows:,} of {data_set.extent} of {name!r} "
                f"({data_set.path}): {reason}",
                "write the labels as text in JSON Lines, with `llamafactory_emotion.prepare` say"
                if reason != _OUT_OF_ORDER
                else "let each conversation begin with the user and end with the answer",
            )
        if unlabelled and not generates:
            yield warning(
                f"LLaMA-Factory drops {unlabelled:,} of {data_set.extent} of {name!r} "
                f"({data_set.path}): {_UNLABELLED}",
                "label them, or remove them",
            )
        yield from _empty_parts(data_set, generates=generates)


def _is_dropped(context: Context, name: str, number: int) -> bool:
    """Whether LLaMA-Factory drops a row; without a tokenizer, by what its converter made."""
    encoding = context.encodings.get(name)
    if isinstance(encoding, Encoding):
        return encoding.rows[number] is None
    loaded = context.loaded[name].loaded
    row = loaded.converted[number] if loaded else {}
    return not row["_prompt"] or (not context.generates(name) and len(row["_response"]) != 1)


def _why_unread(data_set: DataSet, number: int) -> str:
    """Return why a row's answer is not read."""
    loaded = data_set.loaded
    if loaded is None or not loaded.converted[number]["_prompt"]:
        return _OUT_OF_ORDER
    column = loaded.columns.get("response", "")
    value = loaded.raw[number].get(column)
    if value is not None:
        kind = "label ids" if column in loaded.names else loaded.types[column]
        return f"the column {column!r} holds {kind} and not text"
    if (text := _lost_texts(data_set, column).get(number)) in _MISSING_VALUES:
        return f"the column {column!r} says {text!r}, which pandas reads as a missing value"
    return _UNLABELLED


def _lost_texts(data_set: DataSet, column: str) -> Mapping[int, str]:
    """Return the texts of a CSV file's column by row, as they are written there (None, NA, n/a)."""
    return {number: row.get(column) or "" for number, row in enumerate(_csv_rows(data_set.path))}


@cache
def _csv_rows(path: Path | None) -> Sequence[Mapping[str | None, Any]]:
    """Return the rows of a CSV file as they are written; fields without a column are under None."""
    if path is None or path.suffix != ".csv":
        return ()
    with path.open(encoding="utf-8-sig", newline="") as file, contextlib.suppress(csv.Error):
        return tuple(islice(csv.DictReader(file), ROWS_READ))
    return ()  # a field too long for this reader


def check_fields(context: Context) -> Iterator[Finding]:
    """What the host reads otherwise, or not at all: text as history, too many fields, no shard."""
    for name, data_set in context.loaded.items():
        if (loaded := data_set.loaded) is None:
            continue
        history = loaded.columns.get("history", "")
        if loaded.types.get(history) == "string":
            yield error(
                f"the column {history!r} of {name!r} ({data_set.path}) is text, and a history is a "
                "list of pairs: LLaMA-Factory passes over it",
                "write pairs of question and answer, or put it into the text",
            )
        rows = _csv_rows(data_set.path)
        workers = context.number("dataloader_num_workers")
        if context.is_on("streaming") and data_set.path is not None and not workers:
            yield error(
                f"streaming: true reads no row of a file ({data_set.path}) without a worker: "
                "LLaMA-Factory stops",
                "remove streaming, or set dataloader_num_workers: 1",
            )
        # pandas takes the first for an index.
        if longer := sum(None in row for row in rows):
            yield error(
                f"{longer:,} of {data_set.extent} of {name!r} ({data_set.path}) have more fields "
                "than the header: the values are not under their columns",
                "quote texts with commas, or write the file with `llamafactory_emotion.prepare`",
            )


def _empty_parts(data_set: DataSet, *, generates: bool) -> Iterator[Finding]:
    """Answers and texts of nothing, which LLaMA-Factory trains on as they are."""
    empty = sum(not answer.strip() for _, answer in data_set.examples)
    if empty and not generates:
        report = error if empty == len(data_set.examples) else warning
        yield report(
            f"{empty:,} of {data_set.extent} of {data_set.name!r} ({data_set.path}) have an empty "
            "answer: LLaMA-Factory trains the model to say nothing there",
            "label them, or remove them",
        )
    rows = data_set.loaded.converted if data_set.loaded else ()
    prompts = (row["_prompt"][-1]["content"] for row in rows if row["_prompt"])
    if textless := sum(not str(prompt).strip() for prompt in prompts):
        yield warning(
            f"{textless:,} of {data_set.extent} of {data_set.name!r} ({data_set.path}) have no "
            "text: pandas reads NA, None and null in a CSV file as a missing value",
            "remove them, or write the file as JSON Lines",
        )


def check_label_ids(context: Context) -> Iterator[Finding]:
    """Label ids that mean other labels in a data set than in the formatting `emotion`.

    LLaMA-Factory hands a formatting the ids alone.
    """
    known = ", ".join(f"{number} {label}" for label, number in _NUMBERED)
    for data_set in context.loaded.values():
        loaded = data_set.loaded
        if loaded is None or data_set.entry.get("formatting") != EMOTION_FORMATTING:
            continue
        differ = [
            f"{number} {name}"
            for number, name in enumerate(loaded.names.get(loaded.columns.get("response", ""), ()))
            if (EMOTION.label_of(ClassName(name)), number) not in _NUMBERED
        ]
        if differ:
            first = "register its file" if data_set.path else "save it as Parquet and register that"
            yield error(
                f"{data_set.name!r} has the label ids {', '.join(differ[:_IDS_SHOWN])}"
                f"{', ...' if len(differ) > _IDS_SHOWN else ''}, and the formatting emotion reads "
                f"{known}: LLaMA-Factory would train other labels",
                f"{first} with `llamafactory_emotion.prepare`, which writes names",
            )


def check_audit(context: Context) -> Iterator[Finding]:
    """Repeats, conflicts and leaks, as `prepare` finds them."""
    train, held_out = _rows(context, "dataset"), _rows(context, "eval_dataset")
    labels = sorted({row.label for row in [*train, *held_out]})
    if not train or len(labels) > LABELS_AT_MOST:
        return
    audit = audit_splits({"train": train} | ({"eval": held_out} if held_out else {}), labels)
    if conflicts := len(audit.splits[0].conflicts):
        yield note(
            f"{conflicts} training texts{context.of_first_rows('dataset')} stand there with two "
            "labels",
            "look at them with `llamafactory_emotion.prepare --check-only`, or drop them with "
            "--drop conflicts",
        )
    if audit.leaks and context.data_sets("dataset") != context.data_sets("eval_dataset"):
        part = context.of_first_rows("dataset", "eval_dataset")
        yield warning(
            f"{len(audit.leaks)} texts that are evaluated stand in the training data, "
            f"{len(audit.leaks_other_label)} of them with another label"
            f"{' (in texts' + part + ')' if part else ''}",
            "drop them from train: `llamafactory_emotion.prepare --drop leaks`",
        )


def _rows(context: Context, key: str) -> list[Row]:
    return [
        Row(prompt, answer, number)
        for name in context.data_sets(key)
        if name in context.loaded
        for number, (prompt, answer) in enumerate(context.loaded[name].examples, start=1)
    ]


def check_cutoff(context: Context) -> Iterator[Finding]:
    """Rows longer than the cutoff: LLaMA-Factory cuts prompts on the right, the cue first."""
    cutoff = int(context.number("cutoff_len"))
    for name, lengths in context.lengths.items() if cutoff > 0 else ():
        extent, longest = context.loaded[name].extent, max(lengths)
        encoding = context.encodings[name]
        rows = encoding.rows if isinstance(encoding, Encoding) else ()
        answers = sum(row is not None and row.is_cut for row in rows)
        # LLaMA-Factory keeps the last token of a pack free.
        too_long = sum(length > cutoff - context.packs for length in lengths)
        remedy = f"raise cutoff_len to {longest + context.packs}, or shorten the texts"
        if answers and not context.generates(name):
            report = error if answers * _MANY > len(lengths) else warning
            yield report(
                f"cutoff_len {cutoff} cuts the answers of {answers:,} of {extent} of {name!r}: a "
                f"part of the label would be trained; the longest row has {longest:,} tokens",
                remedy,
            )
        elif too_long:
            yield warning(
                f"cutoff_len {cutoff}: {too_long:,} of {extent} of {name!r} are cut on the right, "
                f"where the cue is; the longest has {longest:,} tokens",
                remedy,
            )
        else:
            usual = Counter(lengths).most_common(1)[0][0]
            yield note(
                f"{name!r}: {extent}, {usual} tokens most often, {longest} at most; "
                f"cutoff_len {cutoff} cuts none of them"
            )


def check_task(context: Context) -> Iterator[Finding]:
    """Which task is asked, and by whose word; data that is of another one."""
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
    again = "write them again with `llamafactory_emotion.prepare --task FILE --overwrite`"
    answers = Counter(answer.strip() for _, answer in data_set.examples)
    words = {*map(task.word_of, task.labels)}
    strange = Counter({one: n for one, n in answers.items() if one not in task.answers})
    extent = f"{data_set.extent} of {data_set.name!r}"
    if stale := sum(n for one, n in answers.items() if one in task.answers and one not in words):
        yield warning(
            f"{stale:,} of {extent} answer with a label for which the task {task.name!r} has a "
            "word, and the word is what will be scored",
            again,
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
            again,
        )


def tasks_of(context: Context) -> list[Task]:
    """Return the tasks of the data sets, or the model's; nothing where a data set has none."""
    known = [context.task] if context.task else context.trained
    with suppress(EmotionError):  # which `check_task` reports
        tasks = [context.task_of(name) for name in context.loaded] or known
        if None not in tasks:
            known = [task for task in tasks if task]
            return [one for index, one in enumerate(known) if one not in known[:index]]
    return []


def possible_answers(context: Context) -> Sequence[str]:
    """Return the answers of the tasks, or those in the data where they can be a label set."""
    if tasks := tasks_of(context):
        words = (task.word_of(label) for task in tasks for label in task.labels)
        return list(dict.fromkeys(words))
    examples = (example for one in context.loaded.values() for example in one.examples)
    answers = {answer.strip() for _, answer in examples if answer}
    if 0 < len(answers) <= LABELS_AT_MOST:
        return sorted(answers)
    return ()


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
