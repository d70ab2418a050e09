"""charlm with many streams: `Generator.samples`, texts side by side in each step."""

from itertools import islice

from charlm.benchmarks.cases.charlm_open import open_generator
from charlm.benchmarks.settings import PROMPT, CaseSettings, Run


def prepare(settings: CaseSettings) -> Run:
    """Open the model; a unit is one character of each stream."""
    steps = open_generator(settings).samples(
        PROMPT,
        count=settings.batch,
        length=0,
        temperature=settings.temperature,
        seed=settings.seed,
        unknown="drop",
    )
    return lambda count: list(islice(steps, count))
