"""The true accuracy while LLaMA-Factory trains: whole labels, without the end token.

LLaMA-Factory's own `compute_accuracy` averages over the answer's tokens and its end token, which
every model gets right: 99 % shown where 90 % of the labels are right (hiyouga/LLaMA-Factory issue
8187). `run_metrics` replaces it for runs with our template; the arithmetic is `counts`'.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.metrics.counts import label_metrics

IGNORED = -100
_LOGGER = logging.getLogger(__name__)

TokenIds = tuple[int, ...]


class _Answer(NamedTuple):
    """The tokens of a gold label, those predicted in their places, and whether an end follows."""

    gold: TokenIds
    predicted: TokenIds
    ends: bool


class AnswerMetrics:
    """Accuracy and macro-F1 over an evaluation set, fed batch by batch or all at once.

    A row counts as right when the model, reading the prompt, gives the label's tokens one after
    the other; what comes after them does not matter, unless the label begins another one: then the
    end token must come. Packed rows, padding on either side and labels of several tokens are told
    apart by where the labels' tokens stand.

    Accuracy is that of greedy answers. Macro-F1 is too where every label is one token. Where labels
    have several, a wrong answer is one of the other labels only if each of its tokens was predicted
    after the gold label's tokens, and invalid otherwise; a line in the log says so.

    Args:
        end_id: The token that ends an answer.
        labels: The token ids of each label of the task. Where a row has another gold label, the
            labels are those that occur as gold.
        cue: The token ids that stand right before an answer; they part it from the prompt where
            the prompt bears loss too (`train_on_prompt`).

    Attributes:
        rows: How many rows the set has, or None. Several processes fill the last batch up with rows
            from the beginning; what comes after so many rows is left out.
    """

    def __init__(self, *, end_id: int, labels: Sequence[TokenIds], cue: Sequence[int] = ()) -> None:
        self._end_id = end_id
        self._known = tuple(labels)
        self._cue = tuple(cue)
        self.rows: int | None = None
        self._answers: list[_Answer] = []
        self._seen = 0

    def __call__(self, evaluated: Any, *, compute_result: bool = True) -> dict[str, float] | None:
        """Take a batch; give the figures so far when asked to, and begin anew.

        Args:
            evaluated: `predictions`, the most likely next token at each position, and `label_ids`,
                both of shape (rows, positions); `IGNORED` bears no loss.
            compute_result: False while more batches follow (`batch_eval_metrics`).

        Returns:
            `accuracy` and `f1_macro`, between 0 and 1, higher is better, NaN where no label was
            seen; None when more follows.
        """
        predictions, labels = as_array(evaluated.predictions), as_array(evaluated.label_ids)
        left = None if self.rows is None else max(0, self.rows - self._seen)
        for predicted, gold in zip(predictions[:left], labels[:left], strict=True):
            self._answers.extend(self._answers_of(predicted, gold))
        self._seen += len(labels)
        if not compute_result:
            return None
        self._seen = 0
        return self._figures()

    def _answers_of(
        self, predicted: NDArray[np.integer[Any]], gold: NDArray[np.integer[Any]]
    ) -> Iterator["_Answer"]:
        """Yield every answer in one row of a batch."""
        # The token at a position is predicted at the one before.
        places = np.flatnonzero(gold[1:] != IGNORED) + 1
        breaks = np.flatnonzero((np.diff(places) > 1) | (gold[places[:-1]] == self._end_id)) + 1
        for run in np.split(places, breaks):
            kept = [place for place in self._after_cue(run, gold) if gold[place] != self._end_id]
            if kept:
                yield _Answer(
                    gold=tuple(int(gold[place]) for place in kept),
                    predicted=tuple(int(predicted[place - 1]) for place in kept),
                    # At the end token's place; a row that was cut has none there.
                    ends=run[-1] == kept[-1] or predicted[run[-1] - 1] == self._end_id,
                )

    def _after_cue(self, run: NDArray[np.intp], gold: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
        length = len(self._cue)
        for start in range(len(run) - length, -1, -1):
            if length and tuple(gold[run[start : start + length]]) == self._cue:
                return run[start + length :]
        return run

    def _figures(self) -> dict[str, float]:
        if not self._answers:
            return {"accuracy": float("nan"), "f1_macro": float("nan")}
        answers, self._answers = self._answers, []
        gold = [answer.gold for answer in answers]
        labels = self._known if set(gold) <= set(self._known) else tuple(sorted(set(gold)))
        if any(len(label) > 1 for label in labels):
            _LOGGER.warning(
                "labels of several tokens: accuracy is exact, macro-F1 counts an answer that is "
                "wrong at its first token as invalid; `evaluate` gives it exactly"
            )
        numbers = {label: number for number, label in enumerate(labels)}
        begun = {one for one in labels for other in labels if one == other[: len(one)] != other}
        predicted = [
            answer.predicted if answer.ends or answer.predicted not in begun else ()
            for answer in answers
        ]
        return label_metrics(
            np.array([numbers[label] for label in gold], dtype=np.int64),
            np.array([numbers.get(label, -1) for label in predicted], dtype=np.int64),
            labels=len(labels),
        )


def as_array(values: Any) -> NDArray[np.integer[Any]]:
    """Return a batch as a NumPy array; `batch_eval_metrics` hands in tensors of the device."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
