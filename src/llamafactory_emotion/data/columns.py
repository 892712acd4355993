"""Which columns of a source hold texts and labels, and what beside them must not be lost.

A conversation (`messages` of OpenAI, `conversations` of ShareGPT) becomes the columns `user` (its
last question), `assistant` (the answer to it), `system` and `history` (all before).
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llamafactory_emotion.data.records import Record
from llamafactory_emotion.errors import DataError
from llamafactory_emotion.text import WITHOUT_SPACES, loose_key, shorten


def _names(*lines: str) -> tuple[str, ...]:
    return tuple(name.strip() for line in lines for name in line.split(","))


# Compared by `loose_key`; where no column is named and several hold texts, the first is proposed.
TEXT_COLUMNS = _names(
    "text, sentence, message, content, review, review text, comment, post, tweet, utterance",
    "query, question, document, body, description, title",
    "文本, 内容, 句子, 评论, 正文, 消息, 问题, 标题",
    "texto, mensaje, contenido, comentario, reseña, frase, oración, consulta, pregunta, título",
    "input",
)
LABEL_COLUMNS = _names(
    "label, labels, category, class, intent, topic, sentiment, emotion, tag, y, gold",
    "标签, 类别, 分类, 意图, 主题, 情感, 情绪",
    "etiqueta, categoría, categoria, clase, intención, tema, sentimiento, emoción",
    "output",
)
# The label where there is no other; beside one it is another writing of it, or no label at all.
_WEAK_LABELS = _names(
    "target, stars, rating, polarity, label text, label name, class name, response, completion",
)
NO_COLUMN = ""
_INPUT, INSTRUCTION = "input", "instruction"
_USER, _ASSISTANT, _SYSTEM, _HISTORY = "user", "assistant", "system", "history"
_BESIDE = (_SYSTEM, _HISTORY, "images", "videos", "audios")  # a part of what is asked
_CONVERSATIONS = ("messages", "conversations", "conversation")
_ROLES = {
    **dict.fromkeys(("user", "human"), _USER),
    **dict.fromkeys(("assistant", "gpt", "model", "bot"), _ASSISTANT),
    **dict.fromkeys(("system", "developer"), _SYSTEM),
}
# Columns that often decide about a label together with a text, by name; others by their length.
_SECOND_TEXTS = (
    *TEXT_COLUMNS[:-1],  # an alpaca input is the text itself
    *_names(
        "sentence1, sentence2, sentence a, sentence b, text1, text2, text a, text b, text pair",
        "premise, hypothesis, question1, question2, answer, context, passage, paragraph, response",
        "reply, parent, subject, headline, summary",
    ),
)
_ASPECTS = _names("aspect, aspect term, aspect category, term, target")  # a part of the text
_WORDS_OF_A_TEXT = 6
_CHARACTERS = 12
_NAMED = 8
_NUMBER = re.compile(r"[\d\s.,:/+-]*")
_WITHOUT_SPACES = re.compile(f"[{WITHOUT_SPACES}]")


@dataclass(frozen=True)
class Reading:
    """How a file is read; what is None is guessed from its content.

    Attributes:
        text_column: The column of the texts, or several with commas, which are joined; guessed from
            `TEXT_COLUMNS`. In an alpaca file it is `input`, or `instruction` where the first row
            has no input; in a conversation, the last turn of the user.
        label_column: The column of the labels, `NO_COLUMN` for none; guessed from `LABEL_COLUMNS`.
            In a conversation it is the last turn of the assistant.
        instruction_column: Holds the texts where the first row's `text_column` is empty.
        encoding: Of a text file.
        sheet: Of a workbook.
        skip_empty: Leave out rows without a text or a label instead of refusing the file; None
            where the caller cannot.
        label_may_lack: A file without `label_column` has no labels.
        asked: Read rows as LLaMA-Factory asks them: instruction and text, whichever there are; a
            label may be part of a longer answer that was trained.
        own_instruction: Read an instruction in a column of its own beside the text.
        keep_columns: Columns, with commas, whose values a row keeps as they are.
    """

    text_column: str | None = None
    label_column: str | None = None
    instruction_column: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    skip_empty: bool | None = None
    label_may_lack: bool = False
    asked: bool = False
    own_instruction: bool = False
    keep_columns: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a source.

    Attributes:
        texts: The column of the texts; of several, the texts are joined.
        label: The column of the labels, or None.
        unused_input: The input of an alpaca file whose texts are its instructions.
        guarded: Columns whose content would be dropped, so they must be empty.
        conversation: The column of conversations, or None.
        left: The columns that are not read.
        kept: The columns that a row keeps as they are.
        sheets: A workbook's, of which the first was taken, where none of several was named.
    """

    texts: tuple[str, ...]
    label: str | None
    unused_input: str | None = None
    guarded: tuple[str, ...] = ()
    conversation: str | None = None
    left: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    sheets: tuple[str, ...] = ()

    def __str__(self) -> str:
        labels = f"labels from {self.label}" if self.label else "no labels"
        more = f" and {len(self.left) - _NAMED} more" if len(self.left) > _NAMED else ""
        left = f"; left: {', '.join(self.left[:_NAMED])}{more}" if self.left else ""
        turns = f" (turns of {self.conversation})" if self.conversation else ""
        sheet = f"the sheet {self.sheets[0]!r} of {', '.join(self.sheets)}, " if self.sheets else ""
        return f"{sheet}texts from {' and '.join(self.texts)}, {labels}{turns}{left}"


class RowError(Exception):
    """Why a row cannot be used.

    Attributes:
        label: The value that is no label of the task.
        is_empty: The row has no text or no label.
    """

    def __init__(self, reason: str, *, label: str = "", is_empty: bool = False) -> None:
        super().__init__(reason)
        self.label, self.is_empty = label, is_empty


def choose_columns(record: Record, reading: Reading, where: str, *, labelled: bool) -> Columns:
    """Choose the columns by the first record.

    Raises:
        DataError: A named column is not there, none looks like what is needed, or another one
            holds a text too.
    """
    conversation = _conversation_column(record.fields, reading.text_column)
    try:
        fields = with_turns(record.fields, conversation)
    except RowError as error:
        raise DataError(f"{where}: {error}.") from error
    if reading.asked:
        return _columns_asked(fields, reading, conversation, where)
    named = _split(reading.text_column, fields) if reading.text_column != conversation else ()
    _require_row(fields, conversation, where)
    instruction, label = reading.instruction_column, reading.label_column
    if label and reading.label_may_lack and label not in fields:
        label = NO_COLUMN
    _require((*named, *filter(None, (instruction,))), fields, where, "with text_column")
    _require(filter(None, (label,)), fields, where, "with label_column")
    kept = _split(reading.keep_columns, fields)
    _require(kept, fields, where, "with keep_columns")
    if label is None:
        label = guess_label(fields, conversation, where)
    text = named[0] if named else _guess_text(fields, conversation, label)
    if not named and (text is None or text.casefold() == _INPUT):
        instruction = instruction or next(_named_like((INSTRUCTION,), fields), None)
    unused = None
    if instruction and not (text and fields[text]):
        text, unused = instruction, text
    missing = [] if text else ["text (text_column)"]
    missing += ["label (label_column)"] if labelled and not label else []
    others = [n for n in fields if n not in (instruction, text, label, unused, *kept)]
    taken = fields[text] if text else None
    second = [] if named else [n for n in others if _is_second_text(n, fields[n], taken)]
    if second and not missing:
        raise DataError(f"{where}: {_loss(text or '', second)}.")
    if text is None and second[1:]:
        raise DataError(f"{where}: {_loss(second[0], second[1:])}.")
    if text is None or missing:
        raise DataError(
            f"{where}: no column that looks like the {' or the '.join(missing)}; {_there(fields)}. "
            "Name it."
        )
    guarded = {name for name in others if _is_second_text(name, "?", None)}
    guarded = set() if named else guarded | {*_BESIDE}
    texts = (named[1:] and named) or (text,)
    left = tuple(str(name) for name in fields if name not in (*texts, label, *kept))
    return Columns(texts, label or None, unused, tuple(guarded), conversation, left, kept)


def _columns_asked(
    fields: Mapping[str, Any], reading: Reading, conversation: str | None, where: str
) -> Columns:
    """Return the columns that LLaMA-Factory asks with; where none are named, those of alpaca."""
    if conversation:
        return Columns((_USER,), _ASSISTANT, conversation=conversation)
    named = tuple(filter(None, (reading.instruction_column, reading.text_column)))
    _require(named[:1], fields, where, "in dataset_info.json")
    label = "output" if reading.label_column is None else reading.label_column
    return Columns(named or (INSTRUCTION, _INPUT), label or None)


def guess_label(fields: Mapping[str, Any], conversation: str | None, where: str) -> str | None:
    """Return the column that looks like the labels, or None.

    Raises:
        DataError: Several look so.
    """
    if conversation and _ASSISTANT in fields:
        # A column `label` beside may be a verdict on the answer, as of KTO.
        others = _named_like(LABEL_COLUMNS[:2], fields)
        said = ("", fields[_ASSISTANT])
        verdicts = (name for name in others if isinstance(fields[name], bool | str))
        found = [_ASSISTANT, *(name for name in verdicts if fields[name] not in said)]
    else:
        weak = (
            name
            for name in _named_like(_WEAK_LABELS, fields)
            if len(str(fields[name]).split()) < _WORDS_OF_A_TEXT
        )
        found = list(_named_like(LABEL_COLUMNS, fields)) or list(weak)
    if len(found) > 1:
        raise DataError(
            f"{where}: {' and '.join(found)} may each hold the labels; name one of them, for "
            f"example with label_column={found[0]}."
        )
    return found[0] if found else None


def _guess_text(
    fields: Mapping[str, Any], conversation: str | None, label: str | None
) -> str | None:
    """Return the column that looks like the texts, or the only one beside the label."""
    if conversation:
        return _USER
    found = list(_named_like(TEXT_COLUMNS, fields))
    if label == "output" and {INSTRUCTION, _INPUT} <= fields.keys():
        found = [_INPUT]  # alpaca; a `text` beside it is the whole prompt with its answer
    others = [name for name in fields if name != label and str(name) not in _CONVERSATIONS]
    is_name = len(others) == 1 and len(str(others[0]).split()) < _WORDS_OF_A_TEXT
    if not found and is_name and _is_text(fields[others[0]]):
        return others[0]
    return next((name for name in found if _is_text(fields[name])), found[0] if found else None)


def _require_row(fields: Mapping[str, Any], conversation: str | None, where: str) -> None:
    """Raise a DataError where a record is a whole table, as pandas writes one by default."""
    is_table = all(isinstance(value, Mapping | list) for value in fields.values())
    if fields and is_table and not conversation:
        raise DataError(
            f"{where}: each value is a list or an object, which is no row; {_there(fields)}. "
            "Write a list of rows (of pandas, the orient 'records')."
        )


def _require(columns: Iterable[str], fields: Mapping[str, Any], where: str, how: str) -> None:
    """Raise a DataError that says how to name another one if a record lacks a column."""
    for column in columns:
        if column not in fields:
            raise DataError(
                f"{where}: no column {column!r}; {_there(fields)}. Name one of these {how}."
            )


def text_of(fields: Mapping[str, Any], columns: Columns) -> str:
    """Return a record's text; several columns are joined as lines of `column: text`.

    Raises:
        RowError: There is none, or something else would be dropped.
    """
    if missing := [column for column in columns.texts if column not in fields]:
        raise RowError(f"no column {missing[0]!r}")
    if columns.unused_input and fields.get(columns.unused_input):
        raise RowError("an input beside the instruction, which is the text in the first row")
    for column in columns.guarded:
        value = fields.get(column)
        if value and _is_second_text(column, value, fields[columns.texts[0]]):
            raise RowError(_loss(columns.texts[0], [column]))
    if len(columns.texts) == 1:
        text = fields[columns.texts[0]]
    else:
        parts = {column: _flat(fields[column]) for column in columns.texts}
        text = "\n".join(f"{column}: {part}" for column, part in parts.items() if part)
    if is_blank(text):
        raise RowError("the text is empty", is_empty=True)
    if not isinstance(text, str):
        raise RowError(f"the text is not a string but {shorten(repr(text))}")
    return text


def asked_text(fields: Mapping[str, Any], columns: Columns) -> tuple[str, str]:
    """Return the instruction and the text that LLaMA-Factory asks a record with.

    The instruction is empty where there is only one of the two.

    Raises:
        RowError: There is neither, or a conversation has more before its last question.
    """
    if columns.conversation and (lost := [one for one in (_SYSTEM, _HISTORY) if fields.get(one)]):
        raise RowError(
            f"a conversation with {' and '.join(lost)}, which llamafactory-cli alone predicts"
        )
    parts = [fields.get(column) for column in columns.texts]
    texts = [part for part in parts if isinstance(part, str) and part]
    if not texts:
        raise RowError(f"no text in the columns {', '.join(columns.texts)}; {_there(fields)}")
    return "\n".join(texts[:-1]), texts[-1]


def with_turns(fields: Mapping[str, Any], conversation: str | None) -> Mapping[str, Any]:
    """Return a record with the turns of its conversation as columns.

    Raises:
        RowError: A turn is none of a user, an assistant or the system.
    """
    if conversation is None:
        return fields
    turns = fields.get(conversation)
    if not isinstance(turns, list):
        raise RowError(f"no list of turns in the column {conversation!r}")
    told = [_turn(number, turn) for number, turn in enumerate(turns, start=1)]
    found = {name: value for name, value in fields.items() if name != conversation}
    system = [content for role, content in told if role == _SYSTEM]
    told = [(role, content) for role, content in told if role != _SYSTEM]
    if system:
        found[_SYSTEM] = system[0] if len(system) == 1 else system
    if told and told[-1][0] == _ASSISTANT:
        found[_ASSISTANT] = told.pop()[1]
    if not told or told[-1][0] != _USER:
        raise RowError(f"{conversation} has no turn of the user before the last of the assistant")
    found[_USER] = told.pop()[1]
    if told:
        found[_HISTORY] = [content for _, content in told]
    return found


def _turn(number: int, turn: object) -> tuple[str, str]:
    turn = turn if isinstance(turn, Mapping) else {}
    role = str(turn.get("role") or turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):  # OpenAI's parts
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = None if None in parts else "\n".join(map(str, parts))
    if role.casefold() not in _ROLES or not isinstance(content, str):
        raise RowError(
            f"turn {number} of the conversation is {shorten(repr(turn))}; only texts of user, "
            "assistant and system are read, so write text and label into columns of their own"
        )
    return _ROLES[role.casefold()], content


def _conversation_column(fields: Mapping[str, Any], text_column: str | None) -> str | None:
    column = next(_named_like(_CONVERSATIONS, fields), None)
    is_other = text_column in fields and text_column != column
    return None if column is None or is_other or not isinstance(fields[column], list) else column


def _split(names: str | None, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that `text_column` names; a name may hold a comma itself."""
    if names is None or names in fields:
        return (names,) if names else ()
    return tuple(name.strip() for name in names.split(","))


def _is_second_text(name: str, value: object, text: object) -> bool:
    """Whether a column beside the text holds another one that does not repeat it."""
    key = loose_key(str(name))
    if key in _BESIDE:
        return bool(_flat(value).strip())
    if not isinstance(value, str) or not _is_text(value):
        return False
    if key in _ASPECTS:
        return True
    if isinstance(text, str) and (text in value or value in text):
        return False
    is_long = len(value.split()) >= _WORDS_OF_A_TEXT
    return key in _SECOND_TEXTS or is_long or len(_WITHOUT_SPACES.findall(value)) >= _CHARACTERS


def is_blank(value: object) -> bool:
    """Whether a value is nothing, white space, or NaN, as pandas writes what is missing."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _is_text(value: object) -> bool:
    """Whether a value is text, and no number or date."""
    return isinstance(value, str) and not _NUMBER.fullmatch(value)


def _loss(text: str, lost: Sequence[str]) -> str:
    """Say that columns beside the text would be dropped, and how to keep or to leave them."""
    # What comes before the text in a talk comes before it in the join.
    first = [name for name in lost if name in (_SYSTEM, _HISTORY)]
    joined = ",".join([*first, text, *(name for name in lost if name not in first)])
    talk = "of this conversation, " if text == _USER else ""
    return (
        f"{talk}{' and '.join(lost)} beside {text} would be lost; text_column={joined} writes them "
        f"into one text, a line each ('{lost[0]}: ...'), and text_column={text} leaves "
        f"{' and '.join(lost)} out"
    )


def _flat(value: object) -> str:
    """Return a text, or the texts of a list (the history of alpaca is one of pairs) as lines."""
    if isinstance(value, list | tuple):
        return "\n".join(map(_flat, value))
    return "" if is_blank(value) else str(value)


def _there(fields: Mapping[str, Any]) -> str:
    return f"the columns are {', '.join(map(str, fields)) or 'none'}"


def _named_like(names: Iterable[str], fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the columns of these names, in the order of the names."""
    by_name = {loose_key(str(column)): column for column in fields}
    yield from (by_name[name] for name in names if name in by_name)
