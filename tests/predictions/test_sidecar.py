"""What is known of a run: read beside its file, and compared when it is resumed."""

import gzip
import json

import pytest

from llamafactory_emotion.errors import CallError, DataError
from llamafactory_emotion.predictions.sidecar import (
    check_same_run,
    is_unfinished,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from llamafactory_emotion.terminal import run_work


@pytest.mark.parametrize("name", ["p.jsonl.gz.meta.json", "p.jsonl.meta.json", "p.meta.json"])
def test_a_sidecar_is_found_by_each_name(tmp_path, name):
    content = {"model": "m", "seconds": 2, "rows_per_second": 1.5, "extra": [1], "seed": None}
    (tmp_path / name).write_text("\ufeff" + json.dumps(content), encoding="utf-8")

    sidecar = read_sidecar(tmp_path / "p.jsonl.gz")

    assert (sidecar.model, sidecar.seconds, sidecar.rows_per_second) == ("m", 2, 1.5)
    assert (sidecar.trained_parameters, sidecar.seed) == (None, None)
    assert sidecar.everything == content


def test_what_is_written_is_read(tmp_path):
    write_sidecar(tmp_path / "p.jsonl", {"model": "爱", "complete_rows": 3})

    assert sidecar_path(tmp_path / "p.jsonl").name == "p.jsonl.meta.json"
    assert read_sidecar(tmp_path / "p.jsonl").complete_rows == 3
    assert read_sidecar(tmp_path / "p.jsonl").model == "爱"


def test_no_sidecar(tmp_path):
    assert read_sidecar(tmp_path / "p.jsonl") is None
    assert read_sidecar("-") is None


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[1]", "\xff", '{"model": 3}', '{"seed": true}', '{"seconds": "2"}'),
        *('{"versions": []}', '{"complete_rows": 1.5}'),
    ],
)
def test_a_broken_sidecar_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "p.meta.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(DataError, match=r"p\.meta\.json"):
        read_sidecar(tmp_path / "p.jsonl")


def test_a_sidecar_nested_too_deeply_ends_in_a_sentence(tmp_path, capsys):
    (tmp_path / "p.meta.json").write_text("[" * 100_000)

    assert run_work(lambda: bool(read_sidecar(tmp_path / "p.jsonl"))) == 1
    assert "nested too deeply" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "rows", "unfinished"),
    [
        ({}, 0, False),
        ({"complete_rows": None}, 2, True),
        ({"complete_rows": 2}, 2, False),
        ({"complete_rows": 2}, 1, False),  # the second row was set aside; it is in the file
        ({"complete_rows": 3}, 2, True),
    ],
)
def test_a_file_is_unfinished_while_rows_are_missing(tmp_path, content, rows, unfinished):
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n{}\n"))
    write_sidecar(path, content)

    assert is_unfinished(path, read_sidecar(path), rows) is unfinished
    assert not is_unfinished(path, None, rows)


def test_other_settings_are_not_mixed_in(tmp_path):
    before = {"model": "a", "template": "emotion", "seed": 1}

    check_same_run(tmp_path, {}, {"model": "a"})
    check_same_run(tmp_path, before, {"model": "a", "template": "emotion", "new": 1})
    with pytest.raises(CallError, match="model was 'a' and is 'b'; seed was 1 and is 2"):
        check_same_run(tmp_path, before, {"model": "b", "template": "emotion", "seed": 2})


@pytest.mark.parametrize("figure", ["NaN", "-Infinity"])
def test_a_figure_that_is_no_number_is_none(tmp_path, figure):
    (tmp_path / "p.jsonl.meta.json").write_text(f'{{"seconds": {figure}, "own": [{figure}, 0.5]}}')

    sidecar = read_sidecar(tmp_path / "p.jsonl")

    assert sidecar.seconds is None
    assert sidecar.everything["own"] == [None, 0.5]
