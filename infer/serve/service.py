"""What all requests share: models and their drawers, a pool for reading, bounds, and figures."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from charlm.data.system import console
from charlm.data.system.cores import usable_cores
from charlm.data.system.errors import SettingsError, as_options
from charlm.infer.engines.planning import provider_for
from charlm.infer.generator import MANY, Generator
from charlm.infer.model.shipped import find_model
from charlm.infer.model.state import State
from charlm.infer.serve.bodies import ApiError
from charlm.infer.serve.drawing import Drawer
from charlm.infer.serve.settings import MESSAGES, PACE, RETRY_SECONDS, Limits

Found = TypeVar("Found")
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where workers leave their figures
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
PATHS = ("/v1/completions", "/v1/score", "/v1/models", "/health", "/metrics", "/")


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside every figure
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "charlm_requests", "Requests answered.", ("path", "status"), registry=registry
        )
        self.seconds = Histogram(
            "charlm_request_seconds", "From a request's arrival to the end of its answer.",
            ("path",), buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.first = Histogram(
            "charlm_first_character_seconds", "From a request's arrival to its first character.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        characters = Counter(
            "charlm_characters", "Characters read in prompts, drawn, and scored.", ("kind",),
            registry=registry,
        )  # fmt: skip
        self.read, self.drawn, self.scored = map(characters.labels, ("prompt", "drawn", "scored"))
        self.streams = Gauge(
            "charlm_streams", "Texts being drawn.", multiprocess_mode="livesum", registry=registry
        )
        self.queue = Gauge(
            "charlm_queue", "Texts that wait.", multiprocess_mode="livesum", registry=registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = path if path in PATHS else "other"
        self.requests.labels(known, str(status)).inc()
        self.seconds.labels(known).observe(seconds)

    def text(self) -> bytes:
        """All figures."""
        if FOLDER not in os.environ:
            return bytes(generate_latest(self._registry))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(registry))


@dataclass(frozen=True)
class ServedModel:
    """A model under its name.

    Attributes:
        name: what clients call it.
        generator: of it.
        drawer: draws all its texts.
        width: texts side by side at most.
        start: the state before any text.
    """

    name: str
    generator: Generator
    drawer: Drawer
    width: int
    start: State


class Service:
    """The models that are served, and how much they have to do.

    Args:
        generators: at least one, by name; the first is the one that is meant where none is named.
        limits: what is allowed.

    Attributes:
        active: requests that are being answered by a model.
        draining: whether the server is told to end: nothing new is begun.
    """

    def __init__(self, generators: dict[str, Generator], limits: Limits) -> None:
        self.limits, self.metrics = limits, Metrics()
        self._generators = generators
        self._models: dict[str, ServedModel] = {}
        self._pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="charlm-read")
        self._texts = dict.fromkeys(generators, 0)  # let in, by model
        self._streamed = 0  # texts that are told as they come
        self._judged = 0  # log-probabilities that the answers under way hold at most
        self.active = 0
        self.draining = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The models draw for the event loop that runs now."""
        loop = asyncio.get_running_loop()
        for name, generator in self._generators.items():
            width = generator.plan(MANY, self.limits.streams).width
            drawer = Drawer(generator, width, loop)
            start = State.start(generator.metadata)
            self._models[name] = ServedModel(name, generator, drawer, width, start)
        try:
            yield
        finally:
            for model in self._models.values():
                model.drawer.close()
            self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def names(self) -> list[str]:
        """Of all models."""
        return list(self._generators)

    def model(self, name: str | None) -> ServedModel:
        """The model of that name.

        Raises:
            ApiError: there is none.
        """
        found = self._models.get(self.names[0] if name is None else name)
        if found is None:
            raise ApiError(
                f"there is no model {ascii(name)[:100]}; there are: {', '.join(self.names)}",
                404, "model", "model_not_found",
            )  # fmt: skip
        return found

    @contextlib.contextmanager
    def judged(self, count: int) -> Iterator[None]:
        """Let an answer that holds so many log-probabilities be made.

        Raises:
            ApiError: too many for any time, or for now.
        """
        if count > self.limits.judged:
            raise ApiError(
                f"{count} log-probabilities in one answer, and {self.limits.judged} are allowed: "
                "ask for fewer characters, or fewer alternatives of each", param="logprobs",
            )  # fmt: skip
        if self._judged + count > self.limits.all_judged:
            raise full("the server holds too many log-probabilities: try again")
        self._judged += count
        try:
            yield
        finally:
            self._judged -= count

    @contextlib.contextmanager
    def admitted(self, model: ServedModel, texts: int, param: str) -> Iterator[None]:
        """Let a request for so many texts of a model in.

        Raises:
            ApiError: too many for any time, or for now.
        """
        if texts > self.limits.texts:
            raise ApiError(
                f"{texts} texts in one request, and {self.limits.texts} are allowed", param=param
            )
        if self._texts[model.name] + texts > self.limits.queue + model.width:
            raise full("the server is full: try again")
        self._texts[model.name] += texts
        self.active += 1
        try:
            yield
        finally:
            self._texts[model.name] -= texts
            self.active -= 1

    @contextlib.contextmanager
    def streaming(self, texts: int) -> Iterator[None]:
        """So many texts are told as they come."""
        self._streamed += texts
        try:
            yield
        finally:
            self._streamed -= texts

    @property
    def pace(self) -> float:
        """Seconds between two messages of one stream: longer where there are many."""
        return max(PACE, self._streamed / MESSAGES)

    async def aside(self, work: Callable[[], Found]) -> Found:
        """Do something that takes long in a thread of the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def measure(self) -> None:
        """Set the figures of what is under way now."""
        drawers = [each.drawer for each in self._models.values()]
        self.metrics.streams.set(sum(each.running for each in drawers))
        self.metrics.queue.set(sum(each.waiting for each in drawers))


def open_models(
    given: list[str], provider: str, threads: int | None, precision: str, limits: Limits
) -> dict[str, Generator]:
    """Open models, each under the name of its file, or of its folder where that is given.

    Raises:
        SettingsError: two of one name; a setting that can't be.
        VocabularyError: a model lacks the character `unknown`, too.
        ModelFileError, ProviderError, MissingExtraError: see `open_model`.
    """
    found: dict[str, Generator] = {}
    for each in map(Path, given) if given else (None,):
        path, folder = find_model(each), each is not None and each.is_dir()
        name = path.resolve().parent.name if folder else path.stem
        if name in found:
            raise SettingsError(f"two models are called {name}: rename one, or give its folder")
        device, _ = provider_for(MANY, provider, precision)
        found[name] = generator = Generator.open(path, device, threads, precision, work=MANY)
        generator.metadata.unknown(limits.unknown)
        generator.plan(MANY, limits.streams)
        if generator.model.note:
            console.say(f"charlm-serve: {as_options(generator.model.note)}")
    return found


def full(message: str) -> ApiError:
    """There is no room now."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return ApiError(message, 429, code="server_full", headers=headers)
