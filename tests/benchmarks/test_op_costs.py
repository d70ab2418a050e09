"""The ops whose costs inside a Scan are measured run there, as often as they are said to."""

import numpy as np
import onnx
import pytest

from charlm.benchmarks import op_costs
from charlm.benchmarks.op_costs import OPS


def body(content: bytes) -> onnx.GraphProto:
    (loop,) = [
        node for node in onnx.load_model_from_string(content).graph.node if node.op_type == "Scan"
    ]
    found: onnx.GraphProto
    (found,) = [attribute.g for attribute in loop.attribute if attribute.name == "body"]
    return found


@pytest.mark.parametrize("name", OPS)
def test_each_op_runs_inside_the_scan(name: str) -> None:
    op = OPS[name]
    few, many = op_costs.copies(op)
    counts = [
        sum(node.op_type == op.op for node in body(op_costs.graph(op, count)).node)
        for count in (few, many)
    ]
    assert counts[1] - counts[0] == many - few > 0
    assert np.isfinite(op_costs.runner(op, many, batch=1)()[0]).all()


def test_the_cost_of_a_copy_is_what_more_of_them_take() -> None:
    op = OPS["Mul, 192"]
    few, many = op_costs.copies(op)
    times = {"Mul, 192 few": [1.0, 2.0], "Mul, 192 many": [1.0 + many - few, 2.0]}
    assert op_costs._cost(times, "Mul, 192", op) == [1.0, 0.0]
