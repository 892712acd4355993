"""The audit's figures on tables worked out by hand, and on the real data."""

import json
import time
from pathlib import Path

import pytest

from llamafactory_emotion.data.audit import Audit, audit_splits, conflict_pairs, normalised
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.prepare.report import audit_blocks, audit_json
from llamafactory_emotion.task import EMOTION
from llamafactory_emotion.terminal import Facts, Table


def rows(*pairs: tuple[str, str]) -> list[Row]:
    return [Row(text, label, line) for line, (text, label) in enumerate(pairs, start=1)]


TRAIN = rows(
    ("one", "joy"),
    ("two two", "joy"),
    ("one", "love"),
    ("two two", "joy"),
    ("One ", "joy"),
    ("three", "fear"),
    ("three", "surprise"),
    ("three", "joy"),
)
TEST = rows(("one", "joy"), ("two  two", "joy"), ("two two", "joy"), ("new", "anger"))


def audited(**splits: list[Row]) -> Audit:
    return audit_splits(splits, EMOTION.labels)


def test_repeats_and_conflicts_are_counted_in_texts() -> None:
    train = audited(train=TRAIN).splits[0]
    assert [(repeat.text, repeat.lines, repeat.labels) for repeat in train.repeats] == [
        ("one", (1, 3), ("joy", "love")),
        ("two two", (2, 4), ("joy", "joy")),
        ("three", (6, 7, 8), ("fear", "surprise", "joy")),
    ]
    assert [repeat.text for repeat in train.conflicts] == ["one", "three"]
    assert train.normalised_repeats == 3


def test_a_text_with_three_labels_counts_for_three_pairs() -> None:
    train = audited(train=TRAIN).splits[0]
    assert list(conflict_pairs(train.conflicts).items()) == [
        (("fear", "joy"), 1),
        (("fear", "surprise"), 1),
        (("joy", "love"), 1),
        (("joy", "surprise"), 1),
    ]


def test_a_pair_is_of_two_labels_however_often_each_stands() -> None:
    train = audited(train=rows(("a", "love"), ("a", "joy"), ("a", "joy"))).splits[0]
    assert conflict_pairs(train.conflicts) == {("joy", "love"): 1}


def test_labels_cannot_act_on_a_terminal() -> None:
    rows_of_it = rows(("a", "x\x1b[2J"), ("a", "y"), ("b", "y"))
    audit = audit_splits({"train": rows_of_it}, ("x\x1b[2J", "y", "z\x07"))
    blocks = audit_blocks(audit)
    lines = [line for b in blocks for line in (b.lines if isinstance(b, Facts) else b.rows)]
    assert all(cell.isprintable() for line in lines for cell in line)
    assert any("x\\x1b" in cell for line in lines for cell in line)


def test_a_repeat_that_only_normalising_shows() -> None:
    split = audited(train=rows(("Ａ  b\n", "joy"), ("a B", "fear"))).splits[0]
    assert (len(split.repeats), split.normalised_repeats) == (0, 1)


@pytest.mark.parametrize(
    ("one", "other"), [(":)", ":("), ("i am happy", "i am happy!"), ("कि", "की"), ("!!", "??")]
)
def test_what_normalising_must_keep_apart(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_leaks_are_texts_and_agree_when_all_their_labels_do() -> None:
    audit = audited(train=TRAIN, test=TEST)
    assert [(leak.text, leak.other_label) for leak in audit.leaks] == [
        ("one", True),
        ("two two", False),
    ]
    assert audit.leaks[0].splits == ("train", "test")
    assert audit.leaks[0].lines == ((1, 3), (1,))
    assert audit.leaks[0].labels == (("joy", "love"), ("joy",))
    assert len(audit.leaks_other_label) == 1
    assert audit.normalised_leaks == 2


def test_every_pair_of_splits_is_compared() -> None:
    one = rows(("one", "joy"))
    audit = audited(train=one, validation=one, test=one)
    assert [leak.splits for leak in audit.leaks] == [
        ("train", "validation"),
        ("train", "test"),
        ("validation", "test"),
    ]


def test_classes_shares_and_imbalance() -> None:
    split = audited(train=TRAIN).splits[0]
    assert dict(split.classes) == {
        "sadness": 0,
        "joy": 5,
        "love": 1,
        "anger": 0,
        "fear": 1,
        "surprise": 1,
    }
    assert split.shares["joy"] == 5 / 8
    assert split.majority_share == 5 / 8
    assert split.imbalance == 5
    assert split.missing_labels == ("sadness", "anger")


def test_lengths_are_in_words() -> None:
    texts = rows(("a b c", "joy"), ("d", "joy"), (" e  f ", "joy"), ("我很高兴", "joy"))
    lengths = audit_splits({"train": texts}, EMOTION.labels, cutoff=2).splits[0].lengths
    assert (lengths.mean, lengths.median, lengths.longest) == (7 / 4, 1.5, 3)
    assert (lengths.cutoff, lengths.over_cutoff) == (2, 1)


@pytest.mark.parametrize(
    ("text", "links", "special"),
    [
        ("see http www", 1, 0),
        ("a HREF b", 1, 0),
        ("x<|eot_id|>y", 0, 1),
        ("</s>", 0, 1),
        ("[INST] hi", 0, 1),
        ("a <3 b |> [so] <b>", 0, 0),
    ],
)
def test_residue_and_special_tokens(text: str, links: int, special: int) -> None:
    split = audited(train=rows((text, "joy"))).splits[0]
    assert (split.links, split.special_tokens) == (links, special)


def test_the_json_sums_over_the_splits() -> None:
    report = json.loads(
        json.dumps(
            audit_json(audited(train=TRAIN, test=rows(("a", "joy"), ("a", "love"), ("one", "joy"))))
        )
    )
    assert (report["rows"], report["repeats"], report["conflicts"]) == (11, 4, 3)
    assert report["conflict_pairs"] == {
        "joy/love": 2,
        "fear/joy": 1,
        "fear/surprise": 1,
        "joy/surprise": 1,
    }
    assert (report["leaks"], report["leaks_other_label"], report["leaks_normalised"]) == (1, 1, 1)
    assert report["splits"]["train"]["conflicts"] == 2
    assert report["repeated_texts"][-1] == {
        "split": "test",
        "text": "a",
        "lines": [1, 2],
        "labels": ["joy", "love"],
    }


def test_the_findings_are_sentences() -> None:
    loud = rows(("one", "joy"), ("one", "love"), ("<s> " * 600, "fear"))
    blocks = audit_blocks(audited(train=loud, test=rows(("one", "joy"))))
    facts = next(block for block in blocks if isinstance(block, Facts))
    assert facts.lines == (
        ("train", "1 repeat, 1 of them conflicting (1 joy/love)"),
        ("test", "0 repeats"),
        ("test", "1 test text that stands in train, 1 of them with another label"),
        ("train", "no row has the label sadness, anger, surprise"),
        (
            "train",
            "1 row with a special token's name; the template emotion reads it as text, others as "
            "the token: clean such rows before training with another",
        ),
        ("train", "1 text of more words than the cutoff of 512 tokens; raise cutoff_len"),
        ("test", "no row has the label sadness, love, anger, fear, surprise"),
    )


def test_the_tables_put_the_splits_side_by_side() -> None:
    tables = [
        block for block in audit_blocks(audited(train=TRAIN, test=TEST)) if isinstance(block, Table)
    ]
    cells = {row[0]: row[1:] for table in tables for row in table.rows}
    assert cells["rows"] == ("8", "4")
    assert cells["imbalance"] == ("5.0 : 1", "3.0 : 1")
    assert cells["joy"] == ("5", "0.625", "3", "0.750")


def test_the_figures_of_the_real_data(shared_data: Path) -> None:
    folder = shared_data / "dair_emotion"
    train = read_rows(folder / "train.jsonl", EMOTION)
    test = read_rows(folder / "test.jsonl", EMOTION)
    started = time.process_time()
    audit = audited(train=train, test=test)
    assert time.process_time() - started < 5
    report = audit_json(audit)
    assert (report["rows"], report["repeats"], report["conflicts"]) == (18_000, 31, 30)
    assert (report["leaks"], report["leaks_other_label"]) == (11, 11)
    assert report["conflict_pairs"]["joy/love"] == 15
    assert report["conflict_pairs"]["fear/surprise"] == 6
    assert [split.links for split in audit.splits] == [201, 26]
    assert list(audit.splits[0].classes.values()) == [4666, 5362, 1304, 2159, 1937, 572]
    assert list(audit.splits[1].classes.values()) == [581, 695, 159, 275, 224, 66]
    assert audit.splits[1].repeats == ()
    assert audit.splits[1].majority_share == 0.3475
    assert [round(split.lengths.mean, 1) for split in audit.splits] == [19.2, 19.2]
    assert max(split.lengths.longest for split in audit.splits) == 66
