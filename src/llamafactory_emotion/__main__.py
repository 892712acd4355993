"""`llamafactory-emotion COMMAND ...`: find the command's module and hand it the arguments."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from llamafactory_emotion import __version__

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "init": "write a working folder with recipes and data",
        "prepare": "check and audit labelled texts and write them as LLaMA-Factory data sets",
        "doctor": "find what would make a run fail, before it is started",
        "predict": "give every text its labels' probabilities",
        "evaluate": "score a file of predictions",
        "export_classifier": "write a trained model as an ordinary sequence classifier",
        "train_head": "train a classifier with a head of its own, encoder or decoder",
    }
)
_WRONG_CALL = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names and return its exit code."""
    name, *rest = [*(sys.argv[1:] if argv is None else argv), ""]
    if name == "--version":
        print(f"llamafactory-emotion {__version__}")
        return 0
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    command = name.replace("-", "_")
    if command not in COMMANDS:
        print(_unknown(name), file=sys.stderr)
        return _WRONG_CALL
    module = importlib.import_module(f"llamafactory_emotion.{command}.__main__")
    code: int = module.main(rest[:-1])
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {description}" for name, description in COMMANDS.items()]
    usage = "usage: llamafactory-emotion COMMAND [--help] ..."
    return "\n".join(
        [usage, "", *lines, "", "Each is `python -m llamafactory_emotion.COMMAND` too."]
    )


def _unknown(name: str) -> str:
    if not name:
        return f"error: no command given.\n\n{_usage()}"
    near = get_close_matches(name.replace("-", "_"), COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}."
    return f"error: unknown command {name!r}; {hint}"


if __name__ == "__main__":
    sys.exit(main())
