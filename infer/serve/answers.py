"""An answer that takes a while: it is given up where the client leaves, or time has run out."""

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from charlm.data.system import console
from charlm.data.system.errors import (
    CharlmError,
    MissingExtraError,
    ModelFileError,
    ProviderError,
)
from charlm.infer.serve.bodies import ApiError, client_error

SERVERS = (MissingExtraError, ModelFileError, ProviderError)  # errors that no client can mend
JSON = [(b"content-type", b"application/json")]
PIECE = 1 << 16  # bytes of an answer that are sent at once: a client that is slow holds no more
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"),
          (b"x-accel-buffering", b"no")]  # fmt: skip


class Outlet:
    """Where an answer is written: whole, or event by event.

    Args:
        send: of ASGI.

    Attributes:
        begun: whether the client has its status already.
    """

    def __init__(self, send: Send) -> None:
        self._send, self.begun, self.streaming = send, False, False

    async def whole(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Send all of it; it is done once the client has taken nearly all."""
        self.begun = True
        more = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        length = [(b"content-length", str(len(body)).encode())]
        head = {"type": "http.response.start", "status": status, "headers": JSON + length + more}
        await self._send(head)
        for start in range(0, len(body) - PIECE, PIECE):
            piece = body[start : start + PIECE]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        rest = body[max(0, len(body) - 1) // PIECE * PIECE :]
        await self._send({"type": "http.response.body", "body": rest})

    async def events(self, *data: bytes, last: bool = False) -> None:
        """Send server-sent events."""
        if not self.begun:
            self.begun = self.streaming = True
            await self._send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        body = b"".join(b"data: " + each + b"\n\n" for each in data)
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def fail(self, error: ApiError) -> None:
        """Say what is wrong: as the answer, or where that has begun as its last event."""
        if not self.begun:
            await self.whole(error.body(), error.status, error.headers)
        elif self.streaming:
            await self.events(error.body(), last=True)


class LongAnswer(Response):
    """An answer of a model.

    Args:
        write: writes it.
        seconds: that it may take, until the client has read it.
    """

    def __init__(
        self, write: Callable[[Outlet], Coroutine[Any, Any, None]], seconds: float
    ) -> None:
        super().__init__()
        self._write, self._seconds = write, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it; whatever is wrong is told in OpenAI's form."""
        outlet, note = Outlet(send), scope["charlm"]
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async with asyncio.timeout(self._seconds) as time:
                gone.add_done_callback(lambda _: _end_now(time))
                await self._told(outlet)
        except TimeoutError:
            note["left" if gone.done() else "late"] = True
        finally:
            gone.cancel()
        if "late" in note:
            late_error = ApiError(f"it took longer than {self._seconds:.0f} s", 504, code="timeout")
            with contextlib.suppress(TimeoutError):  # a client that reads nothing, not this either
                await asyncio.wait_for(outlet.fail(late_error), 1)

    async def _told(self, outlet: Outlet) -> None:
        try:
            await self._write(outlet)
        except Exception as problem:
            await outlet.fail(as_api_error(problem))


def as_api_error(problem: Exception) -> ApiError:
    """What to tell a client; what is no client's fault is told to whoever runs the server."""
    if isinstance(problem, ApiError):
        return problem
    if isinstance(problem, CharlmError) and not isinstance(problem, SERVERS):
        return client_error(problem)
    console.say("".join(traceback.format_exception(problem)))
    return ApiError("the server has failed; its log says more", 500)


def _end_now(time: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended by itself
        time.reschedule(0)


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
