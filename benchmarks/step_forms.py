"""Which form of the step is fastest: the LSTM operator, or a cell laid by hand in several ways.

This is the measurement behind `export/step_graph.py`. Every form has the contract's tensors and
holds the same weights; they are checked to agree before they are timed in turns.

    python -m charlm.benchmarks.step_forms
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from charlm.data.normalise import Normalisation
from charlm.data.vocabulary import Vocabulary
from charlm.export import contract, step_graph, weights
from charlm.export.contract import Metadata
from charlm.export.weights import Weights
from charlm.infer.artifact import Model
from charlm.infer.session import Stepper
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM

VOCABULARY = 62
CASES = ((192, 1), (192, 64), (512, 1))  # hidden, batch
ROUNDS = 15
SECONDS = 0.05  # one trial


@dataclass
class _Draft:
    """Nodes and arrays of one form."""

    arrays: dict[str, npt.NDArray[np.generic]]
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, op: str, inputs: str, outputs: str, **attributes: object) -> None:
        node = helper.make_node(op, inputs.split(), outputs.split(), **attributes)  # type: ignore[arg-type]
        self.nodes.append(node)


def lstm_operator(given: Weights) -> _Draft:
    """Torch's and every exporter's way: one-hot input, axes turned for the LSTM operator."""
    hidden = given.hidden
    draft = _Draft(
        {
            "eye": np.eye(VOCABULARY, dtype=np.float32)[:, None],
            "W": given.table[:, 0].T[None].copy(),
            "R": given.recurrent.T[None].copy(),
            "B": np.zeros((1, 8 * hidden), dtype=np.float32),
            "axis": np.array([0]),
            **_head(given),
        }
    )
    draft.add("Gather", "eye token", "one_hot")
    for name, turned in (("one_hot", "x"), ("h", "h0"), ("c", "c0")):
        draft.add("Transpose", name, turned, perm=[1, 0, 2])
    draft.nodes.append(
        helper.make_node(
            "LSTM", ["x", "W", "R", "B", "", "h0", "c0"], ["", "h1", "c1"], hidden_size=hidden
        )
    )
    draft.add("Transpose", "h1", "h_next", perm=[1, 0, 2])
    draft.add("Transpose", "c1", "c_next", perm=[1, 0, 2])
    draft.add("Squeeze", "h1 axis", "top")
    draft.add("Gemm", "top head head_bias", "logits")
    return draft


def flat_gemm(given: Weights) -> _Draft:
    """A hand-laid cell on flat matrices: Gemm adds the input's row, at the price of reshaping."""
    draft = _Draft({"axis": np.array([1]), "table": given.table[:, 0].copy(), **_head(given)})
    draft.arrays["R"] = given.recurrent
    draft.add("Gather", "table token", "row")
    draft.add("Squeeze", "h axis", "h0")
    draft.add("Squeeze", "c axis", "c0")
    draft.add("Gemm", "h0 R row", "gates")
    _sigmoid_together(draft, given.hidden, axis=1)
    _combine(draft, "c0", "c1", "top")
    draft.add("Unsqueeze", "top axis", "h_next")
    draft.add("Unsqueeze", "c1 axis", "c_next")
    draft.add("Gemm", "top head head_bias", "logits")
    return draft


def four_sigmoids(given: Weights) -> _Draft:
    """The form that ships, but each gate cut out before its own non-linearity."""
    draft = _Draft({"axis": np.array([1]), "table": given.table, **_head(given)})
    draft.arrays["R"] = given.recurrent
    draft.arrays["quarters"] = np.array([given.hidden] * 4)
    draft.add("Gather", "table token", "row")
    draft.add("MatMul", "h R", "product")
    draft.add("Add", "row product", "gates")
    draft.add("Split", "gates quarters", "i_ o_ f_ g_", axis=2)
    for gate, op in (("i", "Sigmoid"), ("o", "Sigmoid"), ("f", "Sigmoid"), ("g", "Tanh")):
        draft.add(op, f"{gate}_", gate)
    _combine(draft, "c", "c_next", "h_next")
    draft.add("Squeeze", "h_next axis", "top")
    draft.add("Gemm", "top head head_bias", "logits")
    return draft


def _head(given: Weights) -> dict[str, npt.NDArray[np.generic]]:
    return {"head": given.head, "head_bias": given.head_bias}


def _sigmoid_together(draft: _Draft, hidden: int, axis: int) -> None:
    draft.arrays["halves"] = np.array([3 * hidden, hidden])
    draft.arrays["thirds"] = np.array([hidden] * 3)
    draft.add("Split", "gates halves", "iof_ g_", axis=axis)
    draft.add("Sigmoid", "iof_", "iof")
    draft.add("Tanh", "g_", "g")
    draft.add("Split", "iof thirds", "i o f", axis=axis)


def _combine(draft: _Draft, c: str, c_next: str, h_next: str) -> None:
    draft.add("Mul", f"f {c}", "kept")
    draft.add("Mul", "i g", "written")
    draft.add("Add", "kept written", c_next)
    draft.add("Tanh", c_next, "squashed")
    draft.add("Mul", "o squashed", h_next)


FORMS: dict[str, Callable[[Weights], _Draft] | None] = {
    "LSTM operator": lstm_operator,
    "cell, flat, Gemm": flat_gemm,
    "cell, a Sigmoid a gate": four_sigmoids,
    "cell, as shipped": None,
}


def main() -> None:
    """Measure every form and print a Markdown table."""
    torch.set_num_threads(1)
    print(f"ONNX Runtime {onnxruntime.__version__}, one thread, µs a step: median (min - max)\n")
    print("| form | " + " | ".join(f"hidden {h}, batch {b}" for h, b in CASES) + " |")
    print("|---" * (len(CASES) + 1) + "|")
    columns = [_measure(hidden, batch) for hidden, batch in CASES]
    for name in FORMS:
        cells = [
            f"{statistics.median(column[name]):.1f} "
            f"({min(column[name]):.1f} - {max(column[name]):.1f})"
            for column in columns
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def _measure(hidden: int, batch: int) -> dict[str, list[float]]:
    """Microseconds a step in each round, by form."""
    torch.manual_seed(0)
    given = weights.from_torch(CharLSTM(ModelConfig(VOCABULARY, hidden)))
    steppers = {name: Stepper(_open(form, given), batch) for name, form in FORMS.items()}
    _check_equal(steppers)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    steps = max(10, int(SECONDS / _time(steppers["cell, as shipped"], 100)))
    for _ in range(ROUNDS):
        for name, stepper in steppers.items():
            times[name].append(1e6 * _time(stepper, steps))
    return times


def _open(form: Callable[[Weights], _Draft] | None, given: Weights) -> Model:
    metadata = Metadata(
        hidden=given.hidden,
        layers=1,
        vocabulary=Vocabulary(chr(32 + index) for index in range(VOCABULARY)),
        normalisation=Normalisation(),
        initial=(1 / VOCABULARY,) * VOCABULARY,
        weights_sha256="",
    )
    content = step_graph.build(given, metadata) if form is None else _serialise(form(given))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return Model(session, metadata, "cpu", 1, None)


def _serialise(draft: _Draft) -> bytes:
    hidden = draft.arrays["head"].shape[0]
    state = ["batch", 1, hidden]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        draft.nodes,
        "step",
        [value(contract.TOKEN, TensorProto.INT64, ["batch"])]
        + [value(name, TensorProto.FLOAT, state) for name in (contract.H, contract.C)],
        [value(contract.LOGITS, TensorProto.FLOAT, ["batch", VOCABULARY])]
        + [value(name, TensorProto.FLOAT, state) for name in (contract.H_NEXT, contract.C_NEXT)],
        [numpy_helper.from_array(array, name) for name, array in draft.arrays.items()],
    )
    opsets = [helper.make_opsetid("", contract.OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=contract.IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _check_equal(steppers: dict[str, Stepper]) -> None:
    """Every form must compute the same before its speed means anything."""
    reference: npt.NDArray[np.float32] | None = None
    for name, stepper in steppers.items():
        for token in range(20):
            stepper.token[:] = token
            stepper.step()
        if reference is None:
            reference = stepper.logits.copy()
        np.testing.assert_allclose(stepper.logits, reference, atol=1e-5, err_msg=name)


def _time(stepper: Stepper, steps: int) -> float:
    """Seconds a step."""
    step = stepper.step
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    main()
