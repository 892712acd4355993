"""Predictions files that a killed run can go on with."""

import errno
import itertools
import json
import os

import pytest

from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.predictions.writing import (
    PredictionsWriter,
    check_same_run,
    chunk_ends,
    inspect_output,
    write_sidecar,
)

LARGEST = 4
TOTAL = 11


def row(number):
    return {"id": number, "prompt": f"text {number} \u2028 é", "predict": "joy"}


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


def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(tmp_path):
    path = tmp_path / "predictions.jsonl"
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


def test_a_complete_file_is_kept_whole(tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_all(path)
    write_sidecar(path, {"complete_rows": TOTAL})
    assert inspect_output(path, largest_chunk=LARGEST).rows == TOTAL
    write_sidecar(path, {"complete_rows": TOTAL + 1})
    assert inspect_output(path, largest_chunk=LARGEST).rows == 8


@pytest.mark.parametrize("line", ["not json", "[1]", '{"id": 7, "prompt": "x"}', '{"id": 3}'])
def test_a_file_of_something_else_is_not_continued(tmp_path, line):
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row(number)) + "\n" for number in range(3)) + line + "\n")
    with pytest.raises(DataError, match=r"predictions\.jsonl:4 is not the row 3"):
        inspect_output(path, largest_chunk=LARGEST)


def test_a_folder_is_not_continued(tmp_path):
    with pytest.raises(CallError, match="is a directory; name a file to write"):
        inspect_output(tmp_path)


def test_a_file_that_exists_is_not_overwritten(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text("precious\n")
    with pytest.raises(CallError, match="exists"):
        PredictionsWriter(path)
    assert path.read_text() == "precious\n"
    with PredictionsWriter(path, overwrite=True) as writer:
        writer.write([row(0)])
    assert path.read_text(encoding="utf-8").startswith('{"id": 0')


def test_what_is_half_written_is_cut_off(tmp_path):
    path = tmp_path / "predictions.jsonl"

    def interrupted():
        with PredictionsWriter(path) as writer:
            writer.write([row(0)])
            writer._file.write(b'{"id": 1, "prom')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes().endswith(b"}\n")
    assert path.read_bytes().count(b"\n") == 1


class FullDisk:
    """A file on a disk with room for a few bytes more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.file.write(bytes(data)[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_leaves_whole_rows(tmp_path):
    path = tmp_path / "predictions.jsonl"

    def fill():
        with PredictionsWriter(path) as writer:
            writer.write([row(0)])
            writer._file = FullDisk(writer._file, 100)
            writer.write([row(number) for number in range(1, 10)])

    with pytest.raises(EmotionError, match=r"No space left .* first 1 rows are whole.*resume=true"):
        fill()
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().endswith(b"}\n")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CallError, match="file is a file and cannot hold"):
        PredictionsWriter(tmp_path / "file" / "predictions.jsonl")


def test_other_settings_are_not_mixed_in(tmp_path):
    path = tmp_path / "predictions.jsonl"
    check_same_run(path, {"model": "a"})
    write_sidecar(path, {"model": "a", "template": "emotion"})
    check_same_run(path, {"model": "a", "template": "emotion", "new": 1})
    with pytest.raises(CallError, match="model was 'a' and is 'b'"):
        check_same_run(path, {"model": "b", "template": "emotion"})


class BrokenError(Exception):
    """Something that goes wrong between two chunks."""


def fail_before_the_first_rows(path, *, resumed=None, overwrite=False):
    writer = PredictionsWriter(path, overwrite=overwrite or bool(resumed))
    if resumed:
        writer.keep(resumed)
    with pytest.raises(BrokenError), writer:
        raise BrokenError


def test_what_is_overwritten_stays_until_there_are_rows(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text("precious\n")

    fail_before_the_first_rows(path, overwrite=True)
    assert path.read_text() == "precious\n"

    with PredictionsWriter(path, overwrite=True) as writer:
        assert path.read_text() == "precious\n"
        writer.write([row(0)])
    assert path.read_text(encoding="utf-8") == json.dumps(row(0), ensure_ascii=False) + "\n"


def test_a_run_that_fails_before_its_first_rows_leaves_no_file(tmp_path):
    path = tmp_path / "predictions.jsonl"

    fail_before_the_first_rows(path)

    assert not path.exists()


def test_a_resumed_file_stays_when_nothing_is_added(tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_all(path)
    whole = path.read_bytes()

    fail_before_the_first_rows(path, resumed=inspect_output(path, largest_chunk=LARGEST))

    assert path.read_bytes() == whole


def test_two_runs_do_not_write_one_file(tmp_path):
    path = tmp_path / "predictions.jsonl"

    with PredictionsWriter(path) as first:
        with pytest.raises(CallError, match="is being written by another run; name another"):
            PredictionsWriter(path, overwrite=True)
        first.write([row(0)])

    assert path.read_bytes().count(b"\n") == 1


def test_a_disk_without_room_for_the_first_rows_offers_no_resuming(tmp_path):
    def fill():
        with PredictionsWriter(tmp_path / "predictions.jsonl") as writer:
            writer._file = FullDisk(writer._file, 0)
            writer.write([row(0)])

    with pytest.raises(EmotionError, match=r"cannot be written \(No space left on device\)\.$"):
        fill()


def test_a_link_to_a_file_that_is_not_there_stays_a_link(tmp_path):
    link = tmp_path / "link.jsonl"
    link.symlink_to("target.jsonl")

    fail_before_the_first_rows(link)

    assert link.is_symlink()
    assert not (tmp_path / "target.jsonl").exists()


def test_a_file_that_another_run_removed_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "predictions.jsonl"

    def removed_meanwhile(_descriptor):
        path.unlink()
        return True

    monkeypatch.setattr("llamafactory_emotion.predictions.writing.lock", removed_meanwhile)
    with pytest.raises(CallError, match="is being written by another run"):
        PredictionsWriter(path)


def test_where_open_files_cannot_be_removed_they_are_closed_first(tmp_path, monkeypatch):
    path = tmp_path / "predictions.jsonl"
    writer = PredictionsWriter(path)
    monkeypatch.setattr("llamafactory_emotion.predictions.writing.os.name", "nt")
    monkeypatch.setattr(
        "llamafactory_emotion.predictions.writing.real_place",
        lambda place: place if writer._file.closed else pytest.fail("it is still open"),
    )

    writer.__exit__(BrokenError, BrokenError(), None)

    assert not path.exists()
