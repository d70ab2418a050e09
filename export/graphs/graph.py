"""A graph under construction, and its serialised, checked form; what it computes is its users'."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from charlm.export import contract

Array = npt.NDArray[np.generic]
Shape = Sequence[str | int | None]
FLOAT = TensorProto.FLOAT
INT64, INT32, UINT8 = TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8


@dataclass
class Draft:
    """Nodes in order, and the arrays that they refer to; a whole graph, or the body of a loop.

    Attributes:
        suffix: part of every name that `local` makes, so that steps laid one after another don't
            share the names of their values.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    suffix: str = ""

    def local(self, name: str) -> str:
        """The name of a value of the present step."""
        return name + self.suffix

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node with one output, whose name it returns; attributes that are None are left out."""
        node = helper.make_node(op, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def add_many(
        self, op: str, inputs: Sequence[str], outputs: list[str], **attributes: Any
    ) -> list[str]:
        """A node with several outputs, whose names it returns."""
        self.nodes.append(
            helper.make_node(op, inputs, outputs, name=next(filter(None, outputs)), **attributes)
        )
        return outputs

    def split(self, value: str, sizes: list[int], outputs: list[str], axis: int) -> list[str]:
        """Cut `value` along `axis` into `outputs` of those sizes."""
        name = f"sizes_{'_'.join(map(str, sizes))}"
        self.arrays[name] = np.array(sizes, dtype=np.int64)
        return self.add_many("Split", [value, name], outputs, axis=axis)

    def array(self, name: str, values: npt.ArrayLike) -> str:
        """A constant."""
        self.arrays[name] = np.ascontiguousarray(values) if np.ndim(values) else np.array(values)
        return name

    def axes(self, *axes: int) -> str:
        """The constant list of axes that Squeeze and Unsqueeze take."""
        return self.array(f"axes_{'_'.join(map(str, axes))}", np.array(axes, dtype=np.int64))

    def scan(
        self,
        body: onnx.GraphProto,
        inputs: Sequence[str],
        outputs: Sequence[str],
        scanned: int,
        axis: int = 1,
    ) -> None:
        """A Scan: the last `scanned` inputs, and what follows the states, run along `axis`."""
        collected = len(outputs) - (len(inputs) - scanned)
        self.nodes.append(
            helper.make_node(
                "Scan",
                inputs,
                outputs,
                name="steps",
                body=body,
                num_scan_inputs=scanned,
                scan_input_axes=[axis] * scanned,
                scan_output_axes=[axis] * collected,
            )
        )

    def to_graph(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.GraphProto:
        """The graph, its arrays within."""
        arrays = [numpy_helper.from_array(array, name) for name, array in self.arrays.items()]
        return helper.make_graph(self.nodes, name, inputs, outputs, arrays)


def value(name: str, kind: int, shape: Shape) -> onnx.ValueInfoProto:
    """The declaration of an input or output; a string in `shape` is a free size."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def serialise(graph: onnx.GraphProto, properties: Mapping[str, str]) -> bytes:
    """A model file of a graph, checked by `onnx.checker` with full type inference.

    Args:
        graph: the graph.
        properties: its `metadata_props`.

    Raises:
        onnx.checker.ValidationError: the graph is malformed, which is a bug of its builder.
    """
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", contract.OPSET)],
        ir_version=contract.IR_VERSION,
        producer_name="charlm",
    )
    helper.set_model_props(model, dict(properties))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
