"""A working folder with data, models and settings of every kind, and recipes judged in it."""

import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from doctor_calls import NEW_GPU, fail_imports, pretend

from llamafactory_emotion.doctor.__main__ import examine
from llamafactory_emotion.doctor.context import Finding, Gpu
from llamafactory_emotion.task import EMOTION, Task

ROOT = Path(__file__).parents[2]
COLUMNS = {"prompt": "text", "response": "label"}
FILES = {
    "sound": [("the train was late again", 3), ("my sister sent me flowers", 2)] * 20,
    "leaking": [("the train was late again", 0), ("somebody knocked", 4)],
    "conflicting": [("so it goes", 0), ("so it goes", 1)],
    "strange": [("so it goes", "boredom")],
    "long": [("word " * 700, 1)],
    "empty": [],
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """Data sets that are sound and others that are not, a tiny base, an adapter, settings."""
    folder = tmp_path_factory.mktemp("doctor")
    saves, data = folder / "saves", folder / "data"
    for one in (data, saves / "adapter", saves / "trained" / "checkpoint-8"):
        one.mkdir(parents=True)
    (saves / "tiny_base").symlink_to(tiny_base)
    (saves / "adapter" / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "other/base"}'
    )
    (saves / "trained" / "model.safetensors").write_bytes(b"")
    (folder / "zero3.json").write_text('{"zero_optimization": {"stage": 3}}')
    (folder / "broken.json").write_text("{")
    (folder / "list.json").write_text("[]")
    (data / "dataset_info.json").write_text(json.dumps(write_data_sets(data)), encoding="utf-8")
    return folder


def write_data_sets(data: Path) -> dict[str, dict]:
    """Write data files; return their entries."""
    emotion = {"formatting": "emotion", "columns": COLUMNS}
    entries = {"gone": {"file_name": "gone.jsonl", **emotion}}
    for name, rows in FILES.items():
        lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
        (data / f"{name}.jsonl").write_text("".join(lines) or "\n", encoding="utf-8")
        entries[name] = {"file_name": f"{name}.jsonl", **emotion}
    words = [{"instruction": word, "input": "", "output": word} for word in ("zygote", "quince")]
    (data / "twin.json").write_text(json.dumps(words))
    sound = entries["sound"]
    entries |= {
        "alpaca": {"file_name": "twin.json"},
        "hub": {"hf_hub_url": "someone/emotion", "formatting": "emotion"},
        "misspelt": {**sound, "formating": "emotion"},
        "miscolumned": {**sound, "columns": {**COLUMNS, "promt": "text"}},
        "split": {**sound, "split": "validation"},
        "formless": {"file_name": "sound.jsonl", "formatting": "no_such_formatting"},
        "listed": {**sound, "columns": ["text", "label"]},
        "textless": {**sound, "file_name": "twin.json", "formatting": "alpaca"},
        "nowhere": emotion,
    }
    for name, names in (("ordered", EMOTION.labels), ("reordered", sorted(EMOTION.labels))):
        write_named_ids(data / name, names)
        entries[name] = {"file_name": f"{name}/train.parquet", **emotion}
        entries[f"hub_{name}"] = {"hf_hub_url": str(data / name), **emotion}
    entries["alpaca_ids"] = {**entries["ordered"], "formatting": "alpaca"}
    return entries


def write_named_ids(folder: Path, names) -> None:
    """Write label ids and their names as the hub has them: beside the rows and in the card."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    rows = [{"text": f"text {number}", "label": number % 6} for number in range(12)]
    Dataset.from_list(rows, features=features).to_parquet(folder / "train.parquet")
    named = "".join(f"          '{number}': {name}\n" for number, name in enumerate(names))
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n"
        f"    dtype:\n      class_label:\n        names:\n{named}---\n"
    )


@pytest.fixture
def look(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Judge a sound recipe with some keys changed, or removed where they are None."""
    monkeypatch.chdir(folder)
    fail_imports(monkeypatch)

    def examined(
        *,
        gpus: tuple[Gpu, ...] = (NEW_GPU,),
        cpus: int = 4,
        task: str | Task | None = None,
        labels: str | None = None,
        **changes: object,
    ) -> dict[str, list[Finding]]:
        pretend(monkeypatch, gpus, cpus)
        values = {
            "model_name_or_path": "saves/tiny_base",
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "dataset": "sound",
            "template": "emotion",
            "cutoff_len": 512,
            "output_dir": "saves/new",
            "report_to": "none",
            "per_device_train_batch_size": 4,
            "num_train_epochs": 20,
            "bf16": True,
        }
        kept = {key: value for key, value in (values | changes).items() if value is not None}
        return examine(kept, task=task, labels=labels)

    return examined


@pytest.fixture
def untrained_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with recipes and data, and nothing that a demo has trained."""
    for name in ("data", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
