"""A headless Chromium by ChromeDriver (W3C WebDriver), and folders served to it."""

import contextlib
import json
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def ask(address: str, body: object = None, method: str = "POST") -> Any:
    """What ChromeDriver answers."""
    data = json.dumps(body or {}).encode() if method == "POST" else None
    request = urllib.request.Request(address, data, method=method)
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)["value"]


class Browser:
    """A session of ChromeDriver."""

    def __init__(self, session: str) -> None:
        self.session = session

    def open(self, address: str) -> None:
        ask(f"{self.session}/url", {"url": address})

    def run(self, script: str, *arguments: object) -> Any:
        """What the body of an async function of `arguments` returns."""
        wrapped = (
            "const [given, done] = arguments;"
            f"(async (...arguments) => {{ {script} }})(...given)"
            ".then((value) => done([value ?? null]), (problem) => done(String(problem)));"
        )
        answer = ask(f"{self.session}/execute/async", {"script": wrapped, "args": [arguments]})
        assert isinstance(answer, list), answer
        return answer[0]

    def press(self, *keys: str) -> None:
        """Press keys one after another, as a person would."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        given = [{"type": "key", "id": "keys", "actions": actions}]
        ask(f"{self.session}/actions", {"actions": given})


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; a test is skipped where there is none."""
    if not (shutil.which("chromedriver") and shutil.which("chromium")):
        pytest.skip("no Chromium with ChromeDriver here")
    options = {"args": [*CHROMIUM, f"--user-data-dir={profile}"]}
    wanted = {"goog:chromeOptions": options, "timeouts": {"script": 100_000}}
    command = ["chromedriver", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            started = (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)
            port = next(found[1] for found in started if found)
            sessions = f"http://127.0.0.1:{port}/session"
            answer = ask(sessions, {"capabilities": {"alwaysMatch": wanted}})
            browser = Browser(f"{sessions}/{answer['sessionId']}")
            yield browser
            ask(browser.session, method="DELETE")
        finally:
            driver.terminate()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


@contextlib.contextmanager
def served(
    folder: Path | None = None, handler: Callable[..., BaseHTTPRequestHandler] | None = None
) -> Iterator[str]:
    """The address of a folder, or of what a handler serves."""
    chosen = handler or partial(_Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), chosen) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
