"""Every format gives the same rows; every bad file gives one error that lists it all."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data.parquet import parquet_class_names
from llamafactory_emotion.data.reading import Row, TextRow, iterate_rows, read_rows, read_texts
from llamafactory_emotion.data.records import BrokenRecord, Record, count_records, read_records
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import EMOTION, Task

TEXTS = ["i feel fine, really", "so; very; sad", "悲しい\u2028日"]
LABELS = ["joy", "sadness", "sadness"]
ROWS = list(zip(TEXTS, LABELS, strict=True))
DIGITS = Task(name="stars", labels=("1", "2", "3"), instruction="How many stars?")

any_text = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


def as_json_lines() -> bytes:
    return b"".join(json.dumps({"text": t, "label": n}).encode() + b"\n" for t, n in ROWS)


def as_windows_lines() -> bytes:
    return b"\xef\xbb\xbf" + as_json_lines().replace(b"\n", b"\r\n")


def as_json_list() -> bytes:
    return json.dumps([{"text": t, "label": n} for t, n in ROWS], indent=2).encode()


def as_alpaca() -> bytes:
    rows = [{"instruction": "Which?", "input": t, "output": n} for t, n in ROWS]
    return json.dumps(rows, ensure_ascii=False).encode()


def as_table(delimiter: str = ",", ending: str = "\n") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
    writer.writerow(["Label", "Text"])
    writer.writerows((n, t) for t, n in ROWS)
    return text.getvalue().encode()


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"sentence": TEXTS, "emotion": LABELS}), sink)
    return sink.getvalue()


def as_text() -> bytes:
    return "".join(f"{t};{n}\n" for t, n in ROWS).encode()


FORMATS = [
    ("rows.jsonl", as_json_lines()),
    ("windows.jsonl", as_windows_lines()),
    ("rows.ndjson", as_json_lines()),
    ("lines.json", as_json_lines()),
    ("rows.json", as_json_list()),
    ("list.jsonl", as_json_list()),
    ("alpaca.json", as_alpaca()),
    ("rows.csv", as_table()),
    ("windows.CSV", b"\xef\xbb\xbf" + as_table(ending="\r\n")),
    ("semicolons.csv", as_table(";")),
    ("rows.tsv", as_table("\t")),
    ("rows.parquet", as_parquet()),
    ("rows.txt", as_text()),
    ("windows.txt", as_text().replace(b"\n", b"\r\n")),
    ("rows.jsonl.gz", gzip.compress(as_json_lines())),
    ("packed_without_saying.csv", gzip.compress(as_table())),
    ("rows.parquet.gz", gzip.compress(as_parquet())),
]


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("name", "content"), FORMATS, ids=[name for name, _ in FORMATS])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    rows = read_rows(write(tmp_path, name, content), EMOTION)
    assert [(row.text, row.label) for row in rows] == ROWS


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "sadness"), ("5", "surprise"), (" Joy ", "joy"), ("LOVE", "love"), (3.0, "anger")],
)
def test_a_label_is_an_id_or_a_name(tmp_path: Path, value: object, label: str) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({"text": "x", "label": value}))
    assert read_rows(path, EMOTION) == [Row("x", label, 1)]


def test_a_label_that_looks_like_a_number_is_a_name_first(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label\nbad,1\ngood,3\n")
    assert [row.label for row in read_rows(path, DIGITS)] == ["1", "3"]


def test_lines_are_those_an_editor_shows(tmp_path: Path) -> None:
    table = 'text,label\n"two\nlines",joy\n\nnext,fear\n'
    assert [row.line for row in read_rows(write(tmp_path, "a.csv", table), EMOTION)] == [2, 5]
    lines = '{"text": "a", "label": 1}\n\n{"text": "b", "label": 1}'
    assert [row.line for row in read_rows(write(tmp_path, "a.jsonl", lines), EMOTION)] == [1, 3]
    listed = '\n[\n {"text": "a",\n  "label": 1},\n\n {"text": "b", "label": 1}\n]\n'
    assert [row.line for row in read_rows(write(tmp_path, "a.json", listed), EMOTION)] == [3, 6]


def test_a_long_text_in_a_table_is_whole(tmp_path: Path) -> None:
    text = "word " * 100_000
    path = write(tmp_path, "a.csv", f"text,label\n{text},joy\n")
    assert read_rows(path, EMOTION) == [Row(text, "joy", 2)]


def test_parquet_ids_mean_the_names_that_the_file_gives_them(tmp_path: Path) -> None:
    features = {"label": {"names": ["joy", "fear"], "_type": "ClassLabel"}, "text": {}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet", EMOTION)
    assert rows == [Row("a", "fear", 1), Row("b", "joy", 2)]


def test_an_alias_is_a_label_only_as_the_name_of_an_id(tmp_path: Path) -> None:
    reviews = Task("r", ("negative", "positive"), "Say it.", {"neg": "negative", "pos": "positive"})
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet", reviews)
    assert rows == [Row("a", "positive", 1), Row("b", "negative", 2)]

    with pytest.raises(DataError, match="'pos'"):
        read_rows(write(tmp_path, "a.csv", "text,label\na,pos\n"), reviews)


def test_parquet_ids_stay_where_their_names_are_not_wanted(tmp_path: Path) -> None:
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": {"names": ["joy"]}}}})}
    table = pa.table({"text": ["a"], "label": [0]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "a.parquet")
    (record,) = read_records(tmp_path / "a.parquet", name_labels=False)
    assert record == Record(1, {"text": "a", "label": 0})
    assert parquet_class_names(tmp_path / "a.parquet") == {"label": ["joy"]}


@pytest.mark.parametrize(("name", "content"), FORMATS, ids=[name for name, _ in FORMATS])
def test_every_format_is_counted(tmp_path: Path, name: str, content: bytes) -> None:
    assert count_records(write(tmp_path, name, content)) == len(ROWS)


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("blank.jsonl", '\n{"a": 1}\n \n{"a": 2}', 2),
        ("broken.jsonl", '{"a": 1}\n{', 2),
        ("empty.jsonl", "", 0),
        ("empty.json", "[]", 0),
        ("quoted.csv", 'text,label\n"two\nlines",joy\n\nnext,fear\n', 2),
    ],
)
def test_records_and_not_lines_are_counted(
    tmp_path: Path, name: str, content: str, count: int
) -> None:
    assert count_records(write(tmp_path, name, content)) == count


def test_lines_are_counted_without_decoding_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "a.jsonl", '{"a": 1}\n' * 9)
    monkeypatch.setattr(json, "loads", None)
    assert count_records(path) == 9


def test_parquet_rows_are_numbered_through_all_batches(tmp_path: Path) -> None:
    count = 9000
    table = pa.table({"text": [str(n) for n in range(count)], "label": [1] * count})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=5000)
    rows = read_rows(tmp_path / "a.parquet", EMOTION)
    assert [row.line for row in rows] == list(range(1, count + 1))
    assert rows[-1].text == "8999"


def test_named_columns_come_before_guessed_ones(tmp_path: Path) -> None:
    record = {"text": "no", "label": "joy", "title": "yes", "mood": "fear"}
    path = write(tmp_path, "a.jsonl", json.dumps(record))
    named = read_rows(path, EMOTION, text_column="title", label_column="mood")
    assert named == [Row("yes", "fear", 1)]


def test_an_instruction_without_input_is_the_text(tmp_path: Path) -> None:
    record = {"instruction": "i am glad", "input": "", "output": "joy"}
    path = write(tmp_path, "a.json", json.dumps([record]))
    assert read_rows(path, EMOTION) == [Row("i am glad", "joy", 1)]


def test_an_input_after_rows_without_one_is_a_problem(tmp_path: Path) -> None:
    records = [
        {"instruction": "i am glad", "input": "", "output": "joy"},
        {"instruction": "Which?", "input": "i am low", "output": "sadness"},
    ]
    with pytest.raises(DataError, match=r"a\.json:1: an input beside the instruction"):
        read_rows(write(tmp_path, "a.json", json.dumps(records)), EMOTION)


def test_a_missing_input_in_an_alpaca_file_is_an_empty_text(tmp_path: Path) -> None:
    records = [
        {"instruction": "Which?", "input": "i am low", "output": "sadness"},
        {"instruction": "Which?", "input": "", "output": "joy"},
    ]
    with pytest.raises(DataError, match="the text is empty"):
        read_rows(write(tmp_path, "a.json", json.dumps(records)), EMOTION)


BAD_FILES = [
    ("label.jsonl", '{"text": "a", "label": "glee"}', r"jsonl:1: unknown label 'glee'"),
    ("id.jsonl", '{"text": "a", "label": 6}', r"unknown label 6"),
    ("minus.jsonl", '{"text": "a", "label": -1}', r"unknown label -1"),
    ("list.jsonl", '{"text": "a", "label": [1]}', r"unknown label \[1\]"),
    ("bool.jsonl", '{"text": "a", "label": true}', r"unknown label True"),
    ("null.jsonl", '{"text": "a", "label": null}', r"no label in the column 'label'"),
    ("blank.csv", "text,label\na,\n", r"csv:2: no label in the column 'label'"),
    ("column.csv", "id,label\n1,joy\n", r"looks like the text \(--text-column\); .* id, label"),
    ("both.csv", "id,name\n1,joy\n", r"text \(--text-column\) or the label \(--label-column\)"),
    ("header.csv", "text,label\n", r"holds no rows"),
    ("twice.csv", "text,text,label\na,b,joy\n", r"csv:1: a column stands twice"),
    ("fields.csv", "text,label\na, b,joy\n", r"csv:2: 3 fields where the header has 2"),
    ("short.csv", "text,label\na\n", r"csv:2: 1 fields where the header has 2"),
    ("quote.csv", 'text,label\n"a,joy\nb,fear\n', r"csv:2: broken table row"),
    ("empty.jsonl", "", r"empty\.jsonl holds no rows"),
    ("space.jsonl", "\n \n", r"holds no rows"),
    ("empty.json", "[]", r"holds no rows"),
    ("empty.txt", "", r"holds no rows"),
    ("text.jsonl", '{"text": " \\t", "label": 1}', r"jsonl:1: the text is empty"),
    ("none.jsonl", '{"text": null, "label": 1}', r"the text is empty"),
    ("number.jsonl", '{"text": 5, "label": 1}', r"the text is not a string but 5"),
    ("half.jsonl", '{"text": "\\ud800", "label": 1}', r"half of a surrogate pair"),
    ("broken.jsonl", '{"text": "a", ', r"jsonl:1: broken JSON at column"),
    (
        "array.jsonl",
        '{"text": "a", "label": 1}\n[1]',
        r"jsonl:2: a JSON object is needed, not list",
    ),
    ("digits.jsonl", '{"text": ' + "9" * 5000 + "}", r"jsonl:1: broken JSON"),
    ("deep.jsonl", '{"text": ' + "[" * 100_000, r"jsonl:1: broken JSON"),
    ("comma.json", '[{"text": "a", "label": 1}\n{"text"', r"json:2: broken JSON: a comma"),
    ("last.json", '[{"text": "a", "label": 1},\n]', r"json:2: broken JSON at column"),
    ("open.json", '[{"text": "a", "label": 1}', r"json:1: broken JSON: a comma or the closing"),
    ("more.json", '[{"text": "a", "label": 1}] 7', r"json:1: broken JSON"),
    ("semicolon.txt", "a;joy\nb\n", r"txt:2: no semicolon between"),
    ("gap.txt", "a;joy\n\nb;fear\n", r"txt:2: the line is empty"),
    (
        "latin.jsonl",
        b'{"text": "a", "label": 1}\n{"text": "caf\xe9"}',
        r"jsonl:2: not UTF-8 text \(byte 0xe9",
    ),
    ("latin.csv", b"text,label\ncaf\xe9,joy\n", r"csv:2: not UTF-8 text"),
    ("utf16.txt", "a;joy".encode("utf-16"), r"txt:1: not UTF-8 text"),
    ("bad.parquet", b"PAR1 this is none", r"bad\.parquet is not a readable Parquet file"),
    ("empty.parquet", b"", r"empty\.parquet is not a readable Parquet file"),
    ("bad.jsonl.gz", b"\x1f\x8bnothing", r"broken gzip file"),
    ("cut.jsonl.gz", gzip.compress(as_json_lines())[:-12], r"broken gzip file"),
    ("damaged.jsonl.gz", gzip.compress(as_json_lines())[:12] + b"\xff" * 30, r"broken gzip file"),
]


@pytest.mark.parametrize(
    ("name", "content", "message"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES]
)
def test_a_bad_file_is_one_error_with_its_place(
    tmp_path: Path, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path, name, content), EMOTION)


@pytest.mark.parametrize("named", [{"text_column": "tweet"}, {"label_column": "mood"}])
def test_a_named_column_must_be_there(tmp_path: Path, named: dict[str, str]) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": 1}')
    with pytest.raises(DataError, match=r"a\.jsonl:1: no column '.*'; the columns are text, label"):
        read_rows(path, EMOTION, **named)


def test_all_problems_of_a_file_are_in_one_error(tmp_path: Path) -> None:
    lines = ['{"text": "ok", "label": 1}', "{", '{"label": 1}', '{"text": "", "label": 1}']
    lines += ['{"text": "a", "label": "glee"}'] * 9 + ['{"text": "a", "label": "woe"}'] * 3
    with pytest.raises(DataError) as caught:
        read_rows(write(tmp_path, "a.jsonl", "\n".join(lines)), EMOTION)
    message = str(caught.value)
    assert "has 15 problems" in message
    assert message.count("a.jsonl:") == 10
    assert "a.jsonl:2: broken JSON" in message
    assert "a.jsonl:3: no column 'text'" in message
    assert "a.jsonl:4: the text is empty" in message
    assert "... and 5 more" in message
    assert "'glee' (9), 'woe' (3)" in message
    assert "0 sadness, 1 joy" in message


def test_a_wrong_column_of_many_values_does_not_flood_the_error(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "a", "label": "x" * 500 + str(n)}) for n in range(3000)]
    with pytest.raises(DataError) as caught:
        read_rows(write(tmp_path, "a.jsonl", "\n".join(lines)), EMOTION)
    assert "3,000 problems" in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_rows_come_one_by_one_and_none_after_a_problem(tmp_path: Path) -> None:
    lines = '{"text": "a", "label": 1}\n{\n{"text": "b", "label": 1}\n'
    rows = iterate_rows(write(tmp_path, "a.jsonl", lines), EMOTION)
    assert next(rows) == Row("a", "joy", 1)
    with pytest.raises(DataError, match="1 problem"):
        next(rows)


def test_a_path_that_cannot_be_read_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="is not there"):
        read_rows(tmp_path / "none.jsonl", EMOTION)
    with pytest.raises(CallError, match="is a directory"):
        read_rows(tmp_path, EMOTION)
    with pytest.raises(CallError, match=r"no known suffix; name it \.jsonl"):
        read_rows(write(tmp_path, "a.xlsx", b"x"), EMOTION)


def test_texts_without_labels(tmp_path: Path) -> None:
    lines = write(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "b"}\n')
    assert list(read_texts(lines)) == [TextRow(1, "a", None), TextRow(2, "b", None)]
    plain = write(tmp_path, "a.txt", "one; joy\ntwo\n\n")
    assert list(read_texts(plain, task=EMOTION)) == [(1, "one; joy", None), (2, "two", None)]
    assert list(read_texts(write(tmp_path, "a.tsv", "text\nhi\n"))) == [(2, "hi", None)]


def test_texts_with_labels_where_there_are_any(tmp_path: Path) -> None:
    content = "".join(
        json.dumps({"text": "a", "label": value}) + "\n" for value in (1, "fear", None, "", -1)
    )
    path = write(tmp_path, "a.jsonl", content)
    named = [row.label for row in read_texts(path, task=EMOTION)]
    assert named == ["joy", "fear", None, None, None]
    assert [row.label for row in read_texts(path)] == ["1", "fear", None, None, None]
    assert [row.label for row in read_texts(path, label_column="")] == [None] * 5


def test_plain_text_whose_lines_all_end_in_a_label_is_split(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "so; glad;joy\nlow;sadness\n")
    assert list(read_texts(path, task=EMOTION)) == [(1, "so; glad", "joy"), (2, "low", "sadness")]
    assert [row.text for row in read_texts(path)] == ["so; glad;joy", "low;sadness"]


def test_texts_with_an_unknown_label_are_a_problem_only_for_a_task(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a", "category": "sports"}')
    assert list(read_texts(path)) == [(1, "a", "sports")]
    with pytest.raises(DataError, match="unknown label 'sports'"):
        list(read_texts(path, task=EMOTION))


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ('\n{"text": "a", "label": 1}\n', [(2, "a", "joy")]),
        ("[laughs] a;joy\r\n- b\n", [(1, "[laughs] a;joy", None), (2, "- b", None)]),
    ],
)
def test_standard_input_is_json_lines_or_plain_text(
    monkeypatch: pytest.MonkeyPatch, stream: str, expected: list[tuple[int, str, str | None]]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stream.encode())))
    assert list(read_texts("-", task=EMOTION)) == expected


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a"}\n' * 5 + "{")
    texts = read_texts(path)
    assert [next(texts).line for _ in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(DataError):
        next(texts)


@given(texts=st.lists(any_text, min_size=1), indent=st.sampled_from([None, 2]))
def test_any_text_survives_json(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], indent: int | None
) -> None:
    folder = tmp_path_factory.mktemp("json")
    records = [{"text": text, "label": "joy"} for text in texts]
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    listed = json.dumps(records, ensure_ascii=False, indent=indent)
    for name, content in (("a.jsonl", lines), ("a.json", listed)):
        rows = read_rows(write(folder, name, content), EMOTION)
        assert [row.text for row in rows] == texts


@given(texts=st.lists(any_text, min_size=1))
def test_any_text_survives_a_table(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("table") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "label"])
        writer.writerows([text, "joy"] for text in texts)
    assert [row.text for row in read_rows(path, EMOTION)] == texts


@given(content=st.binary(), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".txt", ".parquet"]))
def test_no_bytes_bring_anything_but_records_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = write(tmp_path_factory.mktemp("bytes"), f"a{suffix}", content)
    try:
        records = list(read_records(path))
    except DataError:
        return
    assert all(isinstance(record, Record | BrokenRecord) for record in records)


def test_the_real_files_are_read(shared_data: Path) -> None:
    emotion = shared_data / "dair_emotion"
    assert len(read_rows(emotion / "train.jsonl", EMOTION)) == 16_000
    lines = read_rows(emotion / "test.jsonl", EMOTION)
    alpaca = read_rows(emotion / "test_alpaca.json", EMOTION)
    assert len(lines) == 2_000
    assert [(row.text, row.label) for row in lines] == [(row.text, row.label) for row in alpaca]


STARS = Task("stars", ("1", "2", "3"), "How many stars?")


@pytest.mark.parametrize(("value", "label"), [('"1"', "1"), ('"3"', "3"), ("0", "1")])
def test_a_number_in_quotes_is_a_label_and_a_bare_one_an_id(tmp_path, value, label):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "a", "label": {value}}}\n')
    assert [row.label for row in read_rows(path, STARS)] == [label]


def test_a_bare_number_that_is_a_label_and_the_id_of_another_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": 1}\n')
    with pytest.raises(DataError, match="1 is a label and the id of '2'; write labels"):
        read_rows(path, STARS)


def test_one_line_without_a_label_does_not_make_labels_a_part_of_the_texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("so glad;joy\nwho is there;feer\nleave me;anger\n")
    with pytest.raises(DataError, match=r"texts\.txt:2: most of the first lines end in a"):
        list(read_texts(path, task=EMOTION))


def test_texts_with_semicolons_stay_texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one; two\nthree; four\nso glad;joy\n")
    assert [row.label for row in read_texts(path, task=EMOTION)] == [None] * 3


def test_labels_are_found_where_the_first_row_has_none(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "label": "joy"}\n{"text": "c"}\n')
    assert [row.label for row in read_texts(path, task=EMOTION)] == [None, "joy", None]


def test_a_list_on_standard_input_is_read_as_one(monkeypatch):
    for stream in ('[{"text": "a"},\n {"text": "b"}]', '[\n{"text": "a"},\n{"text": "b"}\n]\n'):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stream.encode())))
        assert [row.text for row in read_texts("-")] == ["a", "b"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[sighs] fine\nwell\n")))
    assert [row.text for row in read_texts("-")] == ["[sighs] fine", "well"]


def test_lines_of_an_old_mac_are_not_one_text(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"one\rtwo\rthree\r")
    with pytest.raises(DataError, match=r"a line end is \\r alone"):
        list(read_texts(path))


def test_a_label_with_its_accent_apart_is_the_same_label():
    task = Task("places", ("caf\u00e9", "bar"), "Where?")
    assert task.label_of("cafe\u0301") == "caf\u00e9"
