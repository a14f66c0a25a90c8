"""Headless Chromium over a pipe: what a page shows, says, asks for and pops up.

The DevTools protocol is spoken over two file descriptors (``--remote-debugging-pipe``), so no
port is opened and no library is needed.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
PATIENCE_SECONDS = 60


def find_browser() -> str:
    """The program, or the reason to skip."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium here: apt-get install chromium fonts-noto-cjk")


class Navigated(Exception):
    """The page was left while it was asked something: a new one is loading."""


@dataclass
class Browser:
    """One tab. ``events`` holds everything the page has told."""

    send_to: int
    read_from: int
    events: list[dict[str, Any]] = field(default_factory=list)
    session: str = ""
    _next: int = 0
    _rest: bytes = b""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._next += 1
        number = self._next
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send_to, json.dumps(message).encode() + b"\0")
        ends = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends:
            for told in self._read(ends):
                if told.get("id") == number:
                    if "navigated or closed" in told.get("error", {}).get("message", ""):
                        raise Navigated(method)
                    assert "error" not in told, told
                    return dict(told["result"])
        raise AssertionError(f"the browser did not answer {method}")

    def _read(self, ends: float) -> list[dict[str, Any]]:
        ready, _, _ = select.select([self.read_from], [], [], max(0.0, ends - time.monotonic()))
        if not ready:
            return []
        data = os.read(self.read_from, 2**20)
        assert data, "the browser has ended"
        *whole, self._rest = (self._rest + data).split(b"\0")
        messages = [json.loads(part) for part in whole]
        for told in messages:
            if told.get("method"):
                self.events.append(told)
                if told["method"] == "Page.javascriptDialogOpening":
                    self._accept(told)
        return messages

    def _accept(self, told: dict[str, Any]) -> None:
        self._next += 1
        params = {"accept": True}
        message = {"id": self._next, "method": "Page.handleJavaScriptDialog", "params": params}
        message["sessionId"] = told.get("sessionId", self.session)
        os.write(self.send_to, json.dumps(message).encode() + b"\0")

    def open(self, url: str) -> None:
        """Go to a page and wait until it and everything it loads is there."""
        seen = len(self.events)
        self.call("Page.navigate", url=url)
        ends = time.monotonic() + PATIENCE_SECONDS
        while not any(e["method"] == "Page.loadEventFired" for e in self.events[seen:]):
            assert time.monotonic() < ends, f"{url} did not load"
            self._read(ends)
        self.settle()

    def settle(self) -> None:
        """Two frames and an idle moment: what handlers had to do is done."""
        self.evaluate(
            "new Promise(r => requestAnimationFrame(() => requestAnimationFrame("
            "() => setTimeout(r, 60))))"
        )

    def evaluate(self, script: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until a script has a value that is true, and return it."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            value = None
            with contextlib.suppress(Navigated):  # while it is asked or while it settles
                value = self.evaluate(script)
                if not value:
                    self.settle()
            if value or time.monotonic() > ends:
                assert value, f"never true: {script}"
                return value

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, *, whole: bool = True) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        text = {"text": "\r"} if key == "Enter" else {}  # without it a link is not followed
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code, **text)  # fmt: skip

    @property
    def dialogs(self) -> list[str]:
        return [
            str(e["params"]["message"])
            for e in self.events
            if e["method"] == "Page.javascriptDialogOpening"
        ]

    @property
    def requests(self) -> list[str]:
        return [
            str(e["params"]["request"]["url"])
            for e in self.events
            if e["method"] == "Network.requestWillBeSent"
        ]

    @property
    def messages(self) -> list[str]:
        """What the console shows, errors of loading and of the policy included."""
        return [
            str(e["params"].get("entry", {}).get("text") or e["params"].get("args") or e["params"])
            for e in self.events
            if e["method"]
            in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        ]


@contextlib.contextmanager
def browse() -> Iterator[Browser]:
    """A fresh browser with one tab."""
    program = find_browser()
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The browser reads commands from descriptor 3 and answers on 4.
        line = f'exec "$@" 3<&{to_read} 4>&{from_write}'
        words = [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(
            ["bash", "-c", line, "browser", *words],
            pass_fds=(to_read, from_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            os.close(to_read)
            os.close(from_write)
            browser = Browser(to_write, from_read)
            try:
                target = browser.call("Target.createTarget", url="about:blank")["targetId"]
                attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
                browser.session = attached["sessionId"]
                for domain in ("Page", "Runtime", "Network", "Log"):
                    browser.call(f"{domain}.enable")
                yield browser
            finally:
                process.kill()
                process.wait()
                os.close(to_write)
                os.close(from_read)


@contextlib.contextmanager
def serve(folder: Path, sent: dict[str, bytes] | None = None) -> Iterator[str]:
    """The files of a folder on the loopback interface; yields the address.

    What is sent is kept in ``sent`` by its path; then nothing may be kept by the browser.
    """

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def end_headers(self) -> None:
            if sent is not None:
                self.send_header("Cache-Control", "no-store")
            super().end_headers()

        def copyfile(self, source: Any, outputfile: Any) -> None:
            data = source.read()
            if sent is not None:
                sent[self.path.partition("?")[0]] = data
            outputfile.write(data)

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
