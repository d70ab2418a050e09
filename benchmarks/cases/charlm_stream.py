"""charlm: `Generator.stream`, as any user of the library calls it.

Paths: `step`, whichever charlm chooses with the state carried; `window`, the notebook's way.
"""

from charlm.benchmarks.artifacts import LENGTH
from charlm.benchmarks.cases.charlm_open import generator_of
from charlm.benchmarks.cases.common import run_of
from charlm.benchmarks.harness.settings import PROMPT, CaseSettings, Run


def prepare(settings: CaseSettings) -> Run:
    """Open the model; the stream has no end and takes up where the last trial stopped."""
    return run_of(
        generator_of(settings).stream(
            PROMPT,
            length=0,
            temperature=settings.temperature,
            seed=settings.seed,
            unknown="drop",
            window=LENGTH if settings.path == "window" else None,
        )
    )
