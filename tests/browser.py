"""A real browser without a driver: Chromium, headless, spoken to by the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/. `Browser.open` gives a tab with cookies of its own, as another
person's browser has. What scripts throw and what the page's policy blocks is kept in `Tab.problems`.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S = 60.0  # two files of tests, each with services of its own, may share two cores
_KEYS = {
    "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""), "ArrowRight": ("ArrowRight", 39, ""), "ArrowDown": ("ArrowDown", 40, ""),
}  # fmt: skip
_AT_REST = """(async () => {
  const element = document.querySelector(%s), deadline = performance.now() + 10000;
  element.scrollIntoView({block: 'center'});
  for (let still = 0, last = ''; performance.now() < deadline;) {
    await new Promise(requestAnimationFrame);
    const {x, y, width, height} = element.getBoundingClientRect(), at = [x + width / 2, y + height / 2];
    still = String(at) === last && element.contains(document.elementFromPoint(...at)) ? still + 1 : 0;
    if (still === 5) return at;
    last = String(at);
  }
  throw new Error('it does not come to rest, or something lies over it');
})()"""
_MODIFIERS = {"alt": 1, "ctrl": 2, "shift": 8}


def find_browser() -> str | None:
    """Return the program of a Chromium that is installed here."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, session=self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, f"{expression}: {done['exceptionDetails']}"
        return done["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.evaluate(f"!!({expression})"):
            assert time.monotonic() < deadline, f"{expression} did not come true; the page says {self.text('body')}"
            time.sleep(0.03)

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def texts(self, selector: str) -> list[str]:
        return list(self.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText)"))

    def press(self, *keys: str, hold: str = "") -> None:
        """Press keys one after the other: characters, or names such as ``Enter``; `hold` is ctrl, shift or alt."""
        for key in keys:
            name, code, text = _KEYS[key] if key in _KEYS else (key, ord(key.upper()), key)
            if hold == "ctrl":
                text = ""
            common = {"key": name, "windowsVirtualKeyCode": code, "modifiers": _MODIFIERS.get(hold, 0)}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def fill(self, selector: str, value: str) -> None:
        """Give a field a value, as typing it at once would."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{field}.value = {json.dumps(value)}")
        self.evaluate(f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}))")

    def click(self, selector: str, *, hold: str = "") -> None:
        """Click the middle of an element with the mouse, when it has come to rest and nothing lies over it."""
        x, y = self.evaluate(_AT_REST % json.dumps(selector))
        common = {"x": x, "y": y, "button": "left", "clickCount": 1, "modifiers": _MODIFIERS.get(hold, 0)}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **common)

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


class Browser:
    """A running browser; `call` speaks to it."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=PATIENCE_S, suppress_origin=True)
        self._numbers = itertools.count(1)
        self._tabs: dict[str, Tab] = {}

    def call(self, method: str, *, session: str = "", **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._note(answer)

    def open(self, url: str) -> Tab:
        """Open an address in a tab that shares nothing with others."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        tab.resize(1400, 900)
        tab.go(url)
        return tab

    def close(self) -> None:
        with suppress(Exception):  # it may be gone already
            self.call("Browser.close")
        self._socket.close()

    def _note(self, event: dict[str, Any]) -> None:
        tab, parameters = self._tabs.get(event.get("sessionId", "")), event.get("params", {})
        if tab is None:
            return
        if event["method"] == "Runtime.exceptionThrown":
            tab.problems.append(str(parameters["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and parameters["entry"]["source"] in ("security", "javascript"):
            tab.problems.append(parameters["entry"]["text"])


@contextmanager
def running(program: str, folder: Path) -> Iterator[Browser]:
    """Run a browser with an empty profile in `folder`."""
    command = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        said, deadline = folder / "DevToolsActivePort", time.monotonic() + PATIENCE_S
        while not said.is_file() or len(said.read_text().split()) < 2:
            assert process.poll() is None, f"{program} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{program} did not open its port"
            time.sleep(0.05)
        port, path = said.read_text().split()
        browser = Browser(f"ws://127.0.0.1:{port}{path}")
        try:
            yield browser
        finally:
            browser.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
