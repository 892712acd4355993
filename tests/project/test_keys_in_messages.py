"""A message recommends only keys that the command it comes from takes."""

import ast
import dataclasses
import re
from importlib import import_module
from itertools import chain

import pytest
from programs import ROOT

from llamafactory_emotion.__main__ import COMMANDS
from llamafactory_emotion.doctor.__main__ import DoctorOptions
from llamafactory_emotion.evaluate.__main__ import EvaluateOptions
from llamafactory_emotion.export_classifier.__main__ import ExportOptions
from llamafactory_emotion.init.__main__ import InitOptions
from llamafactory_emotion.options import host_keys
from llamafactory_emotion.predict.options import PredictOptions
from llamafactory_emotion.prepare.__main__ import PrepareOptions
from llamafactory_emotion.train_head.arguments import HeadArguments

SOURCE = ROOT / "src" / "llamafactory_emotion"
OPTIONS = {
    "doctor": DoctorOptions,
    "evaluate": EvaluateOptions,
    "export_classifier": ExportOptions,
    "init": InitOptions,
    "predict": PredictOptions,
    "prepare": PrepareOptions,
    "train_head": HeadArguments,
}
READERS = ("prepare", "predict", "evaluate", "export_classifier", "train_head")
# The commands that a shared module's messages come from.
SPOKEN_BY = {
    "data": READERS,
    "data/dataset_folder.py": ("prepare",),
    "data/entries.py": ("predict", "train_head"),
    "data/reading.py": ("prepare",),  # `skip_empty` is named only where the caller has it
    "data/splits.py": ("prepare", "train_head"),
    "predictions": ("evaluate",),
    "predictions/writing.py": ("predict",),
    "scoring": ("predict", "export_classifier"),
    "scoring/generation.py": ("predict",),
    "scoring/scorer.py": ("predict",),
    "scoring/templates.py": ("predict",),
}
# Keys of another command or of a training, named as such.
ELSEWHERE = {
    ("export_classifier/__main__.py", "json"),  # evaluate's
    ("export_classifier/card.py", "json"),
    ("prepare/report.py", "cutoff_len"),
    ("predict/options.py", "stage"),  # LLaMA-Factory's
    ("predict/options.py", "adapter_name_or_path"),
}
KEY = re.compile(r"(?<![\w.'\"{/-])([a-z]\w{2,})=(?![=\s])|(?<![\w.])([a-z]+_[a-z_]+)(?!\w)")


def keys_of(command):
    options = OPTIONS[command]
    own = {field.name for field in dataclasses.fields(options)}
    return own | {name for name in host_keys() if options.accepts(name)}


def messages_of(path):
    """Yield the texts of a module that are raised, or yielded as a part of what is raised."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = (ast.Raise, ast.Yield)
    for node in chain.from_iterable(
        ast.walk(one) for one in ast.walk(tree) if isinstance(one, said)
    ):
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def speakers(module):
    room = module.partition("/")[0]
    return SPOKEN_BY.get(module, SPOKEN_BY.get(room, (room,)))


ALL_KEYS = set().union(*map(keys_of, OPTIONS)) - {"name", "class"}
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
TOLD = [module for module in MODULES if set(speakers(module)) <= OPTIONS.keys()]


def test_every_command_is_looked_at():
    assert OPTIONS.keys() == set(COMMANDS)
    assert len(TOLD) > 50
    for command in COMMANDS:
        assert import_module(f"llamafactory_emotion.{command}.__main__")


@pytest.mark.parametrize("module", TOLD)
def test_a_message_names_keys_of_its_own_command(module):
    named = {
        key
        for text in messages_of(SOURCE / module)
        for match in KEY.finditer(text)
        if (key := match[1] or (match[2] in ALL_KEYS and match[2]))
    }
    for command in speakers(module):
        others = {key for key in named - keys_of(command) if (module, key) not in ELSEWHERE}
        assert not others, f"{command} does not take {others}"
