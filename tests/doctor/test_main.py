"""The command, and recipes without a fault."""

import json
from pathlib import Path

import pytest
from doctor_calls import install, judge, serious, without_hub
from programs import RECIPES, ROOT

from llamafactory_emotion.doctor import __main__ as doctor

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_sound_recipe_has_no_fault(look):
    found = look()

    assert serious(found["recipe"]) == []
    assert serious(found["environment"]) == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
@pytest.mark.usefixtures("untrained_clone")
def test_the_shipped_recipes_have_no_fault(recipe: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    without_hub(monkeypatch)

    assert serious(judge(recipe.relative_to(ROOT))["recipe"]) == []


def test_without_llamafactory_it_is_not_asked(look, monkeypatch):
    install(monkeypatch, llamafactory=None)

    found = look(lora_rnk=8)

    assert "LLaMA-Factory is not installed" in [one.sentence for one in found["environment"]]
    assert found["recipe"] == []


def test_the_command_prints_and_ends_with_one_when_something_fails(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    code = doctor.main(["do_train=true", "--assume-gpu", "24", "lora_rnk=8"])

    printed = capsys.readouterr().out
    assert code == 1
    assert "ERROR    LLaMA-Factory does not know the key lora_rnk" in printed
    assert "-> write lora_rank" in printed


def test_json_holds_every_finding_of_the_environment_alone(capsys):
    code = doctor.main(["--json"])

    content = json.loads(capsys.readouterr().out)
    assert code == 0
    assert content["recipe"] == []
    assert {"level", "check", "sentence", "remedy"} == set(content["environment"][0])


def test_assumed_memory_must_be_a_number_above_zero(capsys):
    assert doctor.main(["assume_gpu=0", "do_train=true"]) == 2
    assert "assume_gpu=0" in capsys.readouterr().err
