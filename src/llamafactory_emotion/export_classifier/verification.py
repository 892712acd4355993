"""Compare a written folder with the scorer it was made from, text by text.

The folder is run by transformers' own pipeline, as its users will run it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.export_classifier.prompt import BakedPrompt
from llamafactory_emotion.scoring.batches import Scores
from llamafactory_emotion.scoring.loading import (
    ModelSource,
    as_model_error,
    device_of,
    quiet_loading,
)
from llamafactory_emotion.scoring.scorer import LabelScorer

if TYPE_CHECKING:
    from llamafactory_emotion.export_classifier.__main__ import ExportOptions

# The largest difference of a probability on texts of our own, with whatever edges they have.
_ROUNDING = 1e-4
# The factor in `rounding_tolerance`. Seen were 0.3 to 0.9 with random models of eight architectures
# and 1.7 with SmolLM2 and an adapter; a label row of which one weight is 1 % off had 138.
_ROUNDING_FACTOR = 8
_BATCH = 16


@dataclass(frozen=True)
class Sample:
    """Texts to compare on, what the scorer gives for them, and how many could not be compared.

    `classes` are the `Scorer.length_class` of the texts: only texts of one class share a batch.
    """

    texts: Sequence[str]
    scores: Scores
    classes: Sequence[int]
    left_out: int = 0


def score_sample(scorer: LabelScorer, baked: BakedPrompt, texts: Sequence[str]) -> Sample:
    """Score texts, leaving out those that predict cuts elsewhere or that get no prompt."""
    classes = {
        row: scorer.length_class(len(prompt.ids))
        for row, prompt in enumerate(scorer.encoder.encode(texts))
        if not prompt.truncated and (texts[row] or baked.empty_alike)
    }
    whole = [texts[row] for row in classes]
    return Sample(whole, scorer.score(whole), [*classes.values()], len(texts) - len(whole))


@dataclass(frozen=True)
class Comparison:
    """How a folder's answers compare with the scorer's; `worst` is the row of the `difference`."""

    rows: int
    other_labels: int
    difference: float
    worst: int
    dtype: str

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows, {self.rows - self.other_labels:,} labels identical, largest "
            f"difference of a probability {self.difference:.1e} in {self.dtype}"
        )


def compare(folder: Path, sample: Sample, *, device: str, dtype: str = "float32") -> Comparison:
    """Run a folder through transformers' text-classification pipeline and compare."""
    from transformers import pipeline

    texts, labels = sample.texts, sample.scores.labels
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # short with short
    answers: dict[int, dict[str, float]] = {}
    with as_model_error("transformers cannot run the exported folder"), quiet_loading():
        classify: Any = pipeline(
            "text-classification",
            model=str(folder),
            dtype=dtype,
            device=None if device == "auto" else device,
        )
        for group in set(sample.classes):
            rows = [row for row in by_length if sample.classes[row] == group]
            given = [texts[row] for row in rows]
            told = classify(given, top_k=None, batch_size=_BATCH, truncation=True)
            for row, scores in zip(rows, told, strict=True):
                answers[row] = {one["label"]: one["score"] for one in scores}
    found = np.array([[answers[row][label] for label in labels] for row in range(len(texts))])
    differences = np.abs(found - sample.scores.probabilities).max(axis=1)
    other = found.argmax(axis=1) != sample.scores.log_scores.argmax(axis=1)
    worst = int(differences.argmax())
    return Comparison(len(found), int(other.sum()), float(differences[worst]), worst, dtype)


def rounding_tolerance(scores: Scores, layers: int) -> float:
    """Return by how much float32 rounding may move a probability between two runs of one model.

    The folder and `predict` add up the same products in another order: whole prompts in padded
    batches, against a prefix that is computed once. Each layer rounds anew, independently of those
    before, so errors grow with the root of the layers and with the size of the logits, which is
    measured from the mean of a text's labels (no probability depends on it):
    8 * eps(float32) * sqrt(layers) * largest logit.
    """
    logits = scores.log_scores
    largest = float(np.abs(logits - logits.mean(axis=1, keepdims=True)).max())
    return _ROUNDING_FACTOR * float(np.finfo(np.float32).eps) * math.sqrt(layers) * largest


def check_equal(comparison: Comparison, source: str, tolerance: float) -> None:
    """Refuse a folder that gives other answers than its model."""
    if comparison.other_labels or not comparison.difference <= tolerance:
        raise ModelError(
            f"the classifier does not give what predict gives on {source}: {comparison} (in row "
            f"{comparison.worst}; {tolerance:.1e} is allowed); it was not written. Allow more with "
            "tolerance=1e-3, or serve this model with predict, and report its architecture."
        )


def verify(
    folder: Path,
    hard: Sample,
    real: Sample | None,
    options: "ExportOptions",
    source: ModelSource,
    layers: int,
) -> list[str]:
    """Compare a written folder with the language model, on hard texts and the rows of `verify`.

    `source` names the type that the folder is stored in, `layers` is how many the model has.

    Returns:
        What was found, in lines.

    Raises:
        ModelError: The folder gives other answers, or overflows in its own type.
    """
    device, given = device_of(source), options.tolerance
    checked = compare(folder, hard, device=device)
    check_equal(checked, "texts with difficult edges", max(_ROUNDING, given or 0))
    found = [f"checked on difficult texts: {checked}"]
    if real is not None:
        verified = compare(folder, real, device=device)
        tolerance = rounding_tolerance(real.scores, layers) if given is None else given
        check_equal(verified, str(options.verify), tolerance)
        found.append(f"verified on {options.verify}: {verified}")
    if source.dtype != "float32":
        stored = compare(folder, real or hard, device=device, dtype=source.dtype)
        if math.isnan(stored.difference):
            raise ModelError(
                f"in {source.dtype}, as it would be written, the classifier gives no finite "
                "probabilities; write it with infer_dtype=bfloat16 or float32."
            )
        found.append(f"as it is stored: {stored}")
    return found
