"""Rows of other tools' files of predictions, brought to the keys of LLaMA-Factory's.

Known are ms-swift's `infer` output, lm-evaluation-harness's samples, the output of OpenAI-style
batches, chats whose last turn is the answer, and tables with a column of each. A row is told by its
keys; a row that nobody knows is left as it is, and its reader says which keys it has.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_ANSWERS = (
    "predict",
    "prediction",
    "predicted",
    "pred",
    "response",
    "generated_text",
    "completion",
)
_GOLD = ("label", "labels", "gold", "target", "reference", "ground_truth", "true_label", "y_true")

Row = dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """Where the answer and the gold label are, as a call names them; None to go by the keys.

    With `label_may_lack`, a row without that key has its label where rows usually have it.
    """

    prediction: str | None = None
    label: str | None = None
    label_may_lack: bool = False


BY_KEYS = Columns()


def as_ours(row: Row, columns: Columns) -> Row:
    """Return a row with `predict` and `label`, or as it is where it is of no known form.

    A list of answers is one answer where it holds one, and else a text with all of them, which
    names several labels or none.
    """
    # A row may have a tool's keys and something else under them: then it is none of the tool's.
    with suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        if "resps" in row and "doc" in row:
            row = _harness_sample(row)
        elif isinstance(row.get("response"), dict) or ("custom_id" in row and row.get("error")):
            row = _batch_response(row)
    answer = columns.prediction or next((name for name in _ANSWERS if name in row), None)
    label = columns.label
    if label is None or (columns.label_may_lack and label not in row):
        label = next((name for name in _GOLD if name in row), None)
    ours = dict(row)
    turns = _turns(row)
    if answer is not None and answer in row:
        ours["predict"] = _one_answer(row[answer])
    elif columns.prediction is None and turns and turns[-1][0] in ("assistant", "gpt"):
        ours["predict"] = turns[-1][1]
    if label is not None:
        ours["label"] = row.get(label)
    asked = [said for who, said in turns if who in ("user", "human")]
    if asked:
        ours.setdefault("prompt", asked[-1])
    return ours


def _one_answer(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(str(_one_answer(one)) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _turns(row: Row) -> list[tuple[Any, Any]]:
    """Return who says what in a chat."""
    turns = row.get("messages", row.get("conversations"))
    return [
        (one.get("role", one.get("from")), one.get("content", one.get("value")))
        for one in (turns if isinstance(turns, list) else [])
        if isinstance(one, dict)
    ]


def _harness_sample(row: Row) -> Row:
    """Read a sample of lm-evaluation-harness: generated text, or the choice with the best score.

    `filtered_resps` holds texts for `generate_until` and (log-likelihood, is greedy) for each
    choice of `multiple_choice`, whose target is the choice's index. `doc_id` counts the rows of the
    harness's own data: it tells samples apart, and is no id of a source to join by.
    """
    responses = row.get("filtered_resps") or row["resps"]
    doc = row["doc"] if isinstance(row["doc"], dict) else {}
    ours: Row = {"label": row.get("target"), "text": doc.get("text")}
    if not isinstance(ours["text"], str):
        ours["prompt"] = _first_argument(row.get("arguments"))
    if isinstance(ours.get("prompt", ours["text"]), str):
        ours["id"] = row.get("doc_id")
    first = _unwrapped(responses[0]) if isinstance(responses, list) and responses else ""
    if isinstance(first, list):
        scores = [float(_unwrapped(one)[0]) for one in responses]
        return {**ours, "predict": str(max(range(len(scores)), key=scores.__getitem__))}
    return {**ours, "predict": first}


def _first_argument(arguments: Any) -> Any:
    """Return what the model was asked: `{"gen_args_0": {"arg_0": ...}}`, lists in older files."""
    while isinstance(arguments, dict | list) and arguments:
        arguments = next(iter(arguments.values() if isinstance(arguments, dict) else arguments))
    return arguments


def _unwrapped(value: Any) -> Any:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _batch_response(row: Row) -> Row:
    """Read a line of an OpenAI-style batch; `failed` says why a request has no answer."""
    response = row.get("response") or {}
    body = response.get("body", response)
    choices = body.get("choices") if isinstance(body, dict) else None
    message = choices[0].get("message", choices[0]) if isinstance(choices, list) and choices else {}
    said = _first(message, "content", "text", "refusal")
    if isinstance(said, list):  # of parts
        said = "".join(str(_first(part, "text", "refusal") or "") for part in said)
    ours = {**row, "id": row.get("custom_id", row.get("id")), "predict": said}
    if message:
        return {**ours, "predict": said or ""}
    status = response.get("status_code", 200)
    error = row.get("error") or _first(body, "error")
    if not error and status == 200:
        return row  # answered in a form that is not known
    error = error or f"status {status}"
    return {**ours, "failed": str(_first(error, "message", "code") or error)}


def _first(mapping: Any, *keys: str) -> Any:
    """Return the first value that is there, of a mapping that may be none."""
    found = (mapping.get(key) for key in keys) if isinstance(mapping, dict) else iter(())
    return next((value for value in found if value is not None), None)
