"""A name that leads to no model: said in seconds and in one sentence."""

import json
from pathlib import Path

import httpx
import pytest
from head_models import write_base, write_rows
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)

from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.export_classifier import __main__ as export_classifier
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.scoring import places
from llamafactory_emotion.scoring.places import check_place, hub_problem
from llamafactory_emotion.train_head import __main__ as train_head


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch):
    monkeypatch.setattr(places, "_found_on_hub", set())


class Hub:
    """A hub that gives one answer to everything."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer, self.asked = answer, []

    def __call__(self, token: str | None) -> "Hub":
        return self

    def model_info(self, name: str, revision: str, timeout: float) -> None:
        self.asked.append(name)
        if self.answer is not None:
            raise self.answer

    def auth_check(self, name: str) -> None:
        pass


def answer_of_the_hub(code: int) -> httpx.Response:
    return httpx.Response(code, request=httpx.Request("GET", "http://hub/model"))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, None),
        (GatedRepoError("", response=answer_of_the_hub(403)), "it is gated"),
        (
            RepositoryNotFoundError("", response=answer_of_the_hub(404)),
            "the hub has no such model, or it is private",
        ),
        (HFValidationError("a//b"), "the hub has no such model: this is no id of one"),
        (
            HfHubHTTPError("", response=answer_of_the_hub(500)),
            "the hub cannot be reached (HfHubHTTPError)",
        ),
        (httpx.ConnectError("no network"), "the hub cannot be reached (ConnectError)"),
        (OSError("no network"), "the hub cannot be reached (OSError)"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_the_hub_says_of_a_model(answer, problem, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub(answer))

    assert hub_problem("some/model", cache_dir=str(tmp_path)) == problem


@pytest.mark.parametrize(
    "answer",
    [HfHubHTTPError("", response=answer_of_the_hub(500)), httpx.ReadTimeout("slow")],
    ids=lambda one: type(one).__name__,
)
def test_a_hub_that_is_only_busy_is_left_to_the_libraries(answer, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub(answer))

    check_place("some/model")

    assert "cannot be reached" in hub_problem("some/model")


def test_what_was_not_found_is_asked_for_again(monkeypatch):
    hub = Hub(httpx.ConnectError("no network"))
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    with pytest.raises(ModelError, match="cannot be reached"):
        check_place("some/model")
    hub.answer = None

    check_place("some/model")
    check_place("some/model")

    assert hub.asked == ["some/model"] * 2


def test_a_cached_revision_needs_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub(httpx.ConnectError("no network")))
    kept = tmp_path / "models--some--model"
    (kept / "snapshots" / "abc").mkdir(parents=True)
    (kept / "snapshots" / "abc" / "config.json").write_text("{}")
    (kept / "refs").mkdir()
    (kept / "refs" / "v1").write_text("abc")

    check_place("some/model", revision="v1", cache_dir=str(tmp_path))
    with pytest.raises(ModelError, match="cannot be reached"):
        check_place("some/model", cache_dir=str(tmp_path))


def test_a_model_in_the_cache_is_not_asked_for(monkeypatch):
    hub = Hub(OSError("must not be asked"))
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: "config.json")

    check_place("some/model")

    assert hub.asked == []


def test_a_folder_is_never_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub(OSError("must not be asked")))

    check_place(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("/gone", None, "the model folder /gone is not there; check the path."),
        ("./gone", None, "the model folder ./gone is not there; check the path."),
        ("saves/gone", None, "the model folder saves/gone is not there"),
        ("a/b/c", None, "the model folder a/b/c is not there"),
        (
            "saves\\gone",
            HFValidationError("x"),
            r"saves\gone is no folder here, and the hub has no such model",
        ),
        ("modles/tiny", RepositoryNotFoundError, "modles/tiny is no folder here, and the hub has"),
        (
            "meta/llama",
            GatedRepoError,
            "is gated: accept its terms on the hub, and give your token",
        ),
        ("meta/llama", httpx.ConnectError("x"), "reached .*; check the path, or name a folder"),
    ],
)
def test_each_wrong_place_is_told_with_its_remedy(name, answer, said, monkeypatch):
    if isinstance(answer, type):
        answer = answer("", response=answer_of_the_hub(403))
    monkeypatch.setattr("huggingface_hub.HfApi", Hub(answer))

    with pytest.raises(ModelError, match=said.replace("\\", r"\\")):
        check_place(name)


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base", "llama")


def adapter_of(base: str, folder: Path, task: str) -> Path:
    """Write the description of an adapter, which names its base and what it was made for."""
    folder.mkdir()
    described = {"base_model_name_or_path": base, "task_type": task, "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (predict, ["model_name_or_path=nobody/nothing", "input={rows}", "output={out}"]),
        (
            predict,
            [
                *("model_name_or_path={base}", "adapter_name_or_path=nobody/nothing"),
                *("input={rows}", "output={out}"),
            ],
        ),
        (predict, ["model_name_or_path={adapter}", "input={rows}", "output={out}"]),
        (predict, ["model_name_or_path={head}", "input={rows}", "output={out}"]),
        (export_classifier, ["model_name_or_path=nobody/nothing", "output={out}"]),
        (train_head, ["model_name_or_path=nobody/nothing", "train={rows}", "output_dir={out}"]),
    ],
    ids=["model", "adapter", "base of an adapter", "base of a head", "export", "train_head"],
)
def test_without_a_network_every_command_says_so_at_once(
    command, words, base, tmp_path, monkeypatch, capsys
):
    hub = Hub(httpx.ConnectError("no network"))
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    there = {
        "rows": write_rows(tmp_path / "rows.jsonl", 12),
        "out": tmp_path / "out",
        "base": base,
        "adapter": adapter_of("nobody/nothing", tmp_path / "adapter", "CAUSAL_LM"),
        "head": adapter_of("nobody/nothing", tmp_path / "head", "SEQ_CLS"),
    }
    capsys.readouterr()

    code = command.main([word.format(**there) for word in words])

    assert code == 1
    assert hub.asked == ["nobody/nothing"]
    said = capsys.readouterr().err
    assert "nobody/nothing is no folder here, and the hub cannot be reached" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
