"""Say what a run was: versions, hardware, model, settings, for the sidecar of its predictions.

Stands below `predict`.
"""

from pathlib import Path
from typing import Any

from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.scoring.batches import Scorer
from llamafactory_emotion.scoring.loading import fingerprint
from llamafactory_emotion.scoring.models import hardware, versions

_RESULTS_DEPEND_ON = (
    "model_revision",
    "template",
    "flash_attn",
    "text_column",
    "label_column",
    "normalize",
    "calibrate",
    "few_shot",
    "shots",
    "seed",
    "generate",
    "max_new_tokens",
    "log_likelihoods",
    "margin",
    "quantization_bit",
    "tokens_per_batch",
    "chunk_rows",
    "max_samples",
)


def run_settings(scorer: Scorer, options: PredictOptions) -> dict[str, Any]:
    """Give what a run's rows depend on; a resumed run must have the same."""
    return {
        "model": scorer.loaded.base,
        "adapter": scorer.loaded.adapter,
        "model_fingerprint": fingerprint(scorer.loaded.base),
        "adapter_fingerprint": fingerprint(scorer.loaded.adapter),
        "task": scorer.task.name,
        "task_fingerprint": scorer.task.fingerprint,
        "dtype": str(scorer.loaded.model.dtype).removeprefix("torch."),
        "cutoff_len": options.longest,
        **{key: getattr(options, key) for key in _RESULTS_DEPEND_ON},
    }


def run_description(scorer: Scorer, options: PredictOptions, recipe: Path | None) -> dict[str, Any]:
    """Give all that is known of a run when it begins."""
    return {
        **run_settings(scorer, options),
        "recipe": None if recipe is None else str(recipe),
        "trained_parameters": scorer.loaded.adapter_parameters,
        "model_parameters": sum(p.numel() for p in scorer.loaded.model.parameters()),
        "shared_prefix_tokens": scorer.shared_prefix_tokens,
        "readout": scorer.readout,
        "versions": versions(),
        "hardware": hardware(scorer.loaded.model),
    }
