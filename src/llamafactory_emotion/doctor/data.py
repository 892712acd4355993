"""Does LLaMA-Factory read the data sets as they are meant: loaded, labelled, whole?"""

from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.dataset_folder import TASK_KEY
from llamafactory_emotion.data.entries import HUB
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.doctor.answers import LABELS_AT_MOST
from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning
from llamafactory_emotion.doctor.loading import OFFLINE, DataSet
from llamafactory_emotion.plugin.host_data import entry_keys
from llamafactory_emotion.plugin.host_encoding import Encoding

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
                f"{context.registry_file} has no data set {name!r}",
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
                f"{context.registry_file}: {data_set.name!r} has a key {key!r}, which "
                "LLaMA-Factory passes over",
                f"write {near[0]}" if near else f"remove {key}",
            )


def check_stage(context: Context) -> Iterator[Finding]:
    """Training stages for which the rows are of the wrong kind."""
    stage = str(context.value("stage"))
    for data_set in context.loaded.values():
        if data_set.ranks != (stage in ("rm", "dpo")):
            answers = "two answers" if data_set.ranks else "one answer"
            yield error(
                f"{data_set.name!r} has {answers} a row, which stage: {stage} does not take: "
                "LLaMA-Factory stops",
                "remove ranking from its entry and name one response"
                if data_set.ranks
                else "stage: sft",
            )
        elif stage != "sft":
            yield warning(f"stage: {stage} does not learn to answer with labels", "stage: sft")


def check_rows(context: Context) -> Iterator[Finding]:
    """What LLaMA-Factory cannot load or encode, and what is not looked at."""
    registry = context.registry_file
    for name, data_set in context.loaded.items():
        what = f"the data set {name!r} ({data_set.path or data_set.entry.get(HUB) or registry})"
        encoding, unasked = context.encodings.get(name), data_set.unasked
        if data_set.problem is not None:
            yield error(
                f"LLaMA-Factory cannot load {what}: {data_set.problem}",
                f"mend it or its entry in {registry}, or write it with "
                "`llamafactory_emotion.prepare`, which reads more formats",
            )
        elif isinstance(encoding, str):
            yield error(f"LLaMA-Factory cannot encode {what}: {encoding}", "mend that row")
        elif unasked is not None and unasked.startswith(OFFLINE):
            yield warning(
                f"{what} comes from a hub and {unasked}",
                f"unset {unasked.split('=')[0]}, unless it is in the cache already",
            )
        elif unasked is not None:
            yield note(f"{what} is not on this machine, and its rows are not checked: {unasked}")
        elif data_set.more_rows:
            rows = "more rows" if data_set.rows is None else f"{data_set.rows:,} rows"
            yield note(
                f"{name!r} has {rows}; {data_set.extent} are looked at",
                "look at all with `llamafactory_emotion.prepare --check-only`",
            )


def check_answers(context: Context) -> Iterator[Finding]:
    """Rows without an answer that LLaMA-Factory can read: it drops them when it trains."""
    for name, data_set in context.loaded.items():
        if (loaded := data_set.loaded) is None or data_set.ranks or context.value("stage") != "sft":
            continue
        generates = context.generates(name)
        unread = Counter(
            _why_unread(data_set, number)
            for number, row in enumerate(loaded.converted)
            if _is_dropped(context, name, number) or (generates and not row["_response"])
        )
        if unread.total() == data_set.rows_read and not generates:
            yield error(
                f"none of {data_set.described} can be trained on: {', '.join(sorted(unread))}; "
                "LLaMA-Factory stops",
                "write the labels as text, with `llamafactory_emotion.prepare` say, or mend the "
                f"columns in {context.registry_file}",
            )
            continue
        if generates:
            del unread[_UNLABELLED]
        for reason, rows in unread.items():
            yield _unread(data_set, rows, reason, generates=generates)
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
    if loaded.raw[number].get(column) is not None:
        kind = "label ids" if column in loaded.names else loaded.types[column]
        return f"the column {column!r} holds {kind} and not text"
    written = data_set.csv_rows[number].get(column) if number < len(data_set.csv_rows) else None
    if written in _MISSING_VALUES:
        return f"the column {column!r} says {written!r}, which pandas reads as a missing value"
    return _UNLABELLED


def _unread(data_set: DataSet, rows: int, reason: str, *, generates: bool) -> Finding:
    verb = "predicts without their labels" if generates else "drops"
    report = warning
    if reason == _UNLABELLED:
        remedy = "label them, or remove them"
    elif reason == _OUT_OF_ORDER:
        remedy = "let each conversation begin with the user and end with the answer"
    else:
        remedy = "write the labels as text in JSON Lines, with `llamafactory_emotion.prepare` say"
        report = warning if generates else error
    return report(f"LLaMA-Factory {verb} {rows:,} of {data_set.described}: {reason}", remedy)


def _empty_parts(data_set: DataSet, *, generates: bool) -> Iterator[Finding]:
    """Answers and texts of nothing, which LLaMA-Factory trains on as they are."""
    empty = sum(not answer.strip() for _, answer in data_set.examples)
    if empty and not generates:
        report = error if empty == len(data_set.examples) else warning
        yield report(
            f"{empty:,} of {data_set.described} have an empty answer: LLaMA-Factory trains the "
            "model to say nothing there",
            "label them, or remove them",
        )
    rows = data_set.loaded.converted if data_set.loaded else ()
    prompts = (row["_prompt"][-1]["content"] for row in rows if row["_prompt"])
    if textless := sum(not str(prompt).strip() for prompt in prompts):
        yield warning(
            f"{textless:,} of {data_set.described} have no text: pandas reads NA, None and null in "
            "a CSV file as a missing value",
            "remove them, or write the file as JSON Lines",
        )


def check_fields(context: Context) -> Iterator[Finding]:
    """What the host reads otherwise, or not at all: text as history, too many fields, no shard."""
    workers = context.number("dataloader_num_workers")
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
        if context.is_on("streaming") and data_set.path is not None and not workers:
            yield error(
                f"streaming: true reads no row of a file ({data_set.path}) without a worker: "
                "LLaMA-Factory stops",
                "remove streaming, or set dataloader_num_workers: 1",
            )
        # pandas takes the first for an index.
        if longer := sum(None in row for row in data_set.csv_rows):
            yield error(
                f"{longer:,} of {data_set.described} have more fields than the header: the values "
                "are not under their columns",
                "quote texts with commas, or write the file with `llamafactory_emotion.prepare`",
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
    for name, encoding in context.encodings.items():
        if isinstance(encoding, str) or not encoding.lengths or cutoff < 1:
            continue
        extent, lengths = context.loaded[name].extent, encoding.lengths
        longest, cut = max(lengths), sum(row is not None and row.is_cut for row in encoding.rows)
        # LLaMA-Factory keeps the last token of a pack free.
        too_long = sum(length > cutoff - context.packs for length in lengths)
        remedy = f"raise cutoff_len to {longest + context.packs}, or shorten the texts"
        if cut and not context.generates(name):
            report = error if cut * _MANY > len(lengths) else warning
            yield report(
                f"cutoff_len {cutoff} cuts the answers of {cut:,} of {extent} of {name!r}: a part "
                f"of the label would be trained; the longest row has {longest:,} tokens",
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
