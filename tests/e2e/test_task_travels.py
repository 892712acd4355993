"""A task is named once, to `prepare`; every later step finds it, and so does the host's export."""

import csv
import json
import pickle
from pathlib import Path

import pytest
from calls import read_lines, run
from peft import PeftModel
from programs import PREDICTED, ROOT, llamafactory
from ticket_rows import TICKETS, ticket_rows
from tiny_llama import write_tiny_llama
from transformers import AutoModelForCausalLM, pipeline

from llamafactory_emotion.classifier import EmotionClassifier
from llamafactory_emotion.doctor import __main__ as doctor
from llamafactory_emotion.evaluate import __main__ as evaluate
from llamafactory_emotion.export_classifier import __main__ as export_classifier
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.prepare import __main__ as prepare
from llamafactory_emotion.run_record import RECORD_NAME, read_record
from llamafactory_emotion.task import EMOTION, Task, load_task

pytestmark = pytest.mark.filterwarnings("ignore")

# The first two desks under names of several words, for which a word is trained.
WORDS = {"billing / refund": "billing", "late delivery": "delivery"}
DESKS = (*WORDS, *list(TICKETS)[2:])
ROWS = [(row["input"], DESKS[list(TICKETS).index(row["output"])]) for row in ticket_rows(93)]
RECIPE = ROOT / "examples" / "emotion_cpu.yaml"
PREDICT = ROOT / "examples" / "emotion_predict.yaml"
TRAIN = ("model_name_or_path=base", "max_steps=2", "save_strategy=steps", "save_steps=1")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(recipe: Path, *words: str) -> None:
    llamafactory("train", recipe, *words, cwd=Path.cwd())


def figures(*words: str) -> dict:
    run(evaluate, *words, "json=figures.json", "overwrite=true")
    return json.loads(Path("figures.json").read_text(encoding="utf-8"))


def write_tickets(path: str, rows: list[tuple[str, str]], columns: tuple[str, str]) -> None:
    """Write labelled tickets as a CSV file, and their task beside it."""
    with Path(path).open("w", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    content = {"name": "desks", "labels": list(DESKS), "words": WORDS}
    Path("tickets.yaml").write_text(json.dumps(content))


def test_the_task_of_tickets_is_named_once(folder, capsys):
    write_tickets("train.csv", ROWS[:70], ("text", "label"))
    write_tickets("test.csv", ROWS[70:], ("text", "label"))
    task = load_task("tickets.yaml")
    write_tiny_llama([text for text, _ in ROWS], folder / "base", task)

    run(prepare, "task=tickets.yaml", "train=train.csv", "test=test.csv", "name=tickets",
        "dataset_dir=data")  # fmt: skip
    Path("tickets.yaml").unlink()
    Path("data").rename("moved")
    data = ("dataset_dir=moved", "dataset=tickets_train")
    capsys.readouterr()
    doctor.main([str(RECIPE), *TRAIN, *data, "output_dir=run"])
    assert "'tickets_train' is of the task 'desks'" in capsys.readouterr().out

    train(RECIPE, *TRAIN, *data, "output_dir=run")
    record = read_record("run")
    assert record is not None
    assert (record.tasks, record.template) == ((task,), "emotion")
    assert record.datasets == ("tickets_train",)
    assert {"llamafactory", "llamafactory_emotion", "transformers"} <= record.versions.keys()
    assert read_record("run/checkpoint-1") == record

    base = AutoModelForCausalLM.from_pretrained("base")
    PeftModel.from_pretrained(base, "run").save_pretrained("run")
    Path("run").rename("kept")
    assert read_record("kept") == record
    adapter = ("model_name_or_path=base", "adapter_name_or_path=kept/checkpoint-2")
    capsys.readouterr()
    run(predict, *adapter, "input=test.csv", "output=scored.jsonl")
    assert f"task 'desks', from kept/checkpoint-2/{RECORD_NAME}" in capsys.readouterr().err
    found = figures("scored.jsonl")
    assert (found["task"], found["n"]) == ("desks", 23)
    assert {row["predict"] for row in read_lines(Path("scored.jsonl"))} <= set(DESKS)

    train(PREDICT, *adapter, "dataset_dir=moved", "eval_dataset=tickets_test", "output_dir=host")
    assert figures(f"host/{PREDICTED}")["task"] == "desks"

    llamafactory(
        "export", ROOT / "examples" / "emotion_merge.yaml", *adapter, "export_dir=merged",
        cwd=folder,
    )  # fmt: skip
    assert read_record("merged") == record
    classifier = pickle.loads(pickle.dumps(EmotionClassifier("merged", device="cpu")))
    assert classifier.classes_.tolist() == sorted(DESKS)

    run(export_classifier, *adapter, "output=head", "verify=test.csv", "tolerance=0.01")
    run(predict, "model_name_or_path=head", "input=test.csv", "output=by_head.jsonl")
    assert figures("by_head.jsonl")["task"] == "desks"
    (Path("head") / RECORD_NAME).unlink()
    assert EmotionClassifier("head").predict(["please refund one cable"])[0] in DESKS


@pytest.mark.slow
def test_a_pretrained_llama_learns_the_desks_and_becomes_a_stock_pipeline(smollm2, capsys):
    """Neither the task nor a column is named again after `prepare`."""
    write_tickets("tickets.csv", ROWS, ("what they say", "who answers"))
    base = f"model_name_or_path={smollm2}"
    learn = (base, "dataset_dir=data", "dataset=tickets_train", "output_dir=run", "cutoff_len=128")
    ask = (base, "adapter_name_or_path=run", "dataset_dir=data", "eval_dataset=tickets_test")

    run(prepare, "task=tickets.yaml", "train=tickets.csv", "text_column=what they say",
        "label_column=who answers", "validation_size=0", "test_size=23", "name=tickets",
        "dataset_dir=data")  # fmt: skip
    run(doctor, RECIPE, *learn)
    train(RECIPE, *learn)
    train(PREDICT, *ask, "output_dir=host")
    run(predict, *ask, "output=scored.jsonl")
    run(export_classifier, *ask[:2], "output=head", "verify=data/tickets_test.jsonl")

    scored, host = figures("scored.jsonl"), figures(f"host/{PREDICTED}")
    assert (scored["n"], scored["invalid"], host["invalid"]) == (23, 0, 0)
    assert scored["accuracy"] == host["accuracy"] > 0.6
    rows = read_lines(Path("scored.jsonl"))
    gold = [row["label"].strip() for row in read_lines(Path("host", PREDICTED))]
    assert gold == [WORDS.get(row["label"], row["label"]) for row in rows]
    classify = pipeline("text-classification", model="head", device="cpu")
    tickets = [row["input"] for row in read_lines(Path("data/tickets_test.jsonl"))]
    assert [one["label"] for one in classify(tickets)] == [row["predict"] for row in rows]


def test_two_tasks_in_one_model_are_each_found_by_their_data(folder, capsys):
    for name in ("data", "examples"):
        Path(name).symlink_to(ROOT / name)
    sentiment = load_task("examples/tasks/demo_sentiment.yaml")
    both = Task("both", (*EMOTION.labels, *sentiment.labels), "Which?")
    write_tiny_llama(["so it goes", sentiment.instruction], folder / "base", both)
    data = ("dataset=emotion_demo_train,sentiment_demo_train", "max_samples=16")
    train(RECIPE, *TRAIN, *data, "output_dir=run")
    record = read_record("run")
    assert record is not None
    assert record.tasks == (EMOTION, sentiment)

    adapter = ("model_name_or_path=base", "adapter_name_or_path=run", "max_samples=9")
    for name, task in (("emotion", EMOTION), ("sentiment", sentiment)):
        words = (f"eval_dataset={name}_demo_test", f"output={name}.jsonl")
        run(predict, *adapter, *words)
        assert figures(f"{name}.jsonl")["task"] == task.name
    Path("texts.txt").write_text("so it goes\n")
    loose = (*adapter, "input=texts.txt", "output=loose.jsonl")
    assert predict.main(list(loose)) == 2
    assert "'emotion' (from run/emotion_run.json), 'demo_sentiment'" in capsys.readouterr().err
    run(predict, *loose, "task=demo_sentiment")
    assert read_lines(Path("loose.jsonl"))[0]["predict"] in sentiment.labels
