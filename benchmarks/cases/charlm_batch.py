"""charlm with many texts: `Generator.batch`, as any user of the library calls it."""

from typing import Any

from charlm.benchmarks.cases.charlm_open import generator_of
from charlm.benchmarks.harness.settings import PROMPT, TOP_K, TOP_P, CaseSettings, Run
from charlm.infer.batch.results import Outcome
from charlm.infer.planning import Work
from charlm.infer.request import Request


def prepare(settings: CaseSettings) -> Run:
    """Open the model; a unit is one character of each text, all of them begun anew each time."""
    generator = generator_of(settings)
    filters: dict[str, Any] = {"top_k": TOP_K, "top_p": TOP_P} if settings.filtered else {}

    def run(count: int) -> list[Outcome]:
        requests = (
            Request(
                PROMPT, count, settings.temperature, settings.seed, stream, unknown="drop",
                **filters,
            )
            for stream in range(settings.batch)
        )  # fmt: skip
        work = Work(settings.batch, count, settings.filtered)
        return list(generator.batch(requests, width=settings.batch, work=work))

    return run
