"""The reader of predictions files: what it takes, what it refuses and how it says so."""

import gzip
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.predictions.formats import BY_KEYS, Columns
from llamafactory_emotion.predictions.reading import (
    BrokenRows,
    SeenIds,
    as_prediction,
    name_of,
    read_predictions,
)

ROW = {"prompt": "Which?\nI laughed", "predict": " joy", "label": " joy"}
LINE = json.dumps(ROW).encode()


def read(path):
    broken = BrokenRows(name_of(path))
    return list(read_predictions(path, broken)), broken


def write(folder, *lines):
    """Write rows or texts, one a line, or bytes as they are."""
    path = folder / "p.jsonl"
    with path.open("wb") as file:
        for line in lines:
            text = json.dumps(line) if isinstance(line, dict) else line
            file.write(text if isinstance(text, bytes) else f"{text}\n".encode())
    return path


def test_a_row_of_llamafactory_and_one_of_ours(tmp_path):
    ours = ROW | {"id": 7, "probabilities": {"joy": 1.0}, "text": "I laughed"}
    rows, broken = read(write(tmp_path, ROW, ours))

    assert broken.total == 0
    assert rows[0] == (1, " joy", " joy", ROW["prompt"], None, None, None)
    assert rows[1] == (2, " joy", " joy", ROW["prompt"], "I laughed", "7", {"joy": 1.0})


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(tmp_path, separator):
    row = ROW | {"predict": f"joy{separator}and more"}
    escaped = ord(separator) < 0x20

    rows, _ = read(write(tmp_path, json.dumps(row, ensure_ascii=escaped)))

    assert [one.predict for one in rows] == [row["predict"]]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + LINE + b"\n",
        LINE + b"\r\n",
        LINE,
        b"\n  \r\n" + LINE + b"\n\n",
        b"  " + LINE + b" \t\n",
        gzip.compress(LINE + b"\n"),
    ],
    ids=["byte-order mark", "crlf", "no last line end", "empty lines", "spaces", "gzip"],
)
def test_forms_of_the_same_file(tmp_path, content):
    rows, broken = read(write(tmp_path, content))

    assert broken.total == 0
    assert [row.predict for row in rows] == [" joy"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("not json", "are not JSON"),
        ('{"predict": "joy", "label": "joy"', "are not JSON"),
        ("{'predict': 'joy', 'label': 'joy'}", "are not JSON"),
        ("42", "are not one JSON object"),
        ("[1]", "are not one JSON object"),
        ('{"predict": "joy"} {"predict": "joy"}', "are not one JSON object"),
        ('{"a": ' + "1" * 5000 + "}", "are not JSON"),
        (b'{"predict": "\xff", "label": "joy"}\n', "are not UTF-8 text"),
        (LINE[:-9], "are cut off"),
        ({"label": "joy"}, 'have no "predict"'),
        ({"label": "joy", "failed": 3}, 'have no "predict"'),
        ({"predict": None, "label": "joy"}, 'have a "predict" that is not text'),
        ({"predict": {"joy": 1}, "label": "joy"}, 'have a "predict" that is not text'),
        ("[" * 100_000, "are nested too deeply"),
        ({"predict": "joy", "label": ["joy"]}, 'have a "label" that is a list'),
        ({"predict": "joy", "label": "joy", "id": {}}, 'have an "id" that is neither'),
        ({"predict": "joy", "label": "joy", "id": 1.5}, 'have an "id" that is neither'),
    ],
)
def test_a_bad_row_is_counted_and_named(tmp_path, line, problem):
    path = write(tmp_path, ROW, ROW, line)

    rows, broken = read(path)

    assert [row.line for row in rows] == [1, 2]
    assert broken.total == 1
    assert f"1 {problem}" in broken.describe()
    assert f"{path}:3" in broken.describe()
    with pytest.raises(DataError, match="skip_broken=true"):
        broken.check(accepted=False)


odd_ids = ("a", "3", "03", "-0", "", "\u0661", "9" * 5000)


@given(st.lists(st.integers(0, 12) | st.sampled_from(odd_ids), max_size=30))
def test_ids_repeat_where_a_plain_set_says_so(tmp_path_factory, ids):
    numbered = [*range(4), *ids]
    path = write(tmp_path_factory.mktemp("ids"), *({**ROW, "id": k} for k in numbered))

    rows, broken = read(path)

    assert [row.id for row in rows] == list(dict.fromkeys(map(str, numbered)))
    assert broken.total == len(numbered) - len(rows)
    assert (broken.total > 0) is ('repeat an "id"' in broken.describe())


def test_row_numbers_as_ids_take_no_memory(tmp_path):
    path = write(tmp_path, *({**ROW, "id": number} for number in range(20_000)))
    tracemalloc.start()

    for _ in read_predictions(path, BrokenRows("p")):
        pass

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


def test_the_first_lines_are_named_and_all_are_counted(tmp_path):
    path = write(tmp_path, *["x"] * 1000, {"label": "joy"}, ROW)

    _, broken = read(path)

    assert broken.total == 1001
    assert broken.describe().startswith(
        f"1,000 are not JSON (at {path}:1, {path}:2, {path}:3, ...); "
        '1 have no "predict" (name the key of the answers with prediction_column=)'
    )


def test_a_row_without_an_answer_is_named_by_its_own_keys(tmp_path):
    broken = BrokenRows("p")

    rows = read_predictions(write(tmp_path, {"said": "joy"}), broken, Columns(label="truth"))

    assert list(rows) == []
    assert broken.describe().endswith("they have keys: \"'said'\" (1) (at p:1)")


def test_a_list_of_gold_labels_is_named():
    broken = BrokenRows("p")

    row = {"predict": "joy", "label": ["joy", "love"]}

    assert as_prediction(row, 1, broken, SeenIds(), BY_KEYS) is None
    assert "list or an object, not text or a number: 'joy, love' (1)" in broken.describe()


def test_values_named_are_few_and_short():
    broken = BrokenRows("p")
    for number in range(10_000):
        broken.add("have a label outside", number, f"{number}" + "x" * 1000)

    assert len(broken.describe()) < 2000
    assert "), ... (at p:0, p:1, p:2, ...)" in broken.describe()
    assert broken.total == 10_000


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b'[\n{"predict": "joy"}\n]\n', "JSON list.*one object a line"),
        (b"PK\x03\x04" + bytes(100), r"jsonl is a ZIP archive"),
        (gzip.compress((LINE + b"\n") * 5000)[:-20], "is a broken gzip file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, saying):
    with pytest.raises(DataError, match=saying):
        read(write(tmp_path, content))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
rows_of_any_shape = st.dictionaries(
    st.sampled_from(["predict", "label", "prompt", "id", "probabilities", "text"]), json_values
)


@given(st.lists(rows_of_any_shape | json_values, max_size=6))
def test_every_row_is_read_or_counted(tmp_path_factory, values):
    rows, broken = read(write(tmp_path_factory.mktemp("any"), "{}", *map(json.dumps, values)))

    assert len(rows) + broken.total == len(values) + 1


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5), st.booleans())
def test_what_was_written_is_what_is_read(tmp_path_factory, pairs, ascii_only):
    lines = (
        json.dumps({"prompt": prompt, "predict": answer, "label": "joy"}, ensure_ascii=ascii_only)
        for answer, prompt in pairs
    )

    rows, broken = read(write(tmp_path_factory.mktemp("round"), *lines))

    assert broken.total == 0
    assert [(row.predict, row.prompt) for row in rows] == pairs


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_end_in_rows_counts_or_one_error(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("bytes"), content)

    try:
        read(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 - most inputs raise nothing
