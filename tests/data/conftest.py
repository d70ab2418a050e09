"""What the tests of `data/` share."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from charlm.data.text.fetch import Download


@dataclass
class Server:
    """A server on loopback with one file, and every fault that a test asks of it.

    Attributes:
        status: of its answers.
        sends: how many bytes of the file, before the connection is cut.
        says: the Content-Length; -1 for the file's own, None for none at all.
        asked: how many requests there were.
    """

    content: bytes
    port: int = 0
    status: int = 200
    sends: int | None = None
    says: int | None = -1
    asked: int = 0

    def source(self, content: bytes | None = None) -> Download:
        """What is to be fetched: this server's content, unless another one is expected."""
        expected = self.content if content is None else content
        return Download(
            name="tiny",
            url=f"http://127.0.0.1:{self.port}/tiny.txt",
            sha256=hashlib.sha256(expected).hexdigest(),
            size=len(expected),
            about="a text for tests",
        )

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        if self.status != 200:
            request.send_error(self.status)
            return
        request.send_response(200)
        if self.says is not None:
            length = len(self.content) if self.says < 0 else self.says
            request.send_header("Content-Length", str(length))
        request.end_headers()
        with contextlib.suppress(ConnectionError):  # who had enough hangs up
            request.wfile.write(self.content[: self.sends])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose file is a text of 300,000 bytes."""
    monkeypatch.setenv("no_proxy", "*")
    # Lines that differ, so that a piece in the wrong place is another text.
    served = Server(b"".join(b"line %8d of the text\n" % i for i in range(12_000))[:300_000])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        served.port = listener.server_port
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        listener.shutdown()
        thread.join()
