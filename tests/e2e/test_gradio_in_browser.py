"""The page of `examples/gradio_app.py` in a real browser: bars appear, nothing typed runs.

Text is typed into the box and Enter is pressed, as a person would use the page.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import DESKTOP, FIELD, PHONE, Tab, wait_for
from programs import ROOT, free_port, served

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = pytest.mark.filterwarnings("default")

ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> joy"
BARS = "[...document.querySelectorAll('.bars div')].map(row => row.innerText)"


@pytest.fixture(scope="module")
def page(classifier_folder: Path) -> Iterator[str]:
    """Serve the page as its command does."""
    program, port = ROOT / "examples" / "gradio_app.py", free_port()
    with served(sys.executable, program, classifier_folder, "--port", port, port=port) as address:
        yield address


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_typed_sentence_gets_six_bars_that_fit(tab: Tab, page: str, size):
    tab.open(page, size)
    assert tab.ask(BARS) == []

    tab.type("i feel so happy that you came to see me")

    shares = [float(row.split()[-1].rstrip("%")) for row in wait_for(lambda: tab.ask(BARS), "bars")]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert shares == sorted(shares, reverse=True)
    assert tab.ask("document.documentElement.scrollWidth") <= size[0]


def test_a_script_in_a_text_does_not_run(tab: Tab, page: str):
    tab.open(page, DESKTOP)
    title = tab.ask("document.title")

    tab.type(ATTACK)

    assert len(wait_for(lambda: tab.ask(BARS), "a bar")) == 6
    assert tab.ask(f"{FIELD}.value") == ATTACK
    assert tab.ask("document.title") == title != "owned"
    assert tab.ask("document.querySelector('img[src=x]')") is None
