"""A real Chromium without a window, told what to do over its DevTools protocol; not every machine has one."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import websocket

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_STARTS_IN_S: Final = 120.0
_PATIENCE_MS: Final = 60_000
_KEY_CODES: Final = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
# What stands on a console: what the page says, what it does not catch, what the browser finds fault with.
_SPEAKS: Final = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")


def find_browser() -> str | None:
    """The Chromium of this machine."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextmanager
def opened_page(
    address: str, *, headers: Mapping[str, str] | None = None, size: str = "1600,1000"
) -> Iterator[Page]:
    """Open an address; with these headers in all that the page asks for."""
    browser = find_browser()
    if browser is None:
        raise RuntimeError("no Chromium is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        child = subprocess.Popen(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--hide-scrollbars",
                "--disable-features=BackForwardCache",  # a page that was left would keep its connections
                f"--window-size={size}",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with closing(Page(_debugger_of(child), address, headers or {})) as page:
                yield page
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
            child.wait()
            if child.stderr is not None:
                child.stderr.close()


def _debugger_of(child: subprocess.Popen[str]) -> str:
    assert child.stderr is not None
    for line in child.stderr:
        if "DevTools listening on " in line:
            return line.rpartition(" ")[2].strip()
    raise RuntimeError("the browser ended before it opened its debugger")


class Page:
    """One tab, over Chromium's DevTools protocol."""

    def __init__(self, debugger: str, address: str, headers: Mapping[str, str]) -> None:
        """Open it."""
        self._socket = websocket.create_connection(debugger, timeout=_STARTS_IN_S, suppress_origin=True)
        self._count = 0
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.said: list[str] = []
        self._ask("Runtime.enable")
        self._ask("Log.enable")
        self._ask("Page.enable")
        self._ask("Network.enable")
        self._ask("Network.setExtraHTTPHeaders", headers=dict(headers))
        self.open(address)

    def close(self) -> None:
        """Leave the browser alone."""
        self._socket.close()

    def open(self, address: str) -> None:
        """Go to an address; what was said before is forgotten."""
        self.said.clear()
        self._ask("Page.navigate", url=address)

    def run_first(self, script: str) -> None:
        """Run a script in each page that is opened from now on, before its own."""
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=script)

    def set_scheme(self, scheme: str) -> None:
        """Have the machine prefer light or dark."""
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def set_size(self, width: int, height: int) -> None:
        """Be a screen of that size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self) -> bytes:
        """What can be seen, as PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot")["data"])

    def evaluate(self, script: str) -> Any:
        """The value of a script, awaited."""
        found = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def wait_until(self, script: str) -> None:
        """Return when the script says true."""
        look = (
            f"const until = Date.now() + {_PATIENCE_MS};"
            f"const look = () => {script} ? done(null) : "
            "Date.now() > until ? done(document.body.innerText) : setTimeout(look, 50); look();"
        )
        shown = self.evaluate(f"new Promise((done) => {{ {look} }})")
        assert shown is None, f"never true: {script}; the page shows: {shown[:1000]}"

    def save_downloads(self, folder: Path) -> None:
        """Put there what the page has the browser save."""
        self._ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def press(self, key: str, *, text: str = "") -> None:
        """Press a key, as a person does."""
        code = _KEY_CODES.get(key, 0)
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._ask("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **named)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("method") in _SPEAKS:
                self.said.append(json.dumps(answer["params"])[:1500])
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
