"""Predictions files that a killed run can go on with."""

import itertools
import json
import os

import pytest

from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.predictions.sidecar import sidecar_path, write_sidecar
from llamafactory_emotion.predictions.writing import (
    PredictionsWriter,
    chunk_ends,
    inspect_output,
    numbers_by_label,
)
from llamafactory_emotion.terminal import run_work

LARGEST = 4
TOTAL = 11


def row(number):
    return {"id": number, "prompt": f"text {number} \u2028 é", "predict": "joy"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "predictions.jsonl"


def write_all(path, *, resumed=None):
    with PredictionsWriter(path, overwrite=True) as writer:
        if resumed:
            writer.keep(resumed)
        for end in chunk_ends(LARGEST):
            numbers = range(writer.rows, min(end, TOTAL))
            if numbers:
                writer.write([row(number) for number in numbers])
            if end >= TOTAL:
                return


def test_chunks_end_at_the_same_rows_in_every_run():
    assert list(itertools.islice(chunk_ends(), 7)) == [64, 192, 448, 960, 1984, 3008, 4032]
    assert list(itertools.islice(chunk_ends(10), 3)) == [10, 20, 30]


def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(path):
    assert inspect_output(path).rows == 0
    write_all(path)
    whole = path.read_bytes()
    assert [json.loads(line)["id"] for line in whole.splitlines()] == list(range(TOTAL))
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        resumed = inspect_output(path, largest_chunk=LARGEST)
        assert resumed.rows == whole[:length].count(b"\n") // LARGEST * LARGEST
        assert resumed.size == len(b"".join(whole.splitlines(keepends=True)[: resumed.rows]))
        write_all(path, resumed=resumed)
        assert path.read_bytes() == whole


def test_a_complete_file_is_kept_whole(path):
    write_all(path)
    write_sidecar(path, {"complete_rows": TOTAL})
    assert inspect_output(path, largest_chunk=LARGEST).rows == TOTAL
    write_sidecar(path, {"complete_rows": TOTAL + 1})
    assert inspect_output(path, largest_chunk=LARGEST).rows == 8
    sidecar_path(path).write_text("{")
    with pytest.raises(DataError, match="is not readable JSON"):
        inspect_output(path, largest_chunk=LARGEST)


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        (3, "not json\n", r"predictions\.jsonl:4 is not the row 3"),
        (3, "[1]\n", r"predictions\.jsonl:4 is not the row 3"),
        (3, '{"id": 7, "prompt": "x"}\n', r"predictions\.jsonl:4 is not the row 3"),
        (3, '{"id": 3}\n', r"predictions\.jsonl:4 is not the row 3"),
        (0, "precious", r"predictions\.jsonl is not what predict wrote"),
    ],
)
def test_a_file_of_something_else_is_not_continued(path, rows, line, said):
    path.write_text("".join(json.dumps(row(number)) + "\n" for number in range(rows)) + line)
    with pytest.raises(DataError, match=said):
        inspect_output(path, largest_chunk=LARGEST)


def test_a_file_to_be_resumed_that_is_nested_too_deeply_ends_in_a_sentence(path, capsys):
    path.write_text('{"id": 0, "prompt": ' + "[" * 100_000 + "\n")

    assert run_work(lambda: inspect_output(path).rows) == 1
    assert "nested too deeply" in capsys.readouterr().err


def test_a_folder_is_not_continued(tmp_path):
    with pytest.raises(CallError, match="is a directory; name a file to write"):
        inspect_output(tmp_path)


def test_a_file_that_exists_is_not_overwritten_unless_allowed(path):
    path.write_text("precious\n")
    with pytest.raises(CallError, match="exists"):
        PredictionsWriter(path)
    assert path.read_text() == "precious\n"

    with PredictionsWriter(path, overwrite=True) as writer:
        assert path.read_text() == "precious\n"
        writer.write([row(0)])
    assert path.read_text(encoding="utf-8") == json.dumps(row(0), ensure_ascii=False) + "\n"


def test_what_is_half_written_is_cut_off(path):
    def interrupted():
        with PredictionsWriter(path) as writer:
            writer.write([row(0)])
            with path.open("ab") as file:
                file.write(b'{"id": 1, "prom')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes().endswith(b"}\n")
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (1, r"cannot be written \(.*\); its first 1 rows are whole: .* resume=true\.$"),
        (0, r"cannot be written \([^;]*\); make room, or name"),
    ],
)
def test_a_full_disk_leaves_whole_rows(path, full_disk, first, said):
    def fill():
        with PredictionsWriter(path) as writer:
            writer.write([row(number) for number in range(first)])
            writer.write([row(number) for number in range(first, full_disk // 10)])

    with pytest.raises(EmotionError, match=said):
        fill()
    assert path.exists() is bool(first)
    assert not first or path.read_bytes().endswith(b'"joy"}\n')


class BrokenError(Exception):
    """Something that goes wrong between two chunks."""


def fail_before_the_first_rows(path):
    writer = PredictionsWriter(path, overwrite=True)
    writer.keep(inspect_output(path, largest_chunk=LARGEST))
    with pytest.raises(BrokenError), writer:
        raise BrokenError


def test_a_run_that_fails_before_its_first_rows_leaves_what_was_there(path):
    fail_before_the_first_rows(path)
    assert not path.exists()
    write_all(path)
    whole = path.read_bytes()
    fail_before_the_first_rows(path)
    assert path.read_bytes() == whole


def test_two_runs_do_not_write_one_file(path):
    with PredictionsWriter(path) as first:
        with pytest.raises(CallError, match="is being written by another run; name another"):
            PredictionsWriter(path, overwrite=True)
        first.write([row(0)])

    assert path.read_bytes().count(b"\n") == 1


def test_a_link_to_a_file_that_is_not_there_stays_a_link(tmp_path):
    link = tmp_path / "link.jsonl"
    link.symlink_to("target.jsonl")

    fail_before_the_first_rows(link)

    assert link.is_symlink()
    assert not (tmp_path / "target.jsonl").exists()


def test_where_open_files_cannot_be_removed_they_are_closed_first(path, monkeypatch):
    writer = PredictionsWriter(path)
    monkeypatch.setattr(os, "name", "nt")

    with pytest.raises(BrokenError), writer:
        raise BrokenError

    assert not path.exists()


def test_standard_output_takes_rows(capfdbinary):
    with PredictionsWriter("-") as writer:
        writer.begin()
        writer.write([row(0)])

    assert json.loads(capfdbinary.readouterr().out)["id"] == 0


def test_numbers_keep_significant_digits():
    assert numbers_by_label(("a", "b"), (1 / 3, 1e-12 / 3)) == {"a": 0.3333333, "b": 3.333333e-13}
