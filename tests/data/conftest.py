"""What the tests of `data/` share."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import settings

from charlm.data.text.fetch import Source

# The same examples in every run, however slow the machine is.
settings.register_profile("charlm", derandomize=True, deadline=None, database=None)
settings.load_profile("charlm")


@dataclass
class Server:
    """A server on loopback with one file, and every fault that a test asks of it.

    Attributes:
        cuts: for each answer in turn, after how many bytes the connection is cut.
        ranges: how it answers a request for a range: "serve", "ignore", "refuse" (416) or
            "shift" (it sends another range than it was asked for).
        says: the Content-Length of a whole answer, None for none at all.
        asked: the Range header of every request so far.
    """

    content: bytes
    port: int = 0
    status: int = 200
    ranges: str = "serve"
    cuts: list[int] = field(default_factory=list)
    says: int | None = -1
    asked: list[str | None] = field(default_factory=list)

    def source(self, content: bytes | None = None) -> Source:
        """What is to be fetched: this server's content, unless another one is expected."""
        expected = self.content if content is None else content
        return Source(
            name="tiny",
            url=f"http://127.0.0.1:{self.port}/tiny.txt",
            sha256=hashlib.sha256(expected).hexdigest(),
            size=len(expected),
            about="a text for tests",
        )

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.asked.append(wanted)
        if self.status != 200 or (wanted and self.ranges == "refuse"):
            request.send_error(self.status if self.status != 200 else 416)
            return
        body = self._begin(request, wanted)
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)

    def _begin(self, request: BaseHTTPRequestHandler, wanted: str | None) -> bytes:
        """Send the head, and return the bytes that should follow."""
        start = 0
        if wanted and self.ranges in ("serve", "shift"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) - (self.ranges == "shift")
            last = len(self.content) - 1
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        else:
            request.send_response(200)
        body = self.content[start:]
        if self.says is not None:
            request.send_header("Content-Length", str(len(body) if self.says < 0 else self.says))
        request.end_headers()
        return body


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
