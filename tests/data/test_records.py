"""Every format holds the same records, with the lines an editor shows, and nothing breaks it."""

import csv
import gzip
import io
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data.reading import Row, iterate_rows, read_rows
from llamafactory_emotion.data.records import BrokenRecord, Record, open_source
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import EMOTION, Task

TEXTS = ["i feel fine, really", "so; very; sad", "悲しい\u2028日"]
ROWS = list(zip(TEXTS, ["joy", "sadness", "sadness"], strict=True))
RECORDS = [{"text": text, "label": label} for text, label in ROWS]
LINES = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)
TEXT = "".join(f"{text};{label}\n" for text, label in ROWS).encode()
ALPACA = [{"instruction": "Which?", "input": text, "output": label} for text, label in ROWS]

any_text = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


def as_table(delimiter=",", ending="\n", header=("Label", "Text")):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
    writer.writerow(header)
    writer.writerows((label, text) for text, label in ROWS)
    return text.getvalue().encode()


def as_parquet(metadata=None, **columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink)
    return sink.getvalue()


PARQUET = as_parquet(sentence=TEXTS, emotion=[label for _, label in ROWS])
FORMATS = {
    "rows.jsonl": LINES,
    "windows.jsonl": b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n"),
    "rows.ndjson": LINES,
    "lines.json": LINES,
    "rows.json": json.dumps(RECORDS, indent=2).encode(),
    "list.jsonl": json.dumps(RECORDS).encode(),
    "alpaca.json": json.dumps(ALPACA, ensure_ascii=False).encode(),
    "rows.csv": as_table(),
    "windows.CSV": b"\xef\xbb\xbf" + as_table(ending="\r\n"),
    "semicolons.csv": as_table(";"),
    "tabs.csv": as_table("\t"),
    "rows.tsv": as_table("\t"),
    "rows.parquet": PARQUET,
    "rows.txt": TEXT,
    "windows.txt": TEXT.replace(b"\n", b"\r\n"),
    "rows.jsonl.gz": gzip.compress(LINES),
    "packed_without_saying.csv": gzip.compress(as_table()),
    "rows.parquet.gz": gzip.compress(PARQUET),
}


def read_records(path):
    return open_source(path).records


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(tmp_path, name):
    path = write(tmp_path, name, FORMATS[name])

    assert [(row.text, row.label) for row in read_rows(path, EMOTION)] == ROWS


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ('"text, raw";label\na;b\n', {"text, raw": "a", "label": "b"}),
        ('"a, b, c";"d, e"\na;b\n', {"a, b, c": "a", "d, e": "b"}),
        ('"text; raw",label\na,b\n', {"text; raw": "a", "label": "b"}),
        ("text;note (a, b);c\na;b;d\n", {"text": "a", "note (a, b)": "b", "c": "d"}),
        ('"text; raw"\na\n', {"text; raw": "a"}),
    ],
)
def test_a_sign_inside_a_column_is_no_delimiter(tmp_path, content, fields):
    assert list(read_records(write(tmp_path, "a.csv", content))) == [Record(2, fields)]


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.csv", 'text,label\n"two\nlines",joy\n\nnext,fear\n', [2, 5]),
        ("a.jsonl", '{"text": "a"}\n\n \n{"text": "b"}', [1, 4]),
        ("a.json", '\n[\n {"text": "a",\n  "label": 1},\n\n {"text": "b"}\n]\n', [3, 6]),
        ("broken.jsonl", '{"a": 1}\n{', [1, 2]),
        ("empty.jsonl", "", []),
        ("empty.json", "[]", []),
    ],
)
def test_lines_are_those_an_editor_shows(tmp_path, name, content, lines):
    path = write(tmp_path, name, content)

    assert [record.line for record in read_records(path)] == lines


TABLES = [
    # Written by the csv module, as pandas and spreadsheets do.
    ('a\t"say ""hi"""\nb\t"x\ty"\n', [("a", 'say "hi"'), ("b", "x\ty")]),
    ('a\t"one\ntwo"\nb\tc\n', [("a", "one\ntwo"), ("b", "c")]),
    ('"one\n\ntwo"\tb\nc\td\n', [("one\n\ntwo", "b"), ("c", "d")]),
    ('"one\r\ntwo"\tb\r\nc\td\r\n', [("one\r\ntwo", "b"), ("c", "d")]),
    # Written as they are.
    ('"a\t0\nb"\t0\nc\t1\n', [('"a', "0"), ('b"', "0"), ("c", "1")]),
    ('"a\t0\nb\t0\nc\t1\n', [('"a', "0"), ("b", "0"), ("c", "1")]),
    ('"a" he said\t0\n"b"\t1\n', [('"a" he said', "0"), ('"b"', "1")]),
    ('x\t"a\ny\tb"\n', [("x", '"a'), ("y", 'b"')]),
    ('a 5" pipe\t0\n"\t1\n""\t1\n', [('a 5" pipe', "0"), ('"', "1"), ('""', "1")]),
    ('a\t"', [("a", '"')]),
]


@pytest.mark.parametrize("name", ["a.tsv", "tabs.csv"])
@pytest.mark.parametrize(("content", "rows"), TABLES, ids=[repr(one) for one, _ in TABLES])
def test_quotation_marks_join_no_rows_of_a_table_with_tabs(tmp_path, name, content, rows):
    records = read_records(write(tmp_path, name, f"text\tlabel\n{content}"))
    assert [tuple(record.fields.values()) for record in records] == rows


def test_a_table_that_quotes_everything_is_unquoted(tmp_path):
    content = '"text"\t"label"\n"a ""b"""\t"0"\n"c"\t"1"\n"two\nlines"\t"1"\n'
    records = list(read_records(write(tmp_path, "a.tsv", content)))
    assert [tuple(one.fields.values()) for one in records] == [
        ('a "b"', "0"), ("c", "1"), ("two\nlines", "1"),
    ]  # fmt: skip
    assert [one.line for one in records] == [2, 3, 4]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('"a\nb\t0\nc\t1\n', 2, "a quotation mark opens here and none closes it"),
        ('"a\nb\t0\nc"\t1\n', 2, "a quotation mark opens here and none closes it"),
        ("a\tb\tc\n", 2, "3 fields where the header has 2"),
        ("a\t0\rb\t1\n", 2, r"a line end is \\r alone"),
    ],
)
def test_a_row_that_is_none_is_refused_and_the_next_are_read(tmp_path, content, line, reason):
    records = list(read_records(write(tmp_path, "a.tsv", f"text\tlabel\n{content}d\t9\n")))
    broken = [one for one in records if isinstance(one, BrokenRecord)]
    assert broken[0].line == line
    assert re.match(reason, broken[0].reason)
    assert records[-1].fields == {"text": "d", "label": "9"}


@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('ab"\t\n\r, ')).filter(str.strip), min_size=2, max_size=2),
        min_size=1,
        max_size=6,
    )
)
def test_a_quoted_table_is_what_was_written(tmp_path_factory, rows):
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", quoting=csv.QUOTE_ALL)
    writer.writerows([["text", "label"], *rows])
    records = read_records(write(tmp_path_factory.mktemp("tabs"), "a.tsv", table.getvalue()))
    assert [[*record.fields.values()] for record in records] == rows


def test_empty_columns_that_spreadsheets_add_are_nothing(tmp_path):
    path = write(tmp_path, "a.csv", "text,label,,\na,joy,,\nb,fear,,x\n")
    first, second = read_records(path)
    assert first == Record(2, {"text": "a", "label": "joy"})
    assert second.reason.startswith("4 fields where the header has 2; quote what")


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_on_one_line_counts_its_rows(tmp_path, indent):
    rows = [{"text": f"note {n}", "label": "joy"} for n in range(12_000)]
    rows[-1]["label"] = "glee"
    path = write(tmp_path, "a.json", json.dumps(rows, indent=indent))
    where = r"a\.json: row 12000" if indent is None else r"a\.json:47998"
    with pytest.raises(DataError, match=f"{where}: unknown label 'glee'"):
        read_rows(path, EMOTION)


def test_a_long_text_in_a_table_is_whole(tmp_path):
    text = "word " * 100_000
    (record,) = read_records(write(tmp_path, "a.csv", f"text,label\n{text},joy\n"))
    assert record.fields["text"] == text


def test_parquet_rows_are_numbered_through_all_batches(tmp_path):
    path = write(tmp_path, "a.parquet", as_parquet(text=[str(n) for n in range(9000)]))
    assert [record.line for record in read_records(path)] == list(range(1, 9001))


@pytest.mark.parametrize(
    ("kind", "label"),
    [({"names": ["neg", "pos"], "_type": "ClassLabel"}, "positive"), ({"_type": "Value"}, "1")],
)
def test_ids_and_aliases_mean_what_a_parquet_file_names(tmp_path, kind, label):
    features = {"label": {"dtype": "int64", **kind}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path = write(tmp_path, "a.parquet", as_parquet(metadata, text=["a", "b"], label=[1, 7]))
    task = Task(
        "r", ("negative", "positive", "1"), "Say it.", {"neg": "negative", "pos": "positive"}
    )
    first = iterate_rows(path, task)
    assert next(first) == Row("a", label, 1)
    with pytest.raises(
        DataError, match=r"a\.parquet: row 2: unknown label 7"
    ):  # an id without name
        next(first)
    with pytest.raises(DataError, match="unknown label 'pos'"):
        read_rows(write(tmp_path, "a.csv", "text,label\na,pos\n"), task)


def test_names_that_cannot_be_read_are_said(tmp_path):
    path = write(tmp_path, "a.parquet", as_parquet({"huggingface": "{"}, label=[0]))
    with pytest.raises(DataError, match=r"a\.parquet is not a readable Parquet file"):
        list(read_records(path))


def test_the_files_of_a_folder_are_one_source_and_each_row_knows_its_file(tmp_path):
    for name in ("part-1.csv", "part-2.csv"):
        write(tmp_path, name, f"text,label\n{name},joy\n\n{name} too,fear\n")
    write(tmp_path, "README.md", "hello")
    source = open_source(tmp_path)
    found = list(source.records)
    assert [record.fields["text"] for record in found] == [
        "part-1.csv", "part-1.csv too", "part-2.csv", "part-2.csv too",
    ]  # fmt: skip
    assert [source.place_of(record.line) for record in found] == [
        f"{tmp_path}/part-{part}.csv:{line}" for part in (1, 2) for line in (2, 4)
    ]
    write(tmp_path, "part-3.csv", "text,label\nlate,glee\n")
    with pytest.raises(DataError, match=r"part-3\.csv:2: unknown label 'glee'"):
        read_rows(tmp_path, EMOTION)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "no data file .it is empty"),
        (("README.md",), "no data file .README.md"),
        (("a.csv", "b.jsonl"), "files of several formats .a.csv, b.jsonl"),
        (("train-0001.csv", "test-0001.csv"), "files of several splits .test-0001.csv, train"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, names, said):
    for name in names:
        write(tmp_path, name, "text\na\n")
    with pytest.raises(CallError, match=f"is a directory with {said}.*name a file in it"):
        list(read_records(tmp_path))


@given(texts=st.lists(any_text, min_size=1), indent=st.sampled_from([None, 2]))
def test_any_text_survives_every_format(tmp_path_factory, texts, indent):
    folder = tmp_path_factory.mktemp("texts")
    records = [{"text": text, "label": "joy"} for text in texts]
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    table = io.StringIO()
    writer = csv.writer(table, quoting=csv.QUOTE_ALL)
    writer.writerows([["text", "label"], *([text, "joy"] for text in texts)])
    for name, content in (
        ("a.jsonl", lines),
        ("a.json", json.dumps(records, ensure_ascii=False, indent=indent)),
        ("a.csv", table.getvalue()),
    ):
        rows = read_rows(write(folder, name, content), EMOTION)
        assert [row.text for row in rows] == texts


@given(content=st.binary(), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".txt", ".parquet"]))
def test_no_bytes_bring_anything_but_records_or_a_data_error(tmp_path_factory, content, suffix):
    path = write(tmp_path_factory.mktemp("bytes"), f"a{suffix}", content)
    try:
        records = list(read_records(path))
    except DataError:
        return
    assert all(isinstance(record, Record | BrokenRecord) for record in records)
