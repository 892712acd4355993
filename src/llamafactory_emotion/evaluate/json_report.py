"""The JSON that `--json` writes: the figures of `evaluation`, key by key.

Keys follow scikit-learn's scorer names; nothing is computed here.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llamafactory_emotion.evaluate.comparison import PairedComparison
from llamafactory_emotion.evaluate.one_file import Evaluation
from llamafactory_emotion.evaluate.rows import confused_pairs
from llamafactory_emotion.metrics.counts import Metrics


def report_json(evaluations: Sequence[Evaluation], pairs: Sequence[PairedComparison]) -> str:
    """Give the text of the JSON file: one file's figures, or `files` and `pairs` of several."""
    files = [evaluation_json(one) for one in evaluations]
    content = files[0] if len(files) == 1 else {"files": files, "pairs": list(map(asdict, pairs))}
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    # A lone surrogate, which no file can hold, becomes its JSON escape.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """Give one file's figures as JSON values."""
    content: dict[str, Any] = {
        "file": evaluation.source,
        "task": evaluation.task.name,
        "match": evaluation.match,
        **metrics_json(evaluation.metrics),
        "reasons": dict(evaluation.reasons),
        "by_rule": {rule: metrics_json(one) for rule, one in evaluation.by_rule.items()},
        "broken": evaluation.broken,
        "broken_kinds": dict(evaluation.broken_kinds),
        "unfinished": evaluation.unfinished,
    }
    if evaluation.calibration is not None:
        figures = asdict(evaluation.calibration)
        content |= {"n_probabilities": figures.pop("n"), **figures}
    if evaluation.sidecar is not None:
        content["sidecar"] = dict(evaluation.sidecar.everything)
    return content | _extras(evaluation)


def _extras(evaluation: Evaluation) -> dict[str, Any]:
    """Give what only some runs ask for."""
    content: dict[str, Any] = {}
    if evaluation.row_check is not None:
        content["row_check"] = asdict(evaluation.row_check)
    if evaluation.train_explanation is not None:
        clean = evaluation.train_explanation.clean
        content["train_explanation"] = asdict(evaluation.train_explanation) | {
            "clean": None if clean is None else metrics_json(clean),
            "confused": [asdict(pair) for pair in confused_pairs(evaluation.metrics)],
        }
    if evaluation.floor is not None:
        floor = evaluation.floor
        content["floor"] = asdict(floor) | {"metrics": metrics_json(floor.metrics)}
    if evaluation.published:
        content["published"] = [asdict(one) for one in evaluation.published]
    return content


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Give the figures of one confusion matrix as JSON values."""
    return {
        "n": metrics.n,
        "accuracy": metrics.accuracy,
        "accuracy_ci": list(metrics.accuracy_ci),
        "balanced_accuracy": metrics.balanced_accuracy,
        "f1_macro": metrics.f1_macro,
        "f1_macro_ci": list(metrics.f1_macro_ci),
        "f1_weighted": metrics.f1_weighted,
        "invalid": metrics.invalid,
        "invalid_rate": metrics.invalid_rate,
        "majority_baseline": metrics.majority_baseline,
        "majority_label": metrics.majority_label,
        "per_class": {label: asdict(one) for label, one in metrics.per_class.items()},
        "without_gold": list(metrics.without_gold),
        "confusion": {
            "labels": list(metrics.labels),
            "matrix": [list(row) for row in metrics.confusion],
        },
    }
