r"""Take from a generated answer what is not answer: reasoning, tokens, terminal codes, case.

The first step of parsing, before any label is looked for. Every step is one pass over the text,
so that the time grows with the answer's length and no faster, whatever the answer holds.

What is decoration and harmless to a search for whole words (quotes, brackets, list bullets,
emphasis, punctuation, emoji) stays: `rules` treats it as the space between words.
"""

import re
import unicodedata

_TERMINAL_CODE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\)"  # titles, links: text up to a terminator
    r"|\x1b[ -/]*+[0-~]?"
)
# Escapes that leaked out of a program's string: \n, \", \u559c. Kept apart from JSON's own
# decoding because a cut-off fragment cannot be decoded as JSON.
_LEAKED_ESCAPE = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|([nrt])|(["']))""")
# No word needs a longer run of marks and signs, and Unicode normalisation takes quadratic time
# on one (UAX #15 calls text without such runs stream-safe).
_MARKS = r"[^\w\s\x00-\x7f]"
_LONG_MARK_RUN = re.compile(rf"(?<!{_MARKS})({_MARKS}{{32}}){_MARKS}++")
# The two characters that normalise to more than six; the longest gives eighteen.
_EXPLODING = re.compile("[\ufdfa\ufdfb]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]+"
)
# NFKC leaves the true hyphen and the minus sign alone.
_HYPHENS = re.compile("[\u2010\u2212]")
_SINGLE_QUOTES = re.compile("[‘’‚‛ʼ´]")
_DOUBLE_QUOTES = re.compile("[“”„‟«»「」『』〝〞〟]")

_REASONING_TAG = re.compile(r"[<◁]\s?(/?)\s?(?:think|thinking|thought|reasoning)\s?[>▷]")
_SPECIAL_TOKEN = re.compile(
    r"<\|[^<>|]{1,48}\|>"
    r"|</?s>|<<?/?sys>>?|\[/?inst\]|\[(?:pad|cls|sep|bos|eos|unk|mask)\]"
    r"|<(?:pad|unk|bos|eos|eot|eod|eop|sep|cls|mask|0x[0-9a-f]{2})>"
    r"|<(?:start|end)_of_(?:turn|text)>|<extra_id_\d{1,3}>"
)
_LINE_TAG = re.compile(r"</?(?:br|p|div|li|ul|ol|h[1-6]|pre)\s?/?>")
_INLINE_TAG = re.compile(r"</?(?:b|i|u|em|strong|span|code|mark|small)\s?>")
_ANSWER_TAG = re.compile(
    r"<(/?)(?:final_)?(?:answer|emotion|label|sentiment|class|category)\s?>|\\boxed\s?\{"
)
_FENCE = re.compile(r"```[\w+-]{0,20}(?=[\r\n])")


def fold(text: str) -> str:
    """Give `text` in the one form that comparison needs.

    Unicode NFKC and case folding (full-width letters, ligatures, decomposed accents, capitals),
    no zero-width or other invisible characters, straight quotes, plain hyphens. Labels and
    answers both go through here. A run of over 32 marks and signs outside ASCII is cut to 32.
    """
    if text.isascii():
        return text.lower()
    text = _INVISIBLE.sub("", _EXPLODING.sub(" ", _LONG_MARK_RUN.sub(r"\1", text)))
    # Twice, because folding can undo the normal form (UAX #15, NFKC_Casefold).
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # The Turkish capital I with a dot folds to an i with a combining dot.
    text = text.replace("i\u0307", "i")
    return _HYPHENS.sub("-", _DOUBLE_QUOTES.sub('"', _SINGLE_QUOTES.sub("'", text)))


def clean(answer: str) -> str | None:
    r"""Give the folded answer without codes, tokens and reasoning; None when it is unfinished.

    - Terminal codes go without a trace; escapes leaked from a program's string (`\\n`, `\\"`,
      `\\u559c`) become what they stand for.
    - `<think>...</think>` goes (also `thinking`, `thought`, `reasoning`), and so does all before
      a closing tag whose opening tag stood in the prompt. An open one makes the answer unfinished.
    - Special tokens (`<|eot_id|>`, `</s>`, `[INST]`, `<0x0A>`, ...) become line breaks.
    - `<answer>` and `\\boxed{` become the marker `answer:`; simple HTML tags become white space;
      the language after a code fence goes.
    """
    text = answer
    if "\x1b" in text or "\x9b" in text:
        text = _TERMINAL_CODE.sub("", text)
    if "\\" in text:
        text = _LEAKED_ESCAPE.sub(_escaped_character, text)
    folded = _without_reasoning(fold(text))
    if folded is None:
        return None
    if "<" in folded or "[" in folded:
        folded = _SPECIAL_TOKEN.sub("\n", folded)
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
