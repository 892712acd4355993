"""A headless browser, steered through its own debugging protocol as a person would use a page."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from programs import usual_environment

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120
DESKTOP = (1280, 900)


def wait_for(found: Any, what: str, patience: float = PATIENCE) -> Any:
    """Ask again until there is something to return; fail with what did not come."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {patience} s")


@contextmanager
def served(
    *command: object, port: int, page: str = "", cwd: Path | None = None, **environment: str
) -> Iterator[str]:
    """Run a program that serves on a port; yield a page's address once it answers."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **usual_environment(), **environment},
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}/{page}"
    try:
        wait_for(lambda: _answers(address) or process.poll() is not None, "the page")
        assert process.poll() is None, "the page's program ended by itself"
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # what the page has started ends with it
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.TransportError:
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

        file = profile / "DevToolsActivePort"
        port = wait_for(lambda: file.is_file() and file.read_text().strip(), "it").split()[0]
        tabs = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=30).json()
        page = next(one for one in tabs if one["type"] == "page")
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None)
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
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        width, height = DESKTOP
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Page.navigate", url=address)
        wait_for(lambda: self.ask("!!document.querySelector('textarea, input[type=text]')"), "it")

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

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)
