"""The page of `examples/gradio_app.py` in a real browser: bars appear, nothing typed runs.

The browser is steered through its own debugging protocol, as a person would use the page: text is
typed into the box and Enter is pressed.
"""

import base64
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.host import ROOT
from e2e.test_page_in_browser import BROWSERS

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = pytest.mark.filterwarnings("default")

PATIENCE = 120
PHONE, DESKTOP = (390, 844), (1280, 900)
ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> joy"
BARS = "[...document.querySelectorAll('.bars div')].map(row => row.innerText)"


def wait_for(found: Any, what: str) -> Any:
    """Ask again until there is something to give; fail with what did not come."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {PATIENCE} s")


def is_served(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own page
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def page(classifier_folder: Path) -> Iterator[str]:
    """Serve the page as its command does; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = ROOT / "examples" / "gradio_app.py"
    process = subprocess.Popen(
        [sys.executable, program, classifier_folder, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        wait_for(lambda: is_served(address) or process.poll() is not None, "the page")
        assert process.poll() is None, "the page's program ended by itself"
        yield address
    finally:
        process.terminate()
        process.wait(30)


class Tab:
    """A tab of a headless browser, steered through the DevTools protocol."""

    def __init__(self, browser: str, profile: Path) -> None:
        self._process = subprocess.Popen(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--hide-scrollbars", "--remote-debugging-port=0"),
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        from websockets.sync.client import connect

        place = profile / "DevToolsActivePort"
        wait_for(lambda: place.is_file() and place.read_text().strip(), "the browser")
        port = place.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            tabs = [one for one in json.load(answer) if one["type"] == "page"]
        self._socket = connect(tabs[0]["webSocketDebuggerUrl"], max_size=None)
        self._count = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def ask(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)[
            "result"
        ].get("value")

    def open(self, address: str, size: tuple[int, int]) -> None:
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Page.navigate", url=address)
        wait_for(lambda: self.ask("!!document.querySelector('textarea, input[type=text]')"), "it")

    def type(self, text: str) -> None:
        self.ask("document.querySelector('textarea, input[type=text]').focus()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key="Enter",
                code="Enter",
                windowsVirtualKeyCode=13,
                **({"text": "\r"} if kind == "keyDown" else {}),
            )

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser on the path ({', '.join(BROWSERS)}); install Chromium to run this")
    one = Tab(browser, tmp_path / "profile")
    yield one
    one.close()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_typed_sentence_gets_six_bars_that_fit(tab: Tab, page: str, tmp_path: Path, size):
    tab.open(page, size)
    assert tab.ask(BARS) == []

    tab.type("i feel so happy that you came to see me")

    rows = wait_for(lambda: tab.ask(BARS), "a bar")
    assert len(rows) == 6
    shares = [float(row.split()[-1].rstrip("%")) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert shares == sorted(shares, reverse=True)
    assert tab.ask("document.documentElement.scrollWidth") <= size[0]
    tracks = tab.ask("[...document.querySelectorAll('.track')].map(one => one.offsetWidth)")
    fills = tab.ask("[...document.querySelectorAll('.fill')].map(one => one.offsetWidth)")
    assert min(tracks) > 80
    assert fills == [pytest.approx(tracks[0] * share / 100, abs=1) for share in shares]
    picture = tmp_path / f"{size[0]}.png"
    tab.picture(picture)
    assert picture.stat().st_size > 5000


def test_a_script_in_a_text_does_not_run(tab: Tab, page: str):
    tab.open(page, DESKTOP)
    title = tab.ask("document.title")

    tab.type(ATTACK)

    assert len(wait_for(lambda: tab.ask(BARS), "a bar")) == 6
    assert tab.ask("document.querySelector('textarea, input[type=text]').value") == ATTACK
    assert tab.ask("document.title") == title != "owned"
    assert tab.ask("document.querySelector('img[src=x]')") is None
