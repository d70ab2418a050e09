"""charlm's paths by name, as engines: what the cases of one path run, and what flips compares."""

from typing import Any

from charlm.benchmarks.settings import CaseFailedError
from charlm.export.contract_siblings import KINDS, Kind
from charlm.infer.artifact import Model
from charlm.infer.engine import Engine, Primed, StepEngine
from charlm.infer.scan_engine import ScanEngine
from charlm.infer.session import Stepper

STEP = "step"  # a call of the step graph for each character
GENERATE = "generate"  # a call of a generate graph for many
GENERATE_ORT = "generate-ort"  # the same with ONNX Runtime's own operators


def open_engine(path: str, precision: str, model: Model, threads: int) -> Engine:
    """The engine of a path.

    Args:
        path: one of the above.
        precision: of its products.
        model: an open step graph, with its siblings beside it.
        threads: that it may use.

    Raises:
        CaseFailedError: there is no such path, or the model lacks the graph for it.
        ModelFileError: that graph is damaged, or of other weights.
    """
    if (path, precision) == (STEP, "float32"):
        return StepEngine(model)
    kind = _kind(path, precision)
    if kind not in model.siblings:
        raise CaseFailedError(f"the model has no {kind.name} graph beside it: export it again")

    def session_for(streams: int, filtered: bool) -> Any:
        del streams, filtered
        return model.siblings.session(kind)

    return ScanEngine(session_for, threads)


def primed(model: Model, prompt: list[int], streams: int) -> Primed:
    """So many streams that have all read one prompt, token ids, one at a time."""
    stepper = Stepper(model, batch=1)
    for token in prompt:
        stepper.token[0] = token
        stepper.step()
    h, c = stepper.state()
    return Primed(h, c, stepper.logits.copy()).take([0] * streams)


def _kind(path: str, precision: str) -> Kind:
    for kind in KINDS.values():
        plain = kind.family == GENERATE and not kind.filters and kind.steps is None
        own = path == (GENERATE_ORT if kind.ort_ops else GENERATE)
        if plain and own and kind.precision == precision:
            return kind
    raise CaseFailedError(f"charlm has no {path} path in {precision}")
