"""charlm's paths by name, as engines: what the cases of one path run, and what flips compares."""

from charlm.benchmarks.harness.settings import CaseFailedError
from charlm.infer.engines.base import Engine, Primed
from charlm.infer.engines.step import Stepper
from charlm.infer.model.open import Model
from charlm.infer.planning import Work, choose, engine_of

STEP = "step"  # a call of the step graph for each character
GENERATE = "generate"  # a call of the generate graph for many
NATIVE = "native"  # a call of charlm's own operator for many
WAYS = {STEP: "steps", GENERATE: "blocks", NATIVE: "native"}


def open_engine(path: str, precision: str, model: Model, threads: int) -> Engine:
    """The engine of a path.

    Args:
        path: one of the above.
        precision: of its products.
        model: an open step graph, with its siblings beside it.
        threads: that it may use.

    Raises:
        CaseFailedError: there is no such path.
        CharlmError: it can't be used here, or its graph is damaged or of other weights.
    """
    if path not in WAYS:
        raise CaseFailedError(f"charlm has no {path} path")
    found = choose(Work(2, 1), model, precision=precision, threads=threads, via=WAYS[path])
    return engine_of(model, found)


def primed(model: Model, prompt: list[int], streams: int) -> Primed:
    """So many streams that have all read one prompt, token ids, one at a time."""
    stepper = Stepper(model, batch=1)
    for token in prompt:
        stepper.token[0] = token
        stepper.step()
    h, c = stepper.state()
    return Primed(h, c, stepper.logits.copy()).take([0] * streams)
