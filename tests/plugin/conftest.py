"""What a run's log says."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged where LLaMA-Factory's terminal and web page show it."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("llamafactory.emotion")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
