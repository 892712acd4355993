"""Make the second demo training set, on sentiment: the same rows on every machine.

    python data/make_sentiment_demo.py [--output data/sentiment_demo_train.raw.jsonl]

The frames and phrases stand in `sentiment_demo_phrases.toml`. Every label fills every frame equally
often and takes companies, products and dates from the same lists; what tells the labels apart is
only what is said. The demo test set is written by hand and is no part of this.
"""

import argparse
import json
import random
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from make_emotion_demo import Deck

HERE = Path(__file__).resolve().parent
PHRASES = HERE / "sentiment_demo_phrases.toml"
LABELS = ("negative", "neutral", "positive")
ROWS_PER_LABEL = 300
SEED = 20240602
# How often a letter is typed in lower case and without a full stop; news never are.
CARELESS = 0.15

Groups = Mapping[str, Sequence[str]]


def read_phrases() -> dict[str, dict[str, list[str]]]:
    """Read the groups of phrases that all labels share, and those of each label."""
    tables = tomllib.loads(PHRASES.read_text(encoding="utf-8"))
    return {
        name: {group: text.strip().splitlines() for group, text in groups.items()}
        for name, groups in tables.items()
    }


def make_texts(shared: Groups, own: Groups, count: int, source: random.Random) -> list[str]:
    """Make `count` texts of one label, no two equal but for case and punctuation."""
    groups = {**shared, **own, "article": [str(number) for number in range(1107, 9907, 88)]}
    decks = {group: Deck(phrases, source) for group, phrases in groups.items()}
    letters = shared["letter_frame"]
    frames = [*shared["news_frame"], *letters]
    texts: dict[str, str] = {}
    while len(texts) < count:
        # In turn, not drawn: a frame whose text came before is filled again.
        frame = frames[len(texts) % len(frames)]
        text = _capitalised(_fill(frame, decks))
        key = " ".join(re.findall(r"\w+", text.lower()))
        if key in texts:
            continue
        is_careless = frame in letters and source.random() < CARELESS
        texts[key] = text.lower().removesuffix(".") if is_careless else text
    return list(texts.values())


def _fill(frame: str, decks: Mapping[str, Deck]) -> str:
    """Fill the slots of a frame, then those of the phrases that came in."""
    while "{" in frame:
        frame = re.sub(r"\{(\w+)\}", lambda match: decks[match[1]].deal(), frame)
    return frame


def _capitalised(text: str) -> str:
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda match: match[0].upper(), text)


def make_dataset(*, rows_per_label: int = ROWS_PER_LABEL, seed: int = SEED) -> list[dict[str, str]]:
    """Make all rows, shuffled."""
    phrases = read_phrases()
    rows = [
        {"text": text, "label": label}
        for label in LABELS
        # A string seeds through SHA-512, the same on every version and platform.
        for text in make_texts(
            phrases["shared"], phrases[label], rows_per_label, random.Random(f"{seed} {label}")
        )
    ]
    random.Random(seed).shuffle(rows)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Write the training set."""
    parser = argparse.ArgumentParser(description="Make the second demo training set.")
    parser.add_argument("--output", type=Path, default=HERE / "sentiment_demo_train.raw.jsonl")
    output = parser.parse_args(argv).output
    rows = make_dataset()
    with output.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{output}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
