r"""What all rooms agree on about text: when two spellings are one, and what is a special token."""

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
FIRST_FEW = 10

# The inside of a character class: scripts written without spaces between words (Thai, Lao, Burmese,
# Khmer, Chinese, Japanese).
WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)

# Half of a surrogate pair, which JSON can hold and neither a UTF-8 file nor a tokenizer can.
HALF_PAIR = re.compile("[\ud800-\udfff]")

# Control tokens by name, in the spellings of the templates of LLaMA-Factory and of tokenizers.
SPECIAL_TOKEN = re.compile(
    r"(?i:<\|(?:system|user|human|bot|yayi)\|>:|<[|｜][^<>|｜\n]{1,48}[|｜]>|<\|[a-z]{1,16}>"
    r"|<[a-z]{1,16}\|>|<reserved_\d{1,4}>"
    r"|<(?:pad|unk|bos|eos|eot|eod|eop|eoa|sep|cls|mask|0x[0-9a-f]{2})>|<extra_id_\d{1,3}>"
    r"|</?s>|<<?/?sys>>?|<(?:start|beginning|end)_of_[a-z]{4,10}>|<\[(?:begin|end)[^\[\]<>\n]{1,48}\]>"
    r"|<seed:[a-z]os>|<unused\d{1,4}>|<(?:sop|eom|用户)>|\[gmask\]"
    r"|</?role>|<_(?:user|bot|system|end)>|\[(?:pad|cls|sep|bos|eos|unk|mask)\]"
    r"|\[\|[^\[\]|\n]{1,48}\|\]:?|\[/?(?:inst|system_prompt)\]|\[e~\[|\]~!?b\[?\]?)"
)

# No word needs a longer run of marks and signs, and Unicode normalisation takes quadratic time
# on one (UAX #15 calls text without such runs stream-safe).
_MARKS = r"[^\w\s\x00-\x7f]"
_LONG_MARK_RUN = re.compile(rf"(?<!{_MARKS})({_MARKS}{{32}}){_MARKS}++")
# The two characters that normalise to more than six; the longest gives eighteen.
_EXPLODING = re.compile("[\ufdfa\ufdfb]")
_INVISIBLE = re.compile(
    "(?:[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U0001f3fb-\U0001f3ff"
    "\U000e0000-\U000e0fff]|\u200d(?![\u2190-\u2bff\U0001f000-\U0001faff]))+"
)
# NFKC leaves the true hyphen and the minus sign alone; an en dash before a digit is a minus.
_HYPHENS = re.compile("[\u2010\u2212]|(?<![\\w\u2013\u2014])[\u2013\u2014](?=\\d)")
# Between a letter and another letter or digit space, hyphen and underscore are one sign.
_SEPARATORS = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W_])|(?<=[^\W_])[\s_-]+(?=[^\W\d_])")
_SINGLE_QUOTES = re.compile("[‘’‚‛ʼ´]")
_DOUBLE_QUOTES = re.compile("[“”„‟«»「」『』〝〞〟]")


def fold(text: str) -> str:
    """Return text in the form in which it is compared.

    Unicode NFKC and case folding (full-width letters, ligatures, decomposed accents, capitals), no
    zero-width or other invisible characters but what joins emoji, no skin tones, straight quotes,
    plain hyphens and minus signs. A run of over 32 marks and signs outside ASCII is cut to 32.
    """
    if text.isascii():
        return text.lower()
    text = _INVISIBLE.sub("", _EXPLODING.sub(" ", _LONG_MARK_RUN.sub(r"\1", text)))
    # Twice, because folding can undo the normal form (UAX #15, NFKC_Casefold).
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # The Turkish capital I with a dot folds to an i with a combining dot.
    text = text.replace("i\u0307", "i")
    return _HYPHENS.sub("-", _DOUBLE_QUOTES.sub('"', _SINGLE_QUOTES.sub("'", text)))


def name_key(name: str) -> str:
    """Return a name as names are compared: folded, each run of white space one space."""
    return " ".join(fold(name).split())


def loose_key(name: str) -> str:
    """Return a name with space, hyphen and underscore taken for the same: `Parcel-Delayed`."""
    return _SEPARATORS.sub(" ", name_key(name))


def shorten(text: str, length: int = 60) -> str:
    """Return a text of at most that many characters; what is cut off becomes an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


@dataclass
class FirstFew(Generic[T]):
    """The first ten of things that a message or a report lists, and how many there are."""

    count: int = 0
    first: list[T] = field(default_factory=list)

    def add(self, one: T) -> None:
        """Count one, and keep it if it is among the first."""
        self.count += 1
        if self.count <= FIRST_FEW:
            self.first.append(one)
