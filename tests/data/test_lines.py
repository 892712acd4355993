"""Text in any encoding is read where that is certain, and asked for where it is not."""

import codecs
import re

import pytest

from llamafactory_emotion.data.lines import read_lines
from llamafactory_emotion.data.reading import read_rows, read_texts
from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.task import Task

ZH = Task("zh", ("差评", "好评"), "判断评论。")
CHINESE = (
    "text,label\n这家店的面太难吃了,差评\n服务员很热情,好评\n等了半个小时没人理我们,差评\n"
    "早餐很好吃我们很喜欢,好评\n"
)
FRENCH = "text,label\nla soupe était froide,négatif\nle garçon était très gentil,positif\n"


def lines_of(path, content, encoding=None):
    path.write_bytes(content)
    return [line for _, line in read_lines(path, encoding)]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "utf-16-be", "utf-32"],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_chinese_is_read_in_every_usual_encoding(tmp_path, encoding, ending):
    path = tmp_path / "a.csv"
    path.write_bytes(CHINESE.replace("\n", ending).encode(encoding))
    assert [row.label for row in read_rows(path, ZH)] == ["差评", "好评"] * 2


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (FRENCH, "cp1252"),
        (FRENCH, "utf-16-le"),
        ("суп был холодный\n", "koi8-r"),
        ("この店のラーメンはまずい\n", "shift_jis"),
        ("這家店的麵太難吃了\n", "big5"),
    ],
)
def test_a_named_encoding_is_taken(tmp_path, content, encoding):
    path = tmp_path / "a.txt"
    assert "".join(lines_of(path, content.encode(encoding), encoding)) == content
    marked = codecs.BOM_UTF16_LE + content.encode("utf-16-le")
    assert "".join(lines_of(path, marked, "utf-16-le")) == content


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(FRENCH, "cp1252"), ("суп был холодный,плохо\n", "cp1251"), ("text\n你好\n", "gb18030")],
)
def test_an_encoding_that_is_not_certain_is_asked_for(tmp_path, content, encoding):
    with pytest.raises(DataError, match=r"a\.csv:\d: not UTF-8 text .* encoding=gb18030 \(Chin"):
        lines_of(tmp_path / "a.csv", content.encode(encoding))


def test_long_files_are_read_alike(tmp_path):
    many = CHINESE + "等了半个小时没人理,差评\n" * 40_000
    for encoding in ("gb18030", "utf-16"):
        assert "".join(lines_of(tmp_path / "a.csv", many.encode(encoding))) == many


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        ("é\n".encode() + b"caf\xe9\n", None, r"a\.csv:2: not UTF-8 text \(byte 0xe9\), and lines"),
        (b"a\ncaf\xff\n", "gb18030", r"a\.csv:2: not GB18030 text \(byte 0xff\); mend the line"),
        ("é".encode("utf-16") + b"\x00", None, r"a\.csv: not utf-16 text \(truncated data\)"),
        (b"text,label\n", "utf-16", r"not utf-16 text \((UTF-16 s|S)tream does not start with BOM"),
        (b"PK\x03\x04\x14\0", None, r"is a ZIP archive or an Excel workbook; unpack it, or save"),
        (b"\xd0\xcf\x11\xe0\xa1", "gb18030", "is an old or encrypted Excel workbook"),
        (b"PAR1\x15\x04", None, r"is a Parquet file; name it \.parquet"),
    ],
)
def test_what_is_no_text_of_its_encoding_is_said(tmp_path, content, encoding, message):
    with pytest.raises(DataError, match=message):
        lines_of(tmp_path / "a.csv", content, encoding)


@pytest.mark.parametrize("name", ["gb-18030-x", "hex", "nothing", "undefined", "a\0"])
def test_an_encoding_that_nobody_knows_is_a_wrong_call(tmp_path, name):
    with pytest.raises(CallError, match=re.escape(f"encoding={name} is no text encoding")):
        lines_of(tmp_path / "a.csv", b"a\n", name)


def test_texts_without_labels_and_lists_are_read_in_any_encoding(tmp_path):
    (tmp_path / "a.txt").write_bytes("这家店的面太难吃了;差评\n".encode("gb18030"))
    (tmp_path / "a.json").write_bytes('[{"text": "难吃", "label": "差评"}]'.encode("utf-16"))
    rows = read_texts(tmp_path / "a.txt", task=ZH, encoding="gb18030")
    assert [(row.text, row.label) for row in rows] == [("这家店的面太难吃了", "差评")]
    assert [row.text for row in read_rows(tmp_path / "a.json", ZH)] == ["难吃"]
