"""charlm scoring one text exactly: `Scorer.score` on what the model itself might have written."""

from charlm.benchmarks.cases.charlm_open import generator_of
from charlm.benchmarks.harness.settings import PROMPT, CaseSettings, Run
from charlm.infer.scoring.score import Scorer

LENGTH = 10_000  # characters to choose from; a longer text repeats them


def prepare(settings: CaseSettings) -> Run:
    """Open the model and draw a text; a unit is one scored character."""
    generator = generator_of(settings)
    drawn = generator.text(PROMPT, length=LENGTH, seed=settings.seed, unknown="drop")
    scorer = Scorer(generator.model, "drop", settings.precision)

    def run(count: int) -> object:
        whole, rest = divmod(count + 1, LENGTH)  # a text's first character is not scored
        return scorer.score([*[drawn] * whole, drawn[:rest]])

    return run
