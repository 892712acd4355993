"""What surrounds a name in a statement: is an answer expected there, denied, or one of a list?"""

from llamafactory_emotion.parsing import phrases
from llamafactory_emotion.parsing.names import Name

# In characters: how far a negation reaches, how far is looked back, and how long a statement is in
# which an alias counts.
_REACH = 60
_NEAR = 60
_SHORT = 100
_COMMAS = tuple(",，、")


class Surroundings:
    """What surrounds the names of a statement: where answers are expected, and where denied."""

    def __init__(self, text: str) -> None:
        self._text = text
        denials = [
            one
            for one in phrases.NEGATION.finditer(text)
            if not phrases.NO_DENIAL.match(text, one.start())
        ]
        self._denials = [one.end() for one in denials]
        denied_verbs = {_bare(text, one.end()) for one in denials}
        self._copulas = {
            _bare(text, one.end())
            for one in phrases.COPULA.finditer(text)
            if not {_bare(text, one.start()), _bare(text, one.end())} & denied_verbs
        }
        self._expressing = {_bare(text, one.end()) for one in phrases.EXPRESSING.finditer(text)}
        self._contrasts = {_bare(text, one.end()) for one in phrases.CONTRAST.finditer(text)}
        for positions in (self._copulas, self._contrasts):
            articles = [phrases.ARTICLE.match(text, position) for position in positions]
            positions |= {_bare(text, one.end()) for one in articles if one}
        self._first_person = phrases.FIRST_PERSON.search(text) is not None
        self._quoted = [
            one.span(1)
            for one in phrases.QUOTED.finditer(text)
            if not phrases.ORDINARY_WORDS.isdisjoint(one[1].split())
        ]
        sentence = phrases.SENTENCE.match(text)
        self._first_sentence = sentence.end() if sentence else 0

    def counts(self, name: Name) -> tuple[bool, bool]:
        """Whether a name counts, and whether it is where an answer is expected."""
        text = self._text
        before = _bare(text, name.start)
        ends = ends_clause(text, name.end)
        span = name.start, name.end
        quoted = any(a <= span[0] and span[1] <= b and span != (a, b) for a, b in self._quoted)
        if quoted or phrases.QUESTION.match(text, name.end):
            return False, False
        by_itself = ends and (before == 0 or text[before - 1] in phrases.CLAUSE_SIGNS)
        if before and text[before - 1] in _COMMAS and text[name.end : name.end + 1] in _COMMAS:
            by_itself = False  # between two commas: an item of a list
        behind = self._contrasts | self._copulas | self._expressing
        chosen = phrases.CHOSEN.match(text, name.end)
        expected = by_itself or before in behind or chosen is not None
        if name.kind == "ordinary":
            of_letter = name.end - name.start == 1 and phrases.LETTER_LEAD.search(text[:before])
            is_right = ends or (chosen and chosen["right"])
            return bool(is_right and (expected or of_letter)), expected
        if expected and name.kind == "label":
            return True, True
        if name.kind == "alias" and not by_itself:
            is_short = len(text) <= _SHORT
            return is_short and not self._first_person, expected
        of_one_word = " " not in text[name.start : name.end]
        if not by_itself and of_one_word:
            start = max(0, name.start - _NEAR)
            if phrases.SAID_OF_SOMEBODY.search(text, start, name.start):
                return False, False
        is_told_first = name.start < self._first_sentence and not self._first_person
        return is_told_first or len(text) <= _SHORT, expected

    def judged(self, name: Name) -> bool:
        """Whether a name is in a sentence on what is classified, or ends a phrase of few words."""
        text, start, end = self._text, name.start, name.end
        is_phrase = len(text[:start].split()) < 3 and not text[end:].strip(" .!\"'`*=%0123456789")
        if name.kind == "number":
            return phrases.ABOUT.search(text, max(0, start - 16), start) is not None
        if is_phrase or len(text) <= end - start + 2 or not any(map(str.isalnum, text[start:end])):
            return True
        for one in phrases.SENTENCE.finditer(text):
            if one.start() <= start < one.end():
                around = (text[one.start() : start], text[end : one.end()])
                return any(map(phrases.ABOUT.search, around)) and "please " not in one[0]
        return False

    def denies(self, name: Name) -> bool:
        """Whether a name is denied: by what is before it in its clause, or right behind it."""
        text = self._text
        before = _bare(text, name.start)
        if phrases.DENIED_AFTER.match(text, name.end) or phrases.UNTRUE.match(text, name.end):
            return True
        start = max(0, name.start - 2 * _NEAR)
        if phrases.HYPOTHETICAL.search(text, start, name.start):
            return True
        if before in self._contrasts or before in self._copulas:
            return False
        return any(
            end <= name.start <= end + _REACH
            and not phrases.CLAUSE_BREAK.search(text, end, name.start)
            for end in self._denials
        )

    def enumerates(self, name: Name) -> bool:
        """Whether a name is an item of a list of single words: `positiva, negativa, neutral`."""
        text = self._text
        if _bare(text, name.start) in self._contrasts:
            return False
        start = max(0, name.start - _NEAR)
        if phrases.ITEMS_BEFORE.search(text, start, name.start):
            return True
        return bool(
            phrases.ITEM_BEFORE.search(text, start, name.start)
            and phrases.ITEM_AFTER.match(text, name.end)
        )


def _bare(text: str, position: int) -> int:
    """Return where the text before a position ends, decoration and space left aside."""
    while position and text[position - 1] in " \t\"'`*_~":
        position -= 1
    return position


def skip_lead(text: str, position: int) -> int:
    """Return where the word begins that follows a position: behind space, signs and quotes."""
    lead = phrases.LEAD.match(text, position)
    return position if lead is None else lead.end()


def ends_clause(text: str, position: int) -> bool:
    """Whether a clause ends at a position: with a sign, a word such as `because`, or the text."""
    return phrases.CLAUSE_END.match(text, position) is not None
