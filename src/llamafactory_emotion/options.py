"""Read a call: `COMMAND [FILE ...] [recipe.yaml] key=value ...`, LLaMA-Factory's grammar.

Every key can be written `--key value` and `--key=value` too. A command's keys are the fields of a
frozen dataclass made with `key`: name, type, default, range and help are written there and nowhere
else. OmegaConf reads recipes and LLaMA-Factory's own keys, as it does there; it is imported only
for these, because `evaluate FILE` must start fast.
"""

import ast
import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from llamafactory_emotion.errors import CallError
from llamafactory_emotion.other_names import OTHER_NAMES

_RECIPE_SUFFIXES = (".yaml", ".yml", ".json")
_PAIR = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_TRUE_OR_FALSE = ("true", "false")
_TRUE, _FALSE = ("true", "yes", "on", "y", "t", "1"), ("false", "no", "off", "n", "f", "0")


def key(  # noqa: PLR0913 - one for each thing that can be declared
    default: Any = MISSING,
    *,
    about: str,
    metavar: str = "",
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    bare: str | None = None,
    positional: bool = False,
    host: bool = False,
    secret: bool = False,
) -> Any:
    """Declare a key of a command: a dataclass field with what its help and its checks need.

    Args:
        default: Value where the call gives none; without one the key is required.
        about: Help text; for a required key also what the message about its absence says.
        metavar: What stands for the value in the help; by default its type.
        choices: The values allowed.
        least: Smallest number allowed.
        most: Largest number allowed.
        bare: Value of `--key` without one; `true` for a key that is true or false.
        positional: A word without a key goes here, or all such words where the field is a list.
        host: The key is LLaMA-Factory's, of the same name and meaning.
        secret: Keep the value out of the dataclass's repr.
    """
    metadata = {
        "about": about,
        "metavar": metavar,
        "choices": tuple(choices),
        "least": least,
        "most": most,
        "bare": bare,
        "positional": positional,
        "host": host,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


class Options:
    """What the options of all commands inherit: which other keys a call may hold."""

    @classmethod
    def accepts(cls, name: str) -> bool:  # noqa: ARG003 - what overrides it asks
        """Whether a key that is none of the command's own is passed over instead of refused."""
        return False

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterator[str]:  # noqa: ARG003
        """Yield a sentence part for each contradiction between keys; `given` has those called."""
        yield from ()


class RecipeOptions(Options):
    """Options of a command that takes LLaMA-Factory's recipes and passes over keys it ignores."""

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Whether a key is LLaMA-Factory's."""
        return name in host_keys()


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """How a command reads its data files; each key, given once, serves all files of the call."""

    text_column: str | None = key(
        None, about="the column of the texts, or several with commas (default: guessed)"
    )
    label_column: str | None = key(
        None, about="the column of the labels, or none (default: guessed)"
    )
    encoding: str | None = key(
        None, about="of text files that are neither UTF-8 nor certain: gb18030, cp1252, ..."
    )
    sheet: str | None = key(None, about="the sheet of a workbook (default: the first)")

    @property
    def reading(self) -> dict[str, Any]:
        """The same as arguments of `data.reading`."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(DataOptions)}
        return named | ({"label_column": ""} if self.label_column == "none" else {})


T = TypeVar("T", bound=Options)


@dataclass(frozen=True)
class Call:
    """A call's words, told apart.

    Attributes:
        values: Key to value, the command line over the recipe; not yet converted.
        recipe: Path of the recipe, or None.
        others: Those of `values` that are no keys of the command itself.
    """

    values: Mapping[str, Any]
    recipe: Path | None = None
    others: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_options(words: Sequence[str], options: type[T]) -> tuple[T, Call]:
    """Read a call's words into a command's options.

    Raises:
        CallError: Lists every word, key and value that is wrong.
    """
    call = read_call(words, options)
    fields = _fields(options)
    problems = [*_keys_outside(call.others, fields, options.accepts)]
    given = {name: value for name, value in call.values.items() if value is not None}
    typed: dict[str, Any] = {}
    for name, field in fields.items():
        declared = field.metadata
        if name not in given:
            problems += [f"{name} is missing: {declared['about']}"] if _is_required(field) else []
            continue
        parted = bool(declared["choices"]) or field.type == list[int]
        try:
            typed[name] = _typed(given[name], field.type, parted=parted)
        except ValueError:
            problems.append(f"{name}={given[name]!r} is not {_kind(field.type).named}")
        else:
            problems += _out_of_range(name, typed[name], declared)
    problems += options.problems({**call.others, **typed})
    if problems:
        raise CallError("; ".join(problems) + ".")
    return options(**typed), call


def read_call(words: Sequence[str], options: type[Options]) -> Call:
    """Tell files, recipe and keys apart, and let the command line override the recipe.

    Raises:
        CallError: A word is none of these, or the recipe or a value cannot be read.
    """
    fields = _fields(options)
    files_to = next((name for name in fields if fields[name].metadata["positional"]), None)
    own: dict[str, Any] = {}
    bare: list[str] = []
    pairs: list[str] = []
    recipe = None
    wrong = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        pair = _PAIR.fullmatch(word)
        if word.startswith("--") and len(word) > 2:
            name, equals, text = word[2:].partition("=")
            name = name.replace("-", "_")
            text = text if equals else _value_after(rest, fields.get(name))
        elif recipe is None and _is_recipe(word, takes_files=files_to is not None):
            recipe = Path(word)
            continue
        elif pair and not (files_to and Path(word).is_file()):
            name, text = pair.groups()
        elif files_to and _is_word(word) and (files_to not in own or _is_list(fields[files_to])):
            name, text = files_to, word
            bare.append(word)
        else:
            wrong.append(word)
            continue
        if name not in fields or (fields[name].metadata["host"] and not _is_list(fields[name])):
            pairs.append(f"{name}={text}")
        elif _is_list(fields[name]):
            own.setdefault(name, []).append(text)
        else:
            own[name] = None if text in ("", "null") else text
    if wrong:
        listed = ", ".join(map(repr, wrong))
        meant = _parted_pair(words, wrong, (*fields, *host_keys()))
        raise CallError(f"{listed}: write key=value{meant}; the help names the keys.")
    _check_not_lost(bare, own.get(files_to or ""), files_to)
    values = _merged(recipe, pairs, own)
    return Call(values, recipe, {k: v for k, v in values.items() if k not in fields})


def _parted_pair(words: Sequence[str], wrong: Sequence[str], names: Sequence[str]) -> str:
    """Return what `train FILE`, `train: FILE` or `train = FILE` was meant for."""
    bare = [word.strip(":=\u2013\u2014") for word in words]
    parted = [pair for pair in pairwise(filter(None, bare)) if pair[0] in names]
    return next((f" ({key}={value})" for key, value in parted if value in wrong), "")


def _check_not_lost(bare: Sequence[str], taken: object, name: str | None) -> None:
    """Refuse a key that comes after a word without one and overrides it."""
    if bare and not isinstance(taken, list) and taken != bare[0]:
        raise CallError(f"{name} is given twice, as {bare[0]} and {taken}; keep one.")


def help_text(command: str, options: type[Options], about: str, notes: str = "") -> str:
    """Write the help of a command from its options: every key with type, default and meaning."""
    fields = _fields(options).values()
    files = [field for field in fields if field.metadata["positional"]]
    theirs = [field for field in fields if field.metadata["host"]]
    ours = [field for field in fields if field not in files and field not in theirs]
    words = [f"[{f.metadata['metavar']}{' ...' if _is_list(f) else ''}]" for f in files]
    usage = f"usage: python -m llamafactory_emotion.{command}"
    parts = [
        " ".join([usage, *words, "[recipe.yaml] key=value ..."]),
        about,
        "\n".join(map(_help_line, [*files, *ours])),
    ]
    if theirs:
        parts.append("\n".join(["Keys of LLaMA-Factory:", *map(_help_line, theirs)]))
    parts.append("Each key can be written --key value as well. --debug shows an error's traceback.")
    return "\n\n".join([*parts, notes] if notes else parts)


def needs_words(options: type[Options]) -> bool:
    """Whether a call without a word cannot work."""
    return any(map(_is_required, _fields(options).values()))


def _keys_outside(
    names: Iterable[str], known: Iterable[str], accepts: Callable[[str], bool]
) -> Iterator[str]:
    """Yield a sentence part for every key that is neither known nor accepted, with a near one."""
    known = sorted(known)
    for name in (name for name in names if not accepts(name)):
        theirs = sorted(filter(accepts, host_keys()))
        other = OTHER_NAMES.get(name, "")
        near = [other] if other.partition(":")[0] in (*known, *theirs) else []
        for some in (known, theirs):
            near = near or difflib.get_close_matches(name.lower(), some, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        yield f"unknown key {name!r}{hint}"


@cache
def host_keys() -> frozenset[str]:
    """Return the keys of LLaMA-Factory's recipes, its own and those of transformers' trainer.

    They are read from the installed sources, as importing LLaMA-Factory takes seconds.
    """
    keys: set[str] = set()
    for package, folder in (("llamafactory", "hparams"), ("transformers", "")):
        spec = find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            pattern = "*.py" if folder else "training_args*.py"
            for source in sorted(Path(root, folder).glob(pattern)):
                keys |= _dataclass_fields(source)
    return frozenset(keys)


def _dataclass_fields(source: Path) -> set[str]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    return {
        statement.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def _is_recipe(word: str, *, takes_files: bool) -> bool:
    """Tell `recipe.yaml` from `task=labels.yaml`, and from a file of data that is JSON."""
    suffixes = _RECIPE_SUFFIXES[:2] if takes_files else _RECIPE_SUFFIXES
    is_option = word.startswith("-") or _PAIR.fullmatch(word) is not None
    return word.endswith(suffixes) and (not is_option or Path(word).is_file())


def _value_after(rest: list[str], field: "dataclasses.Field[Any] | None") -> str:
    """Take the value of `--key` off the words; a key of true or false needs none."""
    if field is not None and (field.type is bool or field.metadata["bare"]):
        bare = str(field.metadata["bare"] or "true")
        takes = rest and (rest[0] in _TRUE_OR_FALSE if field.type is bool else _is_value(rest[0]))
        return rest.pop(0) if takes else bare
    return rest.pop(0) if rest and not rest[0].startswith("--") else "true"


def _is_value(word: str) -> bool:
    return not word.startswith("--") and not _PAIR.fullmatch(word)


def _is_word(word: str) -> bool:
    return word == "-" or not word.startswith("-")


def _merged(recipe: Path | None, pairs: list[str], own: Mapping[str, Any]) -> dict[str, Any]:
    if recipe is None and not pairs:
        return dict(own)
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        theirs = OmegaConf.create({}) if recipe is None else _load(recipe)
        values = OmegaConf.merge(theirs, OmegaConf.from_cli(pairs), OmegaConf.create(dict(own)))
        content = OmegaConf.to_container(values, resolve=True)
    # PyYAML passes on what Python says of `!!int x`, `!!bool x` or `!!timestamp x`.
    except (OmegaConfBaseException, YAMLError, ValueError, AttributeError, LookupError) as error:
        first = str(error).strip().splitlines()[0]
        raise CallError(
            f"a value cannot be read ({first}); write it in quotes: key='\"...\"'."
        ) from error
    assert isinstance(content, dict)  # noqa: S101 - a merge of mappings is one
    # A lone dash, standard input or output, is YAML for a list with nothing in it.
    return {str(name): "-" if value == [None] else value for name, value in content.items()}


def _load(recipe: Path) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError

    if recipe.is_fifo():
        raise CallError(f"the recipe {recipe} is a pipe; name a file.")
    try:
        text = recipe.read_text(encoding="utf-8-sig")
        content = OmegaConf.create(json.loads(text) if recipe.suffix == ".json" else text)
    except OSError as error:
        raise CallError(
            f"the recipe {recipe} cannot be read ({error.strerror}); check path and rights."
        ) from error
    except (ValueError, YAMLError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())
        remedy = "save it as UTF-8" if isinstance(error, UnicodeError) else "mend it"
        raise CallError(f"the recipe {recipe} cannot be read ({reason}); {remedy}.") from error
    if not OmegaConf.is_dict(content) or not content:
        raise CallError(f"the recipe {recipe} holds no keys; write one 'key: value' a line.")
    return content


def _truth(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError
    return text.lower() in _TRUE


@dataclass(frozen=True)
class _Kind:
    """What values of a type are called in messages and in the help, and how text becomes one."""

    named: str
    shown: str
    read: Callable[[str], Any]


_KINDS: Mapping[Any, _Kind] = {
    str: _Kind("text; quote words that YAML reads otherwise: 'no', 'on'", "TEXT", str),
    int: _Kind("a whole number", "N", int),
    float: _Kind("a number", "NUMBER", float),
    bool: _Kind("true or false", "true|false", _truth),
    Path: _Kind("a path", "FILE", Path),
}


def _kind(declared: Any) -> _Kind:
    """Return the kind of value that a field is declared with: `X`, `X | None` or `list[X]`."""
    return _KINDS[next(iter(get_args(declared)), declared)]


def _typed(value: Any, declared: Any, *, parted: bool) -> Any:
    """Convert what a call or a recipe gives for a field.

    Args:
        value: A text, a number, true or false, or a list of these.
        declared: The field's type.
        parted: One text may be a whole list, with commas; a path may hold some.

    Raises:
        ValueError: It is not of that type.
    """
    kind = _kind(declared)
    values = value if isinstance(value, list) else [value]
    if get_origin(declared) is list:
        return [_read(one, kind) for one in (_parts(values) if parted else values)]
    # LLaMA-Factory takes names as a list as well as text with commas.
    if kind.read is str and values:
        texts = [_read(one, kind) for one in values]
        return ",".join(map(_quoted, texts) if texts[1:] else texts)
    return _read(value, kind)


def _quoted(text: str) -> str:
    """Return a text as one of several with commas between them, quoted as in CSV."""
    return '"' + text.replace('"', '""') + '"' if "," in text else text


def _read(value: Any, kind: _Kind) -> Any:
    # A number is no answer to true or false, and true or false no text.
    is_another = isinstance(value, bool) is not (kind.read is _truth)
    if not isinstance(value, str | int | float) or (is_another and not isinstance(value, str)):
        raise ValueError
    return kind.read(str(value))


def _parts(values: list[Any]) -> list[str]:
    return [part.strip() for one in values for part in str(one).strip("[]").split(",")]


def _out_of_range(name: str, value: Any, declared: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _out_of_range(name, one, declared)
        return
    if "\0" in str(value):
        yield f"{name}={value!r} holds a zero byte, and no path may"
    choices, least, most = declared["choices"], declared["least"], declared["most"]
    if choices and value not in choices:
        yield f"{name}={value!r} is none of {', '.join(choices)}"
    low = least is not None and not value >= least
    high = most is not None and not value <= most
    if low or high:
        wanted = f"{least} or more" if most is None else f"from {least} to {most}"
        yield f"{name}={value} must be {wanted}"


def _fields(options: type[Options]) -> dict[str, "dataclasses.Field[Any]"]:
    """Return the fields by name, a class's own before those that it inherits."""
    found = {field.name: field for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    names = (name for kind in options.__mro__ for name in vars(kind).get("__annotations__", ()))
    return {name: found.pop(name) for name in names if name in found}


def _is_list(field: "dataclasses.Field[Any]") -> bool:
    return get_origin(field.type) is list


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


_HELP_COLUMN = 34


def _help_line(field: "dataclasses.Field[Any]") -> str:
    import textwrap

    declared = field.metadata
    shown = declared["metavar"] or "|".join(declared["choices"]) or _kind(field.type).shown
    many = declared["positional"] and _is_list(field)
    name = f"  {shown} ..." if many else f"  {field.name}={shown}"
    default = field.default
    about = declared["about"]
    if not (default is None or default is False or default is MISSING):
        about += f" (default: {str(default).lower() if default is True else default})"
    lines = textwrap.wrap(about, 100 - _HELP_COLUMN)
    first = f"{name:<{_HELP_COLUMN - 2}}  " if len(name) < _HELP_COLUMN - 1 else f"{name}\n"
    indent = " " * _HELP_COLUMN
    body = f"\n{indent}".join(lines)
    return first + (indent if first.endswith("\n") else "") + body
