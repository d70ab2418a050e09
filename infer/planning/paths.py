"""From a plan to what carries it out: an engine that draws, and a reader of prompts."""

from typing import TYPE_CHECKING

from charlm.data.system.errors import CharlmError, SettingsError
from charlm.export.contract import GENERATE
from charlm.infer.engines.engine import Engine, Reader
from charlm.infer.model.artifact import Model
from charlm.infer.planning.choose import BLOCKS, NATIVE, Plan
from charlm.infer.sampling.filters import NO_FILTERS

if TYPE_CHECKING:
    from charlm.infer.request import Request


def engine_of(model: Model, plan: Plan) -> Engine:
    """What draws by this plan."""
    if plan.path == NATIVE:
        from charlm.infer.engines.native_engine import NativeEngine

        return NativeEngine(model.native(plan.precision, plan.threads), model.metadata)
    if plan.path == BLOCKS:
        from charlm.infer.engines.scan_engine import ScanEngine

        return ScanEngine(
            model.siblings.session(GENERATE), len(model.metadata.vocabulary), plan.threads
        )
    from charlm.infer.engines.step_engine import StepEngine

    return StepEngine(model, plan.window)


def reader_of(model: Model, plan: Plan) -> Reader:
    """What reads prompts for this plan."""
    if plan.path == NATIVE:
        from charlm.infer.engines.native_engine import NativeReader

        return NativeReader(model.native(plan.precision, plan.threads), model.metadata)
    from charlm.infer.engines.reading import SequenceReader, WindowReader

    if plan.window is not None:
        return WindowReader(model, plan.window)
    return SequenceReader(model, plan.precision)


def refusal(plan: Plan, request: "Request") -> CharlmError | None:
    """Why a request can't be served by this plan, if it can't.

    Not every path has filters, and all streams of a batch have one window.
    """
    if request.window != plan.window:
        return SettingsError(
            f"window {request.window} in a batch whose window is {plan.window}: "
            f"batch() is told by its work, Work(None, window={request.window})"
        )
    if request.filters == NO_FILTERS:
        return None
    if plan.path == BLOCKS:
        return SettingsError("top-k, top-p and min-p in a batch that was said to have none")
    return None
