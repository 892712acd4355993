"""Data sets by their names in `dataset_info.json`, files or on the hub, without LLaMA-Factory."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llamafactory_emotion.data.columns import NO_COLUMN, Reading
from llamafactory_emotion.data.dataset_folder import (
    ALPACA_FORMATTING,
    EMOTION_FORMATTING,
    FILE_NAME,
    read_dataset_info,
    read_entry,
)
from llamafactory_emotion.data.reading import (
    FileNotes,
    Row,
    checked_rows,
    has_labels,
    iterate_rows,
)
from llamafactory_emotion.data.records import BrokenRecord, Record, Source, open_source
from llamafactory_emotion.data.tables import class_names, with_class_names
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.task import Task

HUB = "hf_hub_url"
_FILE = "file_name"
_SECONDS = 5.0
_SHAREGPT_FORMATTING = "sharegpt"
_CONVERSATION = "conversations"
# LLaMA-Factory's names for the parts of a turn, where an entry has no `tags`.
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "system_tag": "system",
    "user_tag": "human",
    "assistant_tag": "gpt",
}


@dataclass(frozen=True)
class Entry:
    """A data set that `dataset_info.json` names.

    Attributes:
        name: Its name there.
        says: What is said of it there, as LLaMA-Factory reads it.
        folder: The folder of `dataset_info.json`.
        cache_dir: Where what comes from the hub is kept.
        token: For the hub.
    """

    name: str
    says: Mapping[str, Any]
    folder: Path
    cache_dir: str | None = None
    token: str | None = None

    @property
    def path(self) -> Path | None:
        """Its file or folder, or None where it is on the hub."""
        if HUB not in self.says:
            return self.folder / str(self.says[_FILE])
        return Path(self.says[HUB]) if Path(self.says[HUB]).is_dir() else None

    @property
    def formatting(self) -> str:
        """The formatting, `alpaca` where none is named."""
        return str(self.says.get("formatting", ALPACA_FORMATTING))

    def rows(
        self,
        task: Task,
        *,
        text_column: str | None = None,
        label_column: str | None = None,
        notes: FileNotes | None = None,
    ) -> Iterator[Row]:
        """Yield its labelled texts without their instructions, as a head reads them.

        The columns given come before those that the entry names.
        """
        named = self._columns()
        if text_column:
            named = replace(named, text_column=text_column, instruction_column=None)
        label = label_column or named.label_column or None
        return checked_rows(self._open(), task, replace(named, label_column=label), notes=notes)

    def asked(self, task: Task) -> Iterator[Row]:
        """Yield its rows as LLaMA-Factory asks them, with their instructions and any labels."""
        named = replace(self._columns(), asked=self.formatting != EMOTION_FORMATTING)
        split = self.path is None or has_labels(self.path, task, None)
        for row in checked_rows(self._open(split_labels=split), task, named, labelled=False):
            yield row if named.asked else row._replace(instruction=task.instruction)

    def _columns(self) -> Reading:
        """Return the columns that the entry names; none where it leaves them to the defaults."""
        columns = self.says.get("columns", {})
        text, instruction = columns.get("prompt"), None
        if columns.get("query") and self.formatting == ALPACA_FORMATTING:
            text, instruction = columns["query"], text
        label = (columns.get("response") or NO_COLUMN) if columns else None
        return Reading(text, label, instruction)

    def _open(self, *, split_labels: bool = True) -> Source:
        """Open its records; label ids that it has names for become these.

        A conversation is in one column, with OpenAI's names of roles and keys. Lines of plain text
        are `text;label`, unless `split_labels` is off.

        Raises:
            CallError: Its file is of no known format.
            DataError: It cannot be loaded from the hub.
        """
        if HUB in self.says:
            source = self._open_at_hub()
        else:
            source = open_source(self.folder / str(self.says[_FILE]), split_labels=split_labels)
        if self.formatting != _SHAREGPT_FORMATTING:
            return source
        return replace(source, records=map(self._as_conversation, source.records))

    def _as_conversation(self, record: Record | BrokenRecord) -> Record | BrokenRecord:
        if isinstance(record, BrokenRecord):
            return record
        column = self.says.get("columns", {}).get("messages") or _CONVERSATION
        tags = {**_TAGS, **self.says.get("tags", {})}
        roles = {tags[f"{role}_tag"]: role for role in ("user", "assistant", "system")}
        turns = record.fields.get(column)
        if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
            return BrokenRecord(record.line, f"no list of turns in the column {column!r}")
        told = [(str(turn.get(tags["role_tag"])), turn.get(tags["content_tag"])) for turn in turns]
        renamed = [{"role": roles.get(role, role), "content": text} for role, text in told]
        return Record(record.line, {_CONVERSATION: renamed})

    def _open_at_hub(self) -> Source:
        from datasets import load_dataset
        from huggingface_hub import constants

        url, split = str(self.says[HUB]), self.says.get("split") or "train"
        name = f"the data set {self.name!r} ({url}, split {split})"
        # `load_dataset` tries a dead hub again and again, for minutes.
        if not constants.HF_HUB_OFFLINE and (problem := unreachable(url, self.token)):
            raise DataError(
                f"{name}: {problem}; name a file, or set HF_HUB_OFFLINE=1 if it is in the cache."
            )
        try:
            rows = load_dataset(
                url,
                name=self.says.get("subset"),
                data_dir=self.says.get("folder"),
                split=split,
                cache_dir=self.cache_dir,
                token=self.token,
            )
        except _failures() as error:
            reason = [*str(error).strip().splitlines(), type(error).__name__][0].rstrip(".")
            raise DataError(
                f"{name} cannot be loaded: {reason}; without a network, name a file instead."
            ) from error
        names = class_names(rows.features)
        records = (
            Record(number, with_class_names(fields, names))
            for number, fields in enumerate(rows, start=1)
        )
        return Source(name, records, lambda row: f"{name}: row {row}")


def read_entries(
    names: str, folder: Path, *, cache_dir: str | None = None, token: str | None = None
) -> list[Entry]:
    """Find data sets by their names, one or several with commas, in a folder's `dataset_info.json`.

    Raises:
        CallError: A name is not there, or its entry is of a kind that is not read here.
        DataError: The file or an entry is not what LLaMA-Factory reads.
    """
    entries = read_dataset_info(folder).entries
    found = []
    for name in (part.strip() for part in names.split(",")):
        if name not in entries:
            known = ", ".join(entries) or "it has none"
            raise CallError(
                f"{name!r} is no data set of {folder / FILE_NAME} ({known}); name one of these, "
                "another folder with dataset_dir, or a file that is there."
            )
        entry = Entry(name, read_entry(entries, name, folder), folder, cache_dir, token)
        if problem := _unreadable(entry):
            raise CallError(f"the data set {name!r} {problem}.")
        found.append(entry)
    return found


def _unreadable(entry: Entry) -> str | None:
    """Return why we do not read what LLaMA-Factory may read, and what to do, or None."""
    says, formatting = entry.says, entry.formatting
    unread = [key for key in ("system", "history", "tools") if says.get("columns", {}).get(key)]
    if formatting not in (ALPACA_FORMATTING, EMOTION_FORMATTING, _SHAREGPT_FORMATTING):
        return (
            f"has the formatting {formatting!r}, and alpaca, sharegpt and emotion are read here; "
            "name its file itself"
        )
    if says.get("num_samples"):
        return (
            "asks for num_samples, a random draw that only LLaMA-Factory can repeat; remove it, or "
            "use max_samples for the first rows"
        )
    if unread:
        return (
            f"names a column for {' and '.join(unread)}, which belongs to the prompt and is not "
            "read here; predict it with llamafactory-cli"
        )
    if HUB not in says and _FILE not in says:
        return f"has neither {_FILE} nor {HUB}; download it and name a file of its texts"
    return None


def labelled_rows(
    source: str,
    folder: str | Path,
    task: Task,
    *,
    tell: Callable[[str], None],
    cache_dir: str | None = None,
    token: str | None = None,
    **reading: Any,
) -> Iterator[Row]:
    """Yield the labelled rows of a file, or of data sets by their names as in `read_entries`.

    `tell` is told the columns of each, once it is read. `reading` are attributes of
    `columns.Reading`, of which a data set takes the columns alone.
    """
    if source == STANDARD_STREAM or Path(source).exists():
        notes = FileNotes()
        yield from iterate_rows(source, task, notes=notes, **reading)
        tell(f"{source}: {notes.columns}")
        return
    columns = {key: reading.get(key) for key in ("text_column", "label_column")}
    for entry in read_entries(source, Path(folder), cache_dir=cache_dir, token=token):
        notes = FileNotes()
        yield from entry.rows(task, **columns, notes=notes)
        tell(f"{entry.name}: {notes.columns}")


def unreachable(url: str, token: str | None) -> str | None:
    """Return why a hub does not hand out a data set, or None; a folder is taken for one."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    if Path(url).is_dir():
        return None
    try:
        HfApi(token=token).dataset_info(url, timeout=_SECONDS)
    except RepositoryNotFoundError:
        return "the hub has no such data set, or it is private"
    except _failures() as error:
        return f"the hub cannot be reached ({type(error).__name__})"
    return None


def _failures() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError
    from httpx import HTTPError

    return OSError, ValueError, RuntimeError, DatasetsError, HTTPError
