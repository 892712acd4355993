"""doctor's verdict against what LLaMA-Factory really does, on recipes and data of every kind.

    python benchmarks/doctor_against_host.py [--only PATTERN] [--every N] [--all]

Each case of `doctor_cases` is judged by doctor, and then run by the unmodified host (`run_exp`,
what `llamafactory-cli train` calls; two steps on the CPU), each in a forked process of its own.
Prints what the two disagree about (`--all`: every case), and counts misses and false alarms.
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_DISABLED": "true"}

from doctor_cases import BROKEN, SOUND, STRICT, TEXTS, Case, write_case
from tiny_llama import write_tiny_llama

from llamafactory_emotion.doctor.environment import import_failure

SECONDS_AT_MOST = 180
FORK = multiprocessing.get_context("fork")
ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Outcome:
    """What doctor says of a case, and what the host does with it.

    Attributes:
        level: doctor's worst level, `error`, `warning` or nothing.
        said: Its first sentence.
        end: What the host did: `runs`, `stops`, or `spoils` where the answers that it trains are
            not those that the data set has.
        why: The host's reason, or what is lost.
        seconds: What doctor took.
    """

    level: str
    said: str
    end: str
    why: str
    seconds: float

    @property
    def verdict(self) -> str:
        """Whether the two agree: a stop is an error, a loss of rows an error or a warning."""
        if self.end == "stops" and self.level != ERROR:
            return "miss"
        if self.end == "spoils" and not self.level:
            return "miss"
        return "false alarm" if self.end == "runs" and self.level == ERROR else "agree"


def try_case(case: Case, folder: Path, base: Path) -> Outcome:
    """Let doctor judge a case and the host run it."""
    values = write_case(case, folder, base)
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(values), encoding="utf-8")
    start = time.perf_counter()
    level, said = _apart(lambda: _doctor(recipe), folder)
    seconds = time.perf_counter() - start
    end, why = _apart(lambda: _host(recipe, case), folder)
    return Outcome(level, said, end, why, seconds)


def _apart(work: Callable[[], Sequence[str]], folder: Path) -> Sequence[str]:
    """Do work in a fork, so that nothing of it is left; return what it returns, or its death."""
    mine, its = FORK.Pipe()

    def do() -> None:
        with (folder / "log").open("a") as log, redirect_stdout(log), redirect_stderr(log):
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                its.send(work())
            except BaseException as error:  # the host may exit, too
                traceback.print_exc()
                its.send(("stops", f"{type(error).__name__}: {error}"))
        os._exit(0)

    process = FORK.Process(target=do)
    process.start()
    its.close()
    try:
        return mine.recv() if mine.poll(SECONDS_AT_MOST) else ("stops", "it hangs")
    except EOFError:
        return "stops", "the process died"
    finally:
        process.kill()
        process.join()


def _import_all(case: Case, folder: Path, base: Path) -> None:
    """Import what a first run imports, and try once what is slow to import: forks inherit it."""
    recipe = folder / "recipe.yaml"
    values = write_case(case, folder, base)
    recipe.write_text(json.dumps(values), encoding="utf-8")

    def run() -> Sequence[str]:
        _doctor(recipe)
        _host(recipe, case)
        return list(sys.modules)

    for name in _apart(run, folder):
        with suppress(ImportError):
            import_module(name)
    for module in ("torchaudio", "flash_attn", "deepspeed", "bitsandbytes"):
        import_failure(module)


def _doctor(recipe: Path) -> tuple[str, str]:
    from llamafactory_emotion.doctor.__main__ import DoctorOptions, examine
    from llamafactory_emotion.options import read_options

    _, call = read_options([str(recipe)], DoctorOptions)
    found = examine(call.others, recipe=call.recipe)
    findings = [one for part in found.values() for one in part if one.level in (ERROR, WARNING)]
    worst = sorted(findings, key=lambda one: one.level)
    return (str(worst[0].level), worst[0].sentence) if worst else ("", "")


def _host(recipe: Path, case: Case) -> tuple[str, str]:
    """Run a recipe as `llamafactory-cli train` does, and look at what was trained."""
    from llamafactory.train.sft import workflow
    from llamafactory.train.tuner import run_exp

    meant = case.answers
    trained: list[str] = []
    rows: list[str] = []
    load = workflow.get_dataset

    def watched(*arguments: Any, **keywords: Any) -> Mapping[str, Any]:
        loaded = load(*arguments, **keywords)
        if meant is not None:
            tokenizer = keywords["tokenizer"]
            ids = ([one for one in row if one >= 0] for row in loaded["train_dataset"]["labels"])
            trained.extend(tokenizer.decode(one, skip_special_tokens=True).strip() for one in ids)
            rows.extend(map(tokenizer.decode, loaded["train_dataset"]["input_ids"]))
        return loaded

    workflow.get_dataset = watched
    sys.argv = ["llamafactory-cli", str(recipe)]
    run_exp()
    if meant is not None and trained != list(meant):
        return "spoils", f"{len(trained)} answers are trained, and not the {len(meant)} meant"
    if lost := sum(not any(text in row for row in rows) for text in case.texts):
        return "spoils", f"{lost} of {len(case.texts)} texts are not read as they are written"
    return "runs", ""


def main() -> int:
    """Try all cases; return 1 where a sound case is misjudged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name a regular expression finds")
    parser.add_argument("--every", type=int, default=1, help="each Nth case alone")
    parser.add_argument("--all", action="store_true", help="print every case")
    call = parser.parse_args()
    # What both need, once: a fork has it for nothing.
    import llamafactory.train.tuner  # noqa: F401

    import llamafactory_emotion.doctor.__main__  # noqa: F401

    counts: Counter[str] = Counter()
    times = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HF_DATASETS_CACHE"] = scratch
        base = Path(scratch) / "tiny_base"
        _apart(lambda: write_tiny_llama(TEXTS, base) or ("", ""), Path(scratch))
        _import_all(SOUND[0], Path(scratch) / "first", base)
        print("| | case | doctor | LLaMA-Factory | |\n|---|---|---|---|---|")
        for half, cases in (("broken", BROKEN), ("sound", SOUND), ("strict", STRICT)):
            for number, case in enumerate(cases):
                if not re.search(call.only, case.name) or number % call.every:
                    continue
                outcome = try_case(case, Path(scratch) / f"{half}{number}", base)
                counts[half] += 1
                counts[f"{outcome.verdict}, {half}"] += 1
                times.append(outcome.seconds)
                fits = (outcome.end == "runs") == (half != "broken")
                if call.all or outcome.verdict != "agree" or not fits:
                    print(_line(half, case, outcome), flush=True)
    print()
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")
    print(f"doctor: {sorted(times)[len(times) // 2]:.1f} s in the middle, {max(times):.1f} at most")
    return 1 if counts["miss, sound"] + counts["false alarm, sound"] else 0


def _line(half: str, case: Case, outcome: Outcome) -> str:
    def cell(text: str) -> str:
        return " ".join(text.split()).replace("|", "/")[:160]

    doctor = f"{outcome.level}: {cell(outcome.said)}" if outcome.level else "nothing"
    host = f"{outcome.end}: {cell(outcome.why)}" if outcome.why else outcome.end
    verdict = case.strict or outcome.verdict
    return f"| {half} | {case.name} | {doctor} | {host} | {verdict} |"


if __name__ == "__main__":
    sys.exit(main())
