"""The server as a process: its socket, its end, and workers that share the socket."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from charlm.data.system import console
from charlm.data.system.errors import ProviderError, SettingsError
from charlm.infer.serve.app import make_app
from charlm.infer.serve.http.protocol import Protocol
from charlm.infer.serve.service import FOLDER, Service

DESCRIPTOR = "CHARLM_SERVE_DESCRIPTOR"  # of a worker: the socket that all share
LAST_SECONDS = 2  # for answers on their way to a client, once nothing is drawn any more
SWITCH_SECONDS = 0.0005  # the drawing thread must not wait 5 ms for the event loop's next pause
SPARE_FILES = 64  # descriptors for what is no connection
RESTART_SECONDS = 1.0  # between two starts of a worker that does not live


def open_socket(host: str, port: int, seconds: int) -> socket.socket:
    """The socket that the server listens at.

    Args:
        host: a name or an address of this machine.
        port: 0: any that is free.
        seconds: after which a connection is given up whose client takes nothing.

    Raises:
        SettingsError: it can't be had, for example since another program has it.
    """
    if not 0 <= port < 1 << 16:
        raise SettingsError(f"`port` is from 0 to 65535, not {port}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family)
        try:
            if os.name == "posix":  # on Windows it would take a port that another program has
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * seconds)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            found.bind(address)
            found.listen(1024)
        except OSError:
            found.close()
            raise
    except UnicodeError as problem:  # an empty label, or a long one
        raise SettingsError(f"`host` {host} is no name of a machine") from problem
    except OSError as problem:
        told = f"can't listen at `host` {host}, `port` {port}: {problem.strerror or problem}"
        if problem.errno == errno.EADDRINUSE:
            told += "; `port` 0 takes a free one"
        raise SettingsError(told) from problem
    return found


def address_of(listening: socket.socket) -> str:
    """The address for people."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class HttpServer(uvicorn.Server):
    """Uvicorn's, which on SIGTERM or Ctrl-C ends what runs, in bounded time.

    Args:
        service: is served.
        ready: a line for standard error, once it listens.
        parent: the process without which it ends, if there is one.
    """

    def __init__(self, service: Service, ready: str, parent: int | None = None) -> None:
        limits = service.limits
        super().__init__(
            uvicorn.Config(
                make_app(service),
                log_config=None,
                access_log=False,
                proxy_headers=False,
                http=Protocol,
                ws="none",
                server_header=False,
                lifespan="on",
                timeout_graceful_shutdown=LAST_SECONDS,
                limit_concurrency=_allowed(limits.connections),
            )
        )
        self._service, self._ready, self._parent = service, ready, parent
        self._deadline = float("inf")
        self._seen: dict[asyncio.Protocol, tuple[Any, float]] = {}
        self.signal: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that it listens."""
        await super().startup(sockets)
        console.say(self._ready)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks it to end, the second ends it."""
        del frame
        if self._service.draining:
            self.should_exit = self.force_exit = True
        self.signal, self._service.draining = sig, True
        self._deadline = time.monotonic() + self._service.limits.drain

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now."""
        if self._parent not in (None, os.getppid()) and not self._service.draining:
            self.handle_exit(signal.SIGTERM, None)
        if self._service.draining:
            if self._service.active == 0 or time.monotonic() > self._deadline:
                return True
        elif counter % 10 == 0:
            self._close_silent()
            self._service.measure()  # for a scrape that asks another worker
        return await super().on_tick(counter)

    def _close_silent(self) -> None:
        """Close connections that have asked for nothing new in all the time that a request has."""
        now, before = time.monotonic(), self._seen
        self._seen = {}
        connections: list[Any] = list(self.server_state.connections)
        for each in connections:
            request, since = before.get(each, (None, now))
            busy = each.cycle and not (each.cycle.response_complete or each.transport.is_closing())
            if busy or each.cycle is not request:
                since = now
            self._seen[each] = each.cycle, since
            if now - since > self._service.limits.arrival:
                each.transport.abort()


def _allowed(connections: int) -> int:
    """Let this process open as many connections, or as many as the system lets it: how many."""
    if sys.platform == "win32":
        return connections
    import resource

    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - SPARE_FILES)
    return connections


def run(service: Service, listening: socket.socket, ready: str, parent: int | None = None) -> int:
    """Serve until a signal ends it; the process's exit code. See `HttpServer`."""
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # `Guard` says what happens
    server = HttpServer(service, ready, parent)
    server.run(sockets=[listening])
    return console.INTERRUPTED if server.signal == signal.SIGINT else 0


def supervise(command: list[str], count: int, listening: socket.socket, drain: int) -> int:
    """Run so many workers that share a socket, each again where it dies; the exit code.

    Args:
        command: starts a worker, which finds the socket by the descriptor in its environment.
        count: how many.
        listening: the socket.
        drain: seconds that they have to end.

    Raises:
        ProviderError: this system can't hand a socket on.
    """
    if os.name != "posix":
        raise ProviderError("`workers` needs Linux or macOS: start several servers instead")
    descriptor, ended = listening.fileno(), [0]
    with tempfile.TemporaryDirectory(prefix="charlm-metrics-") as folder, _signals(ended):
        variables = {**os.environ, FOLDER: folder, DESCRIPTOR: str(descriptor)}

        def start() -> tuple[float, subprocess.Popen[bytes]]:
            kept = {"pass_fds": [descriptor], "env": variables, "start_new_session": True}
            return time.monotonic(), subprocess.Popen(command, **kept)  # type: ignore[call-overload]

        workers = [start() for _ in range(count)]
        while not ended[0]:
            time.sleep(0.1)
            for place, (begun, process) in enumerate(workers):
                code = process.poll()
                if code is None or time.monotonic() - begun < RESTART_SECONDS:
                    continue
                _forget(process.pid, Path(folder))
                if code == console.USER_ERROR:  # it said why, and would again
                    ended[0], drain = signal.SIGTERM, 0
                    break
                console.say(f"charlm-serve: worker {place} has died ({code}): started again")
                workers[place] = start()
        _end([process for _, process in workers], drain)
        if any(process.returncode == console.USER_ERROR for _, process in workers):
            return console.USER_ERROR
    return console.INTERRUPTED if ended[0] == signal.SIGINT else 0


@contextlib.contextmanager
def _signals(ended: list[int]) -> Iterator[None]:
    """SIGTERM and Ctrl-C are noted in `ended`."""

    def note(sig: int, _: FrameType | None) -> None:
        ended[0] = sig

    before = {each: signal.signal(each, note) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _end(processes: list[subprocess.Popen[bytes]], drain: int) -> None:
    for process in processes:
        process.terminate()
    end = time.monotonic() + drain + LAST_SECONDS + 1
    for process in processes:
        try:
            process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _forget(pid: int, folder: Path) -> None:
    """What a dead worker had under way is no figure any more."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)
