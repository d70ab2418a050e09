"""From a plan to what carries it out: an engine that draws, and a reader of prompts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from charlm.data.errors import CharlmError, ModelFileError, SettingsError
from charlm.export.contract_siblings import FILTERED, INT8_FILTERED, Kind
from charlm.infer.artifact import Model
from charlm.infer.choose import DEVICE_BLOCKS, STEP, WORTH_SEQUENCE, Plan, generate_kind
from charlm.infer.engine import Engine, Primed, Reader, StepEngine, StepReader, Tokens
from charlm.infer.filters import NO_FILTERS
from charlm.infer.scan_engine import ScanEngine
from charlm.infer.sequence_reader import reader_for

if TYPE_CHECKING:
    from charlm.infer.requests import Request


def engine_of(model: Model, plan: Plan) -> Engine:
    """What draws by this plan."""
    if plan.path == STEP:
        return StepEngine(model, plan.window, plan.precision)
    if plan.path == DEVICE_BLOCKS:
        from charlm.infer.cuda_engine import CudaEngine, cuda_blocks

        return CudaEngine(cuda_blocks(model, plan.precision))

    siblings = model.siblings

    def session_for(streams: int, filtered: bool) -> Any:
        kind = filtered_kind(plan) if filtered else generate_kind(siblings, plan.precision, streams)
        return siblings.session(kind, plan.session_threads)

    return ScanEngine(session_for, plan.threads)


def filtered_kind(plan: Plan) -> Kind:
    """The graph that draws through filters by this plan."""
    return INT8_FILTERED if plan.precision == "int8" else FILTERED


def refusal(model: Model, plan: Plan, request: "Request") -> CharlmError | None:
    """Why a request can't be served by this plan, if it can't.

    What asks for filters needs a graph that has them, and all streams of a batch have one window.
    """
    if request.window != plan.window:
        return SettingsError(
            f"window {request.window} in a batch whose window is {plan.window}: "
            f"batch() is told by its work, Work(None, window={request.window})"
        )
    if plan.path == STEP or request.filters == NO_FILTERS:
        return None
    if plan.precision == "fp16":
        return SettingsError("--precision fp16 has no top-k, top-p or min-p")
    kind = filtered_kind(plan)
    if kind in model.siblings:
        return None
    return ModelFileError(
        f"the model has no {kind.name} graph, which top-k, top-p and min-p need: export it again"
    )


def reader_of(model: Model, plan: Plan) -> Reader:
    """What reads prompts for this plan."""
    if plan.window is not None:
        return StepReader(model, plan.window, plan.precision)
    if plan.precision != "float32":
        return reader_for(model, plan.precision)
    return PromptReader(model)


class PromptReader:
    """A `Reader` that opens the graph of whole texts when it is first handed enough to read.

    Args:
        model: an open model, read in float32.
    """

    def __init__(self, model: Model) -> None:
        self._model, self._reader = model, StepReader(model)
        self._whole: Reader | None = None

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        """See `Reader`."""
        if self._whole is None:
            if sum(map(len, prompts)) < WORTH_SEQUENCE:
                return self._reader.read(prompts)
            self._whole = reader_for(self._model)
        return self._whole.read(prompts)
