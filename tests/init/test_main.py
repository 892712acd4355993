"""`init` writes a working folder from a checkout and from what a wheel holds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

import llamafactory_emotion
from llamafactory_emotion.init.__main__ import main, write_workspace
from llamafactory_emotion.task import load_task

ROOT = Path(__file__).parents[2]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_holds_recipes_and_data(tmp_path, capsys):
    folder = tmp_path / "deep" / "work"
    assert main([str(folder)]) == 0
    written = contents(folder)
    recipes = sorted(path.name for path in (ROOT / "examples").glob("emotion_*.yaml"))
    assert recipes
    assert sorted(name for name in written if name.startswith("examples/emotion_")) == [
        f"examples/{name}" for name in recipes
    ]
    programs = ("gradio_app.py", "lm_eval_emotion.yaml", "quickstart.ipynb", "smollm2.py")
    assert {f"examples/{name}" for name in programs} <= written.keys()
    assert all((ROOT / name).read_bytes() == content for name, content in written.items())
    assert not [name for name in written if "__pycache__" in name or "/." in f"/{name}"]
    info = json.loads(written["data/dataset_info.json"])
    files = {f"data/{entry['file_name']}" for entry in info.values() if "file_name" in entry}
    assert files
    assert files <= written.keys(), "every registered file is there"
    printed = capsys.readouterr().out
    assert f"cd {folder}\n" in printed
    named = [word for word in printed.split() if word.startswith(("data/", "examples/"))]
    assert named
    assert all((folder / name).is_file() for name in named)


def test_a_task_is_copied_with_its_harness_task_and_the_next_command_names_both(tmp_path, capsys):
    task = tmp_path / "mine.yaml"
    labels = "labels: [bug report, praise]\nwords: {bug report: bug}\n"
    task.write_text(f"name: my notes\ninstruction: 'What is it {{{{ here }}}}?'\n{labels}")
    folder = tmp_path / "work"
    assert main([str(folder), f"task={task}"]) == 0
    copied = folder / "examples" / "tasks" / "my_notes.yaml"
    assert load_task(copied) == load_task(task)
    assert (
        "prepare train=YOUR_FILE task=examples/tasks/my_notes.yaml test_size=0.1 name=my_notes"
        in capsys.readouterr().out
    )
    recipe = yaml.safe_load((folder / "examples" / "lm_eval_my_notes.yaml").read_text())
    assert recipe["task"] == "llamafactory_my_notes"
    assert recipe["doc_to_choice"] == ["bug", "praise"]
    assert recipe["dataset_kwargs"]["data_files"]["test"] == "data/my_notes_test.jsonl"
    jinja = SandboxedEnvironment(undefined=StrictUndefined).from_string
    for row in ({"text": "x", "label": "bug report"}, {"input": "x", "output": "bug report"}):
        asked = jinja(recipe["doc_to_text"]).render(**row)
        assert asked == f"{load_task(task).instruction}\nx\nAnswer:"
        assert jinja(recipe["doc_to_target"]).render(**row) == "bug"
    assert jinja(recipe["doc_to_target"]).render(label="praise") == "praise"
    assert main([str(folder), f"task={task}"]) == 2
    assert main([str(tmp_path / "w"), "task=nowhere.yaml"]) == 2


def test_a_wheel_carries_the_files_inside_the_package(tmp_path):
    package = tmp_path / "llamafactory_emotion"
    shutil.copytree(
        Path(llamafactory_emotion.__file__).parent,
        package,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("data", "examples"):
        shutil.copytree(ROOT / name, package / "workspace" / name)
    for folder, name in (("__pycache__", "x.pyc"), (".cache", "x"), (".", ".hidden")):
        (package / "workspace" / "data" / folder).mkdir(exist_ok=True)
        (package / "workspace" / "data" / folder / name).write_bytes(b"x")
    command = [sys.executable, "-m", "llamafactory_emotion.init", str(tmp_path / "work")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}  # in front of installed packages
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    write_workspace(tmp_path / "from_checkout")
    assert contents(tmp_path / "work") == contents(tmp_path / "from_checkout")

    shutil.rmtree(package / "workspace")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lacks its data and recipes; install it again" in done.stderr


def test_files_that_are_there_are_named_and_kept(tmp_path, capsys):
    mine = {"examples/emotion_lora.yaml": b"mine", "mine.txt": b"mine"}
    (tmp_path / "examples").mkdir()
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'examples' / 'emotion_lora.yaml'} would be overwritten" in error
    assert contents(tmp_path) == mine

    count = write_workspace(tmp_path, overwrite=True)
    assert contents(tmp_path)["mine.txt"] == b"mine"
    assert main([str(tmp_path)]) == 2
    assert f" and {count - 5} more would be overwritten" in capsys.readouterr().err


def test_overwriting_keeps_the_entries_of_others(tmp_path):
    write_workspace(tmp_path)
    info = tmp_path / "data" / "dataset_info.json"
    entries = json.loads(info.read_text(encoding="utf-8"))
    mine = {"mine_train": {"file_name": "mine_train.jsonl"}}
    info.write_text(json.dumps(mine | entries | {"emotion_train": {}}), encoding="utf-8")
    (tmp_path / "examples" / "emotion_lora.yaml").write_text("old", encoding="utf-8")
    assert main([str(tmp_path), "--overwrite"]) == 0
    assert json.loads(info.read_text(encoding="utf-8")) == mine | entries
    recipe = (tmp_path / "examples" / "emotion_lora.yaml").read_bytes()
    assert recipe == (ROOT / "examples" / "emotion_lora.yaml").read_bytes()


def test_a_bad_dataset_info_stops_it(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text("{", encoding="utf-8")
    assert main([str(tmp_path), "--overwrite"]) == 1
    assert "dataset_info.json:1: not valid JSON" in capsys.readouterr().err
    assert contents(tmp_path) == {"data/dataset_info.json": b"{"}


def test_a_file_is_no_folder(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("x", encoding="utf-8")
    assert main([str(path)]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert main([str(path / "below")]) == 2
    assert "is a file and cannot hold" in capsys.readouterr().err
    assert main([]) == main([str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert (
        f"'{tmp_path / 'b'}': write key=value; the help names the keys" in capsys.readouterr().err
    )


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_nothing(tmp_path, there, full_disk, capsys):
    folder = tmp_path / "work"
    if there:
        folder.mkdir()
        (folder / "mine.txt").write_bytes(b"mine")
    assert main([str(folder)]) == 1
    assert "work cannot be written (File too large)" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == ([folder, folder / "mine.txt"] if there else [])
