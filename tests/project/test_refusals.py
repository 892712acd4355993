"""Every refusal of the package in one list, in one voice: what, where, and what to do."""

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "llamafactory_emotion"
ERRORS = {"CallError", "DataError", "ModelError", "EmotionError"}
# Reasons that a finding, a warning or another sentence is made of.
REASONS = {
    "plugin/host_data.py",
    "plugin/host_encoding.py",
    "plugin/metrics.py",
    "plugin/record.py",
    "run_record.py",
}
ADVICE = re.compile(
    r"(; | is )\{\}\.$|\b(accept|add|allow|ask|begin|change|check|choose|compare|download|drop"
    r"|export|give|install|keep|leave|load|lower|mend|name|predict|put|raise|remove|rename|quote|report"
    r"|resume|save|serve|set|start|take|train|use|wait|write)\b",
    re.IGNORECASE,
)


def text_of(message: ast.expr) -> str:
    """Return what a message says, with {} for what is filled in; empty where all of it is."""
    if isinstance(message, ast.Constant):
        return str(message.value)
    if isinstance(message, ast.JoinedStr):
        return "".join(
            text_of(one) if isinstance(one, ast.Constant) else "{}" for one in message.values
        )
    if isinstance(message, ast.BinOp):
        return text_of(message.left) + text_of(message.right)
    return "{}"


def refusals():
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        tree = ast.parse("" if name in REASONS else path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
                yield f"{name}:{node.lineno}", text_of(node.args[0])


def faults(text):
    if not ADVICE.search(text):
        yield "it does not say what to do"
    if not text.endswith((".", "{}")):
        yield "it is no sentence"
    if re.match(r"[A-Z](?!LaMA)", text):
        yield "it begins with a capital, behind 'error: '"
    yield from re.findall(r"please|(?<![\w-])--[a-z]\w+|\bstands?\b|\bplaces?\b", text)


def test_refusals_say_what_to_do_in_one_voice():
    found = [(where, text) for where, text in refusals() if re.search("[a-z]", text)]
    wrong = {where: (text, *told) for where, text in found if (told := list(faults(text)))}

    assert len(found) > 150
    assert not wrong, "\n".join(map(str, wrong.items()))
