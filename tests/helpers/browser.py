"""Headless Chromium driven over WebDriver, with the standard library alone."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--force-prefers-reduced-motion",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """A browser that opens local files; use as a context manager."""

    def __init__(self, directory: Path, width: int, dark: bool = False) -> None:
        flags = [*FLAGS, f"--user-data-dir={directory / 'profile'}", f"--window-size={width},1000"]
        if dark:
            flags.append("--blink-settings=preferredColorScheme=0")
        self.options = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self.width = width

    def __enter__(self) -> "Browser":
        self.driver = subprocess.Popen(
            [str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.driver.stdout
        for line in self.driver.stdout:
            if b"started successfully on port" in line:
                port = int(line.split()[-1].rstrip(b"."))
                break
        self.base = f"http://127.0.0.1:{port}/session"
        found = self._post("", {"capabilities": {"alwaysMatch": self.options}})
        self.base += f"/{found['sessionId']}"
        metrics = {"width": self.width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self._post(
            "/goog/cdp/execute",
            {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics},
        )
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._request("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait(20)

    def open(self, page: Path, fragment: str = "") -> None:
        self._post("/url", {"url": page.as_uri() + fragment})

    def script(self, code: str, *arguments: object) -> Any:
        """Return the value of the JavaScript function body `code`."""
        return self._post("/execute/sync", {"script": code, "args": list(arguments)})

    def emulate_print(self) -> None:
        media = {"cmd": "Emulation.setEmulatedMedia", "params": {"media": "print"}}
        self._post("/goog/cdp/execute", media)

    def screenshot(self, width: int, height: int) -> bytes:
        """Return a WebP of the page's top."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        params = {"captureBeyondViewport": True, "clip": clip, "format": "webp", "quality": 80}
        found = self._post("/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": params})
        return base64.b64decode(found["data"])

    def click(self, selector: str) -> None:
        self._post(f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self._post(f"/element/{self._find(selector)}/value", {"text": text})

    def errors(self) -> list[str]:
        """Return what the console has logged."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def _find(self, selector: str) -> str:
        found = self._post("/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def _post(self, path: str, body: dict) -> Any:
        return self._request(path, json.dumps(body).encode())

    def _request(self, path: str, body: bytes | None = None, method: str = "POST") -> Any:
        request = urllib.request.Request(self.base + path, body, method=method)
        for attempt in (1, 2, 3):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)["value"]
            except urllib.error.HTTPError as error:
                raise AssertionError(error.read().decode()[:500]) from None
            except ConnectionError:
                time.sleep(0.2 * attempt)
        raise AssertionError("the browser does not answer")
