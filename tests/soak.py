"""`python -m tests.soak`: bad clients and good ones for minutes; the server stays as it was.

Good clients' texts must be right all along. Once nobody asks any more, no row is taken, and memory
and file descriptors are what they were after the first third of the time, in which workers were
killed.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from charlm.benchmarks.load.client import Connection, http_request, post
from charlm.benchmarks.load.server import Server, serving
from charlm.data.system import console
from charlm.data.system.errors import CharlmError, SettingsError
from charlm.infer.generator import Generator
from charlm.infer.request import Request

MODEL, WORKERS, CLIENTS = "lovecraft", 2, 24
KILL_EVERY, REST = 15.0, 8.0  # seconds
MORE_MEMORY, MORE_FILES = 48 << 20, 4  # that are no leak: caches, and a connection that lingers
LONG = post(b'{"prompt": "a", "max_tokens": 100000, "n": 4, "stream": true}')
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
app = console.make_app()


@dataclass(frozen=True)
class Use:
    """What all workers hold."""

    memory: int
    files: int
    rows: float


class Soak:
    """Clients of one server.

    Args:
        server: is asked.
        texts: by seed, what good clients must get.
        chance: says what comes next.
    """

    def __init__(self, server: Server, texts: dict[int, str], chance: random.Random) -> None:
        self._server, self._texts, self._chance = server, texts, chance
        self.done, self.wrong = Counter[str](), list[str]()

    async def until(self, end: float) -> None:
        """Ask in every way."""
        kinds = (
            self._good, self._good, self._hangs_up, self._reads_slowly, self._broken,
            self._half_closed, self._too_large, self._endless_head, self._slow_body,
        )  # fmt: skip

        async def client() -> None:
            while time.monotonic() < end:
                await self._as(self._chance.choice(kinds))

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def _as(self, kind: Callable[[], Awaitable[None]]) -> None:
        self.done[kind.__name__.strip("_")] += 1
        try:
            async with asyncio.timeout(60):
                await kind()
        except TimeoutError:
            self.wrong.append(f"{kind.__name__} was not answered")
        except OSError:  # a worker was killed, or it closed first
            self.done["cut off"] += 1
            await asyncio.sleep(0.1)

    async def _good(self) -> None:
        connection = await Connection.open(self._server.port)
        seed, stream = self._chance.choice(list(self._texts)), self._chance.random() < 0.5
        answer = await connection.ask(http_request(Request("the ", seed=seed), stream))
        connection.transport.close()
        if answer.status == 200 and answer.text != self._texts[seed]:
            self.wrong.append(f"seed {seed}: {answer.text[:80]!r}")
        elif answer.status not in (200, 429):
            self.wrong.append(f"seed {seed}: status {answer.status}")

    async def _open(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self._server.port, limit=1 << 10)

    async def _hangs_up(self) -> None:
        reader, writer = await self._open()
        writer.write(LONG)
        await reader.read(self._chance.choice((1, 100, 10_000)))
        writer.transport.abort()

    async def _reads_slowly(self) -> None:
        reader, writer = await self._open()
        writer.write(LONG)
        for _ in range(10):
            await reader.read(100)
            await asyncio.sleep(0.2)
        writer.close()

    async def _broken(self) -> None:
        body = self._chance.randbytes(self._chance.randrange(2000))
        await self._answered(post(body) if self._chance.random() < 0.8 else body)

    async def _half_closed(self) -> None:
        whole = post(b'{"prompt": "a", "max_tokens": 10}')
        await self._answered(whole[: self._chance.randrange(len(whole) + 1)])

    async def _answered(self, sent: bytes) -> None:
        """Send it, say that no more comes, and read until the server closes."""
        reader, writer = await self._open()
        writer.write(sent)
        writer.write_eof()
        if b"HTTP/1.1 500" in await reader.read(1 << 16):
            self.wrong.append(f"500 for {sent!r}")
        while await reader.read(1 << 16):
            pass
        writer.close()

    async def _too_large(self) -> None:
        head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        await self._poured(head, b"10000\r\n" + b" " * (1 << 16) + b"\r\n")

    async def _endless_head(self) -> None:
        await self._poured(b"GET / HTTP/1.1\r\nX-A: ", b"a" * (1 << 16))

    async def _poured(self, head: bytes, part: bytes) -> None:
        """Send 64 MB, or less where the server has enough before."""
        reader, writer = await self._open()
        writer.write(head)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20 and not reader.at_eof():
                writer.write(part)
                sent += len(part)
                await writer.drain()
        writer.transport.abort()
        if sent >= 64 << 20:
            self.wrong.append(f"64 MB were taken after {head[:20]!r}")

    async def _slow_body(self) -> None:
        _, writer = await self._open()
        writer.write(post(b" " * 1000)[:-999])
        await asyncio.sleep(3)
        writer.close()


def _workers(server: Server) -> list[int]:
    found = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [int(each) for each in found]


def _use(server: Server) -> Use:
    memory = files = 0
    for pid in _workers(server):
        status = Path(f"/proc/{pid}/status").read_text()
        memory += 1024 * int(status.partition("VmRSS:")[2].split()[0])
        files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    rows = [
        line.split()[1] for line in lines if line.startswith(("charlm_streams ", "charlm_queue "))
    ]
    return Use(memory, files, sum(map(float, rows)))


def _rested(server: Server) -> Use:
    """What is used once everything has come to rest."""
    time.sleep(REST)
    return _use(server)


async def _kill_until(server: Server, end: float) -> int:
    """Kill a worker now and then; how many were."""
    count = 0
    while time.monotonic() + KILL_EVERY < end:
        await asyncio.sleep(KILL_EVERY)
        os.kill(_workers(server)[count % WORKERS], signal.SIGKILL)
        count += 1
    return count


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(help="In all.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of what the clients do.")] = 0,
) -> None:
    """Ask a server with two workers in every way that should not harm it."""
    if not Path("/proc/self/fd").exists():
        raise SettingsError("this reads /proc, which only Linux has")
    generator = Generator.open(MODEL)
    texts = {each: generator.text("the ", seed=each) for each in range(50)}
    with serving(MODEL, "--workers", str(WORKERS), "--queue", "64") as server:
        clients = Soak(server, texts, random.Random(seed))

        async def first() -> None:
            end = time.monotonic() + 20 * minutes
            _, killed = await asyncio.gather(clients.until(end), _kill_until(server, end))
            console.say(f"{killed} workers were killed")

        asyncio.run(first())
        before = _rested(server)
        console.say(f"{before}; {dict(clients.done)}")
        for _ in range(4):
            asyncio.run(clients.until(time.monotonic() + 10 * minutes))
            after = _rested(server)
            console.say(f"{after}; {dict(clients.done)}")
    wrong = clients.wrong[:20]
    if after.rows:
        wrong.append(f"{after.rows:.0f} rows are still taken")
    if after.memory - before.memory > MORE_MEMORY:
        wrong.append(f"memory grew from {before.memory >> 20} to {after.memory >> 20} MiB")
    if after.files - before.files > MORE_FILES:
        wrong.append(f"file descriptors grew from {before.files} to {after.files}")
    for each in wrong:
        typer.echo(each)
    if wrong:
        raise CharlmError("the server did not stay as it was: see above")
    typer.echo(f"{clients.done.total()} requests: memory, rows and file descriptors are flat")


if __name__ == "__main__":
    console.run(app, "soak")
