"""From a plan to what carries it out: an engine that draws, and a reader of prompts."""

from typing import Any

from charlm.data.errors import ModelFileError
from charlm.export.contract_siblings import FILTERED, INT8_FILTERED
from charlm.infer.artifact import Model
from charlm.infer.choose import DEVICE_BLOCKS, STEP, Plan, generate_kind
from charlm.infer.engine import Engine, Reader, StepEngine, StepReader
from charlm.infer.scan_engine import ScanEngine


def engine_of(model: Model, plan: Plan) -> Engine:
    """What draws by this plan."""
    if plan.path == STEP:
        return StepEngine(model)
    if plan.path == DEVICE_BLOCKS:
        from charlm.infer.cuda_engine import CudaEngine, cuda_blocks

        return CudaEngine(cuda_blocks(model, plan.precision))

    def session_for(streams: int, filtered: bool) -> Any:
        if not filtered:
            return model.siblings.session(generate_kind(model.siblings, plan.precision, streams))
        kind = INT8_FILTERED if plan.precision == "int8" else FILTERED
        if kind not in model.siblings:
            raise ModelFileError(
                f"the model has no {kind.name} graph, which top-k, top-p and min-p of single texts "
                "need: export it again"
            )
        return model.siblings.session(kind)

    return ScanEngine(session_for, plan.threads)


def reader_of(model: Model, plan: Plan) -> Reader:
    """What reads prompts for this plan."""
    del plan
    return StepReader(model)
