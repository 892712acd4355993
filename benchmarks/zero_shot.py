"""What does a model answer without any training? Plain, calibrated, few-shot, and both.

    python benchmarks/zero_shot.py --data FOLDER --base saves/smollm2 --template smollm2

FOLDER holds train.jsonl and test.jsonl; the examples (--shots of each label) are the first of each
label in train. Every way under the template `emotion` and under the model's own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WAYS = {
    "plain": (),
    "calibrated": ("calibrate=true",),
    "few-shot": ("few_shot={train}", "shots={shots}"),
    "few-shot, calibrated": ("few_shot={train}", "shots={shots}", "calibrate=true"),
}


def main() -> None:
    """Score the test rows in every way and print a table."""
    options = _options()
    print(f"{'template':10} {'way':22} accuracy  95 % interval       macro-F1  n")
    for template in ("emotion", options.template):
        for way, keys in WAYS.items():
            with tempfile.TemporaryDirectory() as scratch:
                figures = _score(Path(scratch), template, keys, options)
            low, high = figures["accuracy_ci"]
            print(
                f"{template:10} {way:22} {figures['accuracy']:.4f}    {low:.4f} to {high:.4f}   "
                f"{figures['f1_macro']:.4f}    {figures['n']}",
                flush=True,
            )


def _score(
    scratch: Path, template: str, keys: tuple[str, ...], options: argparse.Namespace
) -> dict[str, Any]:
    filled = [key.format(train=options.data / "train.jsonl", shots=options.shots) for key in keys]
    output, figures = scratch / "predictions.jsonl", scratch / "figures.json"
    command = [sys.executable, "-m", "llamafactory_emotion.predict"]
    command += [f"model_name_or_path={options.base}", f"template={template}", *filled]
    command += [f"input={options.data / 'test.jsonl'}", f"output={output}"]
    subprocess.run(command, check=True, capture_output=True)
    command = [sys.executable, "-m", "llamafactory_emotion.evaluate", str(output)]
    subprocess.run([*command, "--json", str(figures)], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--template", required=True, help="the model's own template")
    parser.add_argument("--shots", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
