"""What a GPU needs of the graphs that run there: kernels, no control flow, no copies on the way."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from charlm.export import contract, half_siblings, step_graph, weights
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    FILTERED,
    KINDS,
    SEQUENCE,
    SEQUENCE_FP16,
    UNROLLED,
    UNROLLED_FP16,
    Kind,
)
from charlm.export.half import HalfProducts
from charlm.export.siblings import build_siblings
from charlm.train.model import CharLSTM

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
INT32, INT64, UINT8, BOOL = (
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.BOOL,
)
REAL = {FLOAT, HALF}
NUMBERS = REAL | {INT32, INT64}
ANY = NUMBERS | {UINT8, BOOL}

# Which ops ONNX Runtime runs on CUDA, from its docs/OperatorKernels.md; only those that we use. For
# each the first opset from which on every version has a kernel, and the types of its first input.
KERNELS: dict[str, tuple[int, set[int]]] = {
    "Add": (7, NUMBERS),
    "And": (7, {BOOL}),
    "Cast": (6, ANY),
    "Concat": (4, ANY),
    "CumSum": (11, {FLOAT, INT32, INT64}),
    "Flatten": (1, ANY),
    "Gather": (1, ANY),
    "GatherElements": (11, ANY),
    "Gemm": (7, REAL),
    "GreaterOrEqual": (12, NUMBERS),
    "Identity": (1, ANY),
    "LSTM": (7, REAL),
    "Less": (9, NUMBERS),
    "LogSoftmax": (1, REAL),
    "MatMul": (1, REAL),
    "Mul": (7, NUMBERS),
    "ReduceMax": (1, NUMBERS),
    "ReduceSum": (1, NUMBERS),
    "Reshape": (1, ANY),
    "Scan": (8, ANY),
    "ScatterElements": (11, ANY),
    "Shape": (1, ANY),
    "Sigmoid": (6, REAL),
    "Slice": (1, ANY),
    "Softmax": (1, REAL),
    "Split": (2, ANY),
    "Squeeze": (1, ANY),
    "Tanh": (6, REAL),
    "TopK": (1, NUMBERS),
    "Transpose": (1, ANY),
    "Unsqueeze": (1, ANY),
    "Where": (9, {BOOL}),
}
CONTROL_FLOW = {"If", "Loop", "Scan"}
# ONNX Runtime hands so many addresses to a kernel as its arguments. More, and sizes that differ,
# it copies to the device, from memory that is gone when a captured CUDA graph runs again.
MOST_PARTS = 32

STEP = "step"
UNROLLED_KINDS = [UNROLLED.name, UNROLLED_FP16.name]
ON_CUDA = [STEP, *UNROLLED_KINDS, FILTERED.name, SEQUENCE.name, SEQUENCE_FP16.name]
Graph = Callable[[str, int], onnx.ModelProto]


@pytest.fixture(scope="module")
def graph(
    make_model: Callable[..., CharLSTM], metadata_of: Callable[[CharLSTM], Metadata]
) -> Graph:
    """The graph of a kind for a model of so many layers, its types inferred."""

    def build(kind: str, layers: int) -> onnx.ModelProto:
        model = make_model(layers)
        laid_out, metadata = weights.from_torch(model), metadata_of(model)
        if kind == STEP:
            content = step_graph.build(laid_out, metadata)
        else:
            content = content_of(laid_out, metadata, KINDS[kind])
        return onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content))

    return build


def content_of(laid_out: weights.Weights, metadata: Metadata, kind: Kind) -> bytes:
    if kind.precision == "fp16":
        return half_siblings.graphs(HalfProducts(laid_out), metadata)[kind]
    return build_siblings(laid_out, metadata, [kind])[kind]


def graphs_of(outer: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all that stand within its nodes."""
    yield outer
    for node in outer.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs_of(attribute.g)


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every value by name; names are unique across the graphs."""
    types: dict[str, int] = {}
    for graph in graphs_of(model.graph):
        types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        for value in (*graph.input, *graph.output, *graph.value_info):
            types[value.name] = value.type.tensor_type.elem_type
    return types


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ON_CUDA)
def test_every_op_has_a_cuda_kernel(graph: Graph, kind: str, layers: int) -> None:
    model = graph(kind, layers)
    types, checked = types_of(model), 0
    for part in graphs_of(model.graph):
        for node in part.node:
            assert node.domain == "", f"{node.name}: {node.domain}.{node.op_type}"
            assert node.op_type in KERNELS, f"{node.name}: no CUDA kernel for {node.op_type}"
            since, allowed = KERNELS[node.op_type]
            version = onnx.defs.get_schema(node.op_type, contract.OPSET).since_version
            assert version >= since, f"{node.name}: {node.op_type} {version} has no CUDA kernel"
            assert types[node.input[0]] in allowed, f"{node.name}: {types[node.input[0]]}"
            checked += 1
    assert checked >= 12


@pytest.mark.parametrize("op", ["Multinomial", "DynamicQuantizeLSTM", "QGemm", "ArgMin"])
def test_the_list_of_kernels_leaves_out_what_must_not_be_used(op: str) -> None:
    """The first three have none; ArgMin's may take any of equals."""
    assert op not in KERNELS


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", UNROLLED_KINDS)
def test_an_unrolled_graph_has_no_control_flow(graph: Graph, kind: str, layers: int) -> None:
    model = graph(kind, layers)
    assert len([*graphs_of(model.graph)]) == 1
    assert not {node.op_type for node in model.graph.node} & CONTROL_FLOW


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", UNROLLED_KINDS)
def test_what_is_cut_or_joined_is_in_few_equal_parts(graph: Graph, kind: str, layers: int) -> None:
    model = graph(kind, layers)
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    sizes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    seen = set()
    for node in model.graph.node:
        if node.op_type == "Split":
            parts = arrays[node.input[1]]
            assert len(parts) <= MOST_PARTS
            assert len(set(parts.tolist())) == 1, node.name
        elif node.op_type == "Concat":
            assert len(node.input) <= MOST_PARTS
            assert len({tuple(sizes[name]) for name in node.input}) == 1, node.name
        seen.add(node.op_type)
    assert {"Split", "Concat"} <= seen


def ancestors(nodes: list[Any], wanted: str) -> set[str]:
    """Names of the nodes that `wanted`, a value, is computed from, its own included."""
    maker = {output: node for node in nodes for output in node.output}
    found: set[str] = set()
    waiting = [wanted]
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting += node.input
    return found


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", UNROLLED_KINDS)
@pytest.mark.parametrize(
    ("before", "after"), [(contract.H, contract.H_NEXT), (contract.C, contract.C_NEXT)]
)
def test_a_state_is_read_before_it_is_written(
    graph: Graph, kind: str, layers: int, before: str, after: str
) -> None:
    """One buffer may hold both: what reads the old one is needed to make each part of the new."""
    nodes = [*graph(kind, layers).graph.node]
    views, readers = {before}, []
    for node in nodes:
        if views & set(node.input):
            if node.op_type in ("Squeeze", "Split"):
                views |= set(node.output)
            readers.append(node)
    last = next(node for node in nodes if after in node.output)
    parts = last.input if layers > 1 else [after]
    direct = [node for node in readers if node.op_type not in ("Squeeze", "Split")]
    assert len(direct) >= layers
    if layers == 1:
        for part in parts:
            assert {node.name for node in readers} <= ancestors(nodes, part)
    assert {node.name for node in readers} <= ancestors(nodes, after)


@pytest.mark.parametrize("layers", [1, 2])
def test_weights_of_the_lstm_operator_are_initialisers_beside_it(graph: Graph, layers: int) -> None:
    """cuDNN packs them once; any others anew in each run."""
    model = graph(SEQUENCE.name, layers)
    names = {each.name for each in model.graph.initializer}
    operators = [node for node in model.graph.node if node.op_type == "LSTM"]
    assert len(operators) == layers
    for node in operators:
        assert set(node.input[1:4]) <= names


def test_a_step_starts_few_kernels(graph: Graph) -> None:
    """Each costs; Unsqueeze is none."""
    nodes = graph(UNROLLED.name, 1).graph.node
    last = [node.op_type for node in nodes if node.name.endswith("_31")]
    assert len([op for op in last if op != "Unsqueeze"]) <= 21
    assert last.count("Gemm") == 2


def test_the_products_alone_are_fp16(graph: Graph) -> None:
    model = graph(UNROLLED_FP16.name, 2)
    types = types_of(model)
    half = [
        node.op_type for node in model.graph.node if types[node.output[0]] == TensorProto.FLOAT16
    ]
    assert set(half) == {"Cast", "Gather", "Gemm"}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type != TensorProto.FLOAT16
    assert {types[name] for name in types if name.startswith("c_next")} == {TensorProto.FLOAT}


def test_a_weight_out_of_range_has_no_fp16_form(
    make_model: Callable[..., CharLSTM], metadata_of: Callable[[CharLSTM], Metadata]
) -> None:
    from charlm.data.errors import ExportError

    model = make_model(1)
    next(model.parameters()).data[0, 0] = 1e5
    with pytest.raises(ExportError, match=r"a weight of size 1e\+05 is out of fp16's range"):
        content_of(weights.from_torch(model), metadata_of(model), UNROLLED_FP16)


def test_lengths_are_cut_into_powers_of_two() -> None:
    for kind in (UNROLLED, UNROLLED_FP16):
        assert kind.steps is not None
        assert np.log2(kind.steps) % 1 == 0
        assert kind.steps <= MOST_PARTS
