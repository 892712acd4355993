r"""Which settings teach a Llama with few rows? A sweep that judges on rows held out of train.

    python benchmarks/few_rows.py --train FILE --base saves/smollm2 --rows 256 \
        --try learning_rate=1e-3,num_train_epochs=5 learning_rate=2e-3,num_train_epochs=5

`examples/emotion_cpu.yaml` with each of the settings, on the same rows (each label in proportion),
judged by the most likely label on the same held-out rows. FILE is any labelled file; `--task` names
its task. One line a run; the test split is not read.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recipe_runs import run_judged
from sklearn.model_selection import train_test_split

from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.metrics.counts import wilson_interval
from llamafactory_emotion.task import EMOTION, load_task


def main() -> None:
    """Train with every setting and print what each reaches."""
    options = _options()
    task = load_task(options.task) if options.task else EMOTION
    rows, held_out = _split(list(read_rows(options.train, task)), options)
    for setting in options.settings:
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as scratch:
                overrides = [f"model_name_or_path={options.base}", f"seed={seed}", *setting]
                result = run_judged(
                    Path(scratch), task, rows, held_out, "emotion_cpu.yaml", overrides
                )
            low, high = wilson_interval(round(result.accuracy * len(held_out)), len(held_out))
            line = {
                "data": options.train.parent.name,
                "rows": len(rows),
                "setting": " ".join(setting),
                "seed": seed,
                "accuracy": round(result.accuracy, 4),
                "n": len(held_out),
                "interval": [round(low, 4), round(high, 4)],
                "seconds": result.seconds,
                "steps": result.steps,
            }
            print(json.dumps(line), flush=True)


def _split(rows: Sequence[Row], options: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """Draw the held-out rows first, so that they are the same for every number of rows."""
    rest, held_out = train_test_split(
        list(rows), test_size=options.held_out, stratify=[row.label for row in rows], random_state=0
    )
    chosen, _ = train_test_split(
        rest, train_size=options.rows, stratify=[row.label for row in rest], random_state=0
    )
    return chosen, held_out


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--train", type=Path, required=True, help="a labelled file")
    add("--task", help="a task file (default: emotion)")
    add("--base", type=Path, required=True, help="the folder that examples/smollm2.py wrote")
    add("--rows", type=int, required=True, help="rows to train on")
    add("--held-out", type=int, default=1000, help="rows that judge")
    add("--seeds", type=int, default=1)
    add(
        "--try",
        dest="settings",
        nargs="+",
        required=True,
        type=lambda text: text.split(","),
        help="overrides of the recipe, joined by commas",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
