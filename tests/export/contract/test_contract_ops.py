"""A graph that holds what charlm-export never writes is refused before it runs."""

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, helper

from charlm.data.system.errors import ModelFileError
from charlm.data.system.wire import part
from charlm.export.contract.ops import WRITTEN, check_operators
from charlm.infer.model.shipped import FOLDER


def operators(graph: onnx.GraphProto) -> set[str]:
    found = {node.op_type for node in graph.node}
    for node in graph.node:
        for attribute in node.attribute:
            found |= operators(attribute.g) if attribute.HasField("g") else set()
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.name)
def test_what_ships_is_allowed(path: object) -> None:
    content = path.read_bytes()  # type: ignore[attr-defined]
    check_operators(content, "it")
    assert operators(onnx.load_from_string(content).graph) <= WRITTEN


def model(node: onnx.NodeProto, **more: object) -> bytes:
    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "g", [one], [])
    return helper.make_model(graph, **more).SerializeToString()  # type: ignore[arg-type]


def body(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", [], [])


def nested() -> bytes:
    inner = helper.make_node("Scan", [], [], body=body())
    return model(helper.make_node("Scan", [], [], body=body(inner)))


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (lambda: model(helper.make_node("Loop", [], [], body=body())), "the operator 'Loop'"),
        (
            lambda: model(
                helper.make_node("Scan", [], [], body=body(helper.make_node("If", [], [])))
            ),
            "the operator 'If'",
        ),
        (lambda: model(helper.make_node("Add", [], [], domain="com.microsoft")), "of others"),
        (nested, "nested"),
        (
            lambda: model(
                helper.make_node("Add", [], []),
                functions=[helper.make_function("d", "f", [], [], [], [])],
            ),
            "functions",
        ),
        (lambda: b"\xff" * 9, "damaged"),
        (lambda: b"", "0 graphs"),
        (
            # The graph under a number of which other readers keep the lower 29 bits.
            lambda: b"".join(part(7, b"")) + bytes([0xBA, 0x80, 0x80, 0x80, 0x10, 0]),
            "a field of number",
        ),
    ],
    ids=["loop", "body", "domain", "nested", "functions", "damaged", "empty", "hidden"],
)
def test_what_nobody_wrote_is_refused(content: Callable[[], bytes], saying: str) -> None:
    with pytest.raises(ModelFileError, match=saying) as caught:
        check_operators(content(), "it.onnx")
    assert str(caught.value).startswith("it.onnx: ")
