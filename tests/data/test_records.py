"""Every format holds the same records, with the lines an editor shows, and nothing breaks it."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_emotion.data.reading import read_rows
from llamafactory_emotion.data.records import (
    BrokenRecord,
    Record,
    count_records,
    read_records,
)
from llamafactory_emotion.data.tables import parquet_class_names
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.task import EMOTION

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


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_and_counted(tmp_path, name):
    path = write(tmp_path, name, FORMATS[name])

    assert [(row.text, row.label) for row in read_rows(path, EMOTION)] == ROWS
    assert count_records(path) == len(ROWS)


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
def test_lines_are_those_an_editor_shows_and_records_are_counted(tmp_path, name, content, lines):
    path = write(tmp_path, name, content)

    assert [record.line for record in read_records(path)] == lines
    assert count_records(path) == len(lines)


def test_a_long_text_in_a_table_is_whole(tmp_path):
    text = "word " * 100_000
    (record,) = read_records(write(tmp_path, "a.csv", f"text,label\n{text},joy\n"))
    assert record.fields["text"] == text


def test_parquet_rows_are_numbered_through_all_batches(tmp_path):
    path = write(tmp_path, "a.parquet", as_parquet(text=[str(n) for n in range(9000)]))
    assert [record.line for record in read_records(path)] == list(range(1, 9001))


@pytest.mark.parametrize(
    ("features", "names"),
    [
        ({"label": {"names": ["joy"], "_type": "ClassLabel"}}, {"label": ["joy"]}),
        ({"label": {"dtype": "int64", "_type": "Value"}}, {}),
        (None, {}),
    ],
)
def test_a_parquet_file_may_have_names_for_its_ids(tmp_path, features, names):
    metadata = features and {"huggingface": json.dumps({"info": {"features": features}})}
    path = write(tmp_path, "a.parquet", as_parquet(metadata, label=[0, 7]))

    assert parquet_class_names(path) == names
    first = "joy" if names else 0
    assert [record.fields["label"] for record in read_records(path)] == [first, 7]
    unnamed = read_records(path, name_labels=False)
    assert [record.fields["label"] for record in unnamed] == [0, 7]


def test_names_that_cannot_be_read_are_said(tmp_path):
    path = write(tmp_path, "a.parquet", as_parquet({"huggingface": "{"}, label=[0]))
    with pytest.raises(DataError, match=r"a\.parquet is not a readable Parquet file"):
        parquet_class_names(path)


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
