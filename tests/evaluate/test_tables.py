"""What the tables say: complete, bounded, and several files side by side."""

import json
import re
from itertools import combinations
from types import SimpleNamespace

import pytest
from evaluations import row, write_rows

from llamafactory_emotion.evaluate.__main__ import main
from llamafactory_emotion.evaluate.tables import short_names
from llamafactory_emotion.task import EMOTION


def test_match_all_shows_the_three_side_by_side(predictions, figures, capsys):
    found = figures(predictions(row("joy", "joy or love")), "match=all")

    accuracies = {"flexible": 0, "strict": 0, "contains": 1}
    assert {rule: one["accuracy"] for rule, one in found["by_rule"].items()} == accuracies
    table = capsys.readouterr().out.split("match rules\n")[1].split("\n\n")[0]
    shown = [line.split()[:2] for line in table.splitlines()[1:]]
    assert shown == [[rule, f"{share:.4f}"] for rule, share in accuracies.items()]


@pytest.mark.parametrize(
    ("labels", "whole"),
    [
        (["a", "b"], True),
        ([f"a label of several words, number {k}" for k in range(5)], False),
        ([f"label{k:02}" for k in range(40)], False),
    ],
)
def test_a_matrix_too_wide_for_a_terminal_gives_way_to_pairs(
    predictions, capsys, tmp_path, labels, whole
):
    task = tmp_path / "wide.yaml"
    task.write_text(f"name: wide\ninstruction: Which?\nlabels: {json.dumps(labels)}\n")

    main([predictions(row(labels[0], labels[1]), row(labels[1], labels[1])), f"task={task}"])

    out = capsys.readouterr().out
    assert ("rows gold, columns predicted" in out) is whole
    assert (f"most confused labels ({len(labels)} labels" in out) is not whole
    assert bool(re.search(f"{labels[0]} +{labels[1]} +1 +100.00 %", out)) is not whole


def test_labels_that_no_answer_is_are_named(predictions, capsys):
    collapsed = [row(label, "joy") for label in ("joy", "love", "fear")]

    main([predictions(*collapsed)])
    said = capsys.readouterr().out
    main([predictions(*collapsed, row("love", "love"), row("joy", "fear"))])
    each_answered = capsys.readouterr().out

    assert "never answered     love, fear (they have gold rows)\n" in said
    assert "never answered" not in each_answered


def test_probabilities_and_abstention_are_told(predictions, capsys):
    sure = dict.fromkeys(EMOTION.labels, 0.02) | {"love": 0.9}
    path = predictions(row("love", "love", probabilities=sure), row("joy", "joy"))

    main([path, "threshold=0.5"])
    said = capsys.readouterr().out
    main([predictions(row("love", "joy", probabilities=sure)), "threshold=0.95"])
    none_sure = capsys.readouterr().out

    assert "1 of 2 have probabilities" in said
    assert "confidence >= 0.5  1 answered (100.00 %), accuracy 1.0000  (95 % interval" in said
    assert "1 answers are not their most probable label" in none_sure
    assert "confidence >= 0.95  0 answered (0.00 %)\n" in none_sure


def test_several_files_are_laid_side_by_side(tmp_path, capsys):
    names = []
    for name, answer in (("a", "joy"), ("b", "love"), ("c", "")):
        (tmp_path / name).mkdir()
        rows = [row("joy", answer, prompt=f"p{k}") for k in range(9)]
        names.append(write_rows(tmp_path / name / "generated_predictions.jsonl", *rows))
    sidecar = {"trained_parameters": 3_407_872, "seconds": 12.5, "rows_per_second": 160.0}
    (tmp_path / "a" / "generated_predictions.meta.json").write_text(json.dumps(sidecar))
    out = tmp_path / "out.json"

    assert main([*names, f"json={out}"]) == 0

    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert lines[2][:3] == ["a/generated_predictions.jsonl", "9", "1.0000"]
    assert lines[2][-3:] == ["3,407,872", "12.5", "160.0"]
    assert "a/generated_predictions.jsonl minus b/generated_predictions.jsonl" in shown
    assert "rows in both       9 (matched by prompt)" in shown
    assert "p = 0.0039, Holm-corrected for 3 pairs p = 0.012" in shown
    content = json.loads(out.read_text())
    assert [one["accuracy"] for one in content["files"]] == [1, 0, 0]
    assert content["files"][0]["sidecar"] == sidecar
    assert [pair["accuracy_difference"] for pair in content["pairs"]] == [1, 1, 0]
    assert [(pair["first"], pair["second"]) for pair in content["pairs"]] == [
        *combinations(names, 2)
    ]
    assert content["pairs"][0]["p_value"] == pytest.approx(2 / 2**9)
    assert content["pairs"][0]["p_value_holm"] == pytest.approx(6 / 2**9)


def test_how_rows_were_matched_is_told(predictions, capsys):
    rows = [row("joy", "joy", id=k, prompt=None) for k in range(4)]
    repeats = [row("joy", answer) for answer in ("joy", "love", "joy")]

    main([predictions(*rows), predictions(*rows[1:], name="b.jsonl")])
    by_id = capsys.readouterr().out
    main([predictions(*repeats), predictions(*repeats[::-1], name="b.jsonl")])
    by_prompt = capsys.readouterr().out

    assert "3 (matched by id; 1 only in the first, 0 only in the second)" in by_id
    assert "no prompts to compare, so only gold labels were checked" in by_id
    assert "3 rows repeat a prompt that both answer now right, now wrong" in by_prompt
    assert "only gold labels" not in by_prompt


@pytest.mark.parametrize(
    ("wrong_in_second", "verdict"),
    [(6, "the first is right more often (p < 0.05)"), (5, "not told apart (p >= 0.05)")],
)
def test_the_exact_test_decides_the_verdict(predictions, capsys, wrong_in_second, verdict):
    first = [row("joy", "joy", prompt=f"p{k}") for k in range(125)]
    second = [one | {"predict": "love"} for one in first[:wrong_in_second]]
    names = predictions(*first), predictions(*second, *first[wrong_in_second:], name="b.jsonl")

    main([*names])
    shown = capsys.readouterr().out
    main([*names, predictions(*first, name="c.jsonl")])
    corrected = capsys.readouterr().out

    assert f"verdict            {verdict}" in shown
    assert ("interval +0.0000 to" in shown) is (wrong_in_second == 5)
    assert "is right more often" not in corrected


def test_data_files_are_joined_to_the_figures(tmp_path, capsys):
    ask = EMOTION.instruction
    answers = {"i laughed": "joy", "i smiled": "love", "i grinned": "joy"}
    path = write_rows(
        tmp_path / "p.jsonl",
        *(row("joy", answers[text], prompt=f"{ask}\n{text}\nAnswer:") for text in answers),
    )
    texts = ("i laughed", "i smiled", "i beamed", *(f"i beamed {k}" for k in range(4)))
    source = write_rows(tmp_path / "source.jsonl", *({"text": t, "label": 1} for t in texts))
    train = write_rows(
        tmp_path / "train.jsonl",
        *({"text": f"i smiled{k}", "label": 2} for k in ("", " often", " again")),
        *({"text": f"i laughed {k}", "label": 1} for k in ("often", "again")),
    )
    out = tmp_path / "out.json"

    data = [f"source={source}", f"train={train}", f"floor={train}"]
    assert main([path, *data, f"json={out}"]) == 0
    shown = capsys.readouterr().out
    content = json.loads(out.read_text())
    other = tmp_path / "other.jsonl"
    other.write_bytes((tmp_path / "p.jsonl").read_bytes())
    assert main([path, str(other), *data]) == 0

    assert (content["n"], content["accuracy"]) == (2, 0.5)
    assert content["row_check"]["matched"] == 2
    assert content["row_check"]["missing"]["count"] == 5
    assert content["row_check"]["missing"]["first"][0] == [3, "i beamed"]
    assert content["row_check"]["extra"]["count"] == 1
    assert content["train_explanation"]["errors_as_trained"] == 1
    assert content["train_explanation"]["clean"]["accuracy"] == 1
    assert content["train_explanation"]["confused"][0]["predicted"] == "love"
    assert content["floor"]["metrics"]["n"] == 2
    assert "line 3: i beamed" in shown
    assert "and 2 more" in shown
    assert "1 are in train with another label, 1 gave that label" in shown
    assert "SVM accuracy                  0.5000" in shown
    assert "1 of 2 judged rows are among its training rows" in shown
    assert "1 judged rows are in train" in shown
    assert "minus SVM: right in one only  first 0, second 0: exact McNemar test p = 1" in shown
    assert capsys.readouterr().out.count(": row check against ") == 2


def test_rows_whose_text_cannot_be_told_count_as_clean(tmp_path, predictions, capsys):
    path = predictions(row("joy", "joy", text="i laughed"), row("joy", "joy", prompt="Which?"))
    train = write_rows(tmp_path / "train.jsonl", {"text": "i laughed", "label": "joy"})

    main([path, f"train={train}"])
    shown = capsys.readouterr().out
    main([predictions(row("joy", "joy", text="i laughed")), f"train={train}"])

    assert "clean rows          1 not in train" in shown
    assert "no text             1 rows; counted as clean" in shown
    assert "clean rows" not in capsys.readouterr().out


def test_short_names_are_the_ends_that_differ():
    def short(*files):
        return list(short_names([SimpleNamespace(file=file) for file in files]).values())

    assert short("runs/a/p.jsonl", "runs/b/p.jsonl", "q.jsonl", "b/p.jsonl") == [
        "a/p.jsonl",
        "runs/b/p.jsonl",
        "q.jsonl",
        "b/p.jsonl",
    ]
    assert short("-", "/") == ["-", "/"]
