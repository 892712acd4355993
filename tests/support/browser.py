"""A headless browser, steered through its own debugging protocol as a person would use a page."""

import base64
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from programs import usual_environment

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120
PHONE, DESKTOP = (390, 844), (1280, 900)


def wait_for(found: Any, what: str, patience: float = PATIENCE) -> Any:
    """Ask again until there is something to give; fail with what did not come."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {patience} s")


@contextmanager
def served(
    *command: object, port: int, cwd: Path | None = None, **environment: str
) -> Iterator[str]:
    """Run a program that serves a page on a port; yield the page's address once it answers."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **usual_environment(), **environment},
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        wait_for(lambda: _answers(address) or process.poll() is not None, "the page")
        assert process.poll() is None, "the page's program ended by itself"
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # what the page has started ends with it
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own page
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


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
        """Type a text into the page's first field and press Enter."""
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

    def click(self, expression: str, what: str) -> None:
        """Click with the mouse on the middle of an element once it is there and no longer moves."""
        show = (
            f"(() => {{ const one = {expression}; if (!one || one.disabled) return null;"
            "one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )

        def middle() -> Any:
            before = self.ask(show)
            time.sleep(0.1)
            return before if before == self.ask(show) else None

        x, y = wait_for(middle, what)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)
