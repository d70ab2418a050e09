"""HTTP as uvicorn speaks it, with fewer calls of the system, and heads of bounded size."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from charlm.infer.serve.settings import MOST_HEAD

MANY = 1 << 16  # bytes that do not wait for the end of a turn


class Gathered:
    """A transport that sends what is written within one turn of the event loop at once.

    Uvicorn writes an answer's head apart from its body, and each costs a call of the system, which
    is most of what an answer costs.

    Args:
        transport: sends it.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._parts, self._size = transport, list[bytes](), 0
        self._call_soon = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this turn, or once they are many: slow readers are then seen."""
        if not self._parts:
            self._call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size >= MANY:
            self._flush()

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts and not self._transport.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()
        self._size = 0


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # chosen as uvicorn starts
    """A connection of uvicorn's."""

    _head = 0  # bytes that came of a request's head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(Gathered(cast(asyncio.Transport, transport)))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`; a head without end must not fill memory."""
        super().data_received(data)
        waiting = self.cycle is None or self.cycle.response_complete
        self._head = self._head + len(data) if waiting else 0
        if self._head > MOST_HEAD:
            self.transport.abort()
