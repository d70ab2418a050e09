"""Each builder's graph: what it says of itself, what it is made of, and what it computes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch

from charlm.export import contract, weights
from charlm.export.contract import (
    GENERATE,
    GREEDY,
    GREEDY_UNIFORM,
    KINDS,
    NATIVE,
    SEQUENCE,
    STEP,
    Kind,
    Metadata,
)
from charlm.export.graphs import build_siblings, step_graph
from charlm.export.proof.sessions import NativeGraph
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]
Build = Callable[[CharLSTM], bytes]
Array = npt.NDArray[np.float32]
Outputs = tuple[Array, Array, Array]
Feed = dict[str, npt.NDArray[Any]]

EVERY = [pytest.param(kind, id=kind.name) for kind in (STEP, *KINDS.values())]
CHARACTERS = " abcdefghijk"
ONE_LAYER_OPS = {
    STEP: {"Gather", "MatMul", "Add", "Split", "Sigmoid", "Tanh", "Mul", "Squeeze", "Gemm"},
    GENERATE: {
        "Scan", "Gather", "Gemm", "Sigmoid", "Tanh", "Mul", "Add", "Softmax", "Relu", "ArgMin",
        "Squeeze", "Unsqueeze", "Cast",
    },
    SEQUENCE: {
        "LSTM", "Gather", "Gemm", "LogSoftmax", "GatherElements", "Transpose", "Reshape", "Shape",
        "Flatten", "Squeeze", "Unsqueeze", "Identity",
    },
}  # fmt: skip


def build_kind(model: CharLSTM, kind: Kind, metadata: Metadata) -> bytes:
    laid_out = weights.from_torch(model)
    if kind == STEP:
        return step_graph.build(laid_out, metadata)
    return build_siblings(laid_out, metadata, [kind])[kind]


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Those of the bodies of loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def session_of(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class Graph:
    """A step graph in ONNX Runtime, on plain arrays."""

    def __init__(self, content: bytes) -> None:
        self.session = session_of(content)

    def __call__(self, token: npt.NDArray[np.int64], h: Array, c: Array) -> Outputs:
        names = [contract.LOGITS, contract.H_NEXT, contract.C_NEXT]
        feed = {contract.TOKEN: token, contract.H: h, contract.C: c}
        logits, h_next, c_next = self.session.run(names, feed)
        return logits, h_next, c_next


def zeros(model: CharLSTM, batch: int) -> tuple[Array, Array]:
    shape = (batch, model.config.layers, model.config.hidden)
    return np.zeros(shape, np.float32), np.zeros(shape, np.float32)


def state_of(model: CharLSTM, batch: int) -> Feed:
    return dict(zip("hc", zeros(model, batch), strict=True))


def drawn(steps: int, batch: int) -> npt.NDArray[np.int64]:
    return np.random.RandomState(steps + batch).randint(0, len(CHARACTERS), (steps, batch))


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_graph_is_that_of_the_contract(
    make_model: Make, metadata_of: Describe, kind: Kind, layers: int
) -> None:
    for vocabulary in (12, 256, 257):
        model = make_model(layers=layers, hidden=7, vocabulary=vocabulary)
        metadata = metadata_of(model)
        content = build_kind(model, kind, metadata)
        proto = onnx.load_model_from_string(content)
        onnx.checker.check_model(proto, full_check=True)
        own = [] if kind != NATIVE else [("charlm", 1)]
        opsets = [(entry.domain, entry.version) for entry in proto.opset_import]
        assert opsets == [("", 17), *own]
        assert proto.ir_version == 8
        every = list(nodes(proto.graph))
        assert {node.domain for node in every} == {"charlm" if own else ""}
        small, ops = vocabulary <= 256, {node.op_type for node in every}
        session = NativeGraph(content, "m.onnx").session if own else session_of(content)
        found = session.get_modelmeta().custom_metadata_map
        assert found == contract.properties(metadata, kind)
        contract.check_tensors(session, kind, metadata, "m.onnx")
        assert not any(tensor.external_data for tensor in proto.graph.initializer)
        tokens = {value.name: value.type.tensor_type.elem_type for value in proto.graph.output}
        if kind in (NATIVE, GENERATE):
            wanted = onnx.TensorProto.UINT8 if small else onnx.TensorProto.INT32
            assert tokens["tokens"] == wanted
        if kind == NATIVE:
            assert ops == {"CharLSTM" if small else "CharLSTMWide"}
        elif kind == GENERATE:
            # The form of the sums: one product with a triangle, or CumSum where that is too large.
            assert ("CumSum" in ops) != small
            assert ("minus_triangle" in {name for node in every for name in node.input}) == small
        elif kind == SEQUENCE:
            arrays = {tensor.name for tensor in proto.graph.initializer}
            operators = [node for node in every if node.op_type == "LSTM"]
            assert len(operators) == layers
            # Packed as the session opens; any others anew in each run.
            assert all(arrays.issuperset(node.input[1:4]) for node in operators)


@pytest.mark.parametrize("kind", [STEP, GENERATE, SEQUENCE])
def test_one_layer_needs_no_other_ops(make_model: Make, metadata_of: Describe, kind: Kind) -> None:
    model = make_model(layers=1)
    proto = onnx.load_model_from_string(build_kind(model, kind, metadata_of(model)))
    assert {node.op_type for node in nodes(proto.graph)} == ONE_LAYER_OPS[kind]
    if kind == STEP:  # twelve that compute, two that move no number: their count is its speed
        assert len(proto.graph.node) == 14


@pytest.mark.parametrize("kind", EVERY)
def test_no_table_grows_with_the_square_of_a_large_vocabulary(
    make_model: Make, metadata_of: Describe, kind: Kind
) -> None:
    model = make_model(layers=1, hidden=4, vocabulary=2000)
    step_bytes = sum(parameter.numel() * 4 for parameter in model.parameters())
    text_of_vocabulary = 2 * len(metadata_of(model).vocabulary.to_json())
    content = build_kind(model, kind, metadata_of(model))
    assert len(content) < 2 * step_bytes + 4 * text_of_vocabulary + 60_000


@pytest.mark.parametrize("kind", EVERY)
def test_the_same_model_gives_the_same_bytes(
    make_model: Make, metadata_of: Describe, kind: Kind
) -> None:
    one, other = make_model(), make_model()
    assert build_kind(one, kind, metadata_of(one)) == build_kind(other, kind, metadata_of(other))


def test_greedy_streams_beside_others_take_the_lowest_of_equals(
    make_model: Make, metadata_of: Describe
) -> None:
    model = make_model(layers=1)
    model.head.weight.data[7] = model.head.weight.data[4]
    model.head.bias.data[[4, 7]] = 50.0
    feed = state_of(model, 2) | {
        "uniform": np.array([[GREEDY_UNIFORM] * 20, [0.9] * 20], np.float32),
        "inverse_temperature": np.array([GREEDY, 1], np.float32),
    }
    tokens = session_of(build_kind(model, GENERATE, metadata_of(model))).run(["tokens"], feed)[0]
    assert set(tokens[0]) == {4}
    assert set(tokens[1]) == {7}


def test_a_texts_log_probabilities_are_torchs(make_model: Make, metadata_of: Describe) -> None:
    """Against Torch's own LSTM over the whole text."""
    model = make_model(layers=2, scale=2.0)
    tokens = np.random.RandomState(3).randint(0, 12, (4, 51))
    feed = state_of(model, 4) | {"tokens": tokens[:, :-1], "targets": tokens[:, 1:]}
    found = session_of(build_kind(model, SEQUENCE, metadata_of(model))).run(
        ["log_probability", "logits"], feed
    )
    with torch.no_grad():
        hidden, _ = model(torch.from_numpy(tokens[:, :-1].T.copy()), model.zero_state(4))
        logits = model.head(hidden)
        shares = logits.log_softmax(dim=2).gather(2, torch.from_numpy(tokens[:, 1:].T)[..., None])
    np.testing.assert_allclose(found[0], shares[..., 0].T, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1], logits[-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cuts", [[1, 7, 92], [99, 1]])
def test_a_text_drawn_in_runs_is_that_of_one_run(
    make_model: Make, metadata_of: Describe, cuts: list[int]
) -> None:
    """To the bit: a text may not change with the length of runs."""
    model = make_model(scale=2.0)
    session = session_of(build_kind(model, GENERATE, metadata_of(model)))
    uniform = np.random.RandomState(0).random_sample((3, 100)).astype(np.float32)
    names, rates = ["tokens", "h_next", "c_next"], np.array([1, GREEDY, 2], np.float32)

    def draw(state: Feed, piece: slice) -> list[npt.NDArray[Any]]:
        feed = state | {"uniform": uniform[:, piece], "inverse_temperature": rates}
        found: list[npt.NDArray[Any]] = session.run(names, feed)
        return found

    whole = draw(state_of(model, 3), slice(100))
    state, parts, start = state_of(model, 3), [], 0
    for length in cuts:
        tokens, *after = draw(state, slice(start, start + length))
        parts.append(tokens)
        state, start = dict(zip("hc", after, strict=True)), start + length
    for found, wanted in zip((np.concatenate(parts, axis=1), *after), whole, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("layers", [1, 3])
def test_whole_sequences_equal_torch(make_model: Make, build: Build, layers: int) -> None:
    """Against Torch's own LSTM over the sequence, not the step that was written for it."""
    model = make_model(layers=layers)
    graph = Graph(build(model))
    tokens = drawn(100, 5)
    with torch.no_grad():
        hidden, (h_last, c_last) = model(torch.from_numpy(tokens), model.zero_state(5))
        wanted = model.head(hidden)
    h, c = zeros(model, 5)
    for step, token in enumerate(tokens):
        logits, h, c = graph(token, h, c)
        np.testing.assert_allclose(logits, wanted[step], rtol=0, atol=1e-5)
    np.testing.assert_allclose(h, h_last.transpose(0, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(c, c_last.transpose(0, 1), rtol=0, atol=1e-5)


def test_rows_of_a_batch_are_independent(make_model: Make, build: Build) -> None:
    model = make_model(layers=2)
    graph = Graph(build(model))
    random = np.random.RandomState(0)
    h, c = (random.standard_normal((5, 2, 16)).astype(np.float32) for _ in range(2))
    tokens = np.array([3, 1, 4, 1, 5])
    before = graph(tokens, h, c)
    tokens[2], h[2], c[2] = 9, 7.0, -7.0
    after = graph(tokens, h, c)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.delete(a, 2, axis=0), np.delete(b, 2, axis=0))
        assert not np.allclose(a[2], b[2])
