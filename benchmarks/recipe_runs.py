"""What the benchmarks of recipes share: a data folder, runs of the host, a figure of each.

No benchmark itself. Everything goes through LLaMA-Factory's own command, as a user's run does.
"""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from llamafactory_emotion.classifier import EmotionClassifier
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.task import ANSWER_CUE, EMOTION, Task

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DEMO = ROOT / "data"
# A CPU trains in single precision, and FlashAttention-2 does not run on it.
ON_A_CPU = ("fp16=false", "bf16=false", "flash_attn=sdpa")
# Quoted: a bare `no` is false in YAML, on the command line too.
NEITHER_SAVED_NOR_JUDGED = (
    'save_strategy="no"',
    'eval_strategy="no"',
    "load_best_model_at_end=false",
    "plot_loss=false",
)


def read_training_rows(folder: Path) -> list[Row]:
    """Read the labelled rows of `train.jsonl`, or of the demo's training file, shuffled."""
    names = ("train.jsonl", "emotion_demo_train.jsonl")
    place = next((folder / name for name in names if (folder / name).is_file()), None)
    if place is None:
        sys.exit(f"{folder} holds no train.jsonl; name another folder with --data.")
    rows = list(read_rows(place, EMOTION))
    random.Random(0).shuffle(rows)  # noqa: S311 - not for secrets
    return rows


def write_data(folder: Path, splits: Mapping[str, Sequence[Row]]) -> None:
    """Write splits and the `dataset_info.json` that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, rows in splits.items():
        lines = [json.dumps({"text": row.text, "label": row.label}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        columns = {"prompt": "text", "response": "label"}
        entries[name] = {
            "file_name": f"{name}.jsonl",
            "formatting": "emotion",
            "columns": columns,
        }
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")


def tokens_a_row(base: Path, rows: Sequence[Row]) -> float:
    """Count the mean tokens of a row under the template `emotion`: prompt, label, both ends."""
    prompts = [EMOTION.user_content(row.text) + ANSWER_CUE for row in rows]
    encoded = AutoTokenizer.from_pretrained(base)(prompts, add_special_tokens=False)["input_ids"]
    return sum(len(ids) + 3 for ids in encoded) / len(rows)


@dataclass(frozen=True)
class Judged:
    """What one run reached: accuracy, the seconds and steps of training, the predicted labels."""

    accuracy: float
    seconds: float
    steps: int
    predicted: tuple[str, ...]


def run_judged(
    scratch: Path,
    task: Task,
    rows: Sequence[Row],
    judged: Sequence[Row],
    recipe: str,
    overrides: Sequence[str],
) -> Judged:
    """Train a LoRA on rows of a task with a recipe, and score other rows with it.

    Seconds are LLaMA-Factory's `train_runtime`, which leaves loading out.
    """
    records = [
        {"instruction": task.instruction, "input": row.text, "output": row.label} for row in rows
    ]
    (scratch / "rows.json").write_text(json.dumps(records), encoding="utf-8")
    entry = {"rows": {"file_name": "rows.json"}}
    (scratch / "dataset_info.json").write_text(json.dumps(entry), encoding="utf-8")
    results = train(
        recipe,
        f"dataset_dir={scratch}",
        "dataset=rows",
        *NEITHER_SAVED_NOR_JUDGED,
        f"output_dir={scratch / 'adapter'}",
        *overrides,
    )
    state = json.loads((scratch / "adapter" / "trainer_state.json").read_text(encoding="utf-8"))
    classifier = EmotionClassifier.from_pretrained(
        str(scratch / "adapter"), device="cpu", template="emotion", task=task
    )
    predicted = tuple(classifier.predict([row.text for row in judged]))
    right = sum(label == row.label for label, row in zip(predicted, judged, strict=True))
    return Judged(
        right / len(judged), float(results["train_runtime"]), state["global_step"], predicted
    )


def train(recipe: str, *overrides: str) -> dict[str, Any]:
    """Run `llamafactory-cli train` with a recipe; give the results it wrote."""
    command = shutil.which("llamafactory-cli") or "llamafactory-cli"
    return run([command, "train"], recipe, *overrides)


def run(
    command: Sequence[str], recipe: str, *overrides: str, timeout: float | None = None
) -> dict[str, Any]:
    """Run a command with a recipe; give the results in its `output_dir` and what it printed."""
    done = subprocess.run(
        [*command, str(EXAMPLES / recipe), *overrides],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        sys.exit(f"{recipe} {' '.join(overrides)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    output = next(value[11:] for value in reversed(overrides) if value.startswith("output_dir="))
    results: dict[str, Any] = {"output": done.stdout + done.stderr}
    for file in sorted(Path(output).glob("*_results.json")):
        results |= json.loads(file.read_text(encoding="utf-8"))
    return results
