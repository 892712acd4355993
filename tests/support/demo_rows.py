"""The shipped demo data, read without the package's own readers."""

import json
from collections import Counter
from pathlib import Path

DATA = Path(__file__).parents[2] / "data"
Rows = list[dict[str, str]]


def rows_of(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n")[:-1]]


def normalised(text: str) -> str:
    """Leave letters and digits: case, punctuation and spacing do not make another sentence."""
    kept = "".join(c if c.isalnum() else " " for c in text.casefold().replace("'", ""))
    return " ".join(kept.split())


def repeats(texts: list[str]) -> list[str]:
    return [text for text, count in Counter(map(normalised, texts)).items() if count > 1]
