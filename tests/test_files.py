"""Reading text in whatever wrapping it comes, and writing files whole or not at all."""

import gzip
import io
import os
import pathlib
import shutil
import stat
import sys

import pytest

from llamafactory_emotion.errors import CallError, DataError, EmotionError
from llamafactory_emotion.files import (
    check_apart,
    lock,
    open_binary,
    open_text,
    write_whole,
    write_whole_folder,
)


def read(path) -> str:
    with open_text(path) as text:
        return text.read()


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["as is", "gzip"])
def test_text_is_read_with_its_line_ends(tmp_path, prefix, wrap):
    path = tmp_path / "file"
    path.write_bytes(wrap(prefix + "a\r\nb\u2028c\n".encode()))

    assert read(path) == "a\r\nb\u2028c\n"


def test_standard_input_is_read_and_stays_open(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(b"so it goes\n"))
    monkeypatch.setattr(sys, "stdin", stream)

    assert read("-") == "so it goes\n"
    assert not stream.buffer.closed


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.mkdir(), "is a directory; name a file in it"),
        (lambda path: None, "is not there; check the path"),
        (lambda path: path.symlink_to(path), "cannot be read .Too many levels"),
        (os.mkfifo, "is a pipe; name a file, or - and pipe"),
    ],
)
def test_a_path_that_cannot_be_read_is_the_callers_mistake(tmp_path, make, sentence):
    path = tmp_path / "file"
    make(path)

    with pytest.raises(CallError, match=sentence), open_binary(path):
        pass


def test_an_address_is_to_be_downloaded():
    path = pathlib.Path("https://example.org/a.csv")
    with pytest.raises(CallError, match=r"csv is not there; download it"), open_binary(path):
        pass


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"caf\xe9", "is not UTF-8 text .byte 0xe9."),
        (gzip.compress(b"a" * 10_000, mtime=0)[:-12], "broken gzip file"),
        (b"\x1f\x8bnot gzip", "broken gzip file"),
    ],
)
def test_content_that_cannot_be_read_is_said(tmp_path, content, sentence):
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(DataError, match=sentence):
        read(path)


def test_a_file_appears_whole_with_unix_line_ends_and_the_usual_mode(tmp_path):
    path = tmp_path / "new" / "file.txt"
    plain = tmp_path / "plain"
    plain.touch()

    with write_whole(path) as out:
        out.write("a\nb\n")
        assert not path.exists()

    assert path.read_bytes() == b"a\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_an_existing_file_is_kept_unless_overwriting_succeeds(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before", encoding="utf-8")
    path.chmod(0o640)

    with pytest.raises(CallError, match="exists"), write_whole(path) as out:
        out.write("after")
    with pytest.raises(ZeroDivisionError), write_whole(path, overwrite=True) as out:
        print("half", 1 / 0, file=out)
    assert path.read_text(encoding="utf-8") == "before"

    with write_whole(path, overwrite=True) as out:
        out.write("after")
    assert path.read_text(encoding="utf-8") == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_over_is_kept(tmp_path):
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.touch()
    os.mkfifo(pipe)
    for write, path, sentence in (
        (write_whole, file / "below" / "further", "file is a file and cannot hold .*name another"),
        (write_whole_folder, file / "below", "file is a file and cannot hold .*name another"),
        (write_whole, tmp_path, "is a directory; name a file"),
        (write_whole, pipe, "is no regular file"),
        (write_whole_folder, file, "is a file; name a folder"),
        (write_whole, "-", "- is standard output"),
        (write_whole_folder, tmp_path, "exists and holds files"),
    ):
        with pytest.raises(CallError, match=sentence), write(path):
            pass
    assert file.is_file()
    assert pipe.is_fifo()


def test_a_full_disk_is_said_of_the_output_and_leaves_nothing(tmp_path, full_disk):
    said = pytest.raises(EmotionError, match=r"file\.txt cannot be written \(File too large")
    with said, write_whole(tmp_path / "file.txt") as out:
        out.write("a" * 2 * full_disk)
    said = pytest.raises(EmotionError, match=r"model cannot be written \(No such file")
    with said, write_whole_folder(tmp_path / "model") as folder:
        (folder / "below" / "weights").write_bytes(b"")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_whole, write_whole_folder])
def test_an_error_of_an_input_is_not_said_of_the_output(tmp_path, write):
    with pytest.raises(FileNotFoundError) as caught, write(tmp_path / "output"):
        (tmp_path / "input").read_bytes()

    assert caught.value.filename == str(tmp_path / "input")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [ZeroDivisionError, OSError, KeyboardInterrupt])
def test_a_folder_that_cannot_be_replaced_is_still_there(tmp_path, failure):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("old")

    with pytest.raises(failure), write_whole_folder(model, overwrite=True):
        raise failure
    said = pytest.raises(EmotionError, match="model cannot be written")
    with said, write_whole_folder(model, overwrite=True) as folder:
        shutil.rmtree(folder)  # so that nothing can be renamed in the end

    assert (model / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [model]


def test_a_link_stays_a_link_and_what_it_points_to_is_replaced(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("before")
    link.symlink_to(real)

    with write_whole(link, overwrite=True) as out:
        out.write("after")

    assert link.is_symlink()
    assert real.read_text() == "after"


@pytest.mark.parametrize(
    ("outputs", "inputs", "sentence"),
    [
        (["out", "link"], [None, "-", "in"], None),
        (["in"], ["other", "in"], "in is an input and would be overwritten"),
        (["to_in"], ["in"], "to_in is an input and would be overwritten"),
        (["in"], ["to_in"], "in is an input and would be overwritten"),
        (["folder"], ["folder/in"], "folder/in in folder is an input and would be overwritten"),
        (["links"], ["in"], "in in links is an input and would be overwritten"),
        (["folder/out"], ["folder"], None),
        (["out", "./out"], [], "out would be written twice"),
        (["circle"], ["circle"], "circle is an input"),
    ],
)
def test_nothing_that_is_read_may_be_written(tmp_path, monkeypatch, outputs, inputs, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "to_in").symlink_to("in")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "to_in").symlink_to(tmp_path / "in")

    if sentence is None:
        check_apart(outputs, inputs)
    else:
        with pytest.raises(CallError, match=sentence):
            check_apart(outputs, inputs)


def test_a_file_is_locked_once(tmp_path):
    with (tmp_path / "file").open("wb") as first, (tmp_path / "file").open("ab") as second:
        assert lock(first.fileno())
        assert not lock(second.fileno())
    with (tmp_path / "file").open("wb") as third:
        assert lock(third.fileno())


def test_a_file_that_another_run_wrote_meanwhile_stays(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(CallError, match="exists"), write_whole(path) as out:  # noqa: PT012
        out.write("late")
        path.write_text("first")

    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_another_run_filled_meanwhile_stays(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(CallError, match="holds files"), write_whole_folder(path) as new:  # noqa: PT012
        (new / "late").touch()
        path.mkdir()
        (path / "first").touch()

    assert [one.name for one in path.iterdir()] == ["first"]


@pytest.mark.parametrize("write", [write_whole, write_whole_folder])
def test_what_a_killed_run_left_is_removed_by_a_later_one(tmp_path, write):
    path = tmp_path / "out"
    others = [tmp_path / name for name in (".out.0123abcd", ".out.bak", ".other.0123abcd")]
    for one in others:
        (one / "new").mkdir(parents=True)
        os.utime(one / "new", (0, 0))
        os.utime(one, (0, 0))
    (tmp_path / ".out.living00").mkdir()

    with write(path):
        pass

    assert sorted(tmp_path.iterdir()) == sorted([path, *others[1:], tmp_path / ".out.living00"])
