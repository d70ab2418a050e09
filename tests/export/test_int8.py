"""The int8 graphs: what they are made of, and that each step is that of int8 arithmetic."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from charlm.data.errors import ExportError
from charlm.export import (
    contract_siblings,
    int8_siblings,
    quality,
    verify,
    verify_int8,
    weights,
)
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    INT8,
    INT8_FILTERED,
    INT8_KINDS,
    INT8_ORT,
    SEQUENCE_BATCH,
    SEQUENCE_INT8,
    Kind,
)
from charlm.export.int8_reference import Reference
from charlm.export.proving import open_session
from charlm.export.quality import Request
from charlm.export.siblings import build_siblings
from charlm.export.verify_siblings import prove_siblings
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]
Contents = dict[Kind, bytes]
Build = Callable[[CharLSTM], Contents]
KINDS = [pytest.param(kind, id=kind.name) for kind in INT8_KINDS]


@pytest.fixture(autouse=True)
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_int8, "STEPS", 40)
    monkeypatch.setattr(quality, "DRAWN_LENGTH", 32)


@pytest.fixture
def build_int8(metadata_of: Describe) -> Build:
    def build(model: CharLSTM) -> Contents:
        laid_out = weights.from_torch(model)
        return int8_siblings.build(laid_out, metadata_of(model), Request(), "m.onnx").contents

    return build


def prove(content: bytes, kind: Kind, model: CharLSTM) -> verify_int8.Int8Proof:
    return verify_int8.prove(open_session(content, "m"), kind, weights.from_torch(model), "m.onnx")


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Those of the bodies of loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def arrays(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from arrays(attribute.g)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "hidden"), [(1, 16), (2, 16), (3, 7)])
def test_each_step_is_that_of_int8_arithmetic(
    make_model: Make, build_int8: Build, kind: Kind, layers: int, hidden: int
) -> None:
    model = make_model(layers=layers, hidden=hidden, scale=2.0)
    proof = prove(build_int8(model)[kind], kind, model)
    assert 0 < proof.error <= verify.STEP_TOLERANCE == 1e-5
    assert proof.compared + proof.left_out == 40 * 68
    assert proof.left_out < (1 if layers == 1 else 0.05 * 40 * 68)


def test_the_arithmetic_is_torchs_where_nothing_is_rounded(make_model: Make) -> None:
    """Weights and h on the grid of their bytes: int8 then is the float32 model itself."""
    model = make_model(layers=2)
    random = np.random.RandomState(1)
    for name, parameter in model.named_parameters():
        if "weight" in name and "ih_l0" not in name:
            whole = random.randint(-64, 65, tuple(parameter.shape))
            whole[:, :2] = 64  # a full pair: the scale is one unit
            scales = np.exp(random.standard_normal((len(whole), 1)) - 6)
            if name in ("lstm.weight_ih_l1", "lstm.weight_hh_l1"):
                scales = np.full_like(scales, 2.0**-8)  # both are columns of one matrix
            parameter.data = torch.from_numpy((whole * scales).astype(np.float32))
    reference = Reference(weights.from_torch(model))
    h = (random.randint(-127, 128, (5, 2, 16)) / 127).astype(np.float32)
    c = random.standard_normal((5, 2, 16)).astype(np.float32)
    token = random.randint(0, 12, 5)
    state = tuple(torch.from_numpy(part.transpose(1, 0, 2).copy()) for part in (h, c))
    with torch.no_grad():
        _, after = model.step(torch.from_numpy(token), state)
    h_next, c_next, _ = reference.step(token, h, c)
    # The layer above reads h of the layer below, which is on no grid. What is added to a product
    # is rounded to the product's units.
    np.testing.assert_allclose(h_next[:, 0], after[0][0].numpy(), atol=2e-4)
    np.testing.assert_allclose(c_next[:, 0], after[1][0].numpy(), atol=2e-4)
    with torch.no_grad():
        wanted = model.head(torch.from_numpy(h[:, 1])).numpy()
    np.testing.assert_allclose(reference.logits(h[:, 1]), wanted, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_int8_is_near_the_float32_model_and_its_two_forms_are_one(
    make_model: Make, metadata_of: Describe, build_int8: Build, layers: int
) -> None:
    model = make_model(layers=layers)
    contents = build_int8(model)
    random = np.random.RandomState(0)
    start = [np.zeros((8, layers, 16), dtype=np.float32)] * 2
    for _ in range(5):
        uniform = random.random_sample((8, 1)).astype(np.float32)
        feed = {
            "h": start[0],
            "c": start[1],
            "uniform": uniform,
            "inverse_temperature": np.ones(8, dtype=np.float32),
        }
        names = ["tokens", "h_next", "c_next"]
        plain = open_session(contents[INT8], "m").run(names, feed)
        own = open_session(contents[INT8_ORT], "m").run(names, feed)
        np.testing.assert_array_equal(plain[0], own[0])
        # A text must not change with the number of those beside it, which chooses the form.
        np.testing.assert_array_equal(plain[1], own[1])
        np.testing.assert_array_equal(plain[2], own[2])
        first = {name: value[:1] for name, value in feed.items()}
        alone = open_session(contents[INT8], "m").run(names, first)
        for ours, theirs in zip(alone, own, strict=True):
            np.testing.assert_array_equal(ours, theirs[:1])
        state = tuple(torch.from_numpy(part.transpose(1, 0, 2).copy()) for part in start)
        with torch.no_grad():
            _, after = model.step(torch.from_numpy(plain[0][:, 0].astype(np.int64)), state)
        np.testing.assert_allclose(plain[1], after[0].numpy().transpose(1, 0, 2), atol=0.02)
        start = plain[1:]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_file_that_says_so_has_other_ops_than_onnxs(
    make_model: Make, build_int8: Build, kind: Kind
) -> None:
    proto = onnx.load_model_from_string(build_int8(make_model())[kind])
    domains = {node.domain for node in nodes(proto.graph)}
    assert domains == ({"", "com.microsoft"} if kind is INT8_ORT else {""})
    named = {entry.key: entry.value for entry in proto.metadata_props}
    assert ("ort" in kind.name) == (named.get("charlm.ops") == "com.microsoft")


@pytest.mark.parametrize("kind", KINDS)
def test_h_is_quantised_once_for_all_that_read_it(
    make_model: Make, build_int8: Build, kind: Kind
) -> None:
    layers = 2
    proto = onnx.load_model_from_string(build_int8(make_model(layers=layers))[kind])
    quantised = [node.input[0] for node in nodes(proto.graph) if node.op_type == "QuantizeLinear"]
    assert len(quantised) == len(set(quantised)) == 2 * layers - 1  # own h, and the one below


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_of_the_layers_are_bytes(
    make_model: Make, build_int8: Build, kind: Kind
) -> None:
    proto = onnx.load_model_from_string(build_int8(make_model(layers=2, hidden=32))[kind])
    found = [(tensor.data_type, tuple(tensor.dims)) for tensor in arrays(proto.graph)]
    floats = [shape for data, shape in found if data == onnx.TensorProto.FLOAT and len(shape) == 2]
    assert set(floats) <= {(12, 12), (32, 12)}  # sampling, the head
    size = sum(int(np.prod(shape)) for data, shape in found if data == onnx.TensorProto.INT8)
    assert size >= 32 * 128 + 64 * 128


def test_onnx_runtime_keeps_the_product_in_its_fastest_form(
    make_model: Make, build_int8: Build, tmp_path: Any
) -> None:
    """It would be slower as MatMulIntegerToFloat, which ONNX Runtime makes of some patterns."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    content = build_int8(make_model(layers=1))[INT8]
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in nodes(onnx.load_model(tmp_path / "optimised.onnx").graph)]
    assert ops.count("MatMulInteger") == 1
    assert "MatMulIntegerToFloat" not in ops


def changed(content: bytes, name: str, change: Callable[[npt.NDArray[Any]], None]) -> bytes:
    proto = onnx.load_model_from_string(content)
    found = 0
    for tensor in arrays(proto.graph):
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            change(values)
            tensor.CopyFrom(numpy_helper.from_array(values, name))
            found += 1
    assert found
    return bytes(proto.SerializeToString())


def one_off(values: npt.NDArray[Any]) -> None:
    values[3, 5] += 1


def a_thousandth_more(values: npt.NDArray[Any]) -> None:
    values *= np.float32(1.001)


def fifty_units_more(values: npt.NDArray[Any]) -> None:
    values += values.dtype.type(50)


def one_unit_more(values: npt.NDArray[Any]) -> None:
    values += values.dtype.type(1)


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        (INT8, "weights_0", one_off),
        (INT8, "weights_1", one_off),
        (INT8_FILTERED, "scale_1", a_thousandth_more),
        (INT8, "activation_scale", a_thousandth_more),
        (INT8_ORT, "weights_f_0", one_off),
        (INT8_ORT, "weights_g_1", one_off),
        (INT8_ORT, "table_o_0", one_unit_more),
        (SEQUENCE_INT8, "weights_0", one_off),
        (SEQUENCE_INT8, "bias_1", fifty_units_more),
    ],
    ids=lambda given: given.name if isinstance(given, Kind) else getattr(given, "__name__", given),
)
def test_a_graph_that_is_a_little_wrong_fails_its_proof(
    make_model: Make,
    build_int8: Build,
    kind: Kind,
    name: str,
    change: Callable[[npt.NDArray[Any]], None],
) -> None:
    model = make_model(scale=2.0)
    content = changed(build_int8(model)[kind], name, change)
    with pytest.raises(ExportError, match=r"^m\.onnx does not equal its own int8 arithmetic: a"):
        prove(content, kind, model)


def test_a_wrong_head_draws_other_characters(make_model: Make, build_int8: Build) -> None:
    model = make_model(scale=2.0)

    def turned(values: npt.NDArray[Any]) -> None:
        values[...] = np.roll(values, 1, axis=-1)

    content = changed(build_int8(model)[INT8], "head", turned)
    with pytest.raises(ExportError, match=r"does not draw as its int8 arithmetic does: token \d"):
        prove(content, INT8, model)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_p", np.float32(contract_siblings.TOP_P_OFF)),
        ("min_p", np.float32(0)),
        ("top_k", np.int64(12)),
        ("inverse_temperature", np.float32(1)),
    ],
)
def test_a_filter_or_temperature_that_does_nothing_is_found(
    make_model: Make, build_int8: Build, name: str, value: np.generic
) -> None:
    model = make_model(scale=2.0)
    proto = onnx.load_model_from_string(build_int8(model)[INT8_FILTERED])
    for node in proto.graph.node:
        node.input[:] = ["ignored" if given == name else given for given in node.input]
    proto.graph.initializer.append(numpy_helper.from_array(np.array(value), "off"))
    proto.graph.node.insert(0, helper.make_node("Expand", ["off", "streams"], ["ignored"]))
    proto.graph.node.insert(0, helper.make_node("Shape", [name], ["streams"]))
    with pytest.raises(ExportError, match=r"does not draw as its int8 arithmetic does: token \d"):
        prove(bytes(proto.SerializeToString()), INT8_FILTERED, model)


def test_a_proof_that_compared_nothing_fails(
    make_model: Make, build_int8: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    monkeypatch.setattr(verify_int8, "HAIR", 0.6)  # no value is so far from both its neighbours
    with pytest.raises(ExportError, match=r"^m\.onnx can't be proven: each of its 2,720 steps"):
        prove(build_int8(model)[SEQUENCE_INT8], SEQUENCE_INT8, model)


def test_numbers_that_are_none_fail_the_proof(make_model: Make, build_int8: Build) -> None:
    def damage(values: npt.NDArray[Any]) -> None:
        values[0] = np.nan

    model = make_model(layers=1)
    content = changed(build_int8(model)[SEQUENCE_INT8], "scale_0", damage)
    with pytest.raises(ExportError, match="is off by nan of its size"):
        prove(content, SEQUENCE_INT8, model)


def test_a_float32_graph_that_says_it_is_int8_is_refused(
    make_model: Make, metadata_of: Describe
) -> None:
    model = make_model()
    laid_out, metadata = weights.from_torch(model), metadata_of(model)
    float32 = build_siblings(laid_out, metadata, [SEQUENCE_BATCH])[SEQUENCE_BATCH]
    proto = onnx.load_model_from_string(float32)
    for entry in proto.metadata_props:
        if entry.key == "charlm.kind":
            entry.value = SEQUENCE_INT8.name
    content = {SEQUENCE_INT8: bytes(proto.SerializeToString())}
    with pytest.raises(ExportError, match="does not equal its own int8 arithmetic"):
        prove_siblings(content, model, metadata, {SEQUENCE_INT8: "m.sequence-int8.onnx"})


def test_each_graph_says_what_it_costs(make_model: Make, build_int8: Build) -> None:
    costs = {}
    for kind, content in build_int8(make_model(scale=3.0)).items():
        proto = onnx.load_model_from_string(content)
        named = {entry.key: entry.value for entry in proto.metadata_props}
        costs[kind] = json.loads(named["charlm.quality"])
        assert costs[kind].keys() == {"before", "after", "loss", "measured_on"}
    assert costs[INT8] == costs[INT8_FILTERED] == costs[SEQUENCE_INT8] == costs[INT8_ORT]
    assert costs.keys() == set(INT8_KINDS)
