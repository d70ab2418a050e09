"""What single ops cost inside a Scan, from which the forms of `generate_forms` were thought of.

A body with some copies of an op is timed beside a body with fewer, at the sizes of LSTM-192.

    python -m charlm.benchmarks.op_costs
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import onnxruntime

from charlm.benchmarks import machine, pinning
from charlm.benchmarks.forms.turns import Times, afresh, table
from charlm.export.graph import FLOAT, INT32, ORT_DOMAIN, Draft, Shape, serialise, value
from charlm.infer.runtime import session_on, session_options

HIDDEN, CHARACTERS = 192, 62
STEPS = {1: 256, 64: 32}  # iterations of one run, by batch
ROUNDS, SECONDS = 9, 0.01
EMPTY = "an iteration with two Identities"
MANY = 8  # further copies of an op
RANDOM = np.random.RandomState(0)


@dataclass(frozen=True)
class Op:
    """A node.

    Attributes:
        op: its type.
        inputs: names of values (`VALUES`) and constants (`CONSTANTS`).
        outputs: how many.
        domain: of the op.
        attributes: of the node.
    """

    op: str
    inputs: str
    outputs: int = 1
    domain: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_product(self) -> bool:
        """Its weights are packed for each copy, and several don't fit into the cache."""
        return "Mat" in self.op or "Gemm" in self.op


def _floats(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _bytes(*shape: int) -> Any:
    return RANDOM.randint(-127, 128, shape).astype(np.int8)


WIDE = 4 * HIDDEN
# Outside the body: made once, seen by every iteration.
VALUES = {"h": HIDDEN, "gates": WIDE, "logits": CHARACTERS, "u": 1}
CONSTANTS = {
    "table": _floats(CHARACTERS, WIDE),
    "table_quarter": _floats(CHARACTERS, HIDDEN),
    "R": _floats(HIDDEN, WIDE),
    "R_quarter": _floats(HIDDEN, HIDDEN),
    "both": _floats(HIDDEN, WIDE + CHARACTERS),
    "both_bias": _floats(WIDE + CHARACTERS),
    "head": _floats(HIDDEN, CHARACTERS),
    "head_bias": _floats(CHARACTERS),
    "triangle": -np.triu(np.ones((CHARACTERS, CHARACTERS), dtype=np.float32)),
    "R_int8": _bytes(HIDDEN, WIDE),
    "scale": np.full(WIDE, 0.01, dtype=np.float32),
    "zeros": np.zeros(WIDE, dtype=np.int8),
    "h_scale": np.float32(1 / 127),
    "h_zero": np.uint8(128),
    "sizes_31": np.array([3 * HIDDEN, HIDDEN]),
    "sizes_4": np.array([HIDDEN] * 4),
    "axis": np.array(1),
    "axes": np.array([1]),
    "every": np.array([CHARACTERS]),
}
_ROW: dict[str, Any] = {"axis": 1, "keepdims": 0}
OPS = {
    "Identity, 192": Op("Identity", "h"),
    "Mul, 192": Op("Mul", "h h"),
    "Add, 192": Op("Add", "h h"),
    "Sum of four, 192": Op("Sum", "h h h h"),
    "Mean of four, 192": Op("Mean", "h h h h"),
    "Add, 768": Op("Add", "gates gates"),
    "Tanh, 192": Op("Tanh", "h"),
    "Sigmoid, 192": Op("Sigmoid", "h"),
    "Tanh, 768": Op("Tanh", "gates"),
    "Sigmoid, 768": Op("Sigmoid", "gates"),
    "Split, 768 in 576 and 192": Op("Split", "gates sizes_31", 2, attributes={"axis": 1}),
    "Split, 768 in four": Op("Split", "gates sizes_4", 4, attributes={"axis": 1}),
    "Gather, a row of 768": Op("Gather", "table token", attributes={"axis": 0}),
    "Gather, a row of 192": Op("Gather", "table_quarter token", attributes={"axis": 0}),
    "Gemm 192 x 768 and row": Op("Gemm", "h R gates"),
    "Gemm 192 x 192 and row": Op("Gemm", "h R_quarter h"),
    "MatMul 192 x 768": Op("MatMul", "h R"),
    "Gemm 192 x 830 and bias": Op("Gemm", "h both both_bias"),
    "MatMul 192 x 830": Op("MatMul", "h both"),
    "Gemm 192 x 62 and bias": Op("Gemm", "h head head_bias"),
    "Mul, 62 by 1": Op("Mul", "logits u"),
    "Softmax, 62": Op("Softmax", "logits", attributes={"axis": -1}),
    "CumSum, 62": Op("CumSum", "logits axis"),
    "Gemm 62 x 62 and u": Op("Gemm", "logits triangle u"),
    "Sub, 62 from 1": Op("Sub", "u logits"),
    "Min, 62 with 1": Op("Min", "logits u"),
    "GreaterOrEqual, 62 with 1": Op("GreaterOrEqual", "logits u"),
    "Relu, 62": Op("Relu", "logits"),
    "ArgMin, 62": Op("ArgMin", "logits", attributes=_ROW),
    "ArgMax, 62": Op("ArgMax", "logits", attributes=_ROW),
    "ReduceSum, 62": Op("ReduceSum", "logits axes", attributes={"keepdims": 0}),
    "TopK of all, 62": Op("TopK", "logits every", 2, attributes={"axis": 1}),
    "QuantizeLinear, 192": Op("QuantizeLinear", "h h_scale h_zero"),
    "MatMulInteger 192 x 768": Op("MatMulInteger", "h_bytes R_int8 h_zero"),
    "Cast int32, 768": Op("Cast", "units", attributes={"to": FLOAT}),
    "DequantizeLinear int32, 768": Op("DequantizeLinear", "units scale", attributes={"axis": 1}),
    "MatMulIntegerToFloat 192 x 768": Op(
        "MatMulIntegerToFloat", "h_bytes R_int8 h_scale scale h_zero", domain=ORT_DOMAIN
    ),
    "QGemm 192 x 768 and row": Op(
        "QGemm", "h_bytes h_scale h_zero R_int8 scale zeros units", domain=ORT_DOMAIN
    ),
}


def main() -> None:
    """Measure every op and print a Markdown table."""
    print(f"ONNX Runtime {onnxruntime.__version__}, {machine.describe('cpu').cpu}, one thread,")
    print("µs an op for the whole batch: median (lower and upper quartile)\n")
    with pinning.pinned(1):
        print(table("op", {f"batch {batch}": costs(OPS, batch) for batch in STEPS}))


def costs(ops: Mapping[str, Op], batch: int) -> dict[str, str]:
    """For each op, and for an iteration with none, its cell in the table."""
    openers: dict[str, Callable[[], Callable[[], Any]]] = {EMPTY: partial(runner, None, 0, batch)}
    for name, op in ops.items():
        few, many = copies(op)
        openers[f"{name} few"] = partial(runner, op, few, batch)
        openers[f"{name} many"] = partial(runner, op, many, batch)
    times = afresh(openers, STEPS[batch], ROUNDS, SECONDS)
    return {EMPTY: _cell(times[EMPTY])} | {
        name: _cell(_cost(times, name, op)) for name, op in ops.items()
    }


def copies(op: Op) -> tuple[int, int]:
    """How many stand in the two bodies that are compared."""
    return (0, 1) if op.is_product else (1, 1 + MANY)


def runner(op: Op | None, count: int, batch: int) -> Callable[[], Any]:
    """A call that runs a Scan whose body holds so many copies of an op."""
    options = session_options(onnxruntime, 1)
    # What is not used would be taken out, and what is the same made once.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = session_on(onnxruntime, graph(op, count), options, "cpu")
    inputs = {name: _floats(batch, width) for name, width in VALUES.items() if name != "u"}
    inputs["numbers"] = np.zeros((batch, STEPS[batch], 1), dtype=np.float32)
    return partial(session.run, ["last"], inputs)


def graph(op: Op | None, count: int) -> bytes:
    """A Scan over `numbers` [batch, steps, 1] whose body holds so many copies of an op."""
    draft, body = Draft(), Draft()
    draft.add("ArgMax", ["logits"], "token", **_ROW)
    quantised = [draft.array(name, CONSTANTS[name]) for name in ("h_scale", "h_zero")]
    draft.add("QuantizeLinear", ["h", *quantised], "h_bytes")
    zeros = draft.add("Mul", ["gates", draft.array("none", np.float32(0))], "no_gates")
    draft.add("Cast", [zeros], "units", to=INT32)
    draft.add("ReduceSum", ["logits", draft.array("axes", CONSTANTS["axes"])], "first")
    after, collected = body.add("Identity", ["before"], "after"), body.add("Identity", ["u"], "out")
    for copy in range(count if op else 0):
        assert op is not None
        inputs = op.inputs.split()
        for name in inputs:
            if name in CONSTANTS:
                body.array(name, CONSTANTS[name])
        outputs = [f"out_{copy}_{place}" for place in range(op.outputs)]
        body.add_many(op.op, inputs, outputs, domain=op.domain, **op.attributes)
    column: Shape = ["batch", 1]
    loop = body.to_graph(
        "body",
        [value("before", FLOAT, column), value("u", FLOAT, column)],
        [value(after, FLOAT, column), value(collected, FLOAT, column)],
    )
    draft.scan(loop, ["first", "numbers"], ["last", "all"], scanned=1)
    inputs_ = [
        value(name, FLOAT, ["batch", width]) for name, width in VALUES.items() if name != "u"
    ]
    inputs_.append(value("numbers", FLOAT, ["batch", "steps", 1]))
    whole = draft.to_graph("ops", inputs_, [value("last", FLOAT, column)])
    return serialise(whole, {}, ort_ops=True)


def _cost(times: Times, name: str, op: Op) -> list[float]:
    """Microseconds of one copy in each round."""
    few, many = copies(op)
    pairs = zip(times[f"{name} few"], times[f"{name} many"], strict=True)
    return [(larger - smaller) / (many - few) for smaller, larger in pairs]


def _cell(values: list[float]) -> str:
    low, median, high = statistics.quantiles(values, n=4)
    return f"{median:.2f} ({low:.2f} - {high:.2f})"


if __name__ == "__main__":
    main()
