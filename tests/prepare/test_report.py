"""How an audit is shown: sentences and tables for a terminal, sums for JSON."""

import io
import json

from llamafactory_emotion.data.audit import audit_splits
from llamafactory_emotion.data.reading import Row
from llamafactory_emotion.prepare.report import audit_blocks, audit_json
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.terminal import Facts, print_blocks


def rows(*pairs):
    return [Row(text, label, line) for line, (text, label) in enumerate(pairs, start=1)]


TRAIN = rows(("one", "joy"), ("one", "love"), ("two", "joy"), ("two", "joy"), ("three", "fear"))
TEST = rows(("a", "joy"), ("a", "love"), ("one", "joy"))


def cells(audit):
    lines = [b.lines if isinstance(b, Facts) else b.rows for b in audit_blocks(audit)]
    return [line for block in lines for line in block]


def test_the_json_sums_over_the_splits():
    audit = audit_splits({"train": TRAIN, "test": TEST}, EMOTION.labels)
    report = json.loads(json.dumps(audit_json(audit)))
    assert (report["rows"], report["repeats"], report["conflicts"]) == (8, 3, 2)
    assert (report["repeats_normalised"], report["conflict_pairs"]) == (3, {"joy/love": 2})
    assert (report["leaks"], report["leaks_other_label"], report["leaks_normalised"]) == (1, 1, 1)
    assert report["splits"]["train"]["conflicts"] == 1
    assert report["splits"]["test"]["missing_labels"] == ["sadness", "anger", "fear", "surprise"]
    assert report["splits"]["test"]["words"]["longest"] == 1
    assert report["repeated_texts"][-1] == {
        "split": "test", "text": "a", "lines": [1, 2], "labels": ["joy", "love"],
    }  # fmt: skip
    assert report["leaked_texts"] == [
        {"text": "one", "splits": ["train", "test"], "lines": [[1, 2], [3]],
         "labels": [["joy", "love"], ["joy"]]},
    ]  # fmt: skip


def test_the_findings_are_sentences():
    loud = rows(("one", "joy"), ("one", "love"), ("<s> " * 600, "fear"))
    audit = audit_splits({"train": loud, "test": rows(("one", "joy"))}, EMOTION.labels)
    facts = next(block for block in audit_blocks(audit) if isinstance(block, Facts))
    assert facts.lines == (
        ("train", "1 repeat, 1 of them conflicting (1 joy/love)"),
        ("test", "0 repeats"),
        ("test", "1 test text that is in train too, 1 of them with another label"),
        ("train", "no row has the label sadness, anger, surprise"),
        (
            "train",
            "1 row with a special token's name; the template emotion reads it as text, others as "
            "the token: clean such rows before training with another",
        ),
        ("train", "1 text of more words than the cutoff of 512 tokens; raise cutoff_len"),
        ("test", "no row has the label sadness, love, anger, fear, surprise"),
    )


def test_conflicts_and_leaks_are_shown_with_their_texts_the_first_ten():
    audit = audit_splits({"train": TRAIN, "test": TEST}, EMOTION.labels)
    [shown] = [block for block in audit_blocks(audit) if block.title.startswith("Conflicts and")]
    assert shown.lines == (
        ("train 1,2", "joy/love: one"),
        ("test 1,2", "joy/love: a"),
        ("train 1,2, test 3", "joy/love: one"),
    )
    many = rows(*((f"text {n // 2}\n\n", EMOTION.labels[n % 2]) for n in range(40)))
    blocks = audit_blocks(audit_splits({"train": many}, EMOTION.labels))
    assert [len(block.lines) for block in blocks[:2]] == [2, 10]
    assert blocks[1].lines[0] == ("train 1,2", "joy/sadness: text 0")


def test_a_text_of_three_splits_is_told_once():
    splits = {name: rows(("one", "joy"), (name, "fear")) for name in ("train", "validation")}
    splits["test"] = rows(("train", "fear"), ("one", "love"), ("validation", "joy"))
    findings, shown, *_ = audit_blocks(audit_splits(splits, EMOTION.labels))
    assert findings.lines[3:6] == (
        (
            "test",
            "1 test text that is in train and validation too, 1 of them with another label",
        ),
        ("test", "1 test text that is in train too, 0 of them with another label"),
        ("test", "1 test text that is in validation too, 1 of them with another label"),
    )
    assert shown.lines == (
        ("train 1, validation 1, test 2", "joy/love: one"),
        ("train 2, test 1", "fear: train"),
        ("validation 2, test 3", "fear/joy: validation"),
    )


def test_the_tables_put_the_splits_side_by_side():
    audit = audit_splits({"train": TRAIN, "test": TEST}, EMOTION.labels)
    row = {line[0]: line[1:] for line in cells(audit)}
    assert row["rows"] == ("5", "3")
    assert row["imbalance"] == ("3.0 : 1", "2.0 : 1")
    assert row["joy"] == ("3", "0.600", "2", "0.667")


def test_labels_cannot_act_on_a_terminal():
    strange = rows(("a", "x\x1b[2J"), ("a", "y"), ("b", "y"))
    audit = audit_splits({"train": strange}, ("x\x1b[2J", "y", "z\x07"))
    print_blocks(audit_blocks(audit), out := io.StringIO())
    assert all(map(str.isprintable, out.getvalue().splitlines()))
    assert "x\\x1b" in out.getvalue()
