r"""Take from a generated answer what is not answer: reasoning, tokens, other turns, terminal codes.

The first step of parsing, before any label is looked for. Every step is one pass over the text,
so that the time grows with the answer's length and no faster, whatever the answer holds.

Decoration that is harmless to a search for whole words (quotes, brackets, list bullets, emphasis,
punctuation, emoji) stays: `rules` treats it as the space between words.
"""

import html
import re

from llamafactory_emotion.text import SPECIAL_TOKEN, fold

_TERMINAL_CODE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\)"  # titles, links: text up to a terminator
    r"|\x1b[ -/]*+[0-~]?"
)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6});")
# Escapes that leaked out of a program's string: \n, \", \u559c. Kept apart from JSON's own
# decoding because a cut-off fragment cannot be decoded as JSON.
_LEAKED_ESCAPE = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|(n|r|t(?!ext))|(["']))""")
# A tag that closes has a group: `</think>`, and what gpt-oss, Gemma, Cohere write before answers.
_REASONING_TAG = re.compile(
    r"[<◁]\s?(/?)\s?(?:\w{1,8}:)?(?:think|thinking|thought|reasoning|analysis)\s?[>▷]"
    r"|\[(/?)think\]|<\|(?:start|(end))_thinking\|>|<\|(?:begin|(end))_of_thought\|>"
    r"|<(?:\|channel\|?|unused94)>(?:analysis|thought)\b"
    r"|(<\|channel\|>final<\|message\|>|<channel\|>|<unused95>)"
    # The same without special tokens, which leave these words glued to the text.
    r"|\A\s*analysis(?=[^\W\d_])|(assistantfinal)"
)
_TOKEN_IN_PLACE = re.compile(r"<(?:0x[0-9a-f]{2}|unk|mask|extra_id_\d{1,3})>|\[(?:unk|mask)\]")
_CUT_TOKEN = re.compile(r"<\|[^<>|\n]{0,48}\Z")
_ROLES = {
    "user": r"user|human|question|gpt4 correct user",
    "assistant": r"assistant|chatbot|bot|model|ai|answer|gpt4 correct assistant",
    "system": r"system",
}
_ROLE_IN_TOKEN = re.compile(
    r"(?P<user>user|human|\[inst\])|(?P<assistant>assistant|bot\b|_bot|\[/inst\])"
    r"|(?P<system>system|sys>)"
)
_OPENS_A_TURN = re.compile(r"^(?!.*end)(?!</).*(?:start|begin|role|\|turn|~b)")
_ROLE_AT_START = re.compile(
    "|".join(
        rf"(?P<{role}>(?:{words})(?:\s+(?:ai_)?(?:name|setting)=\w+)?)"
        for role, words in _ROLES.items()
    )
)
_HEADING = re.compile(
    r"\s*(?:#{1,4}\s*)?(?:assistant|model|response|chatbot|gpt4 correct assistant)\s*(?::|\n|\Z)\s*"
    r"|thought\n\s*"
)
_NEXT_TURN = re.compile(
    r"\n[^\S\n]*(?:#{1,4}\s*)?(?:(?:user|human|assistant|system)\s*(?::|(?=\n|\Z))"
    r"|#{1,4}\s*(?:instruction|input|user|human|question|response)\b)"
)
_LINE_TAG = re.compile(r"</?(?:br|p|div|li|ul|ol|h[1-6]|pre)\s?/?>")
_INLINE_TAG = re.compile(r"</?(?:b|i|u|em|strong|span|code|mark|small)(?:\s[^<>]{0,200})?>")
_ANSWER_TAG = re.compile(
    r"<(/?)(?:final_?)?(?:answer|emotion|label|sentiment|class|category|result|output|prediction|intent|topic|response)\s?>"
    r"|\\boxed\s?\{(?:\s?\\text\s?\{)?"
)
_FENCE = re.compile(r"```[\w+-]{0,20}(?=[\r\n])")


def clean(answer: str) -> str | None:
    r"""Return the folded answer alone; None when its reasoning is unfinished.

    - Terminal codes go without a trace; escapes leaked from a program's string (`\\n`, `\\"`,
      `\\u559c`) and of HTML (`&amp;`) become what they mean.
    - `<think>...</think>` goes, and so does all before a closing tag whose opening tag was in the
      prompt; also under the names that other model families have for it.
    - Of several turns the assistant's first one counts: what follows an end token or another
      turn's heading is not answer.
    - `<answer>` and `\\boxed{` become the marker `answer:`; simple HTML tags become white space;
      the language after a code fence goes.
    """
    text = _ENTITY.sub(lambda one: html.unescape(one[0]), answer) if "&" in answer else answer
    if "\x1b" in text or "\x9b" in text:
        text = _TERMINAL_CODE.sub("", text)
    if "\\" in text:
        text = _LEAKED_ESCAPE.sub(_escaped_character, text)
    folded = _without_reasoning(fold(text))
    if folded is None:
        return None
    if "<" in folded or "[" in folded or "]" in folded:
        folded = _first_answer(_CUT_TOKEN.sub("", _TOKEN_IN_PLACE.sub("\n", folded)))
    heading = _HEADING.match(folded)
    if heading and folded[heading.end() :].strip():
        folded = folded[heading.end() :]
    folded = folded.strip()
    turn = _NEXT_TURN.search(folded) if "\n" in folded else None
    if turn:
        folded = folded[: turn.start()]
    if "<" in folded or "\\" in folded:
        folded = _ANSWER_TAG.sub(_answer_marker, folded)
        folded = _INLINE_TAG.sub(" ", _LINE_TAG.sub("\n", folded))
    if "```" in folded:
        # Stripped first: a line break at the very end does not make the last word a language.
        folded = _FENCE.sub("", folded.strip())
    return folded.strip()


def _escaped_character(match: re.Match[str]) -> str:
    code, space, quote = match.groups()
    if code:
        return chr(int(code, 16))
    return "\n" if space else str(quote)


def _answer_marker(match: re.Match[str]) -> str:
    return "\n" if match[1] else "\nanswer: "


def _without_reasoning(text: str) -> str | None:
    """Drop what was thought aloud; None when the thinking never ended."""
    kept: list[str] = []
    position = 0
    thinking = False
    for tag in _REASONING_TAG.finditer(text):
        if any(tag.groups()):
            if not thinking:
                kept.clear()
            thinking = False
        elif not thinking:
            kept.append(text[position : tag.start()])
            thinking = True
        position = tag.end()
    if thinking:
        return None
    return "\n".join([*kept, text[position:]]) if position else text


def _first_answer(text: str) -> str:
    """Return what the assistant says first, of turns told apart by their tokens."""
    position = 0
    role = "assistant"
    opened = False  # by a token that a role's name may follow
    for token in SPECIAL_TOKEN.finditer(text):
        said = text[position : token.start()]
        position = token.end()
        if opened:
            role, said = _told_role(role, said)
        if role == "assistant" and any(map(str.isalnum, said)):
            return said
        found = _ROLE_IN_TOKEN.search(token[0])
        if found:
            role = str(found.lastgroup)
        opened = _OPENS_A_TURN.search(token[0]) is not None
    said = text[position:]
    if opened:
        role, said = _told_role(role, said)
    return said if role == "assistant" else ""


def _told_role(role: str, said: str) -> tuple[str, str]:
    """Return the role that a turn begins with, `assistant` + line break, and what follows it."""
    said = said.strip()
    named = _ROLE_AT_START.match(said)
    if named is None or said[named.end() :][:1] not in ("", "\n", "\r"):
        return role, said
    return str(named.lastgroup), said[named.end() :]
