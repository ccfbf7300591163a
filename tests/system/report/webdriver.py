"""A headless Chromium, driven through chromedriver's own protocol (W3C WebDriver): no package in between."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One page at a time. Leaves nothing behind."""

    def __init__(self) -> None:
        # A short name: Chromium makes a socket among its temporary files, whose path may have 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="image-tools-browser-", dir="/tmp")
        self._log = Path(self._folder.name, "driver.log")
        environment = {**os.environ, "TMPDIR": self._folder.name, "HOME": self._folder.name}
        with self._log.open("wb") as log:
            self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=log, stderr=log, env=environment)
        try:
            self._root = f"http://127.0.0.1:{self._wait_for_port()}"
            flags = [*QUIET, f"--user-data-dir={self._folder.name}/profile"]
            options = {"goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
            self._session = f"/session/{self._ask('POST', '/session', {'capabilities': {'alwaysMatch': options}})['sessionId']}"
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._ask("DELETE", self._session)
        finally:
            self._stop()

    def open(self, path: Path) -> None:
        self.requested()  # the browser's own first page is none of ours
        self._post("url", url=path.resolve().as_uri())

    def size(self, width: int, height: int) -> None:
        """Of the page, as a phone of that size has it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)

    def media(self, media: str = "", **features: str) -> None:
        """``media("print")``, or ``media(prefers_color_scheme="dark")``."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.devtools("Emulation.setEmulatedMedia", media=media, features=named)

    def run(self, script: str) -> Any:
        """The value that the JavaScript returns."""
        return self._post("execute/sync", script=script, args=[])

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._post("goog/cdp/execute", cmd=command, params=parameters)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.devtools("Page.captureScreenshot", captureBeyondViewport=False)["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self._post("print"))

    def complaints(self) -> list[str]:
        """What the page wrote to the console: errors, and breaches of its policy."""
        return [entry["message"] for entry in self._post("se/log", type="browser")]

    def requested(self) -> set[str]:
        """Every address that was asked for since ``open``, or since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._post("se/log", type="performance")]
        return {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}

    def _post(self, path: str, **body: Any) -> Any:
        return self._ask("POST", f"{self._session}/{path}", body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def _wait_for_port(self) -> int:
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            if match := re.search(r"successfully on port (\d+)", self._log.read_text()):
                return int(match[1])
            time.sleep(0.02)
        raise AssertionError(f"chromedriver did not start:\n{self._log.read_text()}")

    def _stop(self) -> None:
        self._driver.terminate()
        self._driver.wait(20)
        self._folder.cleanup()
