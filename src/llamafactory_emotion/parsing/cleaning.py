r"""Take from a generated answer what is not answer: reasoning, special tokens, terminal codes.

Every step is one pass over the text, so that the time grows with the answer's length and no
faster, whatever the answer holds. Harmless decoration (quotes, brackets, list bullets, emphasis,
punctuation, emoji) stays: the rules treat it as the space between words.
"""

import re

from llamafactory_emotion.text import SPECIAL_TOKEN, fold

_TERMINAL_CODE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\)"  # titles, links: text up to a terminator
    r"|\x1b[ -/]*+[0-~]?"
)
# Escapes that leaked out of a program's string: \n, \", \u559c. Kept apart from JSON's own
# decoding because a cut-off fragment cannot be decoded as JSON.
_LEAKED_ESCAPE = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|([nrt])|(["']))""")
_REASONING_TAG = re.compile(r"[<◁]\s?(/?)\s?(?:think|thinking|thought|reasoning)\s?[>▷]")
_LINE_TAG = re.compile(r"</?(?:br|p|div|li|ul|ol|h[1-6]|pre)\s?/?>")
_INLINE_TAG = re.compile(r"</?(?:b|i|u|em|strong|span|code|mark|small)\s?>")
_ANSWER_TAG = re.compile(
    r"<(/?)(?:final_)?(?:answer|emotion|label|sentiment|class|category)\s?>|\\boxed\s?\{"
)
_FENCE = re.compile(r"```[\w+-]{0,20}(?=[\r\n])")


def clean(answer: str) -> str | None:
    r"""Return the folded answer without codes, tokens and reasoning; None when it is unfinished.

    - Terminal codes go without a trace; escapes leaked from a program's string (`\\n`, `\\"`,
      `\\u559c`) become what they stand for.
    - `<think>...</think>` goes (also `thinking`, `thought`, `reasoning`), and so does all before
      a closing tag whose opening tag was in the prompt. An open one makes the answer unfinished.
    - Special tokens (`<|eot_id|>`, `</s>`, `[INST]`, `<0x0A>`, ...) become line breaks.
    - `<answer>` and `\\boxed{` become the marker `answer:`; simple HTML tags become white space;
      the language after a code fence goes.
    """
    text = _LEAKED_ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else "\n" if found[2] else found[3],
        _TERMINAL_CODE.sub("", answer),
    )
    folded = _without_reasoning(fold(text))
    if folded is None:
        return None
    # Most answers hold no such sign, and looking for one is far cheaper than the patterns.
    if "<" in folded or "[" in folded or "\\" in folded:
        folded = SPECIAL_TOKEN.sub("\n", folded)
        folded = _ANSWER_TAG.sub(lambda tag: "\n" if tag[1] else "\nanswer: ", folded)
        folded = _INLINE_TAG.sub(" ", _LINE_TAG.sub("\n", folded))
    # Stripped first: a line break at the very end does not make the last word a language.
    return _FENCE.sub("", folded.strip()).strip()


def _without_reasoning(text: str) -> str | None:
    kept: list[str] = []
    position = 0
    thinking = False
    for tag in _REASONING_TAG.finditer(text):
        if tag[1]:
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
