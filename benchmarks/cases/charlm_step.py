"""charlm's step loop: the step graph called for each character, sampled by `Sampler`.

What `Generator.stream` does where the model has no other graphs, for one text or for many.
"""

from charlm.benchmarks.cases.charlm_open import model_of, prompt_of
from charlm.benchmarks.cases.stepping import run_of_steps
from charlm.benchmarks.harness.settings import CaseSettings, Run
from charlm.infer.engines.step import Stepper


def prepare(settings: CaseSettings) -> Run:
    """Open the model and read the prompt."""
    model = model_of(settings)
    characters = list(model.metadata.vocabulary.characters)
    return run_of_steps(Stepper(model, settings.batch), prompt_of(model), characters, settings)
