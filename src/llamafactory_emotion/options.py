"""Read a call as LLaMA-Factory reads it: `COMMAND [recipe.yaml] key=value ...`.

Stands below the commands that take a model. A recipe written for LLaMA-Factory is taken as it is:
its keys are known from LLaMA-Factory's own source, which is read and never imported.
"""

import ast
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llamafactory_emotion.errors import CallError

_RECIPE_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Call:
    """A command's keys and values.

    Attributes:
        values: Key to value, what the command line says over what the recipe says.
        recipe: The recipe's path, or None.
    """

    values: Mapping[str, Any]
    recipe: Path | None


def read_call(arguments: Sequence[str]) -> Call:
    """Read `[recipe.yaml] key=value ...`, with LLaMA-Factory's own rules for values.

    Raises:
        CallError: An argument is no `key=value`, or the recipe cannot be read.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    recipe = Path(arguments[0]) if arguments and _names_a_recipe(arguments[0]) else None
    pairs = list(arguments[1:] if recipe else arguments)
    wrong = [pair for pair in pairs if "=" not in pair or pair.startswith(("=", "-"))]
    if wrong:
        raise CallError(
            f"{', '.join(map(repr, wrong))}: write key=value, without dashes or spaces around '='."
        )
    try:
        values = OmegaConf.merge(_load(recipe), OmegaConf.from_cli(pairs))
        content = OmegaConf.to_container(values, resolve=True)
    except RecursionError:
        raise CallError("a value is nested too deeply to be read.") from None
    except (OmegaConfBaseException, YAMLError) as error:
        first = str(error).strip().splitlines()[0]
        raise CallError(f"a value cannot be read ({first}); quote it: key='\"...\"'.") from error
    assert isinstance(content, dict)  # noqa: S101 - a merge of mappings is one
    # A lone dash, standard input or output, is YAML for a list with nothing in it.
    return Call(
        {str(key): "-" if value == [None] else value for key, value in content.items()}, recipe
    )


def _names_a_recipe(word: str) -> bool:
    """Tell `recipe.yaml` from `task=labels.yaml`, which may come first as well."""
    return word.endswith(_RECIPE_SUFFIXES) and ("=" not in word or Path(word).is_file())


def _load(recipe: Path | None) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError

    if recipe is None:
        return OmegaConf.create({})
    try:
        text = recipe.read_text(encoding="utf-8-sig")
        content = json.loads(text) if recipe.suffix == ".json" else OmegaConf.create(text)
    except OSError as error:
        raise CallError(f"the recipe {recipe} cannot be read ({error.strerror}).") from error
    except (ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        remedy = "; save it as UTF-8" if isinstance(error, UnicodeError) else ""
        raise CallError(f"the recipe {recipe} cannot be read: {reason}{remedy}.") from error
    except RecursionError:
        raise CallError(f"the recipe {recipe} is nested too deeply to be read.") from None
    if not OmegaConf.is_dict(content) and not isinstance(content, dict):
        raise CallError(f"the recipe {recipe} holds no keys; write one 'key: value' a line.")
    return OmegaConf.create(content) if isinstance(content, dict) else content


def unknown_keys(keys: Iterable[str], own: Iterable[str]) -> list[str]:
    """Give a sentence part for every key that neither this command nor LLaMA-Factory knows."""
    own = set(own)
    strange = [key for key in keys if key not in own]
    if not strange:
        return []
    return keys_outside(strange, own | host_keys())


def keys_outside(keys: Iterable[str], known: Set[str]) -> list[str]:
    """Give a sentence part for every key that is not known, with the nearest that is."""
    problems = []
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            problems.append(
                f"unknown key {key!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
            )
    return problems


@cache
def host_keys() -> frozenset[str]:
    """Give the keys of LLaMA-Factory's recipes, its own and those of transformers' trainer."""
    keys: set[str] = set()
    for package, folder in (("llamafactory", "hparams"), ("transformers", "")):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            pattern = "*.py" if folder else "training_args*.py"
            for source in sorted(Path(place, folder).glob(pattern)):
                keys |= _fields(source)
    return frozenset(keys)


def _fields(source: Path) -> set[str]:
    """Give the names of a module's dataclass fields."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    return {
        statement.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }
