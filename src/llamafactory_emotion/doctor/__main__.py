"""`python -m llamafactory_emotion.doctor [recipe.yaml] [key=value ...]`: know before the run.

Runs the checks of the environment and, when one is given, of a recipe, and lists what they find.
Tokenizer and configuration are loaded, never the weights.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llamafactory_emotion.doctor import (
    answers,
    data,
    environment,
    keys,
    machine,
    model,
    steps,
    training,
)
from llamafactory_emotion.doctor.context import (
    Context,
    Finding,
    Level,
    assumed_machine,
    run_checks,
    this_machine,
    trained_tasks,
)
from llamafactory_emotion.files import STANDARD_STREAM, write_json
from llamafactory_emotion.options import Call, Options, host_keys, key
from llamafactory_emotion.plugin import host
from llamafactory_emotion.task import Task
from llamafactory_emotion.task_choice import LABELS_ABOUT, called_task
from llamafactory_emotion.terminal import printable, run_command, tell

# LLaMA-Factory is asked about the recipe; it does not import when one of these fails.
_NEEDED_TO_ASK = {"llamafactory", "versions", "torch"}
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
        None, about="a built-in task or a task's YAML file (default: the model's, else the data's)"
    )
    labels: str | None = key(None, about=LABELS_ABOUT)
    json: Path | None = key(
        None, about="write the findings as JSON; - (or --json alone) prints them", bare="-"
    )
    overwrite: bool = key(False, about="replace the JSON file")

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Whether a key may be meant for the host: one that it does not know is a finding."""
        if name in host_keys():
            return True
        own = [field.name for field in fields(cls)]
        return not {*get_close_matches(name, [*own, *host_keys()], n=1)} & {*own}


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
    for one in keys.misspelt(call.others):  # what follows takes seconds
        tell(f"{one.level}: {one.sentence}; {one.remedy}")
    findings = examine(
        call.others,
        recipe=call.recipe,
        assume_gpu=options.assume_gpu,
        task=options.task,
        labels=options.labels,
    )
    if options.json is not None:
        content = {part: [asdict(one) for one in found] for part, found in findings.items()}
        text = json.dumps(content, ensure_ascii=False, indent=2)
        write_json(options.json, text, overwrite=options.overwrite)
    if str(options.json) != STANDARD_STREAM:
        print(_as_text(findings, has_recipe=bool(call.others)))
    return 1 if any(map(_errors, findings.values())) else 0


def examine(
    values: Mapping[str, Any],
    *,
    recipe: Path | None = None,
    assume_gpu: float | None = None,
    task: str | Task | None = None,
    labels: str | None = None,
) -> dict[str, list[Finding]]:
    """Run all checks.

    Args:
        values: A recipe's keys and values; none to look at the environment alone.
        recipe: The file they come from, if any.
        assume_gpu: Judge the recipe for one recent GPU with so many GiB instead of this machine.
        task: The task that the recipe's data should be of, its name or its file; by default that of
            the recipe's model, or of each data set, as far as they say it.
        labels: Labels instead of a task.

    Returns:
        The findings under `environment` (what the machine is or lacks) and `recipe` (what is wrong
        with it on any machine), the worst first.

    Raises:
        CallError: There is no such task, or both task and labels are given.
    """
    trained, problem = trained_tasks(values)
    called = called_task(task, labels, ((one, one.origin) for one in trained))
    context = Context(values, this_machine(), recipe, called, trained, problem)
    about_machine = run_checks(environment, context)
    if not values or _NEEDED_TO_ASK & _errors(about_machine):
        return {"environment": _sorted(about_machine), "recipe": []}
    if assume_gpu is not None:
        context = replace(context, machine=assumed_machine(assume_gpu))
    # What is of the wrong type is reported by `keys`; the other checks see the rest.
    strange = keys.ill_typed(context).keys()
    sound = replace(context, values={k: v for k, v in values.items() if k not in strange})
    on_data = () if {"dataset", "eval_dataset", "dataset_dir"} & strange else (data, answers)
    about_machine += run_checks(machine, sound)
    about_recipe = run_checks(keys, context)
    for module in (*on_data, model, training, steps):
        about_recipe += run_checks(module, sound)
    if not _errors(about_recipe):
        about_recipe += _refusal(context)
    return {"environment": _sorted(about_machine), "recipe": _sorted(about_recipe)}


def _refusal(context: Context) -> list[Finding]:
    """Ask LLaMA-Factory's own parser."""
    reason = host.refusal(context.values, training=context.trains_or_predicts)
    sentence = f"LLaMA-Factory refuses the recipe: {reason}"
    return [Finding(Level.ERROR, sentence, "mend that key", "refused")] if reason else []


def _errors(findings: Iterable[Finding]) -> set[str]:
    return {one.check for one in findings if one.level is Level.ERROR}


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: list(Level).index(one.level))


def _as_text(findings: Mapping[str, Sequence[Finding]], *, has_recipe: bool) -> str:
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
    levels = [one.level for found in findings.values() for one in found]
    errors, warnings = levels.count(Level.ERROR), levels.count(Level.WARNING)
    return "\n".join([*lines, f"{errors} errors, {warnings} warnings"])


if __name__ == "__main__":
    sys.exit(main())
