"""`python -m llamafactory_emotion.evaluate`: how good are the predictions in this file?

The command over `evaluation`, `comparison`, `floor`, `rows` and `report`; it reads flags, opens
files and prints, and stands on the pure layer alone, so that it starts in a fraction of a second.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from llamafactory_emotion.console import run_command
from llamafactory_emotion.errors import CallError
from llamafactory_emotion.evaluation import Evaluation, evaluate_rows
from llamafactory_emotion.files import check_output, write_whole
from llamafactory_emotion.judging import ALL_RULES
from llamafactory_emotion.predictions import BrokenRows, name_of, read_predictions, read_sidecar
from llamafactory_emotion.report import evaluation_blocks, evaluation_json, print_blocks
from llamafactory_emotion.task import EMOTION, MATCH_RULES, Task, load_task


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate files of predictions and print a table; give the exit code."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _run(options), debug=options.debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llamafactory_emotion.evaluate",
        description="Score LLaMA-Factory's generated_predictions.jsonl (or vLLM's, or ours).",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="predictions as JSON Lines, gzip too; - is stdin")
    add("--task", default=EMOTION.name, help="a built-in task or a task's YAML file")
    add(
        "--match",
        choices=(*MATCH_RULES, ALL_RULES),
        help="what counts as a right answer (default: the task's rule, usually flexible)",
    )
    add("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    add("--skip-broken", action="store_true", help="leave out rows that cannot be used, and count")
    add("--threshold", type=float, help="the confidence below which the model may abstain")
    add("--seed", type=int, default=0, help="of the bootstrap intervals (default 0)")
    add("--overwrite", action="store_true", help="replace output files that exist")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.json is not None:
        check_output(options.json, overwrite=options.overwrite)
    task = load_task(options.task)
    if len(options.files) > 1:
        raise CallError("one file at a time.")
    evaluation = _evaluate(options.files[0], task, options)
    if options.json is not None:
        with write_whole(options.json, overwrite=options.overwrite) as out:
            json.dump(evaluation_json(evaluation), out, ensure_ascii=False, indent=2)
            out.write("\n")
    print_blocks(evaluation_blocks(evaluation), sys.stdout)
    return 0


def _evaluate(path: str, task: Task, options: argparse.Namespace) -> Evaluation:
    broken = BrokenRows(name_of(path), skip=options.skip_broken)
    return evaluate_rows(
        read_predictions(path, broken),
        broken,
        task,
        match=options.match,
        threshold=options.threshold,
        seed=options.seed,
        sidecar=read_sidecar(path),
    )


if __name__ == "__main__":
    sys.exit(main())
