"""The errors a user can cause, and the exit code each one ends a command with.

    EmotionError          the work failed (exit code 1)
    ├── CallError         the call was wrong: a key or a path given (exit code 2)
    ├── DataError         a file's content is wrong
    └── ModelError        a model, an adapter or a tokenizer is wrong

Each message is one sentence or a list of them that says what is wrong, where, and what to do.
"""


class EmotionError(Exception):
    """A mistake that the user can mend; shown as its message, without a traceback."""

    exit_code = 1


class CallError(EmotionError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class DataError(EmotionError):
    """The content of a file is not what it should be."""


class ModelError(EmotionError):
    """A model, an adapter or a tokenizer cannot do what was asked of it."""
