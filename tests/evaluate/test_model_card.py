"""The model card's section: the hub reads its block, and texts stay texts."""

import re

import pytest
from evaluations import PAYLOADS, evaluations_of, row, write_rows

from llamafactory_emotion.evaluate.__main__ import main
from llamafactory_emotion.evaluate.model_card import markdown_text, model_card
from llamafactory_emotion.task import Task


def card_of(tmp_path, files, **options):
    return model_card(*evaluations_of(tmp_path, files, **options))


def load(card, tmp_path):
    """Read the block as the hub's own client does."""
    from huggingface_hub import ModelCard, metadata_load
    from huggingface_hub.repocard_data import model_index_to_eval_results

    path = tmp_path / "README.md"
    path.write_text(card, encoding="utf-8")
    name, results = model_index_to_eval_results(metadata_load(path)["model-index"])
    data = ModelCard(card).data
    assert data.model_name == name
    assert data.eval_results == results
    return name, results


def test_the_hub_reads_the_figures(tmp_path):
    (tmp_path / "p.meta.json").write_text(
        '{"adapter": "saves/emotion_lora/", "model": "some/base"}'
    )
    rows = [row("joy", "joy"), row("joy", "love"), row("fear", "no idea")]

    name, (accuracy, f1) = load(card_of(tmp_path, {"p.jsonl": rows}), tmp_path)

    assert name == "emotion_lora"
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.333333)
    assert (f1.metric_type, f1.metric_value) == ("f1", 0.111111)
    assert f1.metric_args == {"average": "macro"}
    assert {one.task_type for one in (accuracy, f1)} == {"text-classification"}
    assert {one.dataset_name for one in (accuracy, f1)} == {"p.jsonl"}


def test_the_prose_has_n_and_the_interval(tmp_path):
    rows = [row("joy", "joy"), row("joy", "love"), row("fear", "no idea"), {"label": "joy"}]

    card = card_of(tmp_path, {"p.jsonl": rows}, skip_broken=True)

    assert "Accuracy 0.3333 (95 % interval 0.0615 to 0.7923)" in card
    assert "on n = 3 rows of p.jsonl, match rule flexible" in card
    assert "1 answers (33.33 %) name no label or several" in card
    assert "Always answering joy would reach 0.6667" in card
    assert "1 broken rows were left out" in card
    assert "| joy | 0 | 1 | 1 | 0 | 0 | 0 | 0 |" in card
    assert "| fear | no\\_label | no idea |" in card


def test_several_files_are_compared_under_the_first_name(tmp_path):
    files = {
        "a.jsonl": [row("joy", "joy", id=k) for k in range(9)],
        "b.jsonl": [row("joy", "love", id=k) for k in range(9)],
    }

    card = card_of(tmp_path, files)

    name, results = load(card, tmp_path)
    assert (name, results[0].metric_value) == ("a", 1.0)
    assert "## Comparison" in card
    assert "### a.jsonl minus b.jsonl" in card
    assert "exact McNemar test p = 0.0039" in card


def test_nothing_of_a_file_is_laid_out_or_run(tmp_path):
    task = Task(
        "x\n---\n# owned", ("plain", "a|b", "<b>`*x*`", "---", "![x](http://leak.example)"), "?"
    )
    rows = [row("plain", payload) for payload in PAYLOADS] + [row("a|b", "<b>`*x*`")]
    rows += [
        row("plain", "a | b\n\n# heading\n- item `code` [x](http://leak.example) www.x.y :joy:")
    ]
    (tmp_path / "p.meta.json").write_text('{"model": "a/---\\n<script>"}')

    for rows_first in (rows, rows[::-1]):
        card = card_of(tmp_path, {"p.jsonl": rows_first}, task=task)

        load(card, tmp_path)
        body = card.split("\n---\n", 1)[1]
        assert "<" not in body
        assert "http:" not in body
        assert "www.x" not in body
        assert ":joy:" not in body
        assert not re.search(r"(?<!\\)`", body)
        assert "# owned" not in body
        assert not any(one in card for one in ("\x1b", "\u202e", "\x00", "\r"))
        tables = [line for line in body.splitlines() if line.startswith("|")]
        assert {len(re.split(r"(?<!\\)\|", line)) for line in tables} == {5, 7, 9}
        assert all(re.match(r"[|#]|$|Accuracy ", line) for line in body.splitlines())


def test_source_and_training_texts_are_counted_in_a_card_and_not_listed(tmp_path, capsys):
    texts = ["private once", "private twice", "private never predicted"]
    predictions = write_rows(
        tmp_path / "p.jsonl",
        row("joy", "love", text=texts[0]),
        row("fear", "joy", text=texts[1], prompt="private too"),
        row("joy", "joy", text=texts[1]),
        row("joy", "joy", text="private elsewhere"),
    )
    source = write_rows(tmp_path / "s.jsonl", *({"text": one, "label": "joy"} for one in texts))
    train = write_rows(tmp_path / "train.jsonl", {"text": texts[0], "label": "love"})
    card = tmp_path / "card.md"

    assert main([predictions, f"source={source}", f"train={train}", f"report={card}"]) == 0

    terminal, written = capsys.readouterr().out, card.read_text(encoding="utf-8")
    assert terminal.count("private") == 5
    assert "private" not in written  # neither prompts nor texts of data files
    assert "line " not in written
    for counted in (
        "| missing | 1 (source rows",
        "| extra | 1 (predictions",
        "| repeated | 1 (predictions",
        "| other gold label | 1 (judged",
        "| explained by train | 1 are in train with another label, 1 gave that label |",
    ):
        assert counted in written


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("joy 0.9400 (95 %)", "joy 0.9400 (95 %)"),
        ("a|b", "a&#124;b"),
        ("<b>&amp;", "&#60;b&#62;&#38;amp;"),
        (r"\*x*", r"\\\*x\*"),
        ("a\n# b", r"a \# b"),
        ("https://x.y", "https&#58;//x.y"),
        ("www.x.y", "www&#46;x.y"),
        ("answer: joy", "answer: joy"),
        (":joy:", "&#58;joy:"),
        ("愤怒", "愤怒"),
    ],
)
def test_escapes(text, markdown):
    assert markdown_text(text) == markdown
