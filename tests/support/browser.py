"""A headless browser, steered through its own debugging protocol as a person would use a page."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120
PHONE, DESKTOP = (390, 844), (1280, 900)
FIELD = "document.querySelector('textarea, input[type=text], input[type=search]')"


def wait_for(found: Any, what: str, patience: float = PATIENCE) -> Any:
    """Ask again until there is something to return; fail with what did not come."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {patience} s")


class Tab:
    """A tab of a headless browser, steered through the DevTools protocol."""

    def __init__(self, browser: str, profile: Path, *flags: str) -> None:
        self._process = subprocess.Popen(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--hide-scrollbars", "--remote-debugging-port=0"),
                *(f"--user-data-dir={profile}", *flags, "about:blank"),
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

    def open(self, address: str, size: tuple[int, int]) -> None:
        width, height = size
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Page.navigate", url=address)
        wait_for(lambda: self.ask(f"!!{FIELD}"), "it")

    def write(self, text: str) -> None:
        """Write a text into the page's first field, in place of what is there."""
        self.ask(f"{FIELD}.select()")
        self.call("Input.insertText", text=text)

    def type(self, text: str) -> None:
        """Write a text into the page's first field and press Enter."""
        self.write(text)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
        self.call("Input.dispatchKeyEvent", type="keyUp", **enter)

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
