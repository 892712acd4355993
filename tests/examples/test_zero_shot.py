"""Long, short and Chinese labels, put to a model never trained: scored, shown, answered."""

import json
from pathlib import Path

import pytest
from calls import read_lines as read
from calls import save_model, write_lines

from llamafactory_emotion.evaluate.__main__ import main as evaluate
from llamafactory_emotion.predict.__main__ import main as predict
from llamafactory_emotion.task import load_task

FOLDER = Path(__file__).parents[2] / "examples" / "tasks"
TASKS = [FOLDER / f"{name}.yaml" for name in ("20_newsgroups", "ag_news", "legal_charges")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"), max_position_embeddings=4096)


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_a_task_needs_no_training(path, model, tmp_path):
    task = load_task(path)
    rows = [{"text": f"text {n} 正文", "label": label} for n, label in enumerate(task.labels)]
    texts = write_lines(tmp_path / "texts.jsonl", rows)
    ways = {
        "scored": ["calibrate=true", "normalize=tokens"],
        "shown": [f"few_shot={texts}", "shots=1"],
        "answered": ["generate=true"],
    }
    call = [f"model_name_or_path={model}", f"task={path}", f"input={texts}", "cutoff_len=4096"]

    for name, more in ways.items():
        assert predict([*call, f"output={tmp_path / name}.jsonl", *more]) == 0

    for name in ("scored", "shown"):
        for row in read(tmp_path / f"{name}.jsonl"):
            assert list(row["probabilities"]) == list(task.labels)
            assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
            assert row["predict"] in task.labels
    prompt = read(tmp_path / "shown.jsonl")[0]["prompt"]
    assert all(f"\nAnswer: {label}\n" in prompt for label in task.labels)
    assert prompt.count(task.instruction) == 1
    figures = tmp_path / "figures.json"
    files = [str(tmp_path / f"{name}.jsonl") for name in ways]
    assert evaluate([*files, "--task", str(path), "--json", str(figures)]) == 0
    found = json.loads(figures.read_text(encoding="utf-8"))["files"]
    assert [one["n"] for one in found] == [len(task.labels)] * 3
    assert [one["invalid"] for one in found[:2]] == [0, 0]
    assert {one["match"] for one in found} == {task.match}
