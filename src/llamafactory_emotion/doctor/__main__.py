"""`python -m llamafactory_emotion.doctor [recipe.yaml] [key=value ...]`: know before the run.

Runs the checks of `checks` over the environment and, when one is given, over a recipe, and lists
what they find. The command loads tokenizer and configuration, never the weights.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from llamafactory_emotion.doctor.finding import Finding, Level
from llamafactory_emotion.files import STANDARD_STREAM, write_json
from llamafactory_emotion.options import Call, Options, key
from llamafactory_emotion.task import Task, load_task
from llamafactory_emotion.terminal import printable, run_command

Check = Callable[..., Iterator[Finding]]

# LLaMA-Factory is asked about the recipe; it does not import when one of these fails.
_NEEDED_TO_ASK = ("llamafactory", "versions", "torch")
_MARKS = {Level.ERROR: "ERROR", Level.WARNING: "warning", Level.NOTE: "note"}


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(Options):
    """What a call of `doctor` asks for beside the recipe's own keys."""

    assume_gpu: float | None = key(
        None,
        about="judge the recipe for another machine: one recent GPU with so much memory",
        metavar="GIB",
        least=1,
    )
    task: str | None = key(
        None, about="a built-in task or a task's YAML file: check the data against it"
    )
    json: Path | None = key(
        None, about="write the findings as JSON; - (or --json alone) prints them", bare="-"
    )
    overwrite: bool = key(False, about="replace the JSON file")

    @classmethod
    def accepts(cls, name: str) -> bool:  # noqa: ARG003
        """Accept every key: which the host does not know is a finding."""
        return True


def main(argv: Sequence[str] | None = None) -> int:
    """Check the environment and a recipe; return 1 when something would fail, else 0."""
    return run_command(
        "doctor",
        DoctorOptions,
        _run,
        argv,
        about="Find what would make a LLaMA-Factory run fail, before it is started.",
    )


def _run(options: DoctorOptions, call: Call) -> int:
    task = None if options.task is None else load_task(options.task)
    findings = examine(call.others, recipe=call.recipe, assume_gpu=options.assume_gpu, task=task)
    if options.json is not None:
        write_json(options.json, _as_json(findings), overwrite=options.overwrite)
    if str(options.json) != STANDARD_STREAM:
        print(_as_text(findings, has_recipe=bool(call.others)))
    failed = any(one.level is Level.ERROR for part in findings.values() for one in part)
    return 1 if failed else 0


def examine(
    values: Mapping[str, Any],
    *,
    recipe: Path | None = None,
    assume_gpu: float | None = None,
    task: Task | None = None,
) -> dict[str, list[Finding]]:
    """Run all checks.

    Args:
        values: A recipe's keys and values; none to look at the environment alone.
        recipe: The file they come from, if any.
        assume_gpu: Judge the recipe for one recent GPU with so many GiB instead of this machine.
        task: The task that the recipe's data should be of; None to take the data as it is.

    Returns:
        The findings under `environment` (what the machine is or lacks) and `recipe` (what is wrong
        with it on any machine), the worst first.
    """
    from llamafactory_emotion.doctor.context import Context
    from llamafactory_emotion.doctor.data import DATA
    from llamafactory_emotion.doctor.environment import ENVIRONMENT
    from llamafactory_emotion.doctor.evaluation import EVALUATION
    from llamafactory_emotion.doctor.keys import KEYS, host_verdict, ill_typed
    from llamafactory_emotion.doctor.machine import assumed_machine, this_machine
    from llamafactory_emotion.doctor.model import MODEL
    from llamafactory_emotion.doctor.needs import NEEDS
    from llamafactory_emotion.doctor.numbers import NUMBERS
    from llamafactory_emotion.doctor.steps import STEPS
    from llamafactory_emotion.doctor.task import TASK
    from llamafactory_emotion.doctor.training import TRAINING

    context = Context(values, this_machine(), recipe, task=task)
    environment = _findings(ENVIRONMENT, context)
    cannot_run = any(one.check in _NEEDED_TO_ASK for one in _errors(environment))
    if not values or cannot_run:
        return {"environment": environment, "recipe": []}
    if assume_gpu is not None:
        context = Context(values, assumed_machine(assume_gpu), recipe, task=task)
    # What is of the wrong type is told by KEYS; the other checks look at the rest.
    strange = ill_typed(context)
    sound = replace(context, values={k: v for k, v in values.items() if k not in strange})
    environment = _sorted([*environment, *_findings(NEEDS, sound)])
    on_data = () if {"dataset", "eval_dataset", "dataset_dir"} & set(strange) else (*DATA, *TASK)
    checks = (*NUMBERS, *on_data, *MODEL, *TRAINING, *STEPS, *EVALUATION)
    found = _sorted([*_findings(KEYS, context), *_findings(checks, sound)])
    if not _errors(found):
        found = _sorted([*found, *_findings((host_verdict,), context)])
    return {"environment": environment, "recipe": found}


def _findings(checks: Iterable[Check], context: object) -> list[Finding]:
    return _sorted([finding for check in checks for finding in check(context)])


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: list(_MARKS).index(one.level))


def _errors(findings: Iterable[Finding]) -> list[Finding]:
    return [one for one in findings if one.level is Level.ERROR]


def _as_json(findings: dict[str, list[Finding]]) -> str:
    content = {part: [asdict(one) for one in found] for part, found in findings.items()}
    return json.dumps(content, ensure_ascii=False, indent=2)


def _as_text(findings: dict[str, list[Finding]], *, has_recipe: bool) -> str:
    lines = []
    for part, found in findings.items():
        if part == "recipe" and not has_recipe:
            continue
        lines.append(part)
        for one in found:
            lines.append(f"  {_MARKS[one.level]:<8} {printable(one.sentence)}")
            if one.remedy:
                lines.append(f"  {'':<8} -> {printable(one.remedy)}")
        if not found:
            lines.append("  nothing found")
    counts = [
        sum(one.level is level for part in findings.values() for one in part)
        for level in (Level.ERROR, Level.WARNING)
    ]
    lines.append(f"{counts[0]} errors, {counts[1]} warnings")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
