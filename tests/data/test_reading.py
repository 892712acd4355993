"""What counts as a text and a label; a bad file is answered by one error that lists it all."""

import gzip
import io
import json
import sys

import pytest

from llamafactory_emotion.data.reading import Row, iterate_rows, read_rows, read_texts
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import EMOTION, Task

STARS = Task("stars", ("1", "2", "3"), "How many stars?")


@pytest.fixture
def write(tmp_path):
    """Write a file of that name and content; what is no text or bytes becomes JSON Lines."""

    def written(name, content):
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(json.dumps(one) + "\n" for one in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.mark.parametrize(
    ("task", "value", "label"),
    [
        (EMOTION, 0, "sadness"),
        (EMOTION, "5", "surprise"),
        (EMOTION, " Joy ", "joy"),
        (EMOTION, "LOVE", "love"),
        (EMOTION, 3.0, "anger"),
        (STARS, "1", "1"),
        (STARS, "3", "3"),
        (STARS, 1, "1"),
        (Task("places", ("caf\u00e9", "bar"), "Where?"), "cafe\u0301", "caf\u00e9"),
    ],
)
def test_a_label_is_a_name_or_else_an_id(write, task, value, label):
    path = write("a.jsonl", [{"text": "x", "label": value}])

    assert read_rows(path, task) == [Row("x", label, 1)]
    assert list(read_texts(path, task=task)) == [Row("x", label, 1)]


@pytest.mark.parametrize("named", [{"text_column": "tweet"}, {"label_column": "mood"}])
def test_a_named_column_must_be_there(write, named):
    path = write("a.jsonl", [{"text": "a", "label": 1}])
    with pytest.raises(DataError, match=r"a\.jsonl:1: no column '.*'; the columns are text, label"):
        read_rows(path, EMOTION, **named)


ALPACA = {"instruction": "Which?", "input": "i am low", "output": "sadness"}
BAD_FILES = [
    ("label.jsonl", '{"text": "a", "label": "glee"}', r"jsonl:1: unknown label 'glee'"),
    ("id.jsonl", '{"text": "a", "label": 6}', r"unknown label 6"),
    ("minus.jsonl", '{"text": "a", "label": -1}', r"unknown label -1"),
    ("list.jsonl", '{"text": "a", "label": [1]}', r"unknown label \[1\]"),
    ("several.jsonl", '{"text": "a", "label": ["joy", "fear"]}', r"unknown label \['joy', 'f"),
    ("none.jsonl", '{"text": "a", "label": []}', r"no label in the column 'label'"),
    ("frame.json", '{"text": {"0": "a"}, "label": {"0": "joy"}}', r"1: each value is a list or an"),
    ("bool.jsonl", '{"text": "a", "label": true}', r"unknown label True"),
    ("null.jsonl", '{"text": "a", "label": null}', r"no label in the column 'label'"),
    ("blank.csv", "text,label\na,\n", r"csv:2: no label in the column 'label'"),
    ("column.csv", "id,label\n1,joy\n", r"looks like the text \(text_column\); .* id, label"),
    ("both.csv", "id,name\n1,joy\n", r"text \(text_column\) or the label \(label_column\)"),
    ("header.csv", "text,label\n", r"holds no rows"),
    ("twice.csv", "text,text,label\na,b,joy\n", r"csv:1: the header has 'text' twice; rename"),
    ("fields.csv", "text,label\na, b,joy\n", r"csv:2: 3 fields where the header has 2"),
    ("short.csv", "text,label\na\n", r"csv:2: 1 fields where the header has 2"),
    ("quote.csv", 'text,label\n"a,joy\nb,fear\n', r"csv:2: broken table row"),
    ("mac.csv", b"text,label\rone,joy\r", r"csv:1: a line end is \\r alone"),
    ("joined.csv", 'text,label\n"a,joy\nb",fear\n', r"csv:2: a quotation mark opens a text that"),
    ("front.csv", 'id;label;text\n1;joy;"a\n2;fear;b"\n', r"csv:2: a quotation mark opens a text"),
    ("pretty.json", '\n{\n "rows": []\n}', r"has 1 problem.*\n.*json:2: a JSON object over sev"),
    ("above.csv", "sep=;\ntext;label\na;joy\n", r"the header is 'sep=', and only blank lines"),
    ("aspect.csv", "text,aspect,label\ngood food,food,joy\n", r"aspect beside text would be lost"),
    ("empty.jsonl", "", r"empty\.jsonl holds no rows"),
    ("space.jsonl", "\n \n", r"holds no rows"),
    ("empty.json", "[]", r"holds no rows"),
    ("empty.txt", "", r"holds no rows"),
    ("text.jsonl", '{"text": " \\t", "label": 1}', r"jsonl:1: the text is empty"),
    ("none.jsonl", '{"text": null, "label": 1}', r"the text is empty"),
    ("number.jsonl", '{"text": 5, "label": 1}', r"the text is not a string but 5"),
    ("half.jsonl", '{"text": "\\ud800", "label": 1}', r"half of a surrogate pair"),
    ("broken.jsonl", '{"text": "a", ', r"jsonl:1: broken JSON at column"),
    ("array.jsonl", '{"text": "a", "label": 1}\n[1]', r"jsonl:2: a JSON object is needed, not li"),
    ("deep.jsonl", "[" * 10**5, r"deep\.jsonl:1: broken JSON: maximum recursion"),
    ("deep.json", '[{"text": ' + "[" * 10**5, r"deep\.json:.* broken JSON: maximum recursion"),
    ("digits.jsonl", '{"text": ' + "9" * 5000 + "}", r"jsonl:1: broken JSON"),
    ("comma.json", '[{"text": "a", "label": 1}\n{"text"', r"json:2: broken JSON: a comma"),
    ("last.json", '[{"text": "a", "label": 1},\n]', r"json:2: broken JSON at column"),
    (
        "open.json",
        '[{"text": "a", "label": 1}',
        r"json: row 1: broken JSON: a comma or",
    ),
    ("more.json", '[{"text": "a", "label": 1}] 7', r"json: row 1: broken JSON"),
    ("late_input.jsonl", [ALPACA | {"input": ""}, ALPACA], r"l:2: an input beside the instruction"),
    ("no_input.jsonl", [ALPACA, ALPACA | {"input": ""}], r"jsonl:2: the text is empty"),
    ("semicolon.txt", "a;joy\nb\n", r"txt:2: no semicolon between"),
    ("blank.txt", "a;joy\n\nb;joy\n", r"txt:2: the line is empty"),
    ("mac.txt", b"one;joy\rtwo;joy\r", r"a line end is \\r alone"),
    ("latin.csv", b"text,label\ncaf\xe9,joy\n", r"csv:2: not UTF-8 text \(byte 0xe9\)"),
    ("bad.parquet", b"PAR1", r"is not a readable Parquet file"),
    ("bad.jsonl.gz", b"\x1f\x8bnothing", r"broken gzip file"),
    ("cut.jsonl.gz", gzip.compress(b'{"text": "a", "label": 1}\n')[:-12], r"broken gzip file"),
]


@pytest.mark.parametrize(
    ("name", "content", "message"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES]
)
def test_a_bad_file_is_one_error_with_its_place(write, name, content, message):
    with pytest.raises(DataError, match=message):
        read_rows(write(name, content), EMOTION)


def test_a_file_of_empty_rows_alone_holds_none(write):
    with pytest.raises(DataError, match="holds no rows"):
        read_rows(write("empty.csv", "text,label\n ,joy\na,\nb, \n"), EMOTION, skip_empty=True)


def test_what_pandas_writes_for_a_missing_value_is_empty(write):
    path = write("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n'
                 '{"text": NaN, "label": 1}\n')  # fmt: skip
    assert read_rows(path, EMOTION, skip_empty=True) == [Row("a", "joy", 1)]
    assert [row.label for row in read_texts(path, task=EMOTION, skip_empty=True)] == ["joy", ""]


def test_lines_of_a_text_that_only_look_like_rows_are_its_own(write):
    path = write("a.csv", 'text,label\n"it costs 3,5\nand more",joy\n"glad, joy\nis it",love\n')
    assert [row.label for row in read_rows(path, EMOTION)] == ["joy", "love"]
    path = write("b.csv", 'label,text\nlove,"See you all on Sunday!\nLove, Mom"\n')
    assert [row.label for row in read_rows(path, EMOTION)] == ["love"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_text_of_several_lines_in_a_table_is_one_text(write, end):
    text = f"fear, joy{end}or 3, maybe{end}1, and joy"
    rows = read_rows(write("a.csv", f'text,label{end}"{text}",joy{end}'), EMOTION)
    assert [row.text for row in rows] == [text]


def test_lines_of_a_table_without_labels_are_no_rows(write):
    (row,) = read_texts(write("a.csv", 'text\n"a,joy\nb"\n'), task=EMOTION)
    assert row.text == "a,joy\nb"


@pytest.mark.parametrize("task", [EMOTION, None])
def test_a_list_of_one_name_is_that_label(write, task):
    path = write("a.jsonl", [{"text": "a", "label": ["joy"]}, {"text": "b", "label": "fear"}])
    assert [row.label for row in read_rows(path, task)] == ["joy", "fear"]


@pytest.mark.parametrize("label", [["joy", "fear"], [1], {"name": "joy"}])
def test_what_holds_several_values_is_no_label_where_any_value_is_one(write, label):
    path = write("a.jsonl", [{"text": "a", "label": 1}, {"text": "b", "label": label}])
    with pytest.raises(DataError, match=r"jsonl:2: unknown label [\[{]"):
        list(iterate_rows(path, None))


def test_all_problems_of_a_file_are_in_one_error(write):
    lines = ['{"text": "ok", "label": 1}', "{", '{"label": 1}', '{"text": "", "label": 1}']
    lines += ['{"text": "a", "label": "glee"}'] * 9 + ['{"text": "a", "label": "woe"}'] * 3
    with pytest.raises(DataError) as caught:
        read_rows(write("a.jsonl", "\n".join(lines)), EMOTION)
    message = str(caught.value)
    assert "has 15 problems" in message
    assert message.count("a.jsonl:") == 10
    assert "a.jsonl:2: broken JSON" in message
    assert "a.jsonl:3: no column 'text'" in message
    assert "a.jsonl:4: the text is empty" in message
    assert "... and 5 more" in message
    assert "'glee' (9), 'woe' (3)" in message
    assert "0 sadness, 1 joy" in message


def test_a_wrong_column_of_many_values_does_not_flood_the_error(write):
    path = write("a.jsonl", [{"text": "a", "label": "x" * 500 + str(n)} for n in range(3000)])
    with pytest.raises(DataError) as caught:
        read_rows(path, EMOTION)
    assert "3,000 problems" in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_rows_come_one_by_one_and_none_after_a_problem(write):
    lines = '{"text": "a", "label": 1}\n{\n{"text": "b", "label": 1}\n'
    rows = iterate_rows(write("a.jsonl", lines), EMOTION)
    assert next(rows) == Row("a", "joy", 1)
    with pytest.raises(DataError, match="1 problem"):
        next(rows)


def test_a_path_that_cannot_be_read_is_a_wrong_call(write, tmp_path):
    for path, message in (
        (tmp_path / "none.jsonl", "is not there"),
        (tmp_path, "is a directory with no data file"),
        (write("a.pdf", b"x"), r"no known suffix; name it \.jsonl"),
    ):
        with pytest.raises(CallError, match=message):
            read_rows(path, EMOTION)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.jsonl", [{"text": "a"}, {"text": "b"}], [("a", ""), ("b", "")]),
        ("a.tsv", "text\nhi\n", [("hi", "")]),
        ("a.txt", "one; joy\ntwo\n\n", [("one; joy", ""), ("two", "")]),
        ("a.txt", "one; two\nthree; four\na;joy\n",
         [("one; two", ""), ("three; four", ""), ("a;joy", "")]),
        ("a.txt", "so; glad;joy\nlow;sadness\n", [("so; glad", "joy"), ("low", "sadness")]),
        ("a.jsonl", [{"text": "a", "label": n} for n in (1, "fear", None, "", -1)],
         [("a", "joy"), ("a", "fear"), ("a", ""), ("a", ""), ("a", "")]),
        ("a.jsonl", [{"text": "a"}, {"text": "b", "label": "joy"}, {"text": "c"}],
         [("a", ""), ("b", "joy"), ("c", "")]),
    ],
)  # fmt: skip
def test_texts_have_labels_where_there_are_any(write, name, content, rows):
    read = read_texts(write(name, content), task=EMOTION)
    assert [(row.text, row.label) for row in read] == rows


def test_without_a_task_any_value_is_a_label(write):
    path = write("a.jsonl", [{"text": "a", "category": "sports"}, {"text": "b", "category": 1}])
    assert [row.label for row in read_texts(path)] == ["sports", "1"]
    assert [row.label for row in read_texts(path, label_column="")] == ["", ""]
    assert [row.text for row in read_texts(write("a.txt", "so; glad;joy\n"))] == ["so; glad;joy"]
    with pytest.raises(DataError, match="unknown label 'sports'"):
        list(read_texts(path, task=EMOTION))


def test_one_line_without_a_label_does_not_make_labels_a_part_of_the_texts(write):
    path = write("texts.txt", "so glad;joy\nwho is there;feer\nleave me;anger\n")
    with pytest.raises(DataError, match=r"texts\.txt:2: most of the first lines end in a"):
        list(read_texts(path, task=EMOTION))


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ('\n{"text": "a", "label": 1}\n', [("a", "joy", 2)]),
        ("[laughs] a;joy\r\n- b\n", [("[laughs] a;joy", "", 1), ("- b", "", 2)]),
        ('[{"text": "a"},\n {"text": "b"}]', [("a", "", 1), ("b", "", 2)]),
        ('[\n{"text": "a"},\n{"text": "b"}\n]\n', [("a", "", 2), ("b", "", 3)]),
    ],
)
def test_standard_input_is_json_or_plain_text(monkeypatch, stream, expected):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stream.encode())))
    assert [row[:3] for row in read_texts("-", task=EMOTION)] == expected
