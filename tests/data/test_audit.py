"""The audit's figures on tables worked out by hand, and on the real data."""

import pytest

from llamafactory_emotion.data.audit import audit_splits, conflict_pairs, normalised
from llamafactory_emotion.data.reading import Row, read_rows
from llamafactory_emotion.task import EMOTION


def rows(*pairs):
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


def audited(**splits):
    return audit_splits(splits, EMOTION.labels)


def test_repeats_and_conflicts_are_counted_in_texts():
    (train,) = audited(train=TRAIN).splits
    assert [(repeat.text, repeat.lines, repeat.labels) for repeat in train.repeats] == [
        ("one", (1, 3), ("joy", "love")),
        ("two two", (2, 4), ("joy", "joy")),
        ("three", (6, 7, 8), ("fear", "surprise", "joy")),
    ]
    assert [repeat.text for repeat in train.conflicts] == ["one", "three"]
    assert train.normalised_repeats == 3
    # A text with three labels counts for three pairs.
    assert list(conflict_pairs(train.conflicts).items()) == [
        (("fear", "joy"), 1),
        (("fear", "surprise"), 1),
        (("joy", "love"), 1),
        (("joy", "surprise"), 1),
    ]


def test_a_pair_is_of_two_labels_however_often_each_occurs():
    (train,) = audited(train=rows(("a", "love"), ("a", "joy"), ("a", "joy"))).splits
    assert conflict_pairs(train.conflicts) == {("joy", "love"): 1}


def test_a_repeat_that_only_normalising_shows():
    (split,) = audited(train=rows(("Ａ  b\n", "joy"), ("a B", "fear"))).splits
    assert (len(split.repeats), split.normalised_repeats) == (0, 1)


@pytest.mark.parametrize(
    ("one", "other"), [(":)", ":("), ("i am happy", "i am happy!"), ("कि", "की"), ("!!", "??")]
)
def test_what_normalising_must_keep_apart(one, other):
    assert normalised(one) != normalised(other)


def test_leaks_are_texts_and_agree_when_all_their_labels_do():
    audit = audited(train=TRAIN, test=TEST)
    one, two = audit.leaks
    assert (one.text, one.splits, one.other_label) == ("one", ("train", "test"), True)
    assert (one.lines, one.labels) == (((1, 3), (1,)), (("joy", "love"), ("joy",)))
    assert (two.text, two.other_label) == ("two two", False)
    assert audit.leaks_other_label == (one,)
    assert audit.normalised_leaks == 2


def test_every_pair_of_splits_is_compared():
    one = rows(("one", "joy"))
    assert [leak.splits for leak in audited(train=one, validation=one, test=one).leaks] == [
        ("train", "validation"),
        ("train", "test"),
        ("validation", "test"),
    ]


def test_classes_shares_and_imbalance():
    (split,) = audited(train=TRAIN).splits
    assert list(split.classes) == list(EMOTION.labels)
    assert list(split.classes.values()) == [0, 5, 1, 0, 1, 1]
    assert split.shares["joy"] == split.majority_share == 5 / 8
    assert split.imbalance == 5
    assert split.missing_labels == ("sadness", "anger")


def test_lengths_are_in_words():
    texts = rows(("a b c", "joy"), ("d", "joy"), (" e  f ", "joy"), ("我很高兴", "joy"))
    lengths = audited(train=texts).splits[0].lengths
    assert (lengths.mean, lengths.median, lengths.longest) == (7 / 4, 1.5, 3)
    assert (lengths.cutoff, lengths.over_cutoff) == (512, 0)
    long = audited(train=rows(*((n * "x ", "joy") for n in (512, 513)))).splits[0].lengths
    assert (long.longest, long.over_cutoff) == (513, 1)


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
def test_residue_and_special_tokens(text, links, special):
    (split,) = audited(train=rows((text, "joy"))).splits
    assert (split.links, split.special_tokens) == (links, special)


def test_the_figures_of_the_real_data(shared_data):
    folder = shared_data / "dair_emotion"
    train = read_rows(folder / "train.jsonl", EMOTION)
    test = read_rows(folder / "test.jsonl", EMOTION)
    assert test == [
        row._replace(line=line.line)
        for row, line in zip(read_rows(folder / "test_alpaca.json", EMOTION), test, strict=True)
    ]
    audit = audited(train=train, test=test)
    assert [split.links for split in audit.splits] == [201, 26]
    assert list(audit.splits[0].classes.values()) == [4666, 5362, 1304, 2159, 1937, 572]
    assert list(audit.splits[1].classes.values()) == [581, 695, 159, 275, 224, 66]
    assert len(audit.splits[0].repeats) == 31
    assert audit.splits[1].repeats == ()
    assert audit.splits[1].majority_share == 0.3475
    assert [round(split.lengths.mean, 1) for split in audit.splits] == [19.2, 19.2]
    assert max(split.lengths.longest for split in audit.splits) == 66
