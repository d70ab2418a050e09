"""charlm: `Generator.stream`, as any user of the library calls it."""

from charlm.benchmarks.cases.common import run_of
from charlm.benchmarks.settings import PROMPT, CaseSettings, Run
from charlm.infer.generator import Generator


def prepare(settings: CaseSettings) -> Run:
    """Open the model; the stream has no end and takes up where the last trial stopped."""
    generator = Generator.open(settings.model, settings.provider, settings.threads)
    return run_of(
        generator.stream(
            PROMPT,
            length=0,
            temperature=settings.temperature,
            seed=settings.seed,
            unknown="drop",
        )
    )
