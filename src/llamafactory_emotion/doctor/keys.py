"""Are the recipe's keys and values ones that LLaMA-Factory takes?"""

import dataclasses
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from llamafactory_emotion.doctor.context import Context, Finding, error, warning
from llamafactory_emotion.options import host_keys
from llamafactory_emotion.other_names import OTHER_NAMES
from llamafactory_emotion.plugin import host
from llamafactory_emotion.predict.options import PredictOptions

# What LLaMA-Factory reads as a list or as text parted by commas, and declares as text.
_LISTS = (
    *("dataset", "eval_dataset", "freeze_trainable_modules", "freeze_extra_modules"),
    *("lora_target", "additional_target"),
)
_NAMES_SHOWN = 12


_OF_PREDICT = frozenset(field.name for field in dataclasses.fields(PredictOptions))


def misspelt(names: Iterable[str]) -> Iterator[Finding]:
    """Report keys that LLaMA-Factory's sources do not have, without importing it."""
    known = host_keys() if find_spec("llamafactory") else ()
    for key in (key for key in names if known and key not in known | _OF_PREDICT):
        near = get_close_matches(key, sorted(known), n=1)
        yield _unknown(f"LLaMA-Factory does not know the key {key}", key, *near)


def _unknown(sentence: str, key: str, *near: str) -> Finding:
    name = OTHER_NAMES.get(key) or next(iter(near), None)
    return error(sentence, f"write {name}" if name else f"remove {key}")


def check_unknown_key(context: Context) -> Iterator[Finding]:
    """Keys that LLaMA-Factory does not know: it stops at them."""
    known = host.arguments(training=context.trains_or_predicts)
    unknown = [key for key in context.values if key not in known]
    yield from misspelt(unknown)
    for key in unknown:
        if key in host.arguments(training=True):
            yield error(
                f"{key} belongs to training; `llamafactory-cli export` and `chat` stop at it",
                f"remove {key}",
            )
        elif key in _OF_PREDICT:
            yield error(
                f"{key} is a key of `llamafactory_emotion.predict`, not of LLaMA-Factory",
                "give it on predict's command line",
            )
        elif key in host_keys():
            yield _unknown(f"LLaMA-Factory takes no key {key} in a recipe", key)


def ill_typed(context: Context) -> dict[str, str]:
    """Return the keys whose values are of the wrong type, each with the reason."""
    known = host.arguments(training=context.trains_or_predicts)
    found = {}
    for key in (key for key in context.values if key in known):
        value = context.values[key]
        parts = value if key in _LISTS and isinstance(value, list) else [value]
        problems = (host.misfit(known[key].hint, part) for part in parts)
        if (problem := next(filter(None, problems), None)) is not None:
            found[key] = problem
    return found


def check_value(context: Context) -> Iterator[Finding]:
    """Values of the wrong type: LLaMA-Factory converts nothing in a recipe."""
    known = host.arguments(training=context.trains_or_predicts)
    for key, problem in ill_typed(context).items():
        value, hint = context.values[key], known[key].hint
        names = host.choices(hint)
        if value is None:
            yield error(f"{key} has no value", f"give it one, or remove {key}")
        elif names:
            near = [*get_close_matches(str(value), names, n=_NAMES_SHOWN, cutoff=0.3), *names]
            shown = list(dict.fromkeys(near))[:_NAMES_SHOWN]
            more = ", ..." if len(shown) < len(names) else ""
            yield error(
                f"{key}: {value!r} is none of {', '.join(shown)}{more}", _remedy(key, value, hint)
            )
        else:
            yield error(f"{key}: {value!r}: {problem}", _remedy(key, value, hint))


def _remedy(key: str, value: Any, hint: Any) -> str:
    names = host.choices(hint)
    if isinstance(value, bool) and "no" in names:
        return f'quote it: {key}: "no" (YAML reads a bare no as false)'
    begun = [name for name in names if name.startswith(str(value))]
    if near := begun or get_close_matches(str(value), names, n=1):
        return f"write {key}: {near[0]}"
    if isinstance(value, str) and (meant := host.converted(hint, value)) is not None:
        return f"write {key}: {str(meant).lower()}, without quotes"
    return f"see LLaMA-Factory's description of {key}: llamafactory-cli train -h"


def check_missing_key(context: Context) -> Iterator[Finding]:
    """Keys without which nothing runs."""
    steps = ("do_train", "do_eval", "do_predict")
    if context.trains_or_predicts and not any(map(context.is_on, steps)):
        yield warning(
            "neither do_train nor do_predict is on: LLaMA-Factory loads everything and ends",
            "add do_train: true or do_predict: true",
        )
    if not context.values.get("template"):
        yield warning(
            "no template is named: LLaMA-Factory guesses one from the tokenizer",
            "add template: emotion, for a base model, or the model's own",
        )


def check_template(context: Context) -> Iterator[Finding]:
    """A template that does not exist."""
    name = context.values.get("template")
    if isinstance(name, str) and context.template is None:
        near = get_close_matches(name, host.templates(), n=1)
        yield error(f"there is no template {name!r}", f"write template: {(near or ['emotion'])[0]}")
