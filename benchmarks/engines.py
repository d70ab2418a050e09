"""charlm's paths by name, as engines: what the cases of one path run, and what flips compares."""

from charlm.benchmarks.settings import CaseFailedError
from charlm.infer.artifact import Model
from charlm.infer.engine import Engine, Primed, StepEngine
from charlm.infer.session import Stepper

STEP = "step"


def open_engine(path: str, precision: str, model: Model, threads: int) -> Engine:
    """The engine of a path.

    Args:
        path: `step`.
        precision: of its products.
        model: an open step graph.
        threads: that it may use.

    Raises:
        CaseFailedError: there is no such path.
    """
    del threads
    if (path, precision) != (STEP, "float32"):
        raise CaseFailedError(f"charlm has no {path} path in {precision}")
    return StepEngine(model)


def primed(model: Model, prompt: list[int], streams: int) -> Primed:
    """So many streams that have all read one prompt, token ids, one at a time."""
    stepper = Stepper(model, batch=1)
    for token in prompt:
        stepper.token[0] = token
        stepper.step()
    h, c = stepper.state()
    return Primed(h, c, stepper.logits.copy()).take([0] * streams)
