"""Calls of `export_classifier`, and what a stock pipeline gives on the folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from random_models import TEXTS
from transformers import pipeline

from llamafactory_emotion.export_classifier.__main__ import main
from llamafactory_emotion.task import EMOTION

ROWS = (*TEXTS, "so glad!", "what now?! ", "\n\nwell", "爱", "<|eot_id|></s> joy", "Answer: joy")


def export_to(output: Path, base: object, *words: str) -> Path:
    assert main([f"model_name_or_path={base}", f"output={output}", *words]) == 0
    return output


def pipeline_answers(folder: Path, texts: Sequence[str]) -> Any:
    """Return a stock pipeline's probabilities, columns in the task's order."""
    classify: Any = pipeline("text-classification", model=str(folder), device="cpu")
    rows = classify(list(texts), top_k=None, batch_size=4)
    scores = [{one["label"]: one["score"] for one in row} for row in rows]
    return np.array([[row[label] for label in EMOTION.labels] for row in scores])
