"""Which task a call is of: every source in its turn, and what is said when they disagree."""

import json
from dataclasses import replace

import pytest
import yaml

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.predictions.sidecar import write_sidecar
from llamafactory_emotion.run_record import BAKED_PROMPT, RECORD_NAME, RunRecord, write_record
from llamafactory_emotion.task import EMOTION, Task, load_task
from llamafactory_emotion.task_choice import Sources, choose_task, find_task, task_of_labels

ONE, TWO, THREE = (Task(name, (f"{name} a", f"{name} b"), "Which?") for name in ("x", "y", "z"))


def write_task(path, task):
    path.write_text(yaml.safe_dump(task.as_mapping()), encoding="utf-8")
    return str(path)


def write_head(folder, labels, **more):
    names = dict(enumerate(labels))
    config = {"architectures": ["LlamaForSequenceClassification"], "id2label": names, **more}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A model, data and predictions, each of a task of its own, and the sources that name them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_task(tmp_path / "data" / "y_task.yaml", TWO)
    info = {"y_test": {"file_name": "y_test.jsonl", "emotion_task": "y_task.yaml"}}
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(info))
    write_record("run/checkpoint-1", RunRecord((ONE,), "emotion"))
    write_sidecar(tmp_path / "p.jsonl", {"task": THREE.as_mapping()})
    write_head(tmp_path / "head", ["up", "down"])
    return tmp_path


MODEL = {"models": [None, "run/checkpoint-1"]}
NAMES = {"dataset_dir": "data", "datasets": "y_test"}


@pytest.mark.parametrize(
    ("sources", "task", "origin"),
    [
        ({**MODEL, **NAMES}, "x", f"from run/checkpoint-1/{RECORD_NAME}"),
        (NAMES | {"predictions": ["p.jsonl"]}, "y", "of the data set 'y_test'"),
        ({"files": ["data/y_test.jsonl"]}, "y", "of the data set 'y_test'"),
        ({"files": ["data/y_train.csv"]}, "y", "from data/y_task.yaml"),
        ({"predictions": ["p.jsonl"], "models": ["head"]}, "z", "from p.jsonl.meta.json"),
        ({"predictions": ["run/checkpoint-1/q.jsonl"]}, "x", "from run/checkpoint-1/emotion_run"),
        ({"models": ["hub/adapter", "head"]}, "head", "from id2label in head/config.json"),
        ({"files": ["-", None], "predictions": ["-"]}, "emotion", ""),
    ],
)  # fmt: skip
def test_the_first_that_knows_a_task_counts_and_is_named(here, capsys, sources, task, origin):
    chosen = choose_task(None, None, Sources(**sources))
    assert chosen.name == task
    assert capsys.readouterr().err.startswith(f"task {task!r}, {origin}" if origin else "")
    assert origin in chosen.described


def test_the_call_wins_and_a_model_of_another_task_is_warned_of(here, capsys):
    assert choose_task("data/y_task.yaml", None, Sources(**MODEL)).labels == TWO.labels
    said = capsys.readouterr().err
    assert said.startswith("warning: the call's task 'y' is used, and the model was trained for")
    assert "'x' (from run/checkpoint-1" in said
    # A name is the model's own first, which agrees with itself.
    assert choose_task("x", None, Sources(**MODEL)) == ONE
    assert capsys.readouterr().err == ""
    for other in (replace(ONE, instruction="Why?"), replace(ONE, words={"x a": "a"})):
        assert find_task(other, None, Sources(**MODEL))[1] is not None
    with pytest.raises(CallError, match="exclude each other"):
        find_task("x", "a, b", Sources())


def test_of_two_tasks_in_a_model_the_data_or_the_call_decides(here):
    write_record("both", RunRecord((ONE, TWO), "emotion"))
    both = {"models": ["both"]}
    assert find_task(None, None, Sources(**both, **NAMES))[0] == TWO
    assert find_task("y", None, Sources(**both)) == (TWO, None)
    assert find_task("y", None, Sources(predictions=["both/q.jsonl"])) == (TWO, None)
    with pytest.raises(
        CallError, match=r"several tasks here: 'x' .*, 'y' .* choose one with task="
    ):
        find_task(None, None, Sources(**both))


def test_files_to_compare_are_of_one_task_however_it_was_asked(here):
    asked = Task("w", THREE.labels[::-1], "Is it a or b?")
    for name, task in (("q", asked), ("r", TWO)):
        write_sidecar(here / f"{name}.jsonl", {"task": task.as_mapping()})
    assert find_task(None, None, Sources(predictions=["p.jsonl", "q.jsonl"]))[0] == THREE
    with pytest.raises(CallError, match="several tasks here"):
        find_task(None, None, Sources(predictions=["p.jsonl", "r.jsonl"]))


def test_a_task_file_that_has_moved_is_told_unless_the_model_knows(here):
    (here / "data" / "y_task.yaml").unlink()
    for sources in (NAMES, {"files": ["data/y_test.jsonl"]}):
        with pytest.raises(DataError, match=r"data/y_task.yaml, the task of .*'y_test'.*task=FILE"):
            find_task(None, None, Sources(**sources))
    assert find_task(None, None, Sources(**MODEL, **NAMES))[0] == ONE


def test_the_labels_of_a_head_are_its_task(here):
    def task_of_head(labels, **more):
        write_head(here / "head", labels, **more)
        return find_task(None, None, Sources(models=["head/checkpoint-3"]))[0]

    baked = {"task": "desks", "instruction": "Which desk?"}
    exported = task_of_head(["up", "down"], **{BAKED_PROMPT: baked})
    assert (exported.name, exported.instruction) == ("desks", "Which desk?")
    assert task_of_head([label.title() for label in reversed(EMOTION.labels)]) == EMOTION
    assert task_of_head(["LABEL_0", "LABEL_1"]) == EMOTION, "which the loader then refuses"
    assert task_of_head(["up", "down"], **{BAKED_PROMPT: [1]}) == EMOTION, "as it does this one"


def test_labels_alone_are_a_task_and_name_themselves_in_its_instruction(here):
    wanted = ("a b", "c, d", "e")
    (here / "labels.txt").write_text("a b\n\nc, d\ne\n")
    for labels in (
        'a b, "c, d",e',
        '[a b, "c, d", e]',
        "['a b', 'c, d', 'e']",
        "labels.txt",
        list(wanted),
    ):
        task = task_of_labels(labels)
        assert task.labels == wanted
        assert task.instruction.endswith("a b, c, d, e.")
    assert task_of_labels([1, 2]).labels == ("1", "2")
    for labels in ("a", "a, ", ["a"]):
        with pytest.raises(CallError, match="are not two or more"):
            task_of_labels(labels)
    with pytest.raises(CallError, match="quote a label that holds a comma"):
        task_of_labels('a, "b')


def test_a_task_file_needs_no_instruction(here):
    (here / "t.yaml").write_text("name: t\nlabels: [a, b]\n")
    assert load_task("t.yaml").instruction.endswith("one of: a, b.")
