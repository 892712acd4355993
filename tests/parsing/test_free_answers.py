"""Free answers of an untrained SmolLM2, each with the label that a careful reader gave it.

It was asked for emotions, in Spanish for opinions, and for kinds of support messages, in several
prompts, by the template `emotion` and by its own, greedily and at temperatures up to 1. The first
324 rows were read while the rules were written; on the others the rules had 3 false labels and 6
false invalids before anybody looked at them.
"""

import json
from pathlib import Path

from llamafactory_emotion.parsing.rules import LabelParser
from llamafactory_emotion.task import EMOTION, Task

TASKS = {
    "emotion": EMOTION,
    "sentimiento": Task("s", ("positivo", "negativo", "neutral"), "Clasifica."),
    "tickets": Task(
        "t", ("billing", "bug report", "cancel or refund", "feature request", "other"), "Classify."
    ),
}


def test_the_parser_agrees_with_a_careful_reader():
    path = Path(__file__).with_name("smollm2_answers.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    parsers = {name: LabelParser(task) for name, task in TASKS.items()}
    read = [(parsers[row["task"]].parse(row["answer"]).label, row["label"]) for row in rows]

    false_labels = sum(ours not in (None, theirs) for ours, theirs in read)
    false_invalid = sum(ours is None and theirs is not None for ours, theirs in read)
    assert len(rows) == 648
    assert false_labels <= 0.005 * len(rows)
    assert false_invalid <= 0.02 * len(rows)
