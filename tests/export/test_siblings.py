"""Each builder's graph: what it says of itself, what it is made of, and that it is proven."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch

from charlm.export import contract, contract_siblings, weights
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    GENERATE,
    GREEDY,
    GREEDY_UNIFORM,
    NATIVE,
    SEQUENCE,
    Kind,
)
from charlm.export.graphs.native import Native
from charlm.export.graphs.siblings import BUILDERS, build_siblings
from charlm.export.proof import verify
from charlm.export.proof.verify_siblings import SiblingProof, prove_siblings
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]
Feed = dict[str, npt.NDArray[Any]]

KINDS = [pytest.param(kind, id=kind.name) for kind in BUILDERS]
PLAIN_OPS = {
    GENERATE: {
        "Scan", "Gather", "Gemm", "Sigmoid", "Tanh", "Mul", "Add", "Softmax", "Relu", "ArgMin",
        "Squeeze", "Unsqueeze", "Cast",
    },
    SEQUENCE: {
        "LSTM", "Gather", "Gemm", "LogSoftmax", "GatherElements", "Transpose", "Reshape", "Shape",
        "Flatten", "Squeeze", "Unsqueeze", "Identity",
    },
}  # fmt: skip


def build(model: CharLSTM, kind: Kind, metadata: Metadata) -> bytes:
    return build_siblings(weights.from_torch(model), metadata, [kind])[kind]


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


def zeros(model: CharLSTM, batch: int) -> Feed:
    state = np.zeros((batch, model.config.layers, model.config.hidden), np.float32)
    return {"h": state, "c": state}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("vocabulary", [12, 256, 257])
def test_a_right_graph_is_proven(
    make_model: Make,
    metadata_of: Describe,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    layers: int,
    vocabulary: int,
) -> None:
    monkeypatch.setattr(verify, "STEPS", 150)
    model = make_model(layers=layers, scale=2.0, vocabulary=vocabulary)
    metadata = metadata_of(model)
    content = build(model, kind, metadata)
    proof = prove_siblings({kind: content}, model, metadata, {kind: "m.onnx"})[kind]
    assert 0 < max(proof.step.values()) <= 1e-5
    assert 0 < max(proof.carried.values()) <= 1e-3
    names = ["h_next", "c_next"]
    if kind != GENERATE:
        names += ["log_probability", "logits"]
    places = {(batch, name) for batch in (1, 3, 64) for name in names}
    assert proof.carried.keys() == proof.step.keys() == places
    assert proof.steps == 150
    assert proof.drawn == (0 if kind == SEQUENCE else 150 * 68)
    assert proof.flips <= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_graph_is_that_of_the_contract(
    make_model: Make, metadata_of: Describe, kind: Kind, layers: int
) -> None:
    for vocabulary in (12, 256, 257):
        model = make_model(layers=layers, hidden=7, vocabulary=vocabulary)
        metadata = metadata_of(model)
        content = build(model, kind, metadata)
        proto = onnx.load_model_from_string(content)
        onnx.checker.check_model(proto, full_check=True)
        own = [] if kind != NATIVE else [("charlm", 1)]
        opsets = [(entry.domain, entry.version) for entry in proto.opset_import]
        assert opsets == [("", 17), *own]
        assert proto.ir_version == 8
        every = list(nodes(proto.graph))
        assert {node.domain for node in every} == {"charlm" if own else ""}
        small, ops = vocabulary <= 256, {node.op_type for node in every}
        session = Native(content, "m.onnx").session if own else session_of(content)
        found = session.get_modelmeta().custom_metadata_map
        assert found == metadata.to_properties() | {"charlm.kind": kind.name}
        contract_siblings.check_sibling(session, found, kind, metadata, "m.onnx")
        tokens = {value.name: value.type.tensor_type.elem_type for value in proto.graph.output}
        if kind != SEQUENCE:
            wanted = onnx.TensorProto.UINT8 if small else onnx.TensorProto.INT32
            assert tokens["tokens"] == wanted
        if kind == NATIVE:
            assert ops == {"CharLSTM" if small else "CharLSTMWide"}
        elif kind == GENERATE:
            # The form of the sums: one product with a triangle, or CumSum where that is too large.
            assert ("CumSum" in ops) != small
            assert ("minus_triangle" in {name for node in every for name in node.input}) == small
        else:
            arrays = {tensor.name for tensor in proto.graph.initializer}
            operators = [node for node in every if node.op_type == "LSTM"]
            assert len(operators) == layers
            # Packed as the session opens; any others anew in each run.
            assert all(arrays.issuperset(node.input[1:4]) for node in operators)


@pytest.mark.parametrize("kind", [GENERATE, SEQUENCE])
def test_one_layer_needs_no_other_ops(make_model: Make, metadata_of: Describe, kind: Kind) -> None:
    model = make_model(layers=1)
    proto = onnx.load_model_from_string(build(model, kind, metadata_of(model)))
    assert {node.op_type for node in nodes(proto.graph)} == PLAIN_OPS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_no_table_grows_with_the_square_of_a_large_vocabulary(
    make_model: Make, metadata_of: Describe, kind: Kind
) -> None:
    model = make_model(layers=1, hidden=4, vocabulary=2000)
    step_bytes = sum(parameter.numel() * 4 for parameter in model.parameters())
    text_of_vocabulary = 2 * len(metadata_of(model).vocabulary.to_json())
    content = build(model, kind, metadata_of(model))
    assert len(content) < 2 * step_bytes + 4 * text_of_vocabulary + 60_000


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_model_gives_the_same_bytes(
    make_model: Make, metadata_of: Describe, kind: Kind
) -> None:
    one, other = make_model(), make_model()
    assert build(one, kind, metadata_of(one)) == build(other, kind, metadata_of(other))


def test_greedy_streams_beside_others_take_the_lowest_of_equals(
    make_model: Make, metadata_of: Describe
) -> None:
    model = make_model(layers=1)
    model.head.weight.data[7] = model.head.weight.data[4]
    model.head.bias.data[[4, 7]] = 50.0
    feed = zeros(model, 2) | {
        "uniform": np.array([[GREEDY_UNIFORM] * 20, [0.9] * 20], np.float32),
        "inverse_temperature": np.array([GREEDY, 1], np.float32),
    }
    tokens = session_of(build(model, GENERATE, metadata_of(model))).run(["tokens"], feed)[0]
    assert set(tokens[0]) == {4}
    assert set(tokens[1]) == {7}


def test_a_texts_log_probabilities_are_torchs(make_model: Make, metadata_of: Describe) -> None:
    """Against Torch's own LSTM over the whole text."""
    model = make_model(layers=2, scale=2.0)
    tokens = np.random.RandomState(3).randint(0, 12, (4, 51))
    feed = zeros(model, 4) | {"tokens": tokens[:, :-1], "targets": tokens[:, 1:]}
    found = session_of(build(model, SEQUENCE, metadata_of(model))).run(
        ["log_probability", "logits"], feed
    )
    with torch.no_grad():
        hidden, _ = model(torch.from_numpy(tokens[:, :-1].T.copy()), model.zero_state(4))
        logits = model.head(hidden)
        shares = logits.log_softmax(dim=2).gather(2, torch.from_numpy(tokens[:, 1:].T)[..., None])
    np.testing.assert_allclose(found[0], shares[..., 0].T, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1], logits[-1], rtol=0, atol=1e-5)


def test_quality_is_in_the_metadata(make_model: Make, metadata_of: Describe) -> None:
    quality = {"int8": {"loss": 0.001}}
    metadata = replace(metadata_of(make_model()), quality=quality)
    found = contract_siblings.properties(metadata, NATIVE)
    assert json.loads(found["charlm.quality"]) == quality
    assert found[contract.KEY_WEIGHTS] == metadata.weights_sha256
    assert Metadata.from_properties(found, "m.onnx").quality == quality


def test_proofs_read_well() -> None:
    carried = {(1, "h_next"): 2e-6, (3, "h_next"): 1e-5}
    step = {(1, "h_next"): 2e-7}
    assert SiblingProof(carried, step, drawn=68_000, flips=1, steps=1000).lines() == [
        "largest relative error, one step: h_next 2.0e-07 (allowed 1e-05)",
        "largest relative error, 1000 carried steps: h_next 1.0e-05 (allowed 1e-03)",
        "68,000 characters drawn as due, 1 by near-ties",
    ]
