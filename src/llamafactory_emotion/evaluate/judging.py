"""Judge answers: a row's gold label and generated answer become two label indices.

`evaluation` counts them; `plugin.generated` does so for the answers that a run has just generated.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from llamafactory_emotion.metrics.calibration import probability_values
from llamafactory_emotion.parsing.cleaning import clean
from llamafactory_emotion.parsing.gold import GoldReader
from llamafactory_emotion.parsing.rules import LabelParser
from llamafactory_emotion.predictions.reading import BrokenRows, Prediction
from llamafactory_emotion.task import MATCH_RULES, Task

ALL_RULES = "all"
# Answers repeat: a million rows hold a few hundred different ones. Long ones hardly ever do.
_VERDICTS_KEPT = 1 << 14
_LONGEST_KEPT = 200
Verdict = tuple[int, tuple[int, ...], str | None]


class Judged(NamedTuple):
    """A row and what became of its answer.

    Attributes:
        row: The row as read.
        gold: Index of the gold label.
        predicted: For each match rule, the index of the label answered, or the number of
            labels where the answer is invalid. The first rule is the one that counts.
        reason: Why the answer is invalid under the first rule; None where it is a label.
        probabilities: In the order of the labels, checked; None where the row has none.
    """

    row: Prediction
    gold: int
    predicted: tuple[int, ...]
    reason: str | None
    probabilities: list[float] | None


Observer = Callable[[Judged], None]


class AnswerJudge:
    """Turns a row's label and answer into indices, remembering a bounded number of them."""

    def __init__(self, task: Task, *, match: str) -> None:
        """Judge by `match`: a rule, or `all` for the three with the task's own first."""
        others = [rule for rule in MATCH_RULES if rule != task.match]
        self.rules = (task.match, *others) if match == ALL_RULES else (match,)
        self._task = task
        self._gold = GoldReader(task)
        self._index = {label: index for index, label in enumerate(task.labels)}
        # `contains` falls back on `flexible` where the gold label is not contained.
        self._parsers = [
            LabelParser(task, match="flexible" if rule == "contains" else rule)
            for rule in self.rules
        ]
        self._remembered = functools.lru_cache(_VERDICTS_KEPT)(self._verdict)

    def judge(self, rows: Iterable[Prediction], broken: BrokenRows) -> Iterator[Judged]:
        """Judge rows one by one; those without a gold label of the task are counted as broken."""
        for row in rows:
            judged_before = len(row.predict) <= _LONGEST_KEPT
            verdict = (self._remembered if judged_before else self._verdict)(row.label, row.predict)
            if verdict is None:
                self._add_broken(row, broken)
                continue
            probabilities = row.probabilities
            if probabilities is not None:
                probabilities = probability_values(probabilities, self._task)
                if isinstance(probabilities, str):
                    broken.add(probabilities, row.line)
                    continue
            yield Judged(row, *verdict, probabilities)

    def _verdict(self, label: object, answer: str) -> Verdict | None:
        gold = self._gold.read(label)
        if gold is None:
            return None
        predicted: list[int] = []
        reason = None
        for position, (rule, parser) in enumerate(zip(self.rules, self._parsers, strict=True)):
            if rule == "contains" and parser.contains(answer, gold):
                predicted.append(self._index[gold])
                continue
            parsed = parser.parse(answer)
            said = parsed.label or self._gold.read_id(label, answer)
            predicted.append(len(self._index) if said is None else self._index[said])
            if position == 0 and said is None:
                reason = parsed.reason
        return self._index[gold], tuple(predicted), reason

    def _add_broken(self, row: Prediction, broken: BrokenRows) -> None:
        if row.label is None or row.label != row.label or clean(str(row.label)) == "":
            said = (
                'have no gold label beside "predict" (give them with --source FILE, which joins '
                "rows by text, by prompt or by a batch's custom_id)"
            )
            broken.add(said, row.line)
        else:
            kind = f"have a label outside the {self._task.described}"
            broken.add(kind, row.line, str(row.label).strip() or " ")
            broken.label_kind = kind
