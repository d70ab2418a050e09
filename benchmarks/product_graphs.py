"""Graphs that do nothing but multiply, to find what ONNX Runtime's products cost by themselves."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from charlm.benchmarks.work import BATCH
from charlm.export import contract


def product(side: int) -> bytes:
    """A graph `x` [side, side] -> `y` = x times a constant matrix."""
    square = [side, side]
    return _serialise(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [_value("x", square)],
        [_value("y", square)],
        {"w": square},
    )


def vectors(shapes: Sequence[tuple[int, int]]) -> bytes:
    """A graph that multiplies `BATCH` rows by each matrix, row after row, inside one Scan.

    Args:
        shapes: (rows, columns) of each matrix; input n is float32 [BATCH, 1, rows] and output n
            float32 [BATCH, 1, columns].
    """
    numbers = range(len(shapes))
    body = helper.make_graph(
        [helper.make_node("MatMul", [f"row_{n}", f"w_{n}"], [f"product_{n}"]) for n in numbers],
        "products",
        [_value(f"row_{n}", [1, shapes[n][0]]) for n in numbers],
        [_value(f"product_{n}", [1, shapes[n][1]]) for n in numbers],
    )
    scan = helper.make_node(
        "Scan",
        [f"x_{n}" for n in numbers],
        [f"y_{n}" for n in numbers],
        body=body,
        num_scan_inputs=len(shapes),
    )
    return _serialise(
        [scan],
        [_value(f"x_{n}", [BATCH, 1, shapes[n][0]]) for n in numbers],
        [_value(f"y_{n}", [BATCH, 1, shapes[n][1]]) for n in numbers],
        {f"w_{n}": list(shapes[n]) for n in numbers},
    )


def _value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _serialise(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, list[int]],
) -> bytes:
    random = np.random.default_rng(0)
    arrays = [
        numpy_helper.from_array(random.standard_normal(shape, dtype=np.float32), name)
        for name, shape in constants.items()
    ]
    graph = helper.make_graph(nodes, "products", inputs, outputs, arrays)
    opset = [helper.make_opsetid("", contract.OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=contract.IR_VERSION)
    return bytes(model.SerializeToString())
