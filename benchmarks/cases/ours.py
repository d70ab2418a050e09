"""charlm's own procedures: each path by itself, and what a user calls."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.cases.common import run_of, run_of_steps
from charlm.benchmarks.harness.settings import (
    LENGTH,
    PROMPT,
    TOP_K,
    TOP_P,
    CaseSettings,
    Run,
)
from charlm.data.system.cores import usable_cores
from charlm.infer.batch.results import Outcome
from charlm.infer.engines.base import Primed
from charlm.infer.engines.planning import Work, choose, engine_of
from charlm.infer.engines.step import Stepper
from charlm.infer.generator import Generator
from charlm.infer.model.open import Model, open_model
from charlm.infer.request import Request
from charlm.infer.sampling.filters import Sampling
from charlm.infer.sampling.philox import UniformStream
from charlm.infer.scoring.many import WORKERS_OF_GPU
from charlm.infer.scoring.score import Scorer
from charlm.infer.scoring.segments import SegmentScorer


def step(settings: CaseSettings) -> Run:
    """The step graph called for each character, for one text or for many.

    What `Generator.stream` does where the model has no other graphs.
    """
    model = _model(settings)
    characters = list(model.metadata.vocabulary.characters)
    return run_of_steps(Stepper(model, settings.batch), _prompt(model), characters, settings)


def engine(settings: CaseSettings) -> Run:
    """An engine that draws blocks of `steps` characters a stream, by the way that `path` names.

    A unit is one character of each stream; the Run returns token ids [batch, characters].

    Raises:
        CharlmError: there is no such way, or it can't be gone with this model.
    """
    model, batch = _model(settings), settings.batch
    plan = choose(
        Work(2, 1), model, precision=settings.precision, threads=_threads(settings),
        via=settings.path,
    )  # fmt: skip
    drawing = engine_of(model, plan)
    numbers = [UniformStream(settings.seed, number) for number in range(batch)]
    vocabulary = len(model.metadata.vocabulary)
    sampling = Sampling.same(batch, vocabulary, settings.temperature, numbers=numbers)
    stepper = Stepper(model, batch=1)
    for token in _prompt(model):
        stepper.token[0] = token
        stepper.step()
    primed = Primed(*stepper.state(), stepper.logits.copy())
    drawing.start(primed.take([0] * batch), sampling)

    def run(count: int) -> npt.NDArray[np.int64]:
        blocks = (min(settings.steps, count - at) for at in range(0, count, settings.steps))
        return np.concatenate([np.asarray(drawing.draw(n)) for n in blocks], axis=1)

    return run


def stream(settings: CaseSettings) -> Run:
    """`Generator.stream`, which chooses its path by itself; it goes on where a trial stopped."""
    return run_of(_generator(settings).stream(**_request(settings), length=0))


def window(settings: CaseSettings) -> Run:
    """`Generator.stream` in the notebook's way: 40 characters read again for each one drawn."""
    return run_of(_generator(settings).stream(**_request(settings), length=0, window=LENGTH))


def batch(settings: CaseSettings) -> Run:
    """`Generator.batch`; a unit is one character of each text, all begun anew each time."""
    generator = _generator(settings)
    shared = _request(settings)
    if settings.filtered:
        shared |= {"top_k": TOP_K, "top_p": TOP_P}

    def run(count: int) -> list[Outcome]:
        requests = (
            Request(**shared, length=count, sample=sample) for sample in range(settings.batch)
        )
        work = Work(settings.batch, count, settings.filtered)
        return list(generator.batch(requests, width=settings.batch, work=work))

    return run


def score(settings: CaseSettings, length: int = 10_000) -> Run:
    """`Scorer.score` on what the model itself might have written.

    Args:
        length: characters that are drawn for it; a longer text repeats them.
    """
    generator = _generator(settings)
    return _scoring(Scorer(generator.model, "drop", settings.precision), generator, length)


def score_parallel(settings: CaseSettings) -> Run:
    """A long text scored in segments side by side, as `charlm-score --parallel` does."""
    generator = _generator(settings)
    model = generator.model
    workers = _threads(settings) if model.device == "cpu" else WORKERS_OF_GPU
    scorer = SegmentScorer(model, "drop", settings.precision, workers=workers)
    return _scoring(scorer, generator, 100_000)


def _scoring(scorer: Scorer | SegmentScorer, generator: Generator, length: int) -> Run:
    """A unit is one scored character, which a text's first is not."""
    drawn = generator.text(PROMPT, length=length, seed=1, unknown="drop")

    def run(count: int) -> object:
        whole, rest = divmod(count + 1, length)
        return scorer.score([*[drawn] * whole, drawn[:rest]])

    return run


def _on_clusters(procedure: Callable[[CaseSettings], Run]) -> Callable[[CaseSettings], Run]:
    """The same by the GPU's kernels that hold weights in clusters of blocks."""

    def begun(settings: CaseSettings) -> Run:
        os.environ["CHARLM_CLUSTERS"] = "1"
        return procedure(settings)

    return begun


stream_on_clusters, engine_on_clusters = _on_clusters(stream), _on_clusters(engine)
batch_on_clusters, score_parallel_on_clusters = _on_clusters(batch), _on_clusters(score_parallel)


def _threads(settings: CaseSettings) -> int:
    return settings.threads or usable_cores()


def _model(settings: CaseSettings) -> Model:
    threads = _threads(settings)
    return open_model(Path(settings.model), settings.provider, threads, settings.precision)


def _generator(settings: CaseSettings) -> Generator:
    threads = _threads(settings)
    return Generator.open(settings.model, settings.provider, threads, settings.precision)


def _request(settings: CaseSettings) -> dict[str, Any]:
    return {
        "prompt": PROMPT,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "unknown": "drop",
    }


def _prompt(model: Model) -> list[int]:
    """The notebook's seed text as token ids, as far as the model knows its characters."""
    metadata = model.metadata
    known = metadata.vocabulary.encode(metadata.normalisation(PROMPT), "drop").tolist()
    return known or [0]
