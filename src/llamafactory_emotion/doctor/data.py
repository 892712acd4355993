"""Are the data sets there, sound, and short enough for the cutoff?"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.dataset_folder import EMOTION_FORMATTING, FILE_NAME
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.doctor.context import Context, DataSet
from llamafactory_emotion.doctor.finding import Finding, error, note, warning
from llamafactory_emotion.plugin import host
from llamafactory_emotion.task import EMOTION, ClassName

_LABELS_AT_MOST = 200
_IDS_SHOWN = 8
_NUMBERED = tuple((label, number) for number, label in enumerate(EMOTION.labels))
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


def check_registry(context: Context) -> Iterator[Finding]:
    """`dataset_info.json` and the names in it."""
    names = [*context.data_sets("dataset"), *context.data_sets("eval_dataset")]
    folder = str(context.value("dataset_dir"))
    if not names or folder == "ONLINE" or folder.startswith("REMOTE:"):
        return
    if context.registry_problem:
        yield error(
            "dataset-dir",
            f"{context.dataset_dir / FILE_NAME}: {context.registry_problem}",
            "name the folder with dataset_dir, or write one with `llamafactory_emotion.init`",
        )
        return
    for name in names:
        if name in context.registry:
            continue
        near = get_close_matches(name, context.registry, n=1)
        yield error(
            "dataset",
            f"{context.dataset_dir / FILE_NAME} has no data set {name!r}",
            f"write {near[0]}" if near else "register it with `llamafactory_emotion.prepare`",
        )


def check_entries(context: Context) -> Iterator[Finding]:
    """Entries of `dataset_info.json` that LLaMA-Factory reads otherwise than they are meant."""
    if any(not name for name in context.names("dataset")) and context.data_sets("dataset"):
        yield error("dataset", "dataset has a comma with no name beside it", "remove the comma")
    known, columns = host.entry_keys()
    for data_set in context.loaded.values():
        entry = data_set.entry
        named = entry.get("columns")
        strange = [(key, known) for key in entry if key not in known]
        strange += [(key, columns) for key in (named or {}) if key not in columns]
        for key, usual in strange:
            near = get_close_matches(key, usual, n=1)
            yield error(
                "entry",
                f"{context.dataset_dir / FILE_NAME}: {data_set.name!r} has a key {key!r}, which "
                "LLaMA-Factory passes over",
                f"write {near[0]}" if near else f"remove {key}",
            )
        if data_set.path is not None and entry.get("split", "train") != "train":
            yield error(
                "entry",
                f"{data_set.name!r} is a file and names the split {entry['split']!r}: a file has "
                "the split train only",
                "remove split, and register a file a split",
            )
        yield from _stage(context, data_set)


def _stage(context: Context, data_set: DataSet) -> Iterator[Finding]:
    """Training stages for which the rows are of the wrong kind."""
    stage = str(context.value("stage"))
    if stage in ("rm", "dpo") and not data_set.entry.get("ranking"):
        yield error(
            "stage",
            f"stage: {stage} compares two answers, and {data_set.name!r} has one a row: "
            "LLaMA-Factory stops",
            "stage: sft",
        )
    elif stage != "sft":
        yield warning("stage", f"stage: {stage} does not learn to answer with labels", "stage: sft")


def check_rows(context: Context) -> Iterator[Finding]:
    """Files that are not there or cannot be read; hubs that cannot be reached."""
    for data_set in context.loaded.values():
        if data_set.problem is not None:
            yield error(
                "rows",
                f"the data set {data_set.name!r} cannot be used: {data_set.problem}",
                f"mend the file or its entry in {context.dataset_dir / FILE_NAME}",
            )
        elif data_set.path is not None and not data_set.examples:
            yield error(
                "rows",
                f"the data set {data_set.name!r} has no rows with a prompt and an answer",
                "name another data set, or mend the columns of its entry in "
                f"{context.dataset_dir / FILE_NAME}",
            )
        elif data_set.path is None:
            yield _from_a_hub(data_set)
        elif data_set.more_rows:
            yield note(
                "rows",
                f"{data_set.name!r} has {data_set.rows:,} rows; {data_set.extent} are looked at",
                "look at all with `llamafactory_emotion.prepare --check-only`",
            )


def _from_a_hub(data_set: DataSet) -> Finding:
    hub = data_set.entry.get("hf_hub_url") or data_set.entry.get("ms_hub_url")
    offline = next((name for name in _OFFLINE if os.environ.get(name) == "1"), None)
    if offline:
        return warning(
            "rows",
            f"the data set {data_set.name!r} comes from a hub ({hub}) and {offline}=1",
            f"unset {offline}, unless it is in the cache already",
        )
    return note(
        "rows",
        f"the data set {data_set.name!r} is read from a hub ({hub}); its rows are not checked",
    )


def check_label_ids(context: Context) -> Iterator[Finding]:
    """Label ids that mean other labels in a data set than in the formatting `emotion`.

    LLaMA-Factory hands a formatting the ids alone.
    """
    known = ", ".join(f"{number} {label}" for label, number in _NUMBERED)
    for data_set in context.loaded.values():
        differ = _other_ids(data_set)
        if differ:
            first = "register its file" if data_set.path else "save it as Parquet and register that"
            yield error(
                "label-ids",
                f"{data_set.name!r} has the label ids {', '.join(differ[:_IDS_SHOWN])}"
                f"{', ...' if len(differ) > _IDS_SHOWN else ''}, and the formatting emotion reads "
                f"{known}: LLaMA-Factory would train other labels",
                f"{first} with `llamafactory_emotion.prepare`, which writes names",
            )


def _other_ids(data_set: DataSet) -> list[str]:
    """Give the ids of a data set in the formatting `emotion` that mean another label there."""
    if data_set.entry.get("formatting") != EMOTION_FORMATTING:
        return []
    names = data_set.class_names.get(_label_column(data_set), ())
    return [
        f"{number} {name}"
        for number, name in enumerate(names)
        if (EMOTION.label_of(ClassName(name)), number) not in _NUMBERED
    ]


def _label_column(data_set: DataSet) -> str:
    """Give the column of the answers, as LLaMA-Factory reads an entry."""
    return str(data_set.entry.get("columns", {"response": "output"}).get("response"))


def check_audit(context: Context) -> Iterator[Finding]:
    """Repeats, conflicts and leaks, as `prepare` finds them."""
    train = _rows(context, "dataset")
    held_out = _rows(context, "eval_dataset")
    labels = sorted({row.label for row in [*train, *held_out]})
    if not train or len(labels) > _LABELS_AT_MOST:
        return
    splits = {"train": train, "eval": held_out} if held_out else {"train": train}
    audit = audit_splits(splits, labels)
    conflicts = len(audit.splits[0].conflicts)
    if conflicts:
        yield note(
            "audit",
            f"{conflicts} training texts{context.of_first_rows('dataset')} stand there with two "
            "labels",
            "look at them with `llamafactory_emotion.prepare --check-only`, or drop them with "
            "--drop conflicts",
        )
    if audit.leaks and context.data_sets("dataset") != context.data_sets("eval_dataset"):
        other = sum(leak.other_label for leak in audit.leaks)
        part = context.of_first_rows("dataset", "eval_dataset")
        yield warning(
            "audit",
            f"{len(audit.leaks)} texts that are evaluated stand in the training data, {other} of "
            f"them with another label{' (in texts' + part + ')' if part else ''}",
            "drop them from train: `llamafactory_emotion.prepare --drop leaks`",
        )


def _rows(context: Context, key: str) -> list[Row]:
    return [
        Row(prompt, answer, number)
        for name in context.data_sets(key)
        if name in context.loaded
        for number, (prompt, answer) in enumerate(context.loaded[name].examples, start=1)
    ]


def check_lengths(context: Context) -> Iterator[Finding]:
    """Rows longer than the cutoff: LLaMA-Factory cuts them on the right, the cue first."""
    cutoff = int(context.number("cutoff_len"))
    for name, lengths in context.lengths.items() if cutoff > 0 else ():
        yield from _lengths(context.loaded[name], lengths, cutoff, packs=context.packs)


def _lengths(
    data_set: DataSet, lengths: Sequence[int], cutoff: int, *, packs: bool
) -> Iterator[Finding]:
    longest = max(lengths)
    # LLaMA-Factory keeps the last token of a pack free.
    too_long = sum(length > cutoff - packs for length in lengths)
    if too_long:
        yield warning(
            "cutoff",
            f"cutoff_len {cutoff}: {too_long:,} of {data_set.extent} of {data_set.name!r} are cut "
            f"on the right, where the cue is; the longest has {longest:,} tokens",
            f"raise cutoff_len to {longest + packs}, or shorten the texts",
        )
    else:
        usual = Counter(lengths).most_common(1)[0][0]
        yield note(
            "cutoff",
            f"{data_set.name!r}: {data_set.extent}, {usual} tokens most often, {longest} at most; "
            f"cutoff_len {cutoff} cuts none of them",
        )


DATA: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    check_registry,
    check_entries,
    check_rows,
    check_label_ids,
    check_audit,
    check_lengths,
)
