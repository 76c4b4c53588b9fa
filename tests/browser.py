"""A real Chromium, driven over its DevTools protocol: what tests of the pages look through."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn
from websockets.sync.client import connect

from eval.web.server import listen, url_of

LONG_S = 60  # only tells a hang from an answer
_KEYS = {
    "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowRight": ("ArrowRight", 39, ""), "ArrowDown": ("ArrowDown", 40, ""),
}  # fmt: skip


def find_chromium():
    """Give the browser's path; skips without one, fails where one is required."""
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None and os.environ.get("SEARCH_R1_BROWSER") == "required":
        pytest.fail("no Chromium, and SEARCH_R1_BROWSER=required: apt-get install chromium")
    if found is None:
        pytest.skip("no Chromium here (Debian and Ubuntu: apt-get install chromium)")
    return found


class Page:
    """One tab. Every wait ends by what happens; the limit is far beyond that."""

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count(1)
        self.requests = []
        self.errors = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Send a command and give its result; events that come first are kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=LONG_S))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message):
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif message.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded":
            entry = parameters["entry"]
            # A page that outlives its server asks in vain, which says nothing about the page.
            if entry["level"] == "error" and entry["source"] != "network":
                self.errors.append(entry["text"])

    def open(self, url):
        """Go to an address; another fragment of the same page loads it anew."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)

    def js(self, expression):
        """Evaluate an expression in the page, a promise to its value."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression):
        """Wait until an expression is true, and give its value."""
        until = time.monotonic() + LONG_S
        while time.monotonic() < until:
            with contextlib.suppress(AssertionError):  # what it asks of is not there yet
                if value := self.js(expression):
                    return value
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression}; page says {self.text()[:500]!r}")

    def text(self, selector="body"):
        """Give the text a person sees."""
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def wait_text(self, words, selector="body"):
        """Wait until some text is seen."""
        self.wait_for(
            f"(document.querySelector({json.dumps(selector)})?.innerText ?? '')"
            f".includes({json.dumps(words)})"
        )

    def press(self, *keys):
        """Press keys one after the other, as on a keyboard."""
        for key in keys:
            name, code, text = _KEYS.get(key, (key, ord(key[0].upper()), key))
            event = {"key": name, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
            self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text):
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def click(self, selector):
        """Click the first element that a selector finds."""
        self.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, selector, value):
        """Choose an option, as a person would."""
        self.js(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            f" node.value = {json.dumps(value)};"
            " for (const name of ['input', 'change'])"
            " node.dispatchEvent(new Event(name, { bubbles: true })); })()"
        )

    def resize(self, width, height=900, scale=1):
        """Take the size of another screen."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip

    def prefer(self, scheme):
        """Prefer ``light`` or ``dark``."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path):
        """Write what is seen as a PNG."""
        shot = self.send("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(shot))


@contextlib.contextmanager
def served():
    """Give a function that serves an app on a free port and says where; all end with the block."""
    running = []

    def serve(app):
        listener = listen(0)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        return url_of(listener)

    try:
        yield serve
    finally:
        for server, thread in running:
            server.should_exit = True
            thread.join(LONG_S)


@contextlib.contextmanager
def open_browser():
    """Start a Chromium without a window, and give a page of it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *(find_chromium(), "--headless=new", "--remote-debugging-port=0", "--no-first-run"),
            *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--disable-background-networking", f"--user-data-dir={profile}", "about:blank"),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            address = _page_of(process, Path(profile) / "DevToolsActivePort")
            with connect(address, max_size=None, proxy=None, ping_interval=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.wait(LONG_S)


def _page_of(process, port_file):
    until = time.monotonic() + LONG_S
    while time.monotonic() < until and process.poll() is None:
        if port_file.is_file() and (lines := port_file.read_text().splitlines()):
            targets = httpx.get(f"http://127.0.0.1:{lines[0]}/json", trust_env=False).json()
            pages = [one for one in targets if one["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.05)
    raise AssertionError(f"Chromium did not start; exit code {process.poll()}")
