"""The text is found in the prompt of every template that LLaMA-Factory has."""

import re

import pytest
from llamafactory.data.template import TEMPLATES

from llamafactory_emotion.evaluate.lookup import TextFinder
from llamafactory_emotion.predictions.reading import Prediction
from llamafactory_emotion.task import EMOTION

TEXT = "note 7: the ferry left pier 7 without us"


def prompt_of(name: str, *, in_system: bool) -> str:
    """Write a prompt as LLaMA-Factory's encoder lays it out, before it becomes tokens."""
    template = TEMPLATES[name]

    def said(formatter, content="") -> str:
        slots = [slot for slot in formatter.slots if isinstance(slot, str)]
        names = [next(iter(slot.values())) for slot in formatter.slots if isinstance(slot, dict)]
        return "".join([*names, *slots]).replace("{{content}}", content)

    user = TEXT if in_system else f"{EMOTION.instruction}\n{TEXT}"
    system = said(template.format_system, EMOTION.instruction) if in_system else ""
    user = "".join(
        next(iter(slot.values())) if isinstance(slot, dict) else slot
        for slot in template.format_user.slots
        if isinstance(slot, (str, dict))
    ).replace("{{content}}", user)
    return system + re.sub(r"\{\{idx\}\}", "0", user)


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"fewshot"}))
@pytest.mark.parametrize("in_system", [False, True])
def test_the_text_is_found(name, in_system):
    prompt = prompt_of(name, in_system=in_system)
    row = Prediction(1, "joy", "joy", prompt, None, None, None)
    assert TextFinder(EMOTION).find(row) == TEXT, repr(prompt)
