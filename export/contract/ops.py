"""Which of ONNX's operators a charlm graph may hold: those that `charlm-export` writes.

A model file is not trusted. ONNX Runtime runs whatever a graph holds, an endless Loop too, which
nothing can stop: so its nodes are looked at first, in the file's bytes, without ONNX.
"""

from charlm.data.system.errors import ModelFileError
from charlm.data.system.wire import fields

WRITTEN = frozenset(
    {
        *("Add", "ArgMin", "Cast", "Concat", "CumSum", "Equal", "Flatten", "Gather"),
        *("GatherElements", "Gemm", "Identity", "LSTM", "LogSoftmax", "MatMul", "Mul", "Relu"),
        *("Reshape", "Scan", "Shape", "Sigmoid", "Softmax", "Split", "Squeeze", "Sub", "Tanh"),
        *("Transpose", "Unsqueeze"),
    }
)
GRAPH, FUNCTIONS = 7, 25  # fields of a model
NODE = 1  # of a graph
OPERATOR, ATTRIBUTE, DOMAIN = 4, 5, 7  # of a node
BODY, BODIES = 6, 11  # of an attribute: a graph, and several
DEEPEST = 2  # a Scan's body holds no graph


def check_operators(content: bytes, where: str) -> None:
    """A graph must hold nothing that `charlm-export` does not write.

    Raises:
        ModelFileError: it does, or it is no ONNX file.
    """
    graphs = 0
    try:
        for number, part in fields(memoryview(content)):
            if number == FUNCTIONS:
                raise ModelFileError(f"{where}: not a graph of charlm-export: it holds functions")
            if number == GRAPH and isinstance(part, memoryview):
                graphs += 1
                _check_graph(part, where, 1)
    except ValueError as problem:
        raise ModelFileError(f"{where}: not an ONNX file, or damaged: {problem}") from problem
    if graphs != 1:
        raise ModelFileError(f"{where}: not an ONNX file, or damaged: it holds {graphs} graphs")


def _check_graph(graph: memoryview, where: str, depth: int) -> None:
    if depth > DEEPEST:
        raise ModelFileError(f"{where}: not a graph of charlm-export: its graphs are nested")
    for number, node in fields(graph):
        if number != NODE or not isinstance(node, memoryview):
            continue
        for kind, part in fields(node):
            if not isinstance(part, memoryview):
                continue
            if kind == OPERATOR and (name := bytes(part).decode(errors="replace")) not in WRITTEN:
                raise ModelFileError(
                    f"{where}: not a graph of charlm-export: it holds the operator {name[:40]!r}"
                )
            if kind == DOMAIN and bytes(part) not in (b"", b"ai.onnx"):
                raise ModelFileError(
                    f"{where}: not a graph of charlm-export: it holds operators of others"
                )
            if kind == ATTRIBUTE:
                for place, body in fields(part):
                    if place in (BODY, BODIES) and isinstance(body, memoryview):
                        _check_graph(body, where, depth + 1)
