"""Make the demo training set from hand-written phrases: the same rows on every machine.

    python data/make_emotion_demo.py [--output data/emotion_demo_train.jsonl]

The phrases stand in `emotion_demo_phrases`, a file a label and one that all labels share. A frame
says which phrases make a text and how they are joined; every list of phrases is dealt like a pack
of cards, so that each phrase comes equally often. The demo test set is written by hand and is no
part of this.
"""

import argparse
import json
import random
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PHRASES = HERE / "emotion_demo_phrases"
LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
ROWS_PER_LABEL = 1490
SEED = 20240601

# Frame and how often it is dealt. Groups of the label: event, moment, reaction, sentence, feeling,
# mood (a feeling of one word), quality, noun, subject, word; groups that all labels share: opening,
# context, neutral, topic, thing, degree, person; and `other`, a feeling of another label, always
# denied. A full stop ends a sentence.
FRAMES = (
    ("{moment}.", 22),
    ("{moment}. {moment}.", 8),
    ("{moment}. {neutral}.", 4),
    ("{neutral}. {moment}.", 4),
    ("{opening}, {moment}.", 3),
    ("{moment}. {sentence}.", 5),
    ("{sentence}. {moment}.", 3),
    ("{moment}. {event}.", 4),
    ("I am so {mood}. {moment}.", 2),
    ("{event}.", 12),
    ("{opening}, {event}.", 5),
    ("{neutral}. {event}.", 3),
    ("{event}. {neutral}.", 3),
    ("{context} when {event}.", 4),
    ("{person} told me that {event}.", 1),
    ("{event} and {event}.", 3),
    ("{event}. {reaction}.", 6),
    ("{event} and {reaction}.", 5),
    ("{reaction} when {event}.", 4),
    ("{reaction} because {event}.", 3),
    ("when {event}, {reaction}.", 2),
    ("{event}. {sentence}.", 4),
    ("{sentence}. {event}.", 3),
    ("{reaction}.", 2),
    ("{opening}, {reaction}.", 2),
    ("{neutral}. {reaction}.", 2),
    ("{context} and {reaction}.", 2),
    ("{reaction}. {sentence}.", 2),
    ("{sentence}.", 9),
    ("{sentence}. {sentence}.", 4),
    ("{sentence}. {neutral}.", 3),
    ("{neutral}. {sentence}.", 3),
    ("I felt {feeling} when {event}.", 4),
    ("I was {feeling} because {event}.", 3),
    ("{event} and I felt {feeling}.", 2),
    ("I am {feeling}. {event}.", 2),
    ("I feel {degree} {mood} when I think about {topic}.", 2),
    ("{context} and I felt {degree} {mood}.", 2),
    ("{person} was {feeling} because {event}.", 2),
    ("{person} looked {feeling} and full of {noun} because of {topic}.", 1),
    ("{topic} made me feel {feeling} and {feeling}.", 2),
    ("I expected to be {other}, but I was only {feeling}.", 2),
    ("I was not {other}, just {feeling}. {event}.", 2),
    ("why am I so {mood} about {topic}?", 1),
    ("I keep thinking about {subject}.", 2),
    ("{person} and I talked about {subject}. {neutral}.", 2),
    ("{opening}, all that {person} talked about was {subject}.", 2),
    ("{subject} and {subject}: that was my {quality} week.", 2),
    ("it was {subject} that made me feel so {mood}.", 2),
    ("{subject}, {subject}, {subject}.", 2),
    ("{context}, but my mind was on {subject}.", 2),
    ("{word}, {word}, {word}.", 10),
    ("{word} {word} {word} {word} {word}", 6),
    ("{word}. {neutral}. {word}.", 4),
    ("{word}, {word}. {moment}.", 4),
    ("notes on {topic}: {word}, {word}, {word} and {word}.", 3),
    ("{thing} was {degree} {quality}.", 3),
    ("{thing} was {quality} and {quality}. {reaction}.", 2),
    ("how {quality} it was! {event}.", 1),
    ("{thing} filled me with {noun}.", 2),
    ("there was {noun} in {person}'s voice when {event}.", 2),
    ("all I felt was {noun}. {event}.", 2),
    ("{noun} and {noun}, that is all there was after {topic}.", 1),
)

# First person to third. A clause with "I" and a verb in the present would need another ending, so
# only clauses all of whose verbs are on the list of past forms are turned.
PRONOUNS = {
    "she": {"i": "she", "me": "her", "my": "her", "mine": "hers", "myself": "herself"},
    "he": {"i": "he", "me": "him", "my": "his", "mine": "his", "myself": "himself"},
}
PAST = re.compile(
    r"(?:\w+ed|was|had|did|could|would|might|got|went|felt|saw|found|lost|heard|held|told|knew|"
    r"thought|took|gave|came|ran|sat|stood|woke|slept|spent|kept|made|met|paid|sold|bought|"
    r"brought|caught|read|wrote|spoke|broke|fell|left|let|put|hung|hid|lay|began|bit|blew|"
    r"shook|froze|swore|tore|threw|wept|sang|won|beat|sent|stopped)$"
)
ADVERBS = "(?:always|almost|finally|just|nearly|never|only|really|simply|still)"
SHORT_FORMS = (
    (r"\b(was|were|is|are|did|does|do|has|have|had|could|would|should) not\b", r"\1n't"),
    (r"\bcannot\b", "can't"),
    (r"\bwill not\b", "won't"),
    (r"\bI am (?!to\b)", "I'm "),
    (r"\bI will\b", "I'll"),
    (r"\bI would\b", "I'd"),
    (r"\b(it|he|she|that|what|there) is (?=\w)", r"\1's "),
    (r"\b(you|we|they) are (?=\w)", r"\1're "),
    (r"\b(I|you|we|they) have (?=(?:been|never|had|lost|got)\b)", r"\1've "),
)
QUESTION = re.compile(
    r"(?:(?:so|well|okay|anyway|then|and then|honestly), )?"
    r"(?:who|why|what(?! an? )|where|when (?:will|does)|since when|will|is|are|am|do(?! not)|does"
    r"|did|have|has|can|could|how (?:dare|could|many|do|did|on|is|will|can|come|weird))\b"
)


class Deck:
    """Phrases dealt one after the other and shuffled anew when all have been dealt."""

    def __init__(self, cards: Sequence[str], source: random.Random) -> None:
        self._cards, self._source = list(cards), source
        self._left: list[str] = []

    def deal(self) -> str:
        """Give the next phrase, one alternative chosen for every "(a|b)" in it."""
        if not self._left:
            self._left = self._cards[:]
            self._source.shuffle(self._left)
        return _choose_alternatives(self._left.pop(), self._source)


def _choose_alternatives(phrase: str, source: random.Random) -> str:
    chosen = re.sub(r"\(([^()]*)\)", lambda m: source.choice(m[1].split("|")), phrase)
    return chosen.replace(" ,", ",")


def read_phrases(name: str) -> dict[str, list[str]]:
    """Read the groups of phrases of a label, or those that all labels share."""
    groups = tomllib.loads((PHRASES / f"{name}.toml").read_text(encoding="utf-8"))
    return {group: text.strip().splitlines() for group, text in groups.items()}


def make_rows(label: str, source: random.Random) -> Iterator[str]:
    """Give texts of one label without end; some come twice."""
    groups = read_phrases("shared") | read_phrases(label)
    groups["others"] = [
        feeling for other in LABELS if other != label for feeling in read_phrases(other)["feelings"]
    ]
    groups["moods"] = [feeling for feeling in groups["feelings"] if " " not in feeling]
    decks = {_singular(group): Deck(phrases, source) for group, phrases in groups.items()}
    frames = Deck([frame for frame, times in FRAMES for _ in range(times)], source)
    while True:
        yield _finish(_fill(frames.deal(), decks), source)


def _singular(group: str) -> str:
    if group.endswith("ies"):
        return group.removesuffix("ies") + "y"
    return group.removesuffix("s")


def _fill(frame: str, decks: dict[str, Deck]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: decks[match[1]].deal(), frame)


def _finish(text: str, source: random.Random) -> str:
    """Vary person, short forms, case and punctuation of a text in the first person."""
    text = re.sub(r"\bso (so|very|really) ", r"\1 ", text)
    text = re.sub(r"\b(\w+) (so|full of|in|too) \2 ", r"\1 \2 ", text)
    if source.random() < 0.25 and _can_turn(text):
        text = _turn(text, source)
    if source.random() < 0.6:
        for pattern, replacement in SHORT_FORMS:
            text = re.sub(pattern, replacement, text)
    style: Callable[[str, random.Random], str] = source.choices(
        (_careful, _careless, _excited), (78, 14, 8)
    )[0]
    return style(text, source)


def _can_turn(text: str) -> bool:
    verbs = re.findall(rf"\bI (?:{ADVERBS} )?(\w+)", text)
    return bool(verbs) and all(PAST.match(verb) for verb in verbs) and " you" not in text


def _turn(text: str, source: random.Random) -> str:
    pronouns = PRONOUNS[source.choice(sorted(PRONOUNS))]
    return re.sub(
        r"\b(I|me|my|mine|myself)\b", lambda match: pronouns[match[1].lower()], text, flags=re.I
    )


def _careful(text: str, _: random.Random) -> str:
    sentences = [part.rstrip(".") for part in re.split(r"(?<=[.!?])\s+", text)]
    return " ".join(_punctuate(part) for part in sentences)


def _punctuate(sentence: str) -> str:
    capital = sentence[0].upper() + sentence[1:]
    if capital[-1] in "!?":
        return capital
    return capital + ("?" if QUESTION.match(sentence) else ".")


def _careless(text: str, source: random.Random) -> str:
    joint = source.choice((" ", ", ", "... "))
    plain = joint.join(part.rstrip(".!?") for part in re.split(r"(?<=[.!?])\s+", text))
    return plain.lower()


def _excited(text: str, source: random.Random) -> str:
    careful = _careful(text, source)
    if careful.endswith("?"):
        return careful + source.choice(("?", "!"))
    return careful.rstrip(".!") + source.choice(("!", "!!", "!", "..."))


def make_dataset(*, rows_per_label: int = ROWS_PER_LABEL, seed: int = SEED) -> list[dict[str, str]]:
    """Make all rows, shuffled; no two texts are equal but for case and punctuation."""
    seen: dict[str, None] = {}
    rows = []
    for label in LABELS:
        # A string seeds through SHA-512, the same on every version and platform.
        texts = make_rows(label, random.Random(f"{seed} {label}"))
        wanted = len(rows) + rows_per_label
        while len(rows) < wanted:
            text = next(texts)
            key = " ".join(re.findall(r"\w+", text.lower()))
            if key not in seen:
                seen[key] = None
                rows.append({"text": text, "label": label})
    random.Random(seed).shuffle(rows)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Write the training set."""
    parser = argparse.ArgumentParser(description="Make the demo training set.")
    parser.add_argument("--output", type=Path, default=HERE / "emotion_demo_train.jsonl")
    output = parser.parse_args(argv).output
    rows = make_dataset()
    with output.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{output}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
