"""Rows as other tools write them, brought to `predict` and `label`."""

import pytest

from llamafactory_emotion.predictions.formats import BY_KEYS, Columns, as_ours

CHAT = [{"role": "user", "content": "she laughed"}, {"role": "assistant", "content": "joy"}]
BATCH = {"custom_id": "row-0", "response": {"body": {"choices": [{"message": {"content": "joy"}}]}}}


def says(message):
    return {"custom_id": "row-0", "response": {"body": {"choices": [{"message": message}]}}}


SAMPLE = {"doc_id": 4, "doc": {"text": "she laughed"}, "target": "joy"}


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ({"predict": "joy", "label": "joy"}, {"predict": "joy", "label": "joy"}),
        (
            {"response": "joy", "labels": "fear", "messages": CHAT},
            {"predict": "joy", "label": "fear", "prompt": "she laughed"},
        ),
        ({"response": [1], "labels": 1}, {"predict": "1", "label": 1}),
        ({"response": [], "labels": 4}, {"predict": "", "label": 4}),
        ({"response": [1, 3], "labels": 1}, {"predict": "1, 3", "label": 1}),
        ({"messages": CHAT, "label": "joy"}, {"predict": "joy", "label": "joy"}),
        ({"messages": CHAT[:1], "label": "joy"}, {"predict": None, "label": "joy"}),
        ({"conversations": [{"from": "gpt", "value": "joy"}]}, {"predict": "joy"}),
        (BATCH, {"predict": "joy", "label": None, "id": "row-0"}),
        ({**BATCH, "label": "joy"}, {"predict": "joy", "label": "joy", "id": "row-0"}),
        (
            {**BATCH, "response": {"status_code": 400, "body": {"error": {"message": "x"}}}},
            {"predict": None, "id": "row-0", "failed": "x"},
        ),
        ({**BATCH, "response": {"status_code": 500}}, {"failed": "status 500"}),
        # Answered in a form that is not known, it has not failed.
        ({"custom_id": 1, "response": {"candidates": []}}, {"failed": None}),
        ({**BATCH, "response": {"status_code": 200, "body": {"output": []}}}, {"failed": None}),
        ({"custom_id": 3, "response": None, "error": {"code": "x"}}, {"id": 3, "failed": "x"}),
        (says({"content": None, "refusal": "no"}), {"predict": "no"}),
        (says({"content": [{"type": "text", "text": "joy"}]}), {"predict": "joy"}),
        (says({"content": None}), {"predict": ""}),
        (
            {**SAMPLE, "resps": [["joy "]], "filtered_resps": ["joy"]},
            {"predict": "joy", "label": "joy", "text": "she laughed", "id": 4},
        ),
        (
            {**SAMPLE, "target": 1, "resps": [[["-2.1", "False"]], [["-0.3", "True"]]]},
            {"predict": "1", "label": 1},
        ),
        (
            {
                **SAMPLE,
                "doc": {},
                "arguments": {"gen_args_0": {"arg_0": "asked"}},
                "resps": ["joy"],
            },
            {"predict": "joy", "prompt": "asked", "text": None, "id": 4},
        ),
        (
            {**SAMPLE, "doc": "she laughed", "arguments": [["asked", " joy"]], "resps": ["joy"]},
            {"prompt": "asked", "id": 4},
        ),
        # Its number alone is no id to join a source by.
        ({**SAMPLE, "doc": {}, "resps": ["joy"]}, {"predict": "joy", "prompt": None, "id": None}),
        ({**SAMPLE, "resps": [[["a", "b"]], [["c"]]]}, {"predict": None, "label": "joy"}),
        ({**SAMPLE, "resps": [[1, 2], {"a": 1}]}, {"predict": None, "label": "joy"}),
        ({**SAMPLE, "resps": [[1, 2], [10**400, 2]]}, {"predict": None, "label": "joy"}),
        ({"custom_id": 1, "error": True, "response": "joy"}, {"predict": "joy"}),
        ({"response": {"choices": ["joy"]}, "label": "joy"}, {"label": "joy"}),
        ({"predict": True, "label": False}, {"predict": "true", "label": False}),
        ({"prediction": "joy", "gold": "joy"}, {"predict": "joy", "label": "joy"}),
        ({"answers": "joy"}, {"predict": None, "label": None}),
    ],
)
def test_a_row_is_brought_to_our_keys(row, ours):
    found = as_ours(row, BY_KEYS)
    assert {name: found.get(name) for name in ours} == ours


def test_a_call_may_name_the_keys():
    row = {"answers": "joy", "truth": "fear", "predict": "love", "label": "love"}
    found = as_ours(row, Columns(prediction="answers", label="truth"))
    assert (found["predict"], found["label"]) == ("joy", "fear")
