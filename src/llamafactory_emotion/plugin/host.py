"""Ask LLaMA-Factory itself: which versions and arguments it takes, what it refuses.

`doctor` asks here, so that what it says is the host's own word and not a copy of it that grows old.
"""

import contextlib
import dataclasses
import enum
import io
import json
import logging
import sys
import tempfile
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

# What depends on the machine that asks, and what would touch it: judged by the checks instead.
_NEUTRAL: Mapping[str, Any] = MappingProxyType(
    {"fp16": False, "bf16": False, "pure_bf16": False, "report_to": "none", "use_cpu": True}
)
_LEFT_OUT = ("deepspeed", "fsdp", "fsdp_config", "tf32", "resume_from_checkpoint", "plot_loss")


@dataclass(frozen=True)
class Argument:
    """One key of a recipe: its type hint and the value it has when it is not given."""

    hint: Any
    default: Any


def refused_version() -> str | None:
    """Return what LLaMA-Factory's start-up check says of the installed versions, or None."""
    with quiet():
        try:
            from llamafactory.extras.misc import check_dependencies

            check_dependencies()
        except ImportError as error:
            return " ".join(str(error).split())
    return None


@cache
def arguments(*, training: bool) -> Mapping[str, Argument]:
    """Return the keys of `llamafactory-cli train`, or those of `export`, `chat` and `api`."""
    with quiet():
        from llamafactory import hparams

        classes = [
            hparams.ModelArguments,
            hparams.DataArguments,
            hparams.FinetuningArguments,
            hparams.GeneratingArguments,
        ]
        classes += [hparams.TrainingArguments] if training else []
        hints = [typing.get_type_hints(kind) for kind in classes]
    return {
        field.name: Argument(hints_of_kind[field.name], _default(field))
        for kind, hints_of_kind in zip(classes, hints, strict=True)
        for field in dataclasses.fields(kind)
        if field.init
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if isinstance(field.default, enum.Enum):
        return field.default.value
    return None if field.default is dataclasses.MISSING else field.default


def misfit(hint: Any, value: Any) -> str | None:
    """Return why a value of a recipe is not of a key's type, or None; nothing is converted."""
    from pydantic import ValidationError

    names = choices(hint)
    if names and isinstance(value, str):  # transformers' hints take any text beside an enumeration
        return None if value in names else "it is none of the choices"
    try:
        # As JSON: pydantic's strict mode then takes the names of an enumeration and no others.
        _adapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return "; ".join(dict.fromkeys(one["msg"] for one in error.errors()))
    return None


def converted(hint: Any, value: str) -> Any:
    """Convert a text to a key's type, as far as pydantic can; None otherwise."""
    from pydantic import ValidationError

    try:
        return _adapter(hint).validate_python(value)
    except ValidationError:
        return None


@cache
def _adapter(hint: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(hint, config={"arbitrary_types_allowed": True})


def choices(hint: Any) -> tuple[str, ...]:
    """Return the words a key takes, or nothing when it takes any."""
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is typing.Literal:
            return tuple(map(str, typing.get_args(part)))
        if isinstance(part, type) and issubclass(part, enum.Enum):
            return tuple(str(member.value) for member in part)
    return ()


def refusal(values: Mapping[str, Any], *, training: bool) -> str | None:
    """Return LLaMA-Factory's own reason not to take a recipe, or None.

    Precision, launcher and output folder depend on the machine and are left out.
    """
    asked = {key: value for key, value in values.items() if key not in _LEFT_OUT}
    with quiet(), tempfile.TemporaryDirectory() as folder:
        from llamafactory.hparams import get_infer_args, get_train_args

        if training:
            asked |= {**_NEUTRAL, "output_dir": str(Path(folder) / "output")}
        try:
            (get_train_args if training else get_infer_args)(asked)
        except Exception as error:
            # Whatever stops its parser is its refusal.
            return " ".join(str(error).split()) or type(error).__name__
    return None


def templates() -> frozenset[str]:
    """Return the names of all templates that LLaMA-Factory knows in this process."""
    with quiet():
        from llamafactory.data.template import TEMPLATES

        return frozenset(TEMPLATES)


@cache
def loads_attention(name: str) -> bool:
    """Whether a model is loaded with this `flash_attn`: 0.9.5 lists fa3 and stops at it."""
    with quiet():
        from llamafactory.extras.constants import AttentionFunction
        from llamafactory.model.model_utils.attention import configure_attn_implementation

        asked = types.SimpleNamespace(flash_attn=AttentionFunction(name))
        try:
            configure_attn_implementation(types.SimpleNamespace(model_type="llama"), asked)
        except NotImplementedError:
            return False
    return True


def warmup_steps(values: Mapping[str, Any], steps: int) -> int:
    """Return how many of a run's steps are warm-up, as transformers counts them."""
    given = {key: values[key] for key in ("warmup_steps", "warmup_ratio") if values.get(key)}
    with quiet():
        from transformers import TrainingArguments

        try:
            settings = TrainingArguments(output_dir=".", use_cpu=True, report_to="none", **given)
            return min(int(settings.get_warmup_steps(steps)), steps)
        except (ValueError, OverflowError):
            # A number out of its range, which is reported by its own check.
            return 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the host's log and its prints off the screen while it is asked."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    arguments_before = sys.argv
    sys.argv = ["llamafactory-cli"]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.argv = arguments_before
        logging.disable(before)
