"""charlm with many streams: `Generator.samples`, 64 texts side by side in each step."""

from itertools import islice

from charlm.benchmarks.settings import PROMPT, CaseSettings, Run
from charlm.benchmarks.work import STREAMS
from charlm.infer.generator import Generator


def prepare(settings: CaseSettings) -> Run:
    """Open the model; a unit is one character of each of the 64 streams."""
    generator = Generator.open(settings.model, settings.provider, settings.threads)
    steps = generator.samples(
        PROMPT,
        count=STREAMS,
        length=0,
        temperature=settings.temperature,
        seed=settings.seed,
        unknown="drop",
    )
    return lambda count: list(islice(steps, count))
