"""Labels of several words, each trained as one token, from a CSV file to a stock pipeline."""

import csv
import json
from pathlib import Path

import pytest
from calls import read_lines
from programs import ROOT, llamafactory
from tiny_llama import write_tiny_llama
from transformers import pipeline

from llamafactory_emotion.evaluate import __main__ as evaluate
from llamafactory_emotion.export_classifier import __main__ as export_classifier
from llamafactory_emotion.predict import __main__ as predict
from llamafactory_emotion.prepare import __main__ as prepare
from llamafactory_emotion.task import load_task

pytestmark = pytest.mark.filterwarnings("ignore")

TASK = """
name: tickets
instruction: Which desk answers this ticket?
labels: [bug report, cancel / refund, 账单 question]
words: {bug report: bug, cancel / refund: refund, 账单 question: 账单}
"""
LABELS = ("bug report", "cancel / refund", "账单 question")
WORDS = ("bug", "refund", "账单")
TICKETS = {
    "bug report": ("it crashes when I press save", "the page stays empty", "the button is dead"),
    "cancel / refund": ("end my plan today", "give me the money back", "I want to leave"),
    "账单 question": ("who was charged for this", "the invoice names another", "why two fees"),
}


def write_csv(path: Path, *, of_each: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        for number in range(of_each):
            for label, texts in TICKETS.items():
                out.writerow([f"{texts[number % 3]} {number}", label])
    return path


def run(command, *arguments: object) -> None:
    assert command.main([str(argument) for argument in arguments]) == 0


def test_labels_of_several_words_are_trained_by_a_word_and_shown_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = tmp_path / "tickets.yaml"
    task.write_text(TASK, encoding="utf-8")
    train = write_csv(tmp_path / "train.csv", of_each=40)
    test = write_csv(tmp_path / "test.csv", of_each=6)
    texts = [text for known in TICKETS.values() for text in known] * 4
    write_tiny_llama(texts, tmp_path / "base", load_task(task))

    run(prepare, f"task={task}", f"train={train}", f"test={test}", "validation_size=0",
        "name=tickets", "dataset_dir=data")  # fmt: skip
    llamafactory(
        "train", ROOT / "benchmarks" / "from_scratch.yaml", "model_name_or_path=base",
        "dataset_dir=data", "dataset=tickets_train", "output_dir=trained", "max_steps=24",
        "gradient_accumulation_steps=1", "warmup_steps=2", cwd=tmp_path,
    )  # fmt: skip
    llamafactory(
        "train", ROOT / "examples" / "emotion_predict.yaml", "model_name_or_path=trained",
        "dataset_dir=data", "eval_dataset=tickets_test", "output_dir=host", cwd=tmp_path,
    )  # fmt: skip
    model = ("model_name_or_path=trained", f"task={task}")
    run(predict, *model, "dataset_dir=data", "eval_dataset=tickets_test", "output=scored.jsonl")
    files = ("scored.jsonl", "host/generated_predictions.jsonl")
    run(evaluate, *files, f"task={task}", "json=all.json")
    run(export_classifier, *model, "output=classifier", f"verify={test}")

    scored, host = map(read_lines, map(Path, files))
    assert [row["label"] for row in scored] == [*LABELS] * 6
    assert [row["label"].strip() for row in host] == [*WORDS] * 6
    assert [WORDS[LABELS.index(row["predict"])] for row in scored] == [
        row["predict"].strip() for row in host
    ]
    figures = json.loads(Path("all.json").read_text(encoding="utf-8"))["files"]
    assert [(one["n"], one["invalid"], one["accuracy"]) for one in figures] == [(18, 0, 1.0)] * 2
    config = json.loads(Path("classifier/config.json").read_text(encoding="utf-8"))
    assert [*config["id2label"].values()] == [*LABELS]
    classify = pipeline("text-classification", model="classifier", device="cpu")
    with test.open(encoding="utf-8") as file:
        said = classify([row["text"] for row in csv.DictReader(file)])
    assert [one["label"] for one in said] == [row["predict"] for row in scored]
