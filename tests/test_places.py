"""A name that leads to no model: said in seconds and in one sentence."""

from pathlib import Path

import httpx
import pytest
from head_models import write_rows
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)

from llamafactory_emotion import export_classifier, predict, train_head
from llamafactory_emotion.errors import ModelError
from llamafactory_emotion.scoring.places import check_place, hub_problem


@pytest.fixture(autouse=True)
def _nothing_remembered():
    hub_problem.cache_clear()
    yield
    hub_problem.cache_clear()


class Hub:
    """A hub that gives one answer to everything."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer, self.asked = answer, []

    def __call__(self, token: str | None) -> "Hub":
        return self

    def model_info(self, name: str, timeout: float) -> None:
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


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (predict, ["input={rows}", "output={out}"]),
        (predict, ["input={rows}", "output={out}", "adapter_name_or_path=nobody/adapter"]),
        (export_classifier, ["output={out}"]),
        (train_head, ["train={rows}", "output_dir={out}"]),
    ],
    ids=["predict", "predict with an adapter", "export_classifier", "train_head"],
)
def test_without_a_network_every_command_says_so_at_once(
    command, words, tmp_path: Path, monkeypatch, capsys
):
    hub = Hub(httpx.ConnectError("no network"))
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    places = {"rows": write_rows(tmp_path / "rows.jsonl", 12), "out": tmp_path / "out"}

    code = command.main(
        ["model_name_or_path=nobody/nothing", *(word.format(**places) for word in words)]
    )

    assert code == 1
    assert hub.asked == ["nobody/nothing"]
    said = capsys.readouterr().err
    assert "nobody/nothing is no folder here, and the hub cannot be reached" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
