"""One of charlm's paths by its name: an engine that draws blocks of `steps` characters a stream."""

import numpy as np
import numpy.typing as npt

from charlm.benchmarks import engines
from charlm.benchmarks.cases.charlm_open import model_of, prompt_of, threads_of
from charlm.benchmarks.harness.settings import CaseSettings, Run
from charlm.infer.sampling.draw import Sampling
from charlm.infer.sampling.philox import UniformStream


def prepare(settings: CaseSettings) -> Run:
    """Open the engine and read the prompt.

    A unit is one character of each stream; the Run returns token ids [batch, characters], at least
    as many as asked for, and a block more at most.

    Raises:
        CaseFailedError: charlm has no such path.
    """
    model, batch = model_of(settings), settings.batch
    engine = engines.open_engine(settings.path, settings.precision, model, threads_of(settings))
    sampling = Sampling.same(batch, len(model.metadata.vocabulary), settings.temperature)
    engine.start(engines.primed(model, prompt_of(model), batch), sampling)
    streams = [UniformStream(settings.seed, number) for number in range(batch)]

    def run(count: int) -> npt.NDArray[np.int64]:
        blocks = (min(settings.steps, count - at) for at in range(0, count, settings.steps))
        drawn = [np.asarray(engine.draw(streams, steps)) for steps in blocks]
        return np.concatenate(drawn, axis=1)

    return run
