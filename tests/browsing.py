"""A headless browser, driven over the DevTools protocol through two pipes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PROGRAM = next((found for name in NAMES if (found := shutil.which(name))), None)
"""The browser's program; None where there is none."""
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu")
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}
"""Key code and text of each key that tests press."""
CONTROL = 2
WHEN = """new Promise((done) => {
  const met = () => %s;
  if (met()) return done(true);
  new MutationObserver((changes, observer) => {
    if (met()) { observer.disconnect(); done(true); }
  }).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
})"""


class Page:
    """A page in a browser of its own; `close` ends the browser."""

    def __init__(self, address: str, profile: Path) -> None:
        assert PROGRAM is not None
        to_browser, local_end = os.pipe()
        remote_end, from_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4, which a shell puts there.
        pipes = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        profiled = f"--user-data-dir={profile}"
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, PROGRAM, *OPTIONS, profiled, "--remote-debugging-pipe"],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._requests = os.fdopen(local_end, "wb")
        self._answers = os.fdopen(remote_end, "rb")
        self._left = b""
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self.errors: list[str] = []
        """What the browser has logged as an error, such as a breach of the page's policy."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.send("Log.enable")
        self.send("Runtime.enable")
        self.send("Page.navigate", url=address)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | self._session
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while True:
            reported = self._read()
            if reported.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(reported["params"]["exceptionDetails"]))
            if reported.get("method") == "Log.entryAdded":
                entry = reported["params"]["entry"]
                self.errors += [entry["text"]] if entry["level"] == "error" else []
            if reported.get("id") == number:
                assert "error" not in reported, reported["error"]
                result: dict[str, Any] = reported["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._answers.fileno(), 65536)
            assert more, "the browser has ended"
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        reported: dict[str, Any] = json.loads(message)
        return reported

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript; a promise's value is waited for."""
        reported = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in reported, reported
        return reported["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a change of the document makes the condition true."""
        assert self.value(WHEN % condition)

    def press(self, key: str, modifiers: int = 0) -> None:
        code, text = KEYS[key]
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self._answers.close()
