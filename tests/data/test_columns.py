"""Which columns are taken, and that nothing beside them is lost in silence."""

import json

import pytest

from llamafactory_emotion.data.reading import FileNotes, read_rows, read_texts
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.task import EMOTION

LONG = "the ferry left without us in the rain"


def chat(*turns, keys=("role", "content"), **others):
    told = [dict(zip(keys, turn, strict=True)) for turn in turns]
    return {("messages" if keys[0] == "role" else "conversations"): told, **others}


@pytest.fixture
def write(tmp_path):
    """Write records to a JSON file."""

    def written(*records):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(records, indent=1), encoding="utf-8")
        return path

    return written


SHAREGPT = ("from", "value")
CHATS = [
    chat(("user", "so glad"), ("assistant", "joy")),
    chat(("human", "so glad"), ("gpt", "joy"), keys=SHAREGPT),
    chat(("human", "so glad"), ("gpt", " Joy "), keys=SHAREGPT, system="", id="x1"),
    chat(("user", [{"type": "text", "text": "so glad"}]), ("assistant", "joy"), tools=None),
    chat(("user", EMOTION.user_content("so glad")), ("model", "joy"), user="anna"),
    chat(("user", "so glad"), label="joy"),
]


@pytest.mark.parametrize("record", CHATS)
def test_a_chat_is_its_last_question_and_the_answer_to_it(write, record):
    rows = read_rows(write(record, record), EMOTION)
    assert [(row.text, row.label) for row in rows] == [("so glad", "joy")] * 2


def test_a_chat_without_an_answer_can_be_predicted(write):
    path = write(chat(("user", "so glad")), chat(("user", "low"), ("assistant", "sadness")))
    assert [row[:2] for row in read_texts(path, task=EMOTION)] == [
        ("so glad", ""),
        ("low", "sadness"),
    ]
    with pytest.raises(DataError, match=r"the label \(label_column\); the columns are user"):
        read_rows(path, EMOTION)


TALK = (("user", "You parked here."), ("assistant", "anger"), ("user", "Fine."))
WITH_SYSTEM = chat(("system", "You label."), ("user", "Fine."), ("assistant", "anger"))
WITH_HISTORY = chat(*TALK, ("assistant", "anger"))
ALPACA = {"instruction": "Which?", "input": "Fine.", "output": "anger"}
ALPACA_TALK = ALPACA | {"system": "You label.", "history": [["You parked here.", "anger"]]}
PAIR = {"premise": "A man sleeps.", "hypothesis": "He is awake.", "label": "anger"}
LOST = [
    (WITH_SYSTEM, "conversation, system beside user", "system,user", "user"),
    (WITH_HISTORY, "conversation, history beside user", "history,user", "user"),
    (chat(*TALK[2:], ("assistant", "anger"), system="You label."), "system", "system,user", "user"),
    (ALPACA_TALK, "system and history beside input", "system,history,input", "input"),
    (ALPACA | {"input": "", "system": "S"}, "system beside instr", "system,instruction", "instruc"),
    (PAIR, "hypothesis beside premise", "premise,hypothesis", "premise"),
    ({"sentence": "Fine.", "sentence2": "No.", "label": 3}, "sentence2", "sentence,sentence2", ""),
    ({"title": "Boo", "text": "Fine.", "label": 3}, "title beside text", "text,title", "text"),
    ({"text": "Fine.", "aspect": "food", "label": 3}, "aspect beside text", "text,aspect", "text"),
    (chat(*TALK[2:], ("gpt", "joy"), images=["a"]), "images beside user", "user,images", "user"),
    ({"text": "Fine.", "said": LONG, "label": 3}, "said beside text", "text,said", "text"),
    ({"text": "好", "上文": "这家店的面太难吃了服务员很热情", "label": 3}, "上文", "text,上文", ""),
]  # fmt: skip


@pytest.mark.parametrize(("record", "named", "joined", "alone"), LOST)
def test_what_would_be_lost_is_refused_by_name_and_both_ways_work(
    write, record, named, joined, alone
):
    path = write(record)
    for read in (read_rows, lambda path, task: list(read_texts(path, task=task))):
        with pytest.raises(DataError, match=f"{named}.* would be lost; text_column={joined} writ"):
            read(path, EMOTION)

    [row] = read_rows(path, EMOTION, text_column=joined)
    assert [line.partition(": ")[0] for line in row.text.splitlines() if ": " in line] == (
        joined.split(",")
    )
    if alone in record or alone == "user":
        [row] = read_rows(path, EMOTION, text_column=alone)
        assert ": " not in row.text


def test_the_joined_form_is_a_line_a_column_and_skips_what_is_empty(write):
    path = write(PAIR, PAIR | {"hypothesis": None}, ALPACA_TALK | PAIR)
    rows = read_rows(path, EMOTION, text_column="premise, hypothesis")
    assert [row.text for row in rows] == [
        "premise: A man sleeps.\nhypothesis: He is awake.",
        "premise: A man sleeps.",
        "premise: A man sleeps.\nhypothesis: He is awake.",
    ]
    [row] = read_rows(write(ALPACA_TALK), EMOTION, text_column="history,input")
    assert row.text == "history: You parked here.\nanger\ninput: Fine."
    with pytest.raises(DataError, match=r"row 1|json:2: no column 'talk'; the columns are"):
        read_rows(path, EMOTION, text_column="talk,premise")


def test_a_row_that_differs_from_the_first_is_refused_too(write):
    later = [
        (ALPACA, ALPACA | {"history": []}, ALPACA | {"history": None, "system": " "}),
        (ALPACA | {"system": ""}, ALPACA_TALK),
        (chat(("user", "a"), ("assistant", "joy")), WITH_HISTORY),
        ({"text": "a", "title": "", "label": "joy"}, {"text": "b", "title": "B", "label": "joy"}),
    ]
    assert len(read_rows(write(*later[0]), EMOTION)) == 3
    for records in later[1:]:
        with pytest.raises(DataError, match=r"has 1 problem.*\n.* would be lost"):
            read_rows(write(*records), EMOTION)


@pytest.mark.parametrize(
    "record",
    [
        {"text": LONG, "label": "joy", "label_text": "joy", "id": "a b c", "url": "x", "n": 7},
        {"text": LONG, "label": "joy", "prompt": f"Which emotion? {LONG} Answer:"},
        {"text": LONG, "label": "joy", "clean": LONG, "title": "", "target": 4},
        {"tweet": "a", "user": "b", "date": "Mon May 11", "label": "joy", "query": None},
        {"question": "why?", "text": "why? oh", "label": "joy"},
    ],
)
def test_other_columns_are_no_second_text(write, record):
    assert len(read_rows(write(record), EMOTION)) == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (chat(), "messages has no turn of the user"),
        (chat(("assistant", "joy")), "no turn of the user before the last of the assistant"),
        (chat(("user", "a"), ("tool", "b"), ("assistant", "joy")), r"turn 2 .*'role': 'tool'"),
        (chat(("user", None), ("assistant", "joy")), r"turn 1 of the conversation is .*None"),
        (chat(("user", [{"type": "image_url"}])), r"turn 1 of the conversation is .*image_url"),
        ({"messages": ["hello"]}, r"turn 1 of the conversation is \{\}"),
        ({"messages": "hello", "label": "joy"}, "no column that looks like the text"),
    ],
)
def test_a_chat_that_is_none_is_said(write, record, message):
    with pytest.raises(DataError, match=message):
        read_rows(write(record), EMOTION)
    good = chat(("user", "a"), ("assistant", "joy"))
    with pytest.raises(DataError, match=f"1 problem.*\n.*({message}|no list of turns)"):
        read_rows(write(good, record), EMOTION)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"Message": "so glad", "Topic": "joy", "id": "7"}, "Message, labels from Topic; left: id"),
        ({"post": 17, "comment": "so glad", "y": "joy"}, "comment, labels from y; left: post"),
        ({"文本": "so glad", "标签": "joy"}, "文本, labels from 标签"),
        ({"Texto": "so glad", "CATEGORI\u0301A": "joy"}, "Texto, labels from CATEGORI\u0301A"),
        ({"Review-Text": "so glad", "class": "joy"}, "Review-Text, labels from class"),
        ({"text": "so glad", "label": "joy", "target": 4}, "text, labels from label; left: target"),
        ({"text": "so glad", "target": "joy"}, "text, labels from target"),
        (
            {"text": "so glad", "label": 1, "label_text": "joy"},
            "text, labels from label; left: label_text",
        ),
        ({"what they wrote": "so glad", "intent": "joy"}, "what they wrote, labels from intent"),
        ({"Sentence": "so glad", "EMOTION": 1, "input": "no"}, "Sentence, labels from EMOTION"),
        (ALPACA | {"input": "so glad", "output": "joy"}, "input, labels from output"),
        ({"instruction": "so glad", "input": "", "output": "joy"}, "instruction, labels from outp"),
        ({"instruction": "so glad", "output": "joy"}, "instruction, labels from output"),
        ({"query": "so glad", "response": "joy"}, "query, labels from response"),
        ({"prompt": "so glad", "completion": " joy"}, "prompt, labels from completion"),
    ],
)
def test_columns_are_guessed_by_the_names_people_use_and_told(write, record, said):
    notes = FileNotes()
    [row] = read_rows(write(record), EMOTION, notes=notes)
    assert (row.text, row.label) == ("so glad", "joy")
    assert str(notes.columns).startswith(f"texts from {said}")


def test_a_file_of_one_column_has_its_texts_there(write, tmp_path):
    [row] = read_texts(write({"what they wrote": "so glad"}), task=EMOTION)
    assert row[:2] == ("so glad", "")
    without_header = tmp_path / "a.csv"
    without_header.write_text("the parcel never came to my door\nso glad\n")
    with pytest.raises(DataError, match="the columns are the parcel never came"):
        list(read_texts(without_header, task=EMOTION))


def test_two_columns_of_labels_are_asked_for(write):
    path = write({"text": "so glad", "sentiment": "good", "emotion": "joy"})
    for read in (read_rows, lambda path, task: list(read_texts(path, task=task))):
        with pytest.raises(DataError, match=r"sentiment and emotion may each .* label_column=sent"):
            read(path, EMOTION)
    assert [row.label for row in read_rows(path, EMOTION, label_column="emotion")] == ["joy"]


def test_a_verdict_on_an_answer_is_not_passed_over(write):
    talk = (("user", "so glad"), ("assistant", "joy"))
    with pytest.raises(DataError, match="assistant and label may each hold the labels"):
        read_rows(write(chat(*talk, label=False)), EMOTION)
    for label in ("joy", None, 1, float("nan")):
        assert read_rows(write(chat(*talk, label=label)), EMOTION)[0].label == "joy"


def test_a_long_response_is_a_text_and_no_label(write):
    path = write({"text": "How are you", "response": "Fine, thanks for asking me today"})
    with pytest.raises(DataError, match="response beside text would be lost"):
        list(read_texts(path, task=EMOTION))


def test_the_whole_prompt_of_an_alpaca_row_is_not_its_text(write):
    prompt = "### Instruction: Which?\n### Input: Fine.\n### Response: anger"
    assert read_rows(write({"text": prompt, **ALPACA}), EMOTION)[0].text == "Fine."


def test_many_columns_are_not_all_told(write):
    notes = FileNotes()
    read_rows(write({"text": "a", "label": "joy", **dict.fromkeys(map(str, range(20)))}), EMOTION,
              notes=notes)  # fmt: skip
    assert str(notes.columns).endswith("left: 0, 1, 2, 3, 4, 5, 6, 7 and 12 more")
