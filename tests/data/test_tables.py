"""Rows of Arrow files, saved data sets and workbooks, and what broken ones are answered with."""

import gzip
import os
import sys

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from pyarrow import feather
from workbooks import write_workbook

from llamafactory_emotion.data.reading import FileNotes, Row, read_rows
from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.task import EMOTION, Task

ROWS = [("so glad", "joy"), ("who is there", "fear")]
NONES = Task("n", ("None", "null", "NA", "joy"), "Which?")


def write_arrow(path, opened, **columns):
    table = pa.table(columns or {"text": [t for t, _ in ROWS], "label": [one for _, one in ROWS]})
    with pa.OSFile(str(path), "wb") as sink, opened(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return path


@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_files_are_read_in_both_formats(tmp_path, opened):
    path = write_arrow(tmp_path / "a.arrow", opened)
    expected = [Row("so glad", "joy", 1), Row("who is there", "fear", 2)]
    assert read_rows(path, EMOTION) == expected
    packed = tmp_path / "b.arrow.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_rows(packed, EMOTION) == expected


def test_a_file_of_one_large_batch_is_read_in_order(tmp_path):
    path = tmp_path / "a.feather"
    texts = [str(number) for number in range(9000)]
    feather.write_feather(pa.table({"text": texts, "label": ["joy"] * 9000}), path, chunksize=9000)
    assert read_rows(path, EMOTION) == [Row(one, "joy", int(one) + 1) for one in texts]


def test_a_saved_data_set_is_read_with_its_names_and_its_selection(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["fear", "joy"])})
    rows = [{"text": text, "label": label} for text, label in ROWS]
    saved = Dataset.from_list(rows, features=features)
    saved.save_to_disk(tmp_path / "all")
    saved.select([1]).save_to_disk(tmp_path / "some")
    DatasetDict(train=saved, test=saved).save_to_disk(tmp_path / "splits")
    capture = read_rows(tmp_path / "all", EMOTION)
    assert [(row.text, row.label) for row in capture] == ROWS
    assert read_rows(tmp_path / "some", EMOTION) == [Row("who is there", "fear", 1)]
    assert read_rows(tmp_path / "splits" / "test", EMOTION) == capture
    with pytest.raises(CallError, match=r"splits; name one of them: .*splits/test, .*splits/train"):
        read_rows(tmp_path / "splits", EMOTION)
    (shard,) = (tmp_path / "all").glob("*.arrow")
    assert read_rows(shard, EMOTION) == capture


@pytest.mark.parametrize(
    ("sheets", "sheet", "rows"),
    [
        ({"a": [["text", "label"], ["so glad", "joy"]], "b": [["x"]]}, None, [("so glad", 2)]),
        ({"b": [["x"]], "a": [["text", "label"], ["so glad", "joy"]]}, "a", [("so glad", 2)]),
        ({"a": [["Label", "Text"], ["joy", 7]]}, None, [("7", 2)]),
        ({"a": [["text", "label", None], ["so glad", "joy", None], [], ["b", "joy"]]}, None,
         [("so glad", 2), ("b", 4)]),
    ],
)  # fmt: skip
def test_a_workbook_is_read_as_if_its_sheet_were_saved_as_csv(tmp_path, sheets, sheet, rows):
    pytest.importorskip("python_calamine")
    path = write_workbook(tmp_path / "a.xlsx", sheets)
    assert [(row.text, row.line) for row in read_rows(path, EMOTION, sheet=sheet)] == rows


def test_of_several_sheets_the_one_that_is_taken_unasked_is_told(tmp_path):
    pytest.importorskip("python_calamine")
    rows = [["text", "label"], ["so glad", "joy"]]
    path = write_workbook(tmp_path / "a.xlsx", {"2025": rows, "2026": rows})
    unasked, asked = FileNotes(), FileNotes()
    read_rows(path, EMOTION, notes=unasked)
    read_rows(path, EMOTION, notes=asked, sheet="2026")
    assert str(unasked.columns).startswith("the sheet '2025' of 2025, 2026, texts from text")
    assert str(asked.columns).startswith("texts from text")


def test_labels_that_look_like_nothing_stay_labels_in_a_workbook(tmp_path):
    pytest.importorskip("python_calamine")
    cells = [["text", "label"], *(["a", label] for label in NONES.labels)]
    path = write_workbook(tmp_path / "a.xlsx", {"a": cells})
    assert [row.label for row in read_rows(path, NONES)] == list(NONES.labels)
    stars = Task("stars", ("1", "2", "3"), "How many?")
    path = write_workbook(tmp_path / "b.xlsx", {"a": [["text", "label"], ["a", 3], ["b", 1]]})
    assert [row.label for row in read_rows(path, stars)] == ["3", "1"]


def test_a_sheet_that_is_not_there_and_a_row_that_is_wrong_are_named(tmp_path):
    pytest.importorskip("python_calamine")
    path = write_workbook(tmp_path / "a.xlsx", {"a": [["text", "label"], ["x", "glee"]], "b": []})
    with pytest.raises(CallError, match="no sheet 'c'; name one of a, b"):
        read_rows(path, EMOTION, sheet="c")
    with pytest.raises(DataError, match=r"a\.xlsx: row 2 of the first sheet: unknown label 'glee'"):
        read_rows(path, EMOTION)
    with pytest.raises(DataError, match="holds no rows"):
        read_rows(path, EMOTION, sheet="b")


def test_a_missing_reader_of_workbooks_is_named(tmp_path, monkeypatch):
    for package in ("python_calamine", "openpyxl"):
        monkeypatch.setitem(sys.modules, package, None)
    path = write_workbook(tmp_path / "a.xlsx", {"a": [["text", "label"]]})
    with pytest.raises(CallError, match=r"Excel workbook, .*pip install python-calamine\), or sa"):
        read_rows(path, EMOTION)


@pytest.mark.parametrize("suffix", [".arrow", ".parquet", ".xlsx", ".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize("kind", ["empty", "cut", "misnamed", "circle", "folder"])
def test_whatever_is_wrong_with_a_file_is_one_sentence(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    good = write_arrow(tmp_path / "good", pa.ipc.new_file).read_bytes()
    if kind == "circle":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
        (path / "rows.pdf").touch()
    else:
        content = {"empty": b"", "cut": good[:-200], "misnamed": os.urandom(8) + b"\0" * 200}
        path.write_bytes(content[kind])
    with pytest.raises(EmotionError, match=rf"a\{suffix}.*[.;]") as caught:
        read_rows(path, EMOTION)
    assert kind != "folder" or "(rows.pdf); name a file in it" in str(caught.value)


@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
def test_a_cut_arrow_file_is_one_sentence(tmp_path, opened):
    path = write_arrow(tmp_path / "a.arrow", opened)
    whole = path.read_bytes()
    for length in range(0, len(whole) // 2, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.arrow (is not a readable Arrow|holds no rows)"):
            read_rows(path, EMOTION)
