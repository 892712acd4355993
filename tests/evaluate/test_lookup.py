"""Rows looked up in their source and in the training data, on rows one can count."""

import pytest
from evaluations import judged, labelled, prediction
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.evaluate.lookup import (
    DataFile,
    SourceJoin,
    TextFinder,
    TrainLookup,
    join_key,
)
from llamafactory_emotion.predictions.reading import BrokenRows
from llamafactory_emotion.task import EMOTION

ASK = EMOTION.instruction
SADNESS, JOY, LOVE, INVALID = 0, 1, 2, 6


def ask(line, text, label="joy"):
    return prediction(line, label, prompt=f"{ASK}\n{text}\nAnswer:")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "\nAnswer:"),
        ("<|begin_of_text|>", "\nAnswer:"),
        (
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        ("<bos><start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),
        ("<s>[INST] ", " [/INST]"),
        ("<s> [INST] ", "[/INST] "),
        ("Human: ", "\nAssistant:"),
        ("user\n\n", "assistant\n\n"),
        ("user\n", "\nassistant\n"),
        ("user\n", "\nmodel\n"),
        ("user\n", "\nmodel\nthought\n"),
        ("user\n", "\nassistant\n<think>\n\n</think>\n\n"),
        ("user", "assistantanalysisassistantfinal"),
        ("<seed:bos>user\n", "<seed:eos><seed:bos>assistant\n<seed:think></seed:think>"),
        ("A chat. USER: ", " ASSISTANT:"),
        ("### Instruction:\n", "\n\n### Response:\n"),
        ("<|user|>\n", "<|assistant|>\n"),
        ("Human: ", "###Assistant:"),
        ("Human: ", "\n\nBelle: "),
        ("<reserved_102>", "<reserved_103>"),
        ("[Round 0]\n\n问：", "\n\n答："),
        ("<human>:", "\n<bot>:"),
        ("<用户>", "<AI>"),
        ("<|User|>:", "\n<|Bot|>:"),
        ("[|Human|]:", "[|AI|]:"),
        ("", ""),
    ],
)
@pytest.mark.parametrize(
    "text", ["i laughed a lot", "我很高兴。", "Answer: what?\nNone", "a <b> c"]
)
def test_the_text_is_found_under_every_template(before, after, text):
    assert TextFinder(EMOTION).find(prediction(prompt=f"{before}{ASK}\n{text}{after}")) == text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (prediction(prompt="whatever", text=" as it is "), " as it is "),
        (prediction(), None),
        (prediction(prompt=""), None),
        (prediction(prompt="Which feeling is it? i laughed"), None),
    ],
)
def test_a_key_text_is_taken_as_it_is_and_other_prompts_tell_none(row, text):
    assert TextFinder(EMOTION).find(row) == text


def test_the_frame_of_other_prompts_is_learned_from_known_texts():
    texts = ["i laughed", "i cried a lot", "it", "so what"]
    rows = [prediction(prompt=f"Q: What does {text!r} tell? Say it.") for text in texts]
    finder = TextFinder(EMOTION)

    finder.learn(rows, texts, {join_key(text) for text in texts})

    assert [finder.find(one) for one in rows] == texts
    unknown = prediction(prompt="Q: What does 'an unknown text' tell? Say it.")
    assert finder.find(unknown) == "an unknown text"
    assert finder.find(prediction(prompt="Another prompt")) is None
    assert finder.find(prediction(prompt="Q: What does ' tell? Say it.")) is None


@given(st.text(), st.text())
def test_no_prompt_breaks_the_finder(before, after):
    finder = TextFinder(EMOTION)

    assert finder.find(prediction(prompt=f"{before}{ASK}\n{after}")) is not None
    finder.find(prediction(prompt=before))


def join(source, predictions):
    broken = BrokenRows("p.jsonl")
    joiner = SourceJoin(DataFile("s.jsonl", source), EMOTION, TextFinder(EMOTION))
    rows = list(joiner.correct(predictions, broken))
    return rows, joiner.result(), broken


def test_every_kind_of_misfit_is_counted_and_listed():
    source = labelled(("a a", "joy"), ("b", "love"), ("c", "fear"), ("d", "joy"))
    predictions = [
        ask(1, "a  a"),
        ask(2, "b", "neutral"),
        ask(3, "a a"),
        ask(4, "x"),
        ask(5, "d", None),
        prediction(6),
    ]

    rows, check, broken = join(source, predictions)

    assert [(row.line, row.label) for row in rows] == [(1, "joy"), (2, "love"), (5, "joy")]
    assert (check.source_rows, check.matched, broken.total) == (4, 3, 1)
    assert "hold no text" in broken.describe()
    assert (check.missing.count, check.missing.first) == (1, [(3, "c")])
    assert check.repeated.first == [(3, "a a")]
    assert check.extra.first == [(4, "x")]
    assert check.other_gold.count == 1
    assert "'neutral' in the predictions, 'love' in the source: b" in check.other_gold.first[0][1]


@pytest.mark.parametrize("own", ["love", "love<|eot_id|>", " love</s>\n"])
def test_a_text_that_repeats_in_the_source_takes_the_row_with_its_label_first(own):
    source = labelled(("a", "joy"), ("a", "love"), ("a", "joy"))
    predictions = [ask(k, "a", label) for k, label in enumerate(("love", "joy", "joy", "joy"))]

    rows, check, _ = join(source, predictions)

    assert [row.label for row in rows] == ["love", "joy", "joy"]
    assert check.other_gold.count == 0
    assert check.repeated.count == 1


def test_a_label_that_is_an_id_stays_one_beside_the_name_in_the_source():
    rows, check, _ = join(labelled(("a", "joy"), ("b", "fear")), [ask(1, "a", "1"), ask(2, "b", 1)])

    assert [row.label for row in rows] == ["1", "fear"]
    assert check.other_gold.count == 1


def test_repeats_in_conflict_go_to_predictions_without_labels_in_the_order_of_lines():
    source = labelled(("a", "joy"), ("b", "fear"), ("a", "love"), ("a", "joy"), ("a", "anger"))

    rows, check, _ = join(source, [ask(k, "a", None) for k in range(4)])

    assert [row.label for row in rows] == ["joy", "love", "joy", "anger"]
    assert check.missing.first == [(2, "b")]


def test_lists_are_short_and_counts_whole():
    source = labelled(*((f"text {k} {'long ' * 30}", "joy") for k in range(500)))

    _, check, _ = join(source, [ask(1, source[0].text)])

    assert check.missing.count == 499
    assert len(check.missing.first) == 10
    assert len(check.missing.first[0][1]) == 80


def test_another_prompt_is_learned_from_the_source():
    source = labelled(("i laughed", "joy"), ("i wept", "sadness"))

    rows, check, _ = join(source, [prediction(prompt=f"Feeling of: {row.text}?") for row in source])

    assert check.matched == 2
    assert [(row.text, row.label) for row in rows] == [(row.text, row.label) for row in source]


@pytest.mark.parametrize("prompt", [f"{ASK}\nz", "Which feeling?"])
def test_the_wrong_source_is_an_error_with_the_remedy(prompt):
    with pytest.raises(DataError, match=r"s\.jsonl has no row of p\.jsonl.*task="):
        join(labelled(("a", "joy")), [prediction(prompt=prompt)])


def lookup(train, *rows):
    watcher = TrainLookup(DataFile("t.jsonl", train), EMOTION, TextFinder(EMOTION))
    for row in rows:
        watcher(row)
    return watcher.result()


def test_errors_are_explained_by_train():
    train = labelled(("a", "love"), ("b", "joy"), ("c", "joy"), ("c", "love"))

    found = lookup(
        train,
        judged(ask(1, "a"), JOY, LOVE),  # wrong, as trained
        judged(ask(2, "a"), JOY, INVALID),  # wrong, train says otherwise
        judged(ask(3, "a"), JOY, JOY),  # right although train says otherwise
        judged(ask(4, "b"), JOY, LOVE),  # wrong, train agrees with gold
        judged(ask(5, "c"), JOY, LOVE),  # wrong, train says both
        judged(ask(6, "z"), JOY, SADNESS),  # wrong, not in train
        judged(ask(7, "y"), JOY, JOY),
    )

    assert (found.rows_in_train, found.rows_other_label) == (5, 4)
    assert (found.errors, found.errors_in_train) == (5, 4)
    assert (found.errors_other_label, found.errors_as_trained) == (3, 2)
    assert [line for line, _ in found.examples.first] == [1, 2, 5]
    assert "'joy', in train love: a" in found.examples.first[0][1]
    assert (found.clean.n, found.clean.accuracy) == (2, 0.5)


def test_rows_without_any_text_cannot_be_looked_up():
    train, blind = labelled(("a", "joy")), judged(prediction(prompt="Which?"), JOY, JOY)

    with pytest.raises(DataError, match=r"train needs the texts.*source="):
        lookup(train, blind)


def batch_line(custom_id, answer):
    return {
        "id": f"batch_req_{custom_id}",
        "custom_id": custom_id,
        "response": {"status_code": 200, "body": {"choices": [{"message": {"content": answer}}]}},
        "error": None,
    }


@pytest.mark.parametrize("as_id", [str, int, float], ids=["text", "whole numbers", "floats"])
@pytest.mark.parametrize("column", ["custom_id", "id"])
def test_a_batch_takes_its_gold_from_the_source_by_custom_id(predictions, figures, column, as_id):
    """In any order, whatever the texts: two are the same here."""
    pairs = [("a", "joy"), ("a", "fear"), ("b", "love"), ("c", "anger")]
    source = predictions(
        *({column: as_id(k), "text": text, "label": gold} for k, (text, gold) in enumerate(pairs)),
        name="source.jsonl",
    )
    answers = {3: "anger", 1: "fear", 7: "joy", 0: "love"}
    batch = predictions(*(batch_line(str(k), said) for k, said in answers.items()))

    found = figures(batch, f"source={source}")

    assert (found["n"], found["accuracy"]) == (3, pytest.approx(2 / 3))
    check = found["row_check"]
    assert [check[kind]["first"] for kind in ("missing", "extra")] == [[[3, "b"]], [[3, "7"]]]


def test_the_ids_of_a_source_are_read_in_its_encoding(tmp_path, predictions, figures):
    source = tmp_path / "source.csv"
    source.write_bytes("custom_id,text,label\n0,déjà vu,joy\n".encode("cp1252"))
    batch = predictions(batch_line("0", "joy"))

    assert figures(batch, f"source={source}", "encoding=cp1252")["n"] == 1


def test_ids_that_cannot_be_joined_are_refused(predictions, fails):
    batch = predictions(batch_line("row-0", "joy"), batch_line("row-1", "joy"))
    texts = predictions({"text": "a", "label": "joy"}, name="texts.jsonl")
    twice = predictions(*[{"id": 1, "text": "a", "label": "joy"}] * 2, name="twice.jsonl")
    other = predictions({"id": 1, "text": "a", "label": "joy"}, name="other.jsonl")

    fails(batch, code=1, saying="with --source FILE, which joins rows by text, by prompt or by a")
    fails(batch, f"source={texts}", code=1, saying="no column custom_id or id")
    fails(batch, f"source={twice}", code=1, saying="ids more than once, first '1'")
    fails(batch, f"source={other}", code=1, saying="none of the ids")


def test_a_file_without_an_answer_is_told_so_beside_a_source_too(predictions, fails):
    source = predictions({"text": "a", "label": "joy"}, name="source.jsonl")
    path = predictions({"custom_id": "0", "result": {"message": {"content": "joy"}}})

    fails(path, f"source={source}", code=1, saying="they have keys: \"'custom_id', 'result'\"")


def test_samples_of_the_harness_are_joined_by_what_was_asked_and_not_by_doc_id(
    predictions, figures
):
    texts = {"she laughed": "joy", "he wept": "sadness", "they hid": "fear"}
    source = predictions(
        *(
            {"id": k, "text": text, "label": gold}
            for k, (text, gold) in enumerate(texts.items(), 1)
        ),
        name="source.jsonl",
    )
    samples = predictions(
        *(
            {
                "doc_id": k,
                "doc": {"sentence": text},
                "target": gold,
                "arguments": {"gen_args_0": {"arg_0": f"Feeling of: {text}?", "arg_1": {}}},
                "resps": [["joy"]],
                "filtered_resps": ["joy"],
            }
            for k, (text, gold) in enumerate(texts.items())
        )
    )

    check = figures(samples, f"source={source}")["row_check"]

    assert (check["matched"], check["other_gold"]["count"]) == (3, 0)


def test_failed_and_repeated_requests_are_broken_rows(predictions, fails):
    failed = {"custom_id": "1", "response": None, "error": {"message": "rate limit"}}
    line = batch_line("0", "joy") | {"label": "joy"}

    said = fails(predictions(line, failed, line), code=1, saying="1 are failed requests of a batch")

    assert "'rate limit' (1)" in said
    assert "1 repeat an" in said
