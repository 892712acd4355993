"""Look rows of predictions up in other data: the file predicted, and the training data.

LLaMA-Factory writes the whole prompt: template, instruction, text, template. `TextFinder` finds the
text in it. `SourceJoin` passes rows on to the judge with the gold label of the source and counts
what does not fit; `TrainLookup` sees judged rows and counts the errors that the training data
explains. Both hold the data they compare with.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.judging import Judged
from llamafactory_emotion.files import STANDARD_STREAM
from llamafactory_emotion.metrics.counts import Metrics, metrics_of
from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.task import ANSWER_CUE, Task
from llamafactory_emotion.text import SPECIAL_TOKEN, FirstFew, shorten

if TYPE_CHECKING:
    from llamafactory_emotion.data.reading import Row

_shown = partial(shorten, length=80)
# Rows from which a frame is learned, and the share of texts found that makes it needless.
_SAMPLE = 30
_ENOUGH_FOUND = 0.8
# What templates put around a text in words: before it where the instruction is the system's, and
# after it. vLLM's rows leave special tokens out, but not the roles between them.
_ROLE_BEFORE = re.compile(
    r"\A\s*(?:#{1,3}\s*)?(?:(?:gpt4 correct )?(?:user|human|question|instruction):"
    r"|(?<!\n)(?:user|question)(?: name=\w+)?\n|reserved_0|\[round \d+\]\s+问："
    r"|<human>:)\s*",
    re.IGNORECASE,
)
_ROLE_AFTER = re.compile(
    r"(?:(?:\s+|\s*#{1,3}\s*)(?:assistant|response|answer|falcon|belle):|\s+答：|\s*<bot>:|<ai>"
    r"|\s*gpt4 correct assistant:|\s*(?:assistant|model|answer)\s*\n(?:thought\s*\n)?|\s*reserved_1"
    r"|\s*assistantanalysisassistantfinal)\s*(?:<(?:seed:)?think>\s*</(?:seed:)?think>\s*)?\Z"
    r"|\s*</?(?:seed:)?think>\s*",
    re.IGNORECASE,
)
_ROLES = re.compile(
    r"\s*(?:(?:gpt4 correct )?(?:user|human|assistant)|model|ai(?: name=\w+)?)?\s*\Z", re.IGNORECASE
)


class DataFile(NamedTuple):
    """A data file's name and rows, and how it is read."""

    name: str
    rows: "Sequence[Row]"
    encoding: str | None = None
    sheet: str | None = None


def join_key(text: str) -> str:
    """Return what two writings of one text share: decoding tokens may change the spaces."""
    return "".join(text.split())


class TextFinder:
    """Finds the text of a row; one is shared by all who look at the rows of a file.

    It is the row's key `text` where there is one, else what follows the task's instruction in the
    prompt, up to the end of the turn. For prompts with another instruction `learn` finds the
    frame: what comes before and after the text in every one of them.
    """

    def __init__(self, task: Task) -> None:
        """Look behind the task's instruction until a frame is learned."""
        self._instruction = task.instruction
        self._frame: tuple[str, str] | None = None

    def find(self, row: Prediction) -> str | None:
        """Return the text of a row, or None where it cannot be told."""
        prompt = row.prompt
        if row.text is not None or prompt is None:
            return row.text
        if self._frame is not None:
            before, after = self._frame
            fits = prompt.startswith(before) and prompt.endswith(after)
            room = len(prompt) - len(before) - len(after)
            return prompt[len(before) :][:room] if fits and room >= 0 else None
        _, found, rest = prompt.partition(self._instruction)
        if not found:
            return None
        if rest.endswith(ANSWER_CUE):
            return rest.removesuffix(ANSWER_CUE).strip()
        for said in SPECIAL_TOKEN.split(rest):
            text = _ROLE_AFTER.sub("", _ROLE_BEFORE.sub("", said))
            if not _ROLES.fullmatch(text):
                return text.strip()
        return ""

    def learn(self, rows: Sequence[Prediction], texts: Sequence[str], keys: Container[str]) -> None:
        """Learn the frame of the prompts where it finds more texts than the instruction does.

        Args:
            rows: The first rows of the file.
            texts: Texts of which the file's are a part, or which are a part of the file's.
            keys: Their `join_key`s.
        """
        found = self._count_found(rows, keys)
        if found < _ENOUGH_FOUND * len(rows):
            self._frame = _common_frame([row.prompt for row in rows if row.prompt], texts)
            if self._count_found(rows, keys) <= found:
                self._frame = None

    def _count_found(self, rows: Sequence[Prediction], keys: Container[str]) -> int:
        found = (self.find(row) for row in rows)
        return sum(text is not None and join_key(text) in keys for text in found)


def _common_frame(prompts: Iterable[str], texts: Iterable[str]) -> tuple[str, str] | None:
    """Return what most prompts have around one of the texts, if two different texts share it."""
    longest_first = sorted({text.strip() for text in texts} - {""}, key=len, reverse=True)
    framed: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for prompt in prompts:
        text = next((text for text in longest_first if text in prompt), None)
        if text is not None:
            # The instruction may hold a short text as well; the last one is the text.
            before, _, after = prompt.rpartition(text)
            framed[before, after].add(text)
    best = max(framed, key=lambda frame: len(framed[frame]), default=None)
    return best if best is not None and len(framed[best]) > 1 else None


def texts_needed(key: str, task: Task) -> DataError:
    """Return the error that a key needs texts which the rows do not tell."""
    return DataError(
        f"{key} needs the texts that were classified, but the predictions have no key 'text' and "
        f"prompts without the instruction of the task {task.name!r}; name the predicted file with "
        "source=, or the right task with task=."
    )


Listed = FirstFew[tuple[int, str]]  # line and what is said of it


@dataclass
class RowCheck:
    """Predictions against their source."""

    source: str
    source_rows: int
    matched: int = 0  # rows found in both; these are the ones judged
    missing: Listed = field(default_factory=Listed)  # source rows without a prediction
    extra: Listed = field(default_factory=Listed)  # texts not in the source; left out
    repeated: Listed = field(default_factory=Listed)  # more often than in the source; left out
    other_gold: Listed = field(default_factory=Listed)  # judged by the source's label


class SourceJoin:
    """Joins predictions with their source by text, or by id where they have no prompts.

    Each source row is taken once.
    """

    def __init__(self, source: DataFile, task: Task, finder: TextFinder) -> None:
        """Join with a source; `finder` learns from it where the prompts hold their texts."""
        self._source = source
        self._task = task
        self._finder = finder
        self._gold = GoldReader(task)
        self._check = RowCheck(source.name, len(source.rows))
        # Text or id, to label, to the rows not yet taken, the first one last.
        self._free: defaultdict[str, dict[str, list[Row]]] = defaultdict(dict)

    def correct(self, rows: Iterable[Prediction], broken: BrokenRows) -> Iterator[Prediction]:
        """Yield every row found in the source, once, with the source's gold label and text.

        Raises:
            DataError: The source has none of the rows.
        """
        stream = iter(rows)
        sample = list(islice(stream, _SAMPLE))
        by_id = bool(sample) and all(
            row.id and row.prompt is None and row.text is None for row in sample
        )
        ids = self._read_ids(broken.source) if by_id else {}
        for known in reversed(self._source.rows):
            key = ids.get(known.line, "") if by_id else join_key(known.text)
            self._free[key].setdefault(known.label, []).append(known)
        if not by_id:
            self._finder.learn(sample, [row.text for row in self._source.rows], self._free)
        for prediction in chain(sample, stream):
            text = prediction.id if by_id else self._finder.find(prediction)
            if text is None:
                broken.add("hold no text that can be told from the prompt", prediction.line)
                continue
            own = self._gold.read(prediction.label)
            row = self._take(prediction.line, text, text if by_id else join_key(text), own)
            if row is None:
                continue
            if prediction.label is not None and own != row.label:
                was = str(prediction.label).strip()
                said = f"{was!r} in the predictions, {row.label!r} in the source: {_shown(text)}"
                self._check.other_gold.add((prediction.line, said))
            # An id stays one: an answer may be an id where the gold labels of the file are.
            is_id = own == row.label and self._task.is_id(prediction.label)
            label = prediction.label if is_id else row.label
            yield prediction._replace(label=label, text=row.text)
        if not sample:
            return  # no row can be used, which `broken` tells
        if not self._check.matched and by_id:
            raise DataError(
                f"{self._source.name} has none of the ids of {broken.source}; name the file that "
                "was predicted."
            )
        if not self._check.matched:
            raise DataError(
                f"{self._source.name} has no row of {broken.source}: its prompts hold neither the "
                f"instruction of the task {self._task.name!r} nor texts of that file; name the "
                "file that was predicted, or the right task with task=."
            )

    def _read_ids(self, predictions: str) -> dict[int, str]:
        from llamafactory_emotion.data.reading import read_ids

        name, _, encoding, sheet = self._source
        ids = {} if name == STANDARD_STREAM else read_ids(name, encoding=encoding, sheet=sheet)
        if not ids:
            raise DataError(
                f"{predictions} has ids and no prompts, and {name} has no column custom_id or id "
                "to join them with; add it, as it was in the requests."
            )
        repeated = [one for one, count in Counter(ids.values()).items() if count > 1]
        if repeated:
            raise DataError(
                f"{name} has {len(repeated):,} ids more than once, first {repeated[0]!r}; give "
                "each row its own."
            )
        return ids

    def _take(self, line: int, text: str, key: str, label: str | None) -> "Row | None":
        free = self._free.get(key)
        if free is None:
            self._check.extra.add((line, _shown(text)))
            return None
        # Without a label of its own a prediction is of the first row that is left.
        left = (rows for rows in free.values() if rows)
        rows = free.get(label or "") or min(left, key=lambda rows: rows[-1].line, default=None)
        if rows is None:
            self._check.repeated.add((line, _shown(text)))
            return None
        self._check.matched += 1
        return rows.pop()

    def result(self) -> RowCheck:
        """Return what was found, after the pass."""
        left = (row for free in self._free.values() for rows in free.values() for row in rows)
        for row in sorted(left, key=lambda row: row.line):
            self._check.missing.add((row.line, _shown(row.text)))
        return self._check


@dataclass
class TrainExplanation:
    """What the training data says about the rows and their errors."""

    train: str
    rows_in_train: int = 0  # judged rows whose text is in train
    rows_other_label: int = 0  # those of them that have another label there
    errors: int = 0  # wrong and invalid answers
    errors_in_train: int = 0
    errors_other_label: int = 0
    errors_as_trained: int = 0  # errors that give a label the text has in train
    rows_without_text: int = 0  # rows whose text could not be told; they count as clean
    examples: Listed = field(default_factory=Listed)  # of `errors_other_label`
    clean: Metrics | None = None  # figures of the rows that are not in train


class TrainLookup:
    """Looks judged rows up in the training data; an observer."""

    def __init__(self, train: DataFile, task: Task, finder: TextFinder) -> None:
        """Look up in a training file."""
        self._task = task
        self._finder = finder
        self._labels: defaultdict[str, set[str]] = defaultdict(set)
        for row in train.rows:
            self._labels[join_key(row.text)].add(row.label)
        self._rows = 0
        self._found = TrainExplanation(train.name)
        self._clean = np.zeros((len(task.labels), len(task.labels) + 1), dtype=np.int64)

    def __call__(self, judged: Judged) -> None:
        """Look one row up."""
        found, predicted = self._found, judged.predicted[0]
        text = self._finder.find(judged.row)
        is_error = predicted != judged.gold
        self._rows += 1
        found.errors += is_error
        found.rows_without_text += text is None
        trained = self._labels.get(join_key(text)) if text is not None else None
        if text is None or trained is None:
            self._clean[judged.gold, predicted] += 1
            return
        gold = self._task.labels[judged.gold]
        others = trained - {gold}
        found.rows_in_train += 1
        found.rows_other_label += bool(others)
        found.errors_in_train += is_error
        if is_error and others:
            found.errors_other_label += 1
            found.errors_as_trained += (*self._task.labels, None)[predicted] in others
            said = f"{gold!r}, in train {', '.join(sorted(others))}: {_shown(text)}"
            found.examples.add((judged.row.line, said))

    def result(self) -> TrainExplanation:
        """Return what was found, after the pass.

        Raises:
            DataError: No row's text could be told from its prompt.
        """
        if self._found.rows_without_text == self._rows:
            raise texts_needed("train", self._task)
        if self._clean.any():
            self._found.clean = metrics_of(self._task.labels, self._clean)
        return self._found
