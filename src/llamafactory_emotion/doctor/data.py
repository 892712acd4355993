"""Are the data sets there, sound, short enough for the cutoff, and of the task?"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.dataset_folder import EMOTION_FORMATTING, FILE_NAME
from llamafactory_emotion.data.entries import HUB, HubAddress, hub_class_names
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.data.tables import ClassNames, parquet_class_names
from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning
from llamafactory_emotion.doctor.loading import DataSet, data_files
from llamafactory_emotion.plugin import host
from llamafactory_emotion.task import EMOTION, ClassName

LABELS_AT_MOST = 200
_IDS_SHOWN, _ANSWERS_SHOWN = 8, 100
_NUMBERED = tuple((label, number) for number, label in enumerate(EMOTION.labels))
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


def check_dataset_dir(context: Context) -> Iterator[Finding]:
    """`dataset_info.json` is not there or not readable."""
    problem = context.registry[1]
    if problem and _names_here(context):
        yield error(
            f"{context.dataset_dir / FILE_NAME}: {problem}",
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
    known, columns = host.entry_keys()
    for data_set in context.loaded.values():
        entry = data_set.entry
        strange = [(key, known) for key in entry if key not in known]
        strange += [(key, columns) for key in entry.get("columns") or () if key not in columns]
        for key, usual in strange:
            near = get_close_matches(key, usual, n=1)
            yield error(
                f"{context.dataset_dir / FILE_NAME}: {data_set.name!r} has a key {key!r}, which "
                "LLaMA-Factory passes over",
                f"write {near[0]}" if near else f"remove {key}",
            )
        if data_set.path is not None and entry.get("split", "train") != "train":
            yield error(
                f"{data_set.name!r} is a file and names the split {entry['split']!r}: a file has "
                "the split train only",
                "remove split, and register a file a split",
            )


def check_stage(context: Context) -> Iterator[Finding]:
    """Training stages for which the rows are of the wrong kind."""
    stage = str(context.value("stage"))
    for data_set in context.loaded.values():
        if stage in ("rm", "dpo") and not data_set.entry.get("ranking"):
            yield error(
                f"stage: {stage} compares two answers, and {data_set.name!r} has one a row: "
                "LLaMA-Factory stops",
                "stage: sft",
            )
        elif stage != "sft":
            yield warning(f"stage: {stage} does not learn to answer with labels", "stage: sft")


def check_rows(context: Context) -> Iterator[Finding]:
    """Files that are not there or cannot be read; hubs that cannot be reached."""
    registry = context.dataset_dir / FILE_NAME
    offline = next((name for name in _OFFLINE if os.environ.get(name) == "1"), None)
    for data_set in context.loaded.values():
        name, entry = data_set.name, data_set.entry
        hub = entry.get("hf_hub_url") or entry.get("ms_hub_url")
        if data_set.problem is not None:
            yield error(
                f"the data set {name!r} cannot be used: {data_set.problem}",
                f"mend the file or its entry in {registry}",
            )
        elif data_set.path is not None and not data_set.examples:
            yield error(
                f"the data set {name!r} has no rows with a prompt and an answer",
                f"name another data set, or mend the columns of its entry in {registry}",
            )
        elif data_set.path is None and offline:
            yield warning(
                f"the data set {name!r} comes from a hub ({hub}) and {offline}=1",
                f"unset {offline}, unless it is in the cache already",
            )
        elif data_set.path is None:
            yield note(
                f"the data set {name!r} is read from a hub ({hub}); its rows are not checked"
            )
        elif data_set.more_rows:
            yield note(
                f"{name!r} has {data_set.rows:,} rows; {data_set.extent} are looked at",
                "look at all with `llamafactory_emotion.prepare --check-only`",
            )


def check_label_ids(context: Context) -> Iterator[Finding]:
    """Label ids that mean other labels in a data set than in the formatting `emotion`.

    LLaMA-Factory hands a formatting the ids alone.
    """
    known = ", ".join(f"{number} {label}" for label, number in _NUMBERED)
    for data_set in context.loaded.values():
        if data_set.entry.get("formatting") != EMOTION_FORMATTING:
            continue
        column = data_set.entry.get("columns", {"response": "output"}).get("response")
        differ = [
            f"{number} {name}"
            for number, name in enumerate(_class_names(context, data_set).get(str(column), ()))
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


def _class_names(context: Context, data_set: DataSet) -> ClassNames:
    if data_set.problem is not None:
        return {}
    if data_set.path is not None:
        first = next(iter(data_files(data_set.path)), data_set.path)
        return parquet_class_names(first) if first.suffix == ".parquet" else {}
    entry = data_set.entry
    if HUB not in entry or (context.switched_on("USE_MODELSCOPE_HUB") and "ms_hub_url" in entry):
        return {}
    fetched = {"cache_dir": context.value("cache_dir"), "token": context.value("hf_hub_token")}
    return hub_class_names(HubAddress.of_entry(entry), **fetched)


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
    """Rows longer than the cutoff: LLaMA-Factory cuts them on the right, the cue first."""
    cutoff = int(context.number("cutoff_len"))
    for name, lengths in context.lengths.items() if cutoff > 0 else ():
        extent, longest = context.loaded[name].extent, max(lengths)
        # LLaMA-Factory keeps the last token of a pack free.
        too_long = sum(length > cutoff - context.packs for length in lengths)
        if too_long:
            yield warning(
                f"cutoff_len {cutoff}: {too_long:,} of {extent} of {name!r} are cut on the right, "
                f"where the cue is; the longest has {longest:,} tokens",
                f"raise cutoff_len to {longest + context.packs}, or shorten the texts",
            )
        else:
            usual = Counter(lengths).most_common(1)[0][0]
            yield note(
                f"{name!r}: {extent}, {usual} tokens most often, {longest} at most; "
                f"cutoff_len {cutoff} cuts none of them"
            )


def check_task(context: Context) -> Iterator[Finding]:
    """Answers that are no label of the task named with `task=`, and another instruction."""
    if (task := context.task) is None:
        return
    for data_set in context.loaded.values():
        answers = (answer.strip() for _, answer in data_set.examples)
        strange = Counter(answer for answer in answers if answer not in task.labels)
        extent = f"{data_set.extent} of {data_set.name!r}"
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
                "write them again with `llamafactory_emotion.prepare --task FILE --overwrite`",
            )


def labels_of(context: Context) -> Sequence[str]:
    """Return the task's labels, or the answers in the data where they can be a label set."""
    if context.task is not None:
        return context.task.labels
    examples = (example for one in context.loaded.values() for example in one.examples)
    answers = {answer.strip() for _, answer in examples if answer}
    if 0 < len(answers) <= LABELS_AT_MOST:
        return sorted(answers)
    named = [context.registry[0].get(name) for name in context.data_sets("dataset")]
    if any(isinstance(one, dict) and one.get("formatting") == EMOTION_FORMATTING for one in named):
        return EMOTION.labels
    return ()


def check_answer_length(context: Context) -> Iterator[Finding]:
    """Labels that `max_new_tokens` cuts off: what is left may read as another label."""
    most, labels = int(context.number("max_new_tokens")), labels_of(context)
    if not context.is_on("predict_with_generate") or not labels or most < 1:
        return
    encoded = context.encode(("x", label) for label in labels)
    if encoded is None:
        return
    needed, label = max(zip(map(len, encoded.answers), labels, strict=True))
    if needed > most:
        yield error(
            f"max_new_tokens {most}: the label {label!r} and its end are {needed} tokens, and what "
            "is left of a label once cut may read as another one",
            f"write max_new_tokens: {needed}",
        )
