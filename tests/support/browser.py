"""A headless Chromium, driven by ChromeDriver in the W3C's WebDriver protocol."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import urllib3

ENTER, TAB = "\ue007", "\ue004"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key of a reference
_QUIET = ("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync")  # fmt: skip


class Browser:
    """One session; its window is the page's."""

    def __init__(self, driver: str, profile: str) -> None:
        self._pool = urllib3.PoolManager(retries=False, timeout=120)
        switches = [*_QUIET, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": switches},
                  "goog:loggingPrefs": {"browser": "ALL"}}  # fmt: skip
        made = self._call("POST", driver + "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"{driver}/session/{made['sessionId']}"

    def open(self, url: str) -> None:
        """Goes to a page, and waits until it is loaded."""
        self._ask("url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function in JavaScript returns."""
        return self._ask("execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """Of the first element, "" without one; as it is in the document, shown or not."""
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def type(self, text: str) -> None:
        """Keys pressed into what has the focus."""
        focused = self._call("GET", f"{self._session}/element/active", None)
        self._ask(f"element/{focused[_ELEMENT]}/value", {"text": text})

    def wait(self, condition: Callable[[], Any], seconds: float = 120.0) -> Any:
        """What the condition gives once it holds."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"still waiting after {seconds:g} s; the page says: {self.text('main')}"
            time.sleep(0.05)
        return found

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """The page's own size, as a telephone's or a desk's is, in a light or a dark scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._devtools("Emulation.setEmulatedMedia", {"features": scheme})

    def offline(self, is_so: bool) -> None:
        """Without the network, or with it again."""
        self._devtools("Network.enable", {})
        self._devtools("Network.emulateNetworkConditions",
                       {"offline": is_so, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})  # fmt: skip

    def complaints(self) -> list[str]:
        """What the console has had to say, each time since the last."""
        return [entry["message"] for entry in self._ask("se/log", {"type": "browser"})]

    def close(self) -> None:
        self._call("DELETE", self._session, None)

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._ask("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, what: str, body: dict[str, Any]) -> Any:
        return self._call("POST", f"{self._session}/{what}", body)

    def _call(self, method: str, url: str, body: dict[str, Any] | None) -> Any:
        answer = self._pool.request(method, url, **({"json": body} if body is not None else {}))
        value = answer.json()["value"]
        assert answer.status == 200, f"{url}: {value}"
        return value


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    if not shutil.which("chromedriver") or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium with ChromeDriver on this machine (Debian's packages chromium and chromium-driver)")
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromedriver", "--port=0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = next(line for line in process.stdout if "started successfully on port" in line)
            browser = Browser(f"http://127.0.0.1:{port.split()[-1].rstrip('.')}", profile)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            process.terminate()
            process.wait(60)
