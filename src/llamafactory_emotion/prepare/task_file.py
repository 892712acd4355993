"""A task that fits labels which are none of the task's: offered, and written by `write_task`."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_emotion.data.reading import iterate_rows
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import Task, instruction_for
from llamafactory_emotion.text import loose_key

if TYPE_CHECKING:
    from llamafactory_emotion.scoring.words import Encode

# What names a class has far fewer values than rows, and not thousands of them.
_MOST_LABELS = 1000
_ROWS_PER_LABEL = 2
_FEW = 20  # so many are believed of a small file
# So many times fewer rows, and letters and digits that are nearly the same.
_TIMES_AS_COMMON, _ALIKE = 4, 0.85
_NAMES_ALL = (
    "# The instruction names all labels, as a model without training needs. Where you train,\n"
    "# a short question is enough and takes fewer tokens in every row.\n"
)
_WHOLE = re.compile(r"^(-?\d+)\.0$")


def fitting_task(
    path: Path, name: str | None, reading: Mapping[str, Any], encode: "Encode | None"
) -> Task:
    """Return a task whose labels are those of a file, in alphabetical order.

    Spellings that a gold value may have (`Billing `, `billing`) are one label, in the most frequent
    of them. The task's name is `name`, or the file's. With `encode`, labels of several tokens get
    words of one, and the instruction names both.

    Raises:
        CallError: The label column holds too many different values, or no two labels.
        DataError: The file cannot be read.
    """
    spellings: dict[str, Counter[str]] = {}
    rows = 0
    for row in iterate_rows(path, None, **{**reading, "skip_empty": True}):
        rows += 1
        label = _WHOLE.sub(r"\1", " ".join(row.label.split()))
        spellings.setdefault(loose_key(label), Counter())[label] += 1
        if len(spellings) > _MOST_LABELS:
            break
    if len(spellings) > min(_MOST_LABELS, max(_FEW, rows / _ROWS_PER_LABEL)):
        raise CallError(
            f"{path}: {len(spellings):,} different labels in {rows:,} rows are no classes; name "
            "the right column with label_column."
        )
    common = (counts.most_common(1)[0][0] for counts in spellings.values())
    labels = sorted(common, key=lambda label: label.zfill(9) if label.isdigit() else label)
    name = name or path.name.partition(".")[0]
    try:
        task = Task(name, tuple(labels), instruction_for(labels))
    except DataError as error:
        raise CallError(
            f"{path}: name the column of the labels with label_column; {error}"
        ) from error
    if encode is None:
        return task
    from llamafactory_emotion.scoring.words import suggest_words

    words = suggest_words(task, encode)
    return replace(task, words=words, instruction=instruction_for(labels, words))


def look_alikes(labels: Iterable[str]) -> Iterator[str]:
    """Say which label of few rows looks like another spelling of one with many more."""
    counts = Counter(labels)
    letters = {label: "".join(filter(str.isalnum, loose_key(label))) for label in counts}
    for label, rows in counts.items():
        common = {letters[one]: one for one, n in counts.items() if n >= _TIMES_AS_COMMON * rows}
        for near in get_close_matches(letters[label], common, n=1, cutoff=_ALIKE):
            other = common[near]
            yield (
                f"{label!r} ({rows:,}) may be {other!r} ({counts[other]:,}) in another spelling; "
                "if it is, mend the data and write the task anew with overwrite=true"
            )


def offer(fit: Callable[[], Task], task: Task) -> str:
    """Return what to say about a file most of whose labels are none of the task's, or nothing."""
    try:
        fitting = fit()
    except (CallError, DataError):
        return ""
    known = sum(task.label_of(label) is not None for label in fitting.labels)
    if known * 2 > len(fitting.labels):
        return ""
    return (
        f"\nThese labels would be a task of their own; write_task={fitting.name}.yaml in this "
        f"call writes and uses it:\n{task_text(fitting)}"
    )


def task_text(task: Task) -> str:
    """Return the text of a task's file."""
    import yaml

    text = yaml.safe_dump(task.as_mapping(), sort_keys=False, allow_unicode=True, width=10_000)
    return str(text).rstrip("\n")


def written_text(task: Task) -> str:
    """Return what `write_task` writes: the task's text, and what may be better in it."""
    return _NAMES_ALL + task_text(task)
