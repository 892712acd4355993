"""What a run was trained for: `emotion_run.json` in its folder, its checkpoints and its exports.

The plug-in writes it; `task_choice` reads it, so that nobody names a task twice.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.files import write_json
from llamafactory_emotion.task import Task, task_of

RECORD_NAME = "emotion_run.json"
# The key of config.json under which `export_classifier` keeps the prompt of a folder.
BAKED_PROMPT = "baked_prompt"
_FORMAT = 1


@dataclass(frozen=True)
class RunRecord:
    """The tasks, the template and the data sets of a run.

    Attributes:
        tasks: What its data sets ask, as far as that is known.
        template: The template's name, as in `template=NAME`.
        datasets: The names of its data sets.
        versions: Package to version.
    """

    tasks: tuple[Task, ...]
    template: str
    datasets: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def write_record(folder: str | Path, record: RunRecord) -> None:
    """Write a run's record into a folder, whole or not at all; the folder is made if need be."""
    content = {
        "format": _FORMAT,
        "template": record.template,
        "datasets": list(record.datasets),
        "tasks": [task.as_mapping() for task in record.tasks],
        "versions": dict(record.versions),
    }
    text = json.dumps(content, ensure_ascii=False, indent=2)
    write_json(Path(folder) / RECORD_NAME, text, overwrite=True)


def read_record(folder: str | Path) -> RunRecord | None:
    """Read the record in a folder; None where it has none.

    Raises:
        DataError: The record is broken, or of a later version of this package.
    """
    path = Path(folder) / RECORD_NAME
    if not path.is_file():
        return None
    try:
        return _record_of(json.loads(path.read_bytes()))
    except (DataError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise DataError(
            f"{path} is not a run's record ({reason}); mend it, or remove it and give task=."
        ) from error


def _record_of(content: Any) -> RunRecord:
    number = content["format"]
    if isinstance(number, int) and number > _FORMAT:
        raise DataError(
            f"a later version of llamafactory_emotion wrote it: format {number}, known up to "
            f"{_FORMAT}"
        )
    texts = [content["template"], *content["datasets"], *content["versions"].values()]
    if number != _FORMAT or not all(isinstance(text, str) for text in texts):
        raise TypeError("a value of the wrong type")
    tasks = merged_tasks(task_of(task, "an entry of tasks") for task in content["tasks"])
    return RunRecord(tasks, content["template"], tuple(content["datasets"]), content["versions"])


def merged_tasks(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """Return tasks in their order, each once."""
    return tuple({task.fingerprint: task for task in tasks}.values())


def merged(records: Iterable[RunRecord]) -> RunRecord | None:
    """Return one record for a model that several runs made; None for no record.

    The tasks and data sets are those of all, the rest is the last one's.
    """
    records = list(records)
    if not records:
        return None
    return RunRecord(
        merged_tasks(task for record in records for task in record.tasks),
        records[-1].template,
        tuple(dict.fromkeys(name for record in records for name in record.datasets)),
        records[-1].versions,
    )
