"""How many optimizer steps does a training run do, and are they enough to learn?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import cycle, islice

from llamafactory_emotion.doctor.context import Context, Finding, error, note, warning
from llamafactory_emotion.plugin import host
from llamafactory_emotion.plugin.host_encoding import count_packs, training_rows

# A LoRA on SmolLM2-135M answered no row rightly after a few steps, and nine in ten after 70. AdamW
# moves a weight by about the learning rate a step, so that the number of rows does not matter here.
FEWEST_STEPS = 50
# Below it a step follows the noise of single rows.
_ROWS_A_STEP = 4
_WITHOUT_WARM_UP = ("constant", "reduce_lr_on_plateau", "greedy")


@dataclass(frozen=True)
class Schedule:
    """What decides how many optimizer steps a run does; but for the first two, keys of a recipe."""

    rows: tuple[int, ...]  # token counts of the rows trained on; of packs alone they matter
    processes: int
    cutoff_len: int | None  # where rows are packed
    gradient_accumulation_steps: int
    per_device_train_batch_size: int
    num_train_epochs: float
    max_steps: int  # replaces the epochs where it is above 0
    dataloader_drop_last: bool
    preprocessing_batch_size: int
    preprocessing_num_workers: int

    @cached_property
    def items(self) -> int:
        """Rows, or packs of rows, an epoch."""
        if self.cutoff_len is None:
            return len(self.rows)
        return count_packs(
            self.rows,
            cutoff=self.cutoff_len,
            batch=self.preprocessing_batch_size,
            workers=self.preprocessing_num_workers,
        )

    @property
    def _batch(self) -> int:
        return self.per_device_train_batch_size * self.processes

    @property
    def effective_batch(self) -> int:
        """Rows or packs a step."""
        return self._batch * self.gradient_accumulation_steps

    @property
    def per_epoch(self) -> int:
        """Steps an epoch, as `Trainer.set_initial_training_values` counts them."""
        rounded = math.floor if self.dataloader_drop_last else math.ceil
        batches = rounded(self.items / self._batch)
        return max(1, math.ceil(batches / self.gradient_accumulation_steps))

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        by_epochs = math.ceil(self.num_train_epochs * self.per_epoch)
        return self.max_steps if self.max_steps > 0 else by_epochs


def check_steps(context: Context) -> Iterator[Finding]:
    """How many steps there are, how many of them warm-up, and whether a run can learn in them."""
    scheduler = str(context.value("lr_scheduler_type"))
    if scheduler.endswith("with_min_lr") and not context.values.get("lr_scheduler_kwargs"):
        yield error(
            f"lr_scheduler_type: {scheduler} without the least rate",
            "add lr_scheduler_kwargs: {min_lr_rate: 0.1}",
        )
    if not context.is_on("do_train"):
        return
    if context.values.get("warmup_steps") and context.values.get("warmup_ratio") is not None:
        yield warning(
            "warmup_steps and warmup_ratio are both given: transformers 4 takes the steps, "
            "transformers 5 the ratio",
            "override warmup_ratio, or set warmup_steps=0",
        )
    unknown = _why_unknown(context)
    try:
        schedule = _schedule(context, [] if unknown else _trained_rows(context))
    except ValueError as problem:
        yield error(
            f"LLaMA-Factory cannot mix and split the rows: {problem}",
            "lower val_size, or mend mix_strategy and interleave_probs",
        )
        return
    if unknown and schedule.max_steps <= 0:
        yield note(
            f"effective batch {schedule.effective_batch}; the number of optimizer steps is not "
            f"known: {unknown}"
        )
        return
    yield _described(context, schedule)
    yield from _too_short(context, schedule)


def _why_unknown(context: Context) -> str | None:
    """Return why rows or packs cannot be counted, or None."""
    for name in context.data_sets("dataset"):
        data_set = context.loaded.get(name)
        if data_set is None or not data_set.rows:
            on_hub = data_set is not None and data_set.path is None and not data_set.problem
            return f"the rows of {name!r} {'are on a hub' if on_hub else 'cannot be read'}"
    if not context.data_sets("dataset"):
        return "there is no data set"
    if context.packs and (context.value("stage") != "sft" or not context.lengths):
        return "packs are counted with the tokenizer, under stage: sft"
    return None


def _trained_rows(context: Context) -> list[int]:
    """Return the token counts of the rows that are trained on; 0 where they are not known.

    Where doctor has read the first rows only, their counts are repeated for the others.

    Raises:
        ValueError: The rows cannot be mixed and split.
    """
    most = int(context.number("max_samples"))
    data_sets = {}
    for name in context.data_sets("dataset"):
        count = context.loaded[name].drawn_rows
        count = min(count, most) if most > 0 else count
        data_sets[name] = list(islice(cycle(context.lengths.get(name, (0,))), count))
    return training_rows(
        data_sets,
        val_size=context.number("val_size"),
        seed=int(context.number("seed")),
        mix_strategy=context.value("mix_strategy"),
        interleave_probs=context.value("interleave_probs"),
    )


def _schedule(context: Context, rows: list[int]) -> Schedule:
    whole = (
        *("gradient_accumulation_steps", "per_device_train_batch_size"),
        *("preprocessing_batch_size", "preprocessing_num_workers"),
    )
    numbers = {key: max(1, int(context.number(key))) for key in ("cutoff_len", *whole)}
    return Schedule(
        rows=tuple(rows),
        processes=context.processes,
        cutoff_len=numbers.pop("cutoff_len") if context.packs else None,
        num_train_epochs=context.number("num_train_epochs"),
        max_steps=int(context.number("max_steps")),
        dataloader_drop_last=context.is_on("dataloader_drop_last"),
        **{key: numbers[key] for key in whole},
    )


def _described(context: Context, schedule: Schedule) -> Finding:
    read = [context.loaded[name] for name in context.data_sets("dataset") if name in context.loaded]
    estimated = context.packs and any(one.more_rows or "num_samples" in one.entry for one in read)
    from_key, epochs = schedule.max_steps > 0, schedule.num_train_epochs
    steps = f"{'about ' if estimated and not from_key else ''}{schedule.steps:,} optimizer steps"
    extent = f"{len(schedule.rows):,} rows"
    if context.packs and schedule.rows:
        extent += f" in {schedule.items:,} packs"
    return note(
        f"{steps}{' (max_steps)' if from_key else ''}, "
        f"{_warm_up(context, schedule.steps):,} of them warm-up: "
        + ("" if from_key else f"{epochs:g} epoch{'s'[: epochs != 1]} of ")
        + (f"{extent}, " if schedule.rows else "")
        + f"effective batch {schedule.effective_batch}"
    )


def _warm_up(context: Context, steps: int) -> int:
    if context.value("lr_scheduler_type") in _WITHOUT_WARM_UP:
        return 0
    return host.warmup_steps(context.values, steps)


def _too_short(context: Context, schedule: Schedule) -> Iterator[Finding]:
    """Too few steps, or a warm-up of half of them; with what to add to the command instead."""
    steps, warm_up = schedule.steps, _warm_up(context, schedule.steps)
    faults = []
    if steps < FEWEST_STEPS:
        faults.append(f"{steps} optimizer steps are too few to learn from")
    if 2 * warm_up >= steps:
        faults.append(f"{warm_up} of {steps} steps are warm-up, below the learning rate")
    if not faults:
        return
    longer = _lengthened(schedule, _longest(context))
    names = (field.name for field in fields(schedule))
    added = {n: getattr(longer, n) for n in names if getattr(longer, n) != getattr(schedule, n)}
    if 2 * _warm_up(context, longer.steps) >= longer.steps:
        ratio = context.values.get("warmup_ratio") is not None
        if context.values.get("warmup_steps") or not ratio:
            added["warmup_steps"] = 0 if ratio else longer.steps // 10
        added |= {"warmup_ratio": 0.1} if ratio else {}
    command = " ".join(f"{key}={value:g}" for key, value in added.items())
    yield warning("; ".join(faults), f"add {command} ({longer.steps} steps)")


def _longest(context: Context) -> float:
    """Return the tokens of the longest row of all data sets; infinite where that is not known."""
    counted = all(name in context.lengths for name in context.loaded)
    if not counted or any(one.more_rows for one in context.loaded.values()):
        return math.inf
    return max((max(lengths) for lengths in context.lengths.values()), default=math.inf)


def _lengthened(schedule: Schedule, longest: float) -> Schedule:
    """Return the schedule with enough steps: first fewer rows a step, then more epochs."""
    if schedule.max_steps > 0:
        return replace(schedule, max_steps=max(schedule.max_steps, FEWEST_STEPS))
    while schedule.steps < FEWEST_STEPS:
        if len(schedule.rows) < 2 * _ROWS_A_STEP * schedule.per_epoch:
            break
        if schedule.cutoff_len is not None and schedule.cutoff_len // 2 > longest:
            halved = "cutoff_len"
        elif schedule.gradient_accumulation_steps > 1:
            halved = "gradient_accumulation_steps"
        elif schedule.per_device_train_batch_size > 1:
            halved = "per_device_train_batch_size"
        else:
            break
        schedule = replace(schedule, **{halved: getattr(schedule, halved) // 2})
    if schedule.steps < FEWEST_STEPS:
        return replace(schedule, num_train_epochs=math.ceil(FEWEST_STEPS / schedule.per_epoch))
    return schedule
