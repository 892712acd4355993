"""The record of a run: what is written is read, and what cannot be read is said in one sentence."""

import json

import pytest

from llamafactory_emotion.errors import DataError
from llamafactory_emotion.run_record import (
    RECORD_NAME,
    RunRecord,
    merged,
    read_record,
    write_record,
)
from llamafactory_emotion.task import EMOTION, Task

DESKS = Task("desks", ("Billing & plan", "客服"), "Which?", {"pay": "客服"}, words={"客服": "b"})
WHOLE = {"format": 1, "template": "emotion", "datasets": [], "tasks": [], "versions": {}}


def test_what_is_written_is_read(tmp_path):
    record = RunRecord((EMOTION, DESKS), "emotion", ("a", "b"), {"torch": "2"})
    assert read_record(tmp_path) is None
    write_record(tmp_path / "new", record)
    assert read_record(tmp_path / "new") == record


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ('{"template": "emotion"}', "no key 'format'"),
        (json.dumps(WHOLE | {"format": 2}), "a later version .* wrote it: format 2"),
        (json.dumps(WHOLE | {"datasets": [1]}), "a value of the wrong type"),
        (json.dumps(WHOLE | {"tasks": [{"name": "x"}]}), "labels must be a list"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_with_the_way_out(tmp_path, content, reason):
    (tmp_path / RECORD_NAME).write_text(content)
    with pytest.raises(DataError, match=rf"{RECORD_NAME} is .*{reason}.*remove it and give task="):
        read_record(tmp_path)


def test_records_of_several_adapters_are_one():
    first, second = RunRecord((EMOTION,), "llama3", ("a",)), RunRecord((EMOTION, DESKS), "emotion")
    assert merged([first, second]) == RunRecord((EMOTION, DESKS), "emotion", ("a",))
    assert merged([]) is None
