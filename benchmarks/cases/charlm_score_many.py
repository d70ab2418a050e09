"""charlm scoring a long text in segments side by side, as `charlm-score --parallel` does."""

from charlm.benchmarks.cases.charlm_open import generator_of, threads_of
from charlm.benchmarks.harness.settings import PROMPT, CaseSettings, Run
from charlm.infer.scoring.many import WORKERS_OF_GPU
from charlm.infer.scoring.segments import SegmentScorer

LENGTH = 100_000  # characters to choose from; a longer text repeats them


def prepare(settings: CaseSettings) -> Run:
    """Open the model and draw a text; a unit is one scored character, warm-up not counted."""
    generator = generator_of(settings)
    drawn = generator.text(PROMPT, length=LENGTH, seed=settings.seed, unknown="drop")
    model = generator.model
    workers = threads_of(settings) if model.device == "cpu" else WORKERS_OF_GPU
    scorer = SegmentScorer(model, "drop", settings.precision, workers=workers)

    def run(count: int) -> object:
        whole, rest = divmod(count + 1, LENGTH)  # a text's first character is not scored
        return scorer.score([*[drawn] * whole, drawn[:rest]])

    return run
