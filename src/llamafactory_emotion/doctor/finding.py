"""What a check has found: a level, a sentence, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: `error` stops a run or spoils it, `warning` may, `note` is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        level: How bad it is.
        check: The check's name, for `--json` and for looking it up.
        sentence: What is found, and where.
        remedy: What to do; empty where there is nothing to be done.
    """

    level: Level
    check: str
    sentence: str
    remedy: str = ""


def error(check: str, sentence: str, remedy: str) -> Finding:
    """Give a finding that stops a run or spoils its result."""
    return Finding(Level.ERROR, check, sentence, remedy)


def warning(check: str, sentence: str, remedy: str) -> Finding:
    """Give a finding that may spoil a run."""
    return Finding(Level.WARNING, check, sentence, remedy)


def note(check: str, sentence: str, remedy: str = "") -> Finding:
    """Give a finding that is good to know."""
    return Finding(Level.NOTE, check, sentence, remedy)
