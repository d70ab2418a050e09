"""A client of `charlm serve` that costs little, since it runs on the server's own cores.

It keeps the bytes of an answer and the moments when they came; what they say is read later.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from charlm.infer.request import Request

Found = TypeVar("Found")
LAST_CHUNK = b"\r\n0\r\n\r\n"
HEAD_END = b"\r\n\r\n"
EVENT = b"data: "


@dataclass(frozen=True)
class Reply:
    """What came of one request.

    Attributes:
        content: of the whole answer, its head included.
        first: seconds until its first event had come; until its end where it is no stream.
        whole: seconds until its end.
    """

    content: bytes
    first: float
    whole: float

    @property
    def status(self) -> int:
        """Of HTTP."""
        return int(self.content[9:12])

    @property
    def text(self) -> str:
        """Of its only choice; of an error its bytes."""
        if self.status != 200:
            return self.content.decode()
        head, _, body = self.content.partition(HEAD_END)
        if b"text/event-stream" not in head:
            return str(json.loads(body)["choices"][0]["text"])
        lines = [line[len(EVENT) :] for line in body.splitlines() if line.startswith(EVENT)]
        if lines.pop() != b"[DONE]":
            return "(cut off)"
        return "".join(choice["text"] for line in lines for choice in json.loads(line)["choices"])


class Connection(asyncio.Protocol):
    """A connection, for one request after another."""

    def __init__(self) -> None:
        self._content, self._searched = bytearray(), 0
        self._streamed = False
        self._end: int | None = None  # bytes of an answer that says how long it is
        self._began = self._first = 0.0
        self._answer: asyncio.Future[Reply] | None = None

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a server of this machine."""
        _, made = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast(asyncio.Transport, transport)

    async def ask(self, sent: bytes) -> Reply:
        """Send a request, take its answer.

        Raises:
            ConnectionError: the server has closed the connection first.
        """
        self._content, self._searched, self._end = bytearray(), 0, None
        self._answer = asyncio.get_running_loop().create_future()
        self._began, self._first = time.perf_counter(), 0.0
        self.transport.write(sent)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._content += data
        if not self._searched:
            self._read_head()
        if self._streamed and not self._first and EVENT in self._content:
            self._first = time.perf_counter()
        ended = (
            self._content.endswith(LAST_CHUNK)
            if self._end is None
            else len(self._content) >= self._end
        )
        if ended and self._searched and self._answer and not self._answer.done():
            now = time.perf_counter()
            first = (self._first or now) - self._began
            self._answer.set_result(Reply(bytes(self._content), first, now - self._began))

    def _read_head(self) -> None:
        end = self._content.find(HEAD_END)
        if end < 0:
            return
        self._searched = end + len(HEAD_END)
        head = self._content[:end].lower()
        self._streamed = b"text/event-stream" in head
        _, found, length = head.partition(b"content-length:")
        if found:
            self._end = self._searched + int(length.split(b"\r\n")[0])

    def connection_lost(self, problem: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(problem or ConnectionError("closed before its end"))


def http_request(request: Request, stream: bool) -> bytes:
    """The bytes that ask a server for a text."""
    body: dict[str, Any] = {
        "prompt": request.prompt, "max_tokens": request.length, "seed": request.seed,
        "temperature": request.temperature, "stream": stream,
    }  # fmt: skip
    return post(json.dumps(body).encode())


def post(body: bytes, path: str = "/v1/completions") -> bytes:
    """A request that sends JSON."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask_all(port: int, sent: list[bytes], clients: int, keep: bool = True) -> list[Reply]:
    """Ask for many texts, so many at a time.

    Args:
        keep: each client has one connection, not one for each request.
    """
    waiting = iter(list(enumerate(sent)))
    answers: dict[int, Reply] = {}

    async def client() -> None:
        connection = await Connection.open(port)
        try:
            for number, (place, each) in enumerate(waiting):
                if number and not keep:
                    connection.transport.close()
                    connection = await Connection.open(port)
                answers[place] = await connection.ask(each)
        finally:
            connection.transport.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return [answers[place] for place in range(len(sent))]


def percentiles(seconds: Sequence[float]) -> tuple[float, ...]:
    """The percentiles 50, 90, 99, in milliseconds."""
    if len(seconds) < 2:
        return tuple(1000 * each for each in seconds) * 3
    cuts = statistics.quantiles(seconds, n=100)
    return tuple(round(1000 * cuts[each - 1], 1) for each in (50, 90, 99))


def run(work: Coroutine[Any, Any, Found]) -> Found:
    """Do the work of clients, with the event loop that costs least where it is installed."""
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.run(work)
    return uvloop.run(work)
