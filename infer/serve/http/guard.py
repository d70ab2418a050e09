"""What stands before every request: who may ask, how much may come, and a line in the log."""

import asyncio
import hmac
import itertools
import json
import os
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charlm.data.system import console
from charlm.infer.serve.answers import Outlet, as_api_error
from charlm.infer.serve.bodies import ApiError
from charlm.infer.serve.service import Service, full
from charlm.infer.serve.settings import RETRY_SECONDS

# A page that asks for the key, what it is made of, and what a balancer asks; nothing of a model.
OPEN = ("/", "/health", "/docs", "/openapi.json")
OPEN_FOLDER = "/static/"
SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"), (b"cross-origin-resource-policy", b"same-origin"),
]  # fmt: skip
LOGGED_PATH = 100  # characters
PORT = re.compile(r":\d+$")


class Guard:
    """ASGI around an application.

    It hands on only requests that are whole: their bodies are read here, within bounds.

    Args:
        app: what answers.
        service: knows the limits.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._held = 0  # bytes of all bodies
        self._ids = map(f"{os.urandom(4).hex()}{{:08x}}".format, itertools.count())  # of requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, name = time.perf_counter(), next(self._ids)
        note: dict[str, Any] = {"id": name, "arrived": started}
        scope["charlm"] = note
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [*SAFE_HEADERS, (b"x-request-id", name.encode())]
                if self._service.draining or status in (408, 413):  # more may be on its way
                    added.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        held = [0]
        try:
            self._check(scope)
            body = await self._body(scope, receive, held)
            # What answers GET answers HEAD; uvicorn leaves the body out.
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await self._app(asked, _replayed(body, receive), seen)
        except Exception as problem:
            if status == 0:
                error = as_api_error(problem)
                await Outlet(seen).whole(error.body(), error.status, error.headers)
            else:
                as_api_error(problem)  # says it in the log
        finally:
            self._held -= held[0]
            self._log(scope, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        limits, headers = self._service.limits, dict(scope["headers"])
        if limits.hosts and b"host" in headers:  # a browser always names it
            host = PORT.sub("", headers[b"host"].decode("latin-1")).strip("[]")
            if host.lower() not in limits.hosts:
                raise ApiError(
                    f"the host {ascii(host)[:100]} is not served here: start the server with a key "
                    "to be reached by other names", 403, code="unknown_host",
                )  # fmt: skip
        path = scope["path"]
        if limits.key is not None and path not in OPEN and not path.startswith(OPEN_FOLDER):
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + limits.key.encode()):
                raise ApiError(
                    "give the server's key: Authorization: Bearer KEY", 401,
                    code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        if self._service.draining and scope["method"] == "POST":
            again = {"Retry-After": str(RETRY_SECONDS)}
            raise ApiError("the server is ending: ask again", 503, None, "draining", again)

    async def _body(self, scope: Scope, receive: Receive, held: list[int]) -> bytes:
        """The body, which counts as held from now on.

        Raises:
            ApiError: too large, too slow, or too much with those of others.
        """
        limits, parts = self._service.limits, []
        said = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = ApiError(
            f"the body is larger than {limits.body} bytes", 413, code="body_too_large"
        )
        if said.isdigit() and int(said[:20]) > limits.body:
            raise too_large
        try:
            async with asyncio.timeout(limits.arrival):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    part, more = message.get("body", b""), message.get("more_body", False)
                    parts.append(part)
                    held[0] += len(part)
                    self._held += len(part)
                    if held[0] > limits.body:
                        raise too_large
                    if self._held > limits.bodies:
                        raise full("the server holds too many bodies: try again")
        except TimeoutError as problem:
            late = f"the body has not arrived within {limits.arrival} s"
            raise ApiError(late, 408, code="timeout") from problem
        return b"".join(parts)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        """One line of JSON; nothing of what was asked or drawn."""
        self._service.metrics.answered(scope["path"], status, seconds)
        note = {key: value for key, value in scope["charlm"].items() if key != "arrived"}
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "id": note.pop("id"),
            "method": scope["method"], "path": scope["path"][:LOGGED_PATH], "status": status,
            "seconds": round(seconds, 4), **note,
        }  # fmt: skip
        console.say(json.dumps(line))


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once more, and then what comes after it: that the client leaves."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay
