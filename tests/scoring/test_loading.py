"""Where a model comes from: names that lead to none are said in seconds and in one sentence."""

import json
import sys
from itertools import count

import httpx
import pytest
import torch
from head_models import write_base, write_rows
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)

from llamafactory_emotion.errors import CallError, ModelError
from llamafactory_emotion.export_classifier import __main__ as export_classifier
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.run_record import RunRecord, write_record
from llamafactory_emotion.scoring.loading import (
    ModelSource,
    check_source,
    fingerprint,
    folder_with,
    hub_problem,
    quantization,
)
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.task_choice import KNOWING
from llamafactory_emotion.train_head import __main__ as train_head

# A model that was found is not asked for again, so each test asks for others.
NAMES = (f"some/model-{number}" for number in count())


class Hub:
    """Gives one answer to everything."""

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


@pytest.fixture
def hub(monkeypatch):
    hub = Hub(OSError("must not be asked"))
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    return hub


def answered(kind: type[Exception], code: int) -> Exception:
    return kind("", response=httpx.Response(code, request=httpx.Request("GET", "http://hub/m")))


@pytest.mark.parametrize(
    ("answer", "problem", "patient"),
    [
        (None, None, True),
        (answered(GatedRepoError, 403), "it is gated", False),
        (
            answered(RepositoryNotFoundError, 404),
            "the hub has no such model, or it is private",
            False,
        ),
        (HFValidationError("a//b"), "the hub has no such model: this is no id of one", False),
        (httpx.ConnectError("x"), "the hub cannot be reached (ConnectError)", False),
        # Not the hub's last word: whoever has patience leaves these to the libraries' retries.
        (answered(HfHubHTTPError, 500), "the hub cannot be reached (HfHubHTTPError)", True),
        (httpx.ReadTimeout("slow"), "the hub cannot be reached (ReadTimeout)", True),
        (OSError("x"), "the hub cannot be reached (OSError)", True),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_the_hub_says_of_a_model(answer, problem, patient, hub):
    hub.answer = answer
    assert hub_problem("some/model") == problem
    assert hub_problem("some/model", patient=True) == (None if patient else problem)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        *(
            (name, None, f"the model folder {name} is not there; check the path.")
            for name in ("/gone", "./gone", "saves/gone", "a/b/c")
        ),
        ("saves\\gone", HFValidationError("x"), r"saves\\gone is no folder here, and the hub has"),
        (
            "meta/llama",
            answered(GatedRepoError, 403),
            "the model meta/llama is gated: accept its terms on the hub, and give your token",
        ),
        ("meta/llama", httpx.ConnectError("x"), "reached .*; check the path, or name a folder"),
    ],
)
def test_each_wrong_name_is_told_with_its_remedy(name, answer, said, hub):
    hub.answer = answer
    with pytest.raises(ModelError, match=said):
        check_source(ModelSource(name))


def test_what_was_found_is_not_asked_for_again_and_what_was_not_is(hub):
    name = next(NAMES)
    for answer in (httpx.ConnectError("no network"), None, None):
        hub.answer = answer
        if answer is None:
            check_source(ModelSource(name))
        else:
            with pytest.raises(ModelError, match="cannot be reached"):
                check_source(ModelSource(name))

    assert hub.asked == [name] * 2


def test_what_is_in_the_cache_or_in_a_folder_needs_no_hub(hub, tmp_path):
    hub.answer = httpx.ConnectError("no network")
    name = next(NAMES)
    kept = tmp_path / f"models--{name.replace('/', '--')}"
    for revision in ("v1", "main"):
        (kept / "refs").mkdir(parents=True, exist_ok=True)
        (kept / "refs" / revision).write_text(f"commit-{revision}")
    (kept / "snapshots" / "commit-v1").mkdir(parents=True)
    (kept / "snapshots" / "commit-v1" / "config.json").write_text("{}")

    check_source(ModelSource(name, revision="v1", cache_dir=str(tmp_path)))
    check_source(ModelSource(str(tmp_path), str(tmp_path)))
    assert hub.asked == []
    with pytest.raises(ModelError, match="cannot be reached"):
        check_source(ModelSource(name, cache_dir=str(tmp_path)))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (predict, "model_name_or_path={nobody} input={rows} output={out}"),
        (
            predict,
            "model_name_or_path={base} adapter_name_or_path={nobody} input={rows} output={out}",
        ),
        (predict, "model_name_or_path={adapter} input={rows} output={out}"),
        (export_classifier, "model_name_or_path={nobody} output={out}"),
        (train_head, "model_name_or_path={nobody} train={rows} output_dir={out}"),
    ],
    ids=["model", "adapter", "base of an adapter", "export", "train_head"],
)
def test_without_a_network_every_command_says_so_at_once(command, words, hub, tmp_path, capsys):
    hub.answer = httpx.ConnectError("no network")
    name = next(NAMES)
    files = {
        "nobody": name,
        "rows": write_rows(tmp_path / "rows.jsonl", 12),
        "out": tmp_path / "out",
        "base": write_base(tmp_path / "base", "llama"),
    }
    files["adapter"] = tmp_path / "adapter"
    files["adapter"].mkdir()
    described = {"base_model_name_or_path": name, "task_type": "SEQ_CLS", "peft_type": "LORA"}
    (files["adapter"] / "adapter_config.json").write_text(json.dumps(described))
    capsys.readouterr()

    code = command.main(words.format(**files).split())

    assert (code, hub.asked) == (1, [name])
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{name} is no folder here, and the hub cannot be reached" in said
    assert not files["out"].exists()


def test_options_out_of_range_are_listed():
    with pytest.raises(CallError, match=r"dtype 'int3' .*; quantization_bit 3 .*; flash_attn 'x'"):
        ModelSource("model", dtype="int3", quantization_bit=3, attention="x")


def test_quantisation_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(CallError, match=r"needs bitsandbytes; install it with pip install"):
        quantization(4, torch.float32)


def test_a_fingerprint_follows_the_files_of_a_folder(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(200_000))
    before = fingerprint(str(tmp_path))
    weights.write_bytes(bytes(99_999) + b"1" + bytes(100_000))

    assert fingerprint(str(tmp_path)) != before
    assert fingerprint("some/model") is None
    assert fingerprint(None) is None


def test_of_a_hub_id_the_files_that_know_its_task_are_looked_up(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--me--desks"
    snapshot = repository / "snapshots" / ("a" * 40)
    write_record(snapshot, RunRecord((EMOTION,), "emotion"))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    source = ModelSource("me/desks", "me/adapter", cache_dir=str(tmp_path))

    found = [folder_with(KNOWING, name, source) for name in (source.model, source.adapter, None)]

    assert found == [str(snapshot), "me/adapter", None]
    assert folder_with(KNOWING, "./gone", source) == "./gone"
