"""A headless chromium that opens a page and turns the wheel; for tests.

Spoken to through its own debugging port, with tornado, which bokeh brings.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LIMIT = 60.0  # [s] for a page to be drawn


def find_browser() -> str | None:
    """Return the browser that ``EVSIM_TEST_BROWSER`` names, or the first on the path."""
    given = os.environ.get("EVSIM_TEST_BROWSER")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A context manager; ``folder`` holds the browser's profile."""

    def __init__(self, folder: Path, width: int = 1200, height: int = 1000) -> None:
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader",
            "--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={folder}",
            f"--window-size={width},{height}", "--host-resolver-rules=MAP * ~NOTFOUND",
        ]  # fmt: skip
        self._folder = folder
        self._command = [str(find_browser()), *options, "about:blank"]
        self._loop = asyncio.new_event_loop()
        self._n = 0

    def __enter__(self) -> Browser:
        quiet: Any = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._process = subprocess.Popen(self._command, **quiet)
        self.errors: list[str] = []
        self.requests: list[str] = []
        try:
            self._loop.run_until_complete(self._connect())
            for domain in ("Page", "Runtime", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._loop.close()

    async def _connect(self) -> None:
        from tornado.httpclient import AsyncHTTPClient
        from tornado.websocket import websocket_connect

        port_file = self._folder / "DevToolsActivePort"
        end = time.monotonic() + LIMIT
        while not port_file.exists() or not port_file.read_text():
            assert time.monotonic() < end and self._process.poll() is None, "no browser"
            await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
        page = next(one for one in json.loads(answer.body) if one["type"] == "page")
        self._socket = await websocket_connect(
            page["webSocketDebuggerUrl"], max_message_size=1 << 28
        )

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; note errors and requests in between."""
        return self._loop.run_until_complete(
            asyncio.wait_for(self._call(method, parameters), LIMIT)
        )

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._n += 1
        await self._socket.write_message(
            json.dumps({"id": self._n, "method": method, "params": parameters})
        )
        while True:
            message = json.loads(await self._socket.read_message())
            if message.get("id") == self._n:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message["method"] if "method" in message else "", message.get("params", {}))

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        elif event == "Page.javascriptDialogOpening":
            self.errors.append(f"dialog: {told['message']}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, path: Path) -> None:
        """Open a page and wait until bokeh has drawn it."""
        begin = time.monotonic()
        self.call("Page.navigate", url=path.as_uri())
        while not self.evaluate("window.Bokeh?.documents?.[0]?.is_idle ?? false"):
            assert time.monotonic() < begin + LIMIT, "the page is not drawn"
            time.sleep(0.02)
        self.frame()

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression, or of the promise that it is."""
        answer = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def frame(self) -> None:
        """Wait until two more frames are drawn."""
        self.evaluate(
            "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(1))))"
        )

    def wheel(self, x: float, y: float, notches: int) -> None:
        """Turn the wheel at a place, up to zoom in, and wait until that is drawn."""
        self.call(
            "Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-120 * notches
        )
        self.frame()

    def drag(self, x: float, y: float, dx: float) -> None:
        """Press the button, move to the side and let go."""
        place = dict(y=y, button="left", buttons=1, clickCount=1)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, **place)
        for part in (0.5, 1.0):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + part * dx, **place)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + dx, **place)
        self.frame()
