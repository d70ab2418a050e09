"""A graph that is wrong in any way fails its proof, and the message says how."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from charlm.data.system.errors import CharlmError, ExportError, ModelFileError
from charlm.export import contract_siblings, weights
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import GENERATE, NATIVE, SEQUENCE, Kind
from charlm.export.graphs.siblings import build_siblings
from charlm.export.proof import verify, verify_generate
from charlm.export.proof.verify_siblings import SiblingProof, prove_siblings
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]
Change = Callable[[onnx.GraphProto], None]

KINDS, PORTABLE, DRAWING, READING = (
    [pytest.param(kind, id=kind.name) for kind in kinds]
    for kinds in (
        (NATIVE, GENERATE, SEQUENCE),
        (GENERATE, SEQUENCE),
        (NATIVE, GENERATE),
        (NATIVE, SEQUENCE),
    )
)


@pytest.fixture(autouse=True)
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps, where the fault shows at once."""
    monkeypatch.setattr(verify, "STEPS", 100)


@pytest.fixture
def prove(metadata_of: Describe) -> Callable[..., SiblingProof]:
    """Prove a graph of `other`, changed, as if it were one of `model`."""

    def run(
        model: CharLSTM, kind: Kind, change: Change | None = None, other: CharLSTM | None = None
    ) -> SiblingProof:
        metadata = metadata_of(model)
        content = build_siblings(weights.from_torch(other or model), metadata, [kind])[kind]
        if change is not None:
            proto = onnx.load_model_from_string(content)
            change(proto.graph)
            content = proto.SerializeToString()
        return prove_siblings({kind: content}, model, metadata, {kind: "m.onnx"})[kind]

    return run


Prove = Callable[..., SiblingProof]


def body_of(graph: onnx.GraphProto) -> onnx.GraphProto:
    """The body of the loop, or the graph itself where it has none."""
    for node in graph.node:
        if node.op_type == "Scan":
            return next(attribute.g for attribute in node.attribute if attribute.name == "body")
    return graph


def renamed(graph: onnx.GraphProto, names: dict[str, str], *, outputs: bool) -> None:
    for node in graph.node:
        listed = node.output if outputs else node.input
        listed[:] = [names.get(name, name) for name in listed]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "parameter",
    ["lstm.weight_ih_l0", "lstm.weight_hh_l1", "lstm.bias_hh_l1", "head.weight", "head.bias"],
)
def test_one_weight_nudged_is_found(
    make_model: Make, prove: Prove, kind: Kind, parameter: str
) -> None:
    model, nudged = make_model(), make_model()
    nudged.get_parameter(parameter).data.view(-1)[5] += 0.01
    with pytest.raises(ExportError, match=r"^m\.onnx does not (equal|draw as) the Torch model"):
        prove(model, kind, other=nudged)


def test_swapped_gates_are_found(make_model: Make, prove: Prove) -> None:
    def swap(graph: onnx.GraphProto) -> None:
        renamed(body_of(graph), {"f_0": "o_0", "o_0": "f_0"}, outputs=True)
        for node in list(body_of(graph).node):
            node.name = node.output[0]

    with pytest.raises(ExportError, match=r"^m\.onnx does not (equal|draw as) the Torch model"):
        prove(make_model(), GENERATE, swap)


def test_swapped_gates_of_the_operator_are_found(make_model: Make, prove: Prove) -> None:
    def swap(graph: onnx.GraphProto) -> None:
        (tensor,) = (t for t in graph.initializer if t.name == "R_0")
        blocks = np.split(numpy_helper.to_array(tensor), 4, axis=1)
        changed = np.concatenate([blocks[place] for place in (0, 2, 1, 3)], axis=1)
        tensor.CopyFrom(numpy_helper.from_array(changed, "R_0"))

    with pytest.raises(ExportError, match=r"^m\.onnx does not equal the Torch model: "):
        prove(make_model(), SEQUENCE, swap)


def rolled(graph: onnx.GraphProto, name: str) -> None:
    """Give the output `name` shifted by one along its second axis."""
    renamed(graph, {name: "right"}, outputs=True)
    ends = {"start": [0], "minus": [-1], "end": [1 << 40], "second": [1]}
    for key, listed in ends.items():
        graph.initializer.append(numpy_helper.from_array(np.array(listed), key))
    graph.node.extend(
        [
            helper.make_node("Slice", ["right", "start", "minus", "second"], ["all_but_last"]),
            helper.make_node("Slice", ["right", "minus", "end", "second"], ["the_last"]),
            helper.make_node("Concat", ["the_last", "all_but_last"], [name], axis=1),
        ]
    )


@pytest.mark.parametrize("kind", DRAWING)
def test_tokens_shifted_by_one_are_found(make_model: Make, prove: Prove, kind: Kind) -> None:
    with pytest.raises(ExportError, match=r"m\.onnx does not draw .* was due"):
        prove(make_model(), kind, lambda graph: rolled(graph, "tokens"))


@pytest.mark.parametrize("kind", READING)
def test_scores_shifted_by_one_are_found(make_model: Make, prove: Prove, kind: Kind) -> None:
    with pytest.raises(ExportError, match=r"Torch model: log_probability (after one|within 100)"):
        prove(make_model(), kind, lambda graph: rolled(graph, "log_probability"))


def test_targets_taken_for_what_is_read_are_found(make_model: Make, prove: Prove) -> None:
    def exchange(graph: onnx.GraphProto) -> None:
        renamed(graph, {"tokens": "targets", "targets": "tokens"}, outputs=False)

    with pytest.raises(ExportError, match=r"^m\.onnx does not equal the Torch model: "):
        prove(make_model(), SEQUENCE, exchange)


def test_a_token_that_is_drawn_but_not_read_is_found(make_model: Make, prove: Prove) -> None:
    """The state goes on with other characters than those that are given out."""

    def read_another(graph: onnx.GraphProto) -> None:
        body = body_of(graph)
        body.initializer.append(numpy_helper.from_array(np.array(1), "one"))
        body.initializer.append(numpy_helper.from_array(np.array(12), "characters"))
        renamed(body, {"token": "wrong"}, outputs=False)
        place = 1 + next(i for i, node in enumerate(body.node) if "token" in node.output)
        body.node.insert(place, helper.make_node("Add", ["token", "one"], ["next"]))
        body.node.insert(place + 1, helper.make_node("Mod", ["next", "characters"], ["wrong"]))

    with pytest.raises(ExportError, match=r"^m\.onnx does not (equal|draw as) the Torch model"):
        prove(make_model(), GENERATE, read_another)


@pytest.mark.parametrize("kind", KINDS)
def test_exchanged_states_are_found(make_model: Make, prove: Prove, kind: Kind) -> None:
    def exchange(graph: onnx.GraphProto) -> None:
        renamed(graph, {"h_next": "c_next", "c_next": "h_next"}, outputs=True)

    with pytest.raises(ExportError, match=r"^m\.onnx does not (equal|draw as) the Torch model"):
        prove(make_model(), kind, exchange)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_is_not_carried_is_found(make_model: Make, prove: Prove, kind: Kind) -> None:
    """Right from a zero state, and so right in one call: found since the texts are cut."""

    def forget(graph: onnx.GraphProto) -> None:
        graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
        renamed(graph, {"h": "no_h"}, outputs=False)
        graph.node.insert(0, helper.make_node("Mul", ["h", "nothing"], ["no_h"]))

    with pytest.raises(ExportError, match=r"^m\.onnx does not (equal|draw as) the Torch model"):
        prove(make_model(), kind, forget)


@pytest.mark.parametrize("kind", DRAWING)
def test_a_state_that_depends_on_the_cuts_is_found(
    make_model: Make, prove: Prove, kind: Kind
) -> None:
    """By so little that no tolerance is passed: a text would change with the length of blocks."""

    def add_a_little(graph: onnx.GraphProto) -> None:
        renamed(graph, {"c_next": "right"}, outputs=True)
        graph.initializer.append(numpy_helper.from_array(np.array(1e-7, np.float32), "tiny"))
        graph.node.extend(
            [
                helper.make_node("Shape", ["tokens"], ["length"], start=1),
                helper.make_node("Cast", ["length"], ["as_float"], to=onnx.TensorProto.FLOAT),
                helper.make_node("Mul", ["as_float", "tiny"], ["little"]),
                helper.make_node("Add", ["right", "little"], ["c_next"]),
            ]
        )

    with pytest.raises(ExportError, match="draws otherwise in blocks than in one run"):
        prove(make_model(), kind, add_a_little)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(NATIVE, "inverse_temperature"), (GENERATE, "inverse_temperature"), (GENERATE, "uniform")],
)
def test_an_input_that_is_a_little_off_is_found(
    make_model: Make, prove: Prove, kind: Kind, name: str
) -> None:
    def scale(graph: onnx.GraphProto) -> None:
        graph.initializer.append(numpy_helper.from_array(np.array(0.99, np.float32), "less"))
        renamed(graph, {name: "scaled_input"}, outputs=False)
        graph.node.insert(0, helper.make_node("Mul", [name, "less"], ["scaled_input"]))

    with pytest.raises(ExportError, match="does not draw"):
        prove(make_model(), kind, scale)


@pytest.mark.parametrize(
    "names", [{"seed": "stream", "stream": "seed"}, {"position": "stream"}, {"stream": "position"}]
)
def test_numbers_of_another_stream_or_place_are_found(
    make_model: Make, prove: Prove, names: dict[str, str]
) -> None:
    with pytest.raises(ExportError, match="does not draw"):
        prove(make_model(), NATIVE, lambda graph: renamed(graph, names, outputs=False))


@pytest.mark.parametrize(
    ("name", "replace"),
    [
        ("top_p", np.float32(contract_siblings.TOP_P_OFF)),
        ("min_p", np.float32(0)),
        ("top_k", np.int64(12)),
    ],
)
def test_a_filter_that_does_nothing_is_found(
    make_model: Make, prove: Prove, name: str, replace: np.generic
) -> None:
    def ignore(graph: onnx.GraphProto) -> None:
        graph.initializer.append(numpy_helper.from_array(np.array(replace), "off"))
        renamed(graph, {name: "ignored"}, outputs=False)
        shape = helper.make_node("Shape", [name], ["streams"])
        graph.node.insert(0, helper.make_node("Expand", ["off", "streams"], ["ignored"]))
        graph.node.insert(0, shape)

    with pytest.raises(ExportError, match="does not draw"):
        prove(make_model(), NATIVE, ignore)


def test_filters_of_one_stream_used_for_all_are_found(make_model: Make, prove: Prove) -> None:
    def share(graph: onnx.GraphProto) -> None:
        graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
        renamed(graph, {"top_p": "shared"}, outputs=False)
        shape = helper.make_node("Shape", ["top_p"], ["streams"])
        one = helper.make_node("Gather", ["top_p", "first"], ["one"], axis=0)
        every = helper.make_node("Expand", ["one", "streams"], ["shared"])
        for place, node in enumerate((shape, one, every)):
            graph.node.insert(place, node)

    with pytest.raises(ExportError, match=r"does not draw .* of stream"):
        prove(make_model(), NATIVE, share)


def test_tokens_past_the_vocabulary_are_found(make_model: Make, prove: Prove) -> None:
    def raise_them(graph: onnx.GraphProto) -> None:
        renamed(graph, {"tokens": "right"}, outputs=True)
        graph.initializer.append(numpy_helper.from_array(np.array(100, np.uint8), "hundred"))
        graph.node.append(helper.make_node("Max", ["right", "hundred"], ["tokens"]))

    with pytest.raises(ExportError, match="tokens that are no characters of the model"):
        prove(make_model(), GENERATE, raise_them)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_found(make_model: Make, prove: Prove, kind: Kind) -> None:
    def spoil(graph: onnx.GraphProto) -> None:
        renamed(graph, {"c_next": "right"}, outputs=True)
        graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
        graph.node.append(helper.make_node("Mul", ["right", "nan"], ["c_next"]))

    said = r"^m\.onnx(: a run of it failed: .*not finite| does not (equal|draw as) the Torch model)"
    with pytest.raises(CharlmError, match=said):
        prove(make_model(), kind, spoil)


@pytest.mark.parametrize("kind", PORTABLE)
def test_a_graph_that_fails_as_it_runs_is_one_line(
    make_model: Make, prove: Prove, kind: Kind
) -> None:
    def shorten(graph: onnx.GraphProto) -> None:
        """A table of a third of the characters: the others can't be looked up."""
        body = body_of(graph)
        name = "one_hot" if kind == SEQUENCE else "table_i_0"
        (tensor,) = (t for t in body.initializer if t.name == name)
        array = numpy_helper.to_array(tensor)[:4]
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    with pytest.raises(ExportError, match=r"^m\.onnx: a run of it failed: .*Gather"):
        prove(make_model(), kind, shorten)


@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_are_refused(make_model: Make, metadata_of: Describe, kind: Kind) -> None:
    model, other = make_model(), make_model(seed=1)
    content = build_siblings(weights.from_torch(other), metadata_of(other), [kind])[kind]
    with pytest.raises(ModelFileError, match=r"^m\.onnx: made from other weights than the model"):
        prove_siblings({kind: content}, model, metadata_of(model), {kind: "m.onnx"})


@pytest.mark.parametrize("kind", KINDS)
def test_other_tensors_are_refused(make_model: Make, prove: Prove, kind: Kind) -> None:
    def rename(graph: onnx.GraphProto) -> None:
        renamed(graph, {"c_next": "cells"}, outputs=True)
        (output,) = (each for each in graph.output if each.name == "c_next")
        output.name = "cells"

    said = rf"^m\.onnx: not a charlm graph of kind {kind.name}: its tensors are "
    with pytest.raises(ModelFileError, match=said):
        prove(make_model(), kind, rename)


def test_another_kind_is_refused(make_model: Make, metadata_of: Describe) -> None:
    model = make_model()
    content = build_siblings(weights.from_torch(model), metadata_of(model), [GENERATE])[GENERATE]
    with pytest.raises(ModelFileError, match="says that it is 'generate', not 'sequence'"):
        prove_siblings({SEQUENCE: content}, model, metadata_of(model), {SEQUENCE: "m.onnx"})


@pytest.mark.parametrize("content", [b"x", b"\x00" * 64, b"\xff" * 64])
def test_what_is_no_graph_is_refused(
    make_model: Make, metadata_of: Describe, content: bytes
) -> None:
    model = make_model()
    with pytest.raises(ModelFileError, match=r"^m\.onnx: "):
        prove_siblings({GENERATE: content}, model, metadata_of(model), {GENERATE: "m.onnx"})


@pytest.mark.parametrize("kind", READING)
def test_weights_in_another_file_are_not_read(
    make_model: Make,
    metadata_of: Describe,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: Kind,
) -> None:
    model = make_model()
    content = build_siblings(weights.from_torch(model), metadata_of(model), [kind])[kind]
    monkeypatch.chdir(tmp_path)
    onnx.save_model(
        onnx.load_model_from_string(content),
        "x.onnx",
        save_as_external_data=True,
        location="x.data",
        size_threshold=64,
    )
    cut = Path("x.onnx").read_bytes()
    with pytest.raises(ModelFileError, match=r"^m\.onnx: .*can't (load it|be loaded): .*xternal"):
        prove_siblings({kind: cut}, model, metadata_of(model), {kind: "m.onnx"})


def test_blocks_are_of_many_lengths_and_add_up() -> None:
    assert verify_generate.blocks(1000)[:5] == [1, 7, 64, 128, 1]
    assert sum(verify_generate.blocks(1000)) == 1000
    assert verify_generate.blocks(3) == [1, 2]
