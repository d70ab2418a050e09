"""A graph under construction, and its serialised, checked form; what it computes is its users'."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from charlm.export import contract
from charlm.export.contract import C_NEXT, H_NEXT, SEQUENCE, C, H, Kind, Metadata

BATCH = "batch"
FLOAT = TensorProto.FLOAT
INT64, INT32, UINT8 = TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8
_TYPES = {
    "tensor(float)": FLOAT,
    "tensor(int64)": INT64,
    "tensor(int32)": INT32,
    "tensor(uint8)": UINT8,
}


@dataclass
class Draft:
    """Nodes in order, and the arrays that they refer to; a whole graph, or the body of a loop."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node with one output, whose name it returns."""
        self.add_many(op, inputs, [output], **attributes)
        return output

    def add_many(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """A node that bears its first output's name."""
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))

    def split(self, value: str, sizes: list[int], outputs: list[str], axis: int) -> None:
        """Cut `value` along `axis` into `outputs` of those sizes."""
        name = self.array(f"sizes_{'_'.join(map(str, sizes))}", np.array(sizes, dtype=np.int64))
        self.add_many("Split", [value, name], outputs, axis=axis)

    def array(self, name: str, values: npt.ArrayLike) -> str:
        """A constant."""
        self.arrays[name] = np.ascontiguousarray(values) if np.ndim(values) else np.array(values)
        return name

    def axes(self, *axes: int) -> str:
        """The constant list of axes that Squeeze and Unsqueeze take."""
        return self.array(f"axes_{'_'.join(map(str, axes))}", np.array(axes, dtype=np.int64))

    def to_graph(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.GraphProto:
        """The graph, its arrays within."""
        arrays = [numpy_helper.from_array(array, name) for name, array in self.arrays.items()]
        return helper.make_graph(self.nodes, name, inputs, outputs, arrays)

    def to_model(self, kind: Kind, metadata: Metadata) -> bytes:
        """A model file of the graph, with the tensors and metadata that the contract gives a kind.

        Raises:
            onnx.checker.ValidationError: see `to_file`.
        """
        inputs, outputs = (
            [_declaration(name, *tensor, kind) for name, tensor in listed.items()]
            for listed in contract.tensors(kind, metadata)
        )
        graph = self.to_graph(f"charlm_{kind.name}", inputs, outputs)
        return to_file(graph, contract.properties(metadata, kind))


def to_file(graph: onnx.GraphProto, properties: dict[str, str]) -> bytes:
    """A model file of a graph with metadata, checked by `onnx.checker` with full type inference.

    Raises:
        onnx.checker.ValidationError: the graph is malformed, which is a bug of its builder.
    """
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", contract.OPSET)],
        ir_version=contract.IR_VERSION,
        producer_name="charlm",
    )
    helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def value(name: str, kind: int, shape: Sequence[str | int | None]) -> onnx.ValueInfoProto:
    """The declaration of an input or output; a string in `shape` is a free size."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def _declaration(
    name: str, type_name: str, shape: list[int | None], kind: Kind
) -> onnx.ValueInfoProto:
    second = "time" if kind == SEQUENCE else "steps"
    free = [BATCH] if name in (H, C, H_NEXT, C_NEXT) else [BATCH, second]
    sizes = [free[place] if size is None else size for place, size in enumerate(shape)]
    return value(name, _TYPES[type_name], sizes)
