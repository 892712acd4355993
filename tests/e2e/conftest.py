"""The browser that several of these tests open."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import BROWSERS, Tab


@pytest.fixture(scope="session")
def browser() -> str:
    """The path of a Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser on the path ({', '.join(BROWSERS)}); install Chromium to run this")
    return found


@pytest.fixture
def tab(browser: str, tmp_path: Path) -> Iterator[Tab]:
    """A tab with an empty page, in a profile of its own."""
    one = Tab(browser, tmp_path / "profile")
    yield one
    one.close()
