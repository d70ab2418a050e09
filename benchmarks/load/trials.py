"""What is asked of a server, and what came of it; each text is held against the generator's."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from charlm.benchmarks.load.client import (
    Connection,
    Reply,
    ask_all,
    http_request,
    percentiles,
    run,
)
from charlm.benchmarks.load.peer import PeerRound, measure_peer
from charlm.benchmarks.load.server import Server
from charlm.infer.generator import Generator
from charlm.infer.request import Request

PROMPT = "the old house "
HALF_LOAD_CLIENTS = 32


@dataclass(frozen=True)
class LoadCase:
    """Requests that are sent together.

    Attributes:
        name: in words.
        clients: each sends one request after another over one connection.
        requests: of all clients.
        length: characters of each text.
        stream: whether texts come as they are drawn.
        beside: requests that llama.cpp's server gets; 0: it is not asked.
    """

    name: str
    clients: int
    requests: int
    length: int
    stream: bool
    beside: int = 0

    def texts(self, first: int) -> list[Request]:
        """What is asked for; each text has a seed of its own, from the first on."""
        seeds = range(first, first + self.requests)
        return [Request(PROMPT, length=self.length, seed=seed) for seed in seeds]


@dataclass(frozen=True)
class Round:
    """A case once by `Generator.batch`, then once over HTTP. CPU seconds are of all cores."""

    batch_seconds: float
    batch_cpu_seconds: float
    seconds: float
    server_cpu_seconds: float | None
    client_cpu_seconds: float


@dataclass(frozen=True)
class LoadResult:
    """What came of a case.

    Attributes:
        wrong: texts that were not those of the generator.
        first_ms: when the first character had come, in milliseconds: the percentiles 50, 90, 99.
        peer: llama.cpp's server, where it was asked.
    """

    case: LoadCase
    wrong: int = 0
    rounds: list[Round] = field(default_factory=list)
    first_ms: tuple[float, ...] = ()
    peer: list[PeerRound] = field(default_factory=list)

    def median(self, figure: Callable[[Round], float]) -> float:
        """Of the rounds."""
        return statistics.median(figure(each) for each in self.rounds)

    @property
    def requests_per_second(self) -> float:
        """Over HTTP."""
        return self.case.requests / self.median(lambda each: each.seconds)

    @property
    def share(self) -> float:
        """Of the throughput of `Generator.batch`."""
        return self.median(lambda each: each.batch_seconds / each.seconds)


@dataclass(frozen=True)
class HalfLoad:
    """Clients who pause between requests, so that the server has half of what it can do.

    Attributes:
        requests_per_second: that were asked for.
        requests: how many there were.
        wrong: see `LoadResult`.
        first_ms: see `LoadResult`.
    """

    requests_per_second: float
    requests: int
    wrong: int
    first_ms: tuple[float, ...]


def measure(
    case: LoadCase, generator: Generator, server: Server, rounds: int, peer: Server | None = None
) -> LoadResult:
    """Take a case by all ways, in turns.

    Args:
        peer: llama.cpp's server.
    """
    taken, wrong, first, beside = list[Round](), 0, list[float](), list[PeerRound]()
    for number in range(rounds):
        requests = case.texts(1 + number * case.requests)
        sent = [http_request(each, case.stream) for each in requests]
        began, used = time.perf_counter(), time.process_time()
        wanted = [str(each) for each in generator.batch(requests)]
        batch = time.perf_counter() - began, time.process_time() - used
        before = server.cpu_seconds()
        began, used = time.perf_counter(), time.process_time()
        answers = run(ask_all(server.port, sent, case.clients))
        seconds, client = time.perf_counter() - began, time.process_time() - used
        after = server.cpu_seconds()
        own = None if before is None or after is None else after - before
        taken.append(Round(*batch, seconds, own, client))
        wrong += _wrong(answers, wanted)
        first += [each.first for each in answers]
        if peer and case.beside:
            beside.append(measure_peer(peer, case.beside, case.clients, case.length, case.stream))
    return LoadResult(case, wrong, taken, percentiles(first), beside)


def half_load(
    case: LoadCase, generator: Generator, server: Server, per_second: float, seconds: float
) -> HalfLoad:
    """Ask for texts of a case at half of a rate, from clients who wait for each answer.

    Args:
        per_second: requests, of which half are asked for.
        seconds: for how long.
    """
    pause, chance = 2 * HALF_LOAD_CLIENTS / per_second, random.Random(1)
    count = int(seconds * per_second / 2 / HALF_LOAD_CLIENTS)
    requests = [
        Request(PROMPT, length=case.length, seed=seed)
        for seed in range(1, 1 + HALF_LOAD_CLIENTS * count)
    ]
    answers: dict[int, Reply] = {}

    async def client(place: int) -> None:
        connection = await Connection.open(server.port)
        began = time.perf_counter() + chance.random() * pause
        for number in range(count):
            moment = began + (number + chance.uniform(-0.3, 0.3)) * pause
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            index = place * count + number
            answers[index] = await connection.ask(http_request(requests[index], case.stream))
        connection.transport.close()

    async def clients() -> None:
        await asyncio.gather(*(client(place) for place in range(HALF_LOAD_CLIENTS)))

    run(clients())
    wanted = [str(each) for each in generator.batch(requests)]
    wrong = _wrong([answers[index] for index in range(len(requests))], wanted)
    first = percentiles([each.first for each in answers.values()])
    return HalfLoad(per_second / 2, len(requests), wrong, first)


def _wrong(answers: Sequence[Reply], wanted: Sequence[str]) -> int:
    return sum(answer.text != text for answer, text in zip(answers, wanted, strict=True))
