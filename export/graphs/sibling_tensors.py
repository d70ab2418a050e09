"""The contract's tables of inputs and outputs as declarations of a graph."""

import onnx

from charlm.export.contract import C_NEXT, H_NEXT, C, H, Metadata
from charlm.export.contract_siblings import SEQUENCE, Kind, tensors
from charlm.export.graphs.graph import FLOAT, INT32, INT64, UINT8, value

BATCH = "batch"
_TYPES = {
    "tensor(float)": FLOAT,
    "tensor(int64)": INT64,
    "tensor(int32)": INT32,
    "tensor(uint8)": UINT8,
}


def declarations(
    kind: Kind, metadata: Metadata
) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    """Inputs and outputs of a kind, as `tensors` lists them."""
    inputs, outputs = tensors(kind, metadata)
    return (
        [_declared(name, *tensor, kind) for name, tensor in inputs.items()],
        [_declared(name, *tensor, kind) for name, tensor in outputs.items()],
    )


def _declared(
    name: str, type_name: str, shape: list[int | None], kind: Kind
) -> onnx.ValueInfoProto:
    second = "time" if kind == SEQUENCE else "steps"
    free = [BATCH] if name in (H, C, H_NEXT, C_NEXT) else [BATCH, second]
    sizes = [free[place] if size is None else size for place, size in enumerate(shape)]
    return value(name, _TYPES[type_name], sizes)
