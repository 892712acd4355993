"""A task is named once, to `prepare`; every later step finds it, and so does the host's export."""

import csv
import json
import pickle
from pathlib import Path

import pytest
from calls import read_lines
from peft import PeftModel
from programs import ROOT, llamafactory
from ticket_rows import TICKETS, ticket_rows
from tiny_llama import write_tiny_llama
from transformers import AutoModelForCausalLM

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
RECIPE = ROOT / "examples" / "emotion_cpu.yaml"
TRAIN = ("model_name_or_path=base", "max_steps=2", "save_strategy=steps", "save_steps=1")
HOST = "generated_predictions.jsonl"


def run(command, *words: str) -> None:
    assert command.main(list(words)) == 0


def figures(*words: str) -> dict:
    run(evaluate, *words, "json=figures.json", "overwrite=true")
    return json.loads(Path("figures.json").read_text(encoding="utf-8"))


def test_the_task_of_tickets_is_named_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = ticket_rows(93)
    for name, part in (("train.csv", rows[:70]), ("test.csv", rows[70:])):
        with Path(name).open("w", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["text", "label"])
            names = {word: label for label, word in WORDS.items()}
            table.writerows((row["input"], names.get(row["output"], row["output"])) for row in part)
    content = {"name": "desks", "labels": list(DESKS), "words": WORDS}
    Path("tickets.yaml").write_text(json.dumps(content))
    task = load_task("tickets.yaml")
    write_tiny_llama([row["input"] for row in rows], tmp_path / "base", task)

    run(prepare, "task=tickets.yaml", "train=train.csv", "test=test.csv", "name=tickets",
        "dataset_dir=data")  # fmt: skip
    Path("tickets.yaml").unlink()
    Path("data").rename("moved")
    data = ("dataset_dir=moved", "dataset=tickets_train")
    capsys.readouterr()
    doctor.main([str(RECIPE), *TRAIN, *data, "output_dir=run"])
    assert "'tickets_train' is of the task 'desks'" in capsys.readouterr().out

    llamafactory("train", RECIPE, *TRAIN, *data, "output_dir=run", cwd=tmp_path)
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

    llamafactory(
        "train", ROOT / "examples" / "emotion_predict.yaml", *adapter, "dataset_dir=moved",
        "eval_dataset=tickets_test", "output_dir=host", cwd=tmp_path,
    )  # fmt: skip
    assert figures(f"host/{HOST}")["task"] == "desks"

    llamafactory(
        "export", ROOT / "examples" / "emotion_merge.yaml", *adapter, "export_dir=merged",
        cwd=tmp_path,
    )  # fmt: skip
    assert read_record("merged") == record
    classifier = pickle.loads(pickle.dumps(EmotionClassifier("merged", device="cpu")))
    assert classifier.classes_.tolist() == sorted(DESKS)

    run(export_classifier, *adapter, "output=head", "verify=test.csv", "tolerance=0.01")
    run(predict, "model_name_or_path=head", "input=test.csv", "output=by_head.jsonl")
    assert figures("by_head.jsonl")["task"] == "desks"
    (Path("head") / RECORD_NAME).unlink()
    assert EmotionClassifier("head").predict(["please refund one cable"])[0] in DESKS


def test_two_tasks_in_one_model_are_each_found_by_their_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("data", "examples"):
        Path(name).symlink_to(ROOT / name)
    sentiment = load_task("examples/tasks/demo_sentiment.yaml")
    both = Task("both", (*EMOTION.labels, *sentiment.labels), "Which?")
    write_tiny_llama(["so it goes", sentiment.instruction], tmp_path / "base", both)
    data = ("dataset=emotion_demo_train,sentiment_demo_train", "max_samples=16")
    llamafactory("train", RECIPE, *TRAIN, *data, "output_dir=run", cwd=tmp_path)
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
