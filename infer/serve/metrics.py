"""What `/metrics` shows, in Prometheus' form; with several workers, of all of them together."""

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

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
        self.characters = Counter(
            "charlm_characters", "Characters read in prompts, drawn, and scored.", ("kind",),
            registry=registry,
        )  # fmt: skip
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
