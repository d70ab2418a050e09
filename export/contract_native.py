"""The native graph of a model: a single node, charlm's own operator, made from the step graph.

`CharLSTM`, of the domain `charlm`, reads prompts and draws characters, any number in one run. It is
in a library of custom operators that ONNX Runtime loads (`infer/native/`), from any language:
register it with the session's options. Where a vocabulary has more than 256 characters, it is
`CharLSTMWide`, whose ids are int32. Entries of the session's options:

- `custom_op.CharLSTM.precision`: `float32`; on the CPU `int8`; on a GPU `fp16`.
- `custom_op.CharLSTM.threads`: as many as the session's intra-op threads.
- `custom_op.CharLSTM.device`: `cuda`: the work is a GPU's, whatever the session's providers, and
  all tensors are the host's. Where nothing is said, a session on the CUDA provider has it do so.
- `custom_op.CharLSTM.nvrtc`: where NVIDIA's compiler may stand: paths, with colons between them.

|     | name                  | type    | shape                   |                               |
|-----|-----------------------|---------|-------------------------|-------------------------------|
| in  | `h`, `c`              | float32 | [batch, layers, hidden] | zeros start a text            |
| in  | `prompt`              | uint8   | [batch, time]           | read first; time may be 0     |
| in  | `lengths`             | int64   | [batch]                 | how many ids each reads       |
| in  | `scored`              | bool    | []                      | is `log_probability` wanted?  |
| in  | `steps`               | int64   | []                      | how many to draw; may be 0    |
| in  | `seed`, `stream`      | uint64  | [batch]                 | the key of its random words   |
| in  | `position`            | uint64  | [batch]                 | of the first word, from 0     |
| in  | `inverse_temperature` | float32 | [batch]                 | float32(1/T); `GREEDY`        |
| in  | `top_k`               | int64   | [batch]                 | off: the vocabulary's size    |
| in  | `top_p`, `min_p`      | float32 | [batch]                 | off: `TOP_P_OFF`, 0           |
| out | `tokens`              | uint8   | [batch, steps]          | drawn by sampling version 1   |
| out | `log_probability`     | float32 | [batch, time]           | of each id read and the next, |
|     |                       |         |                         | given all before; then 0.     |
|     |                       |         |                         | [batch, 0] where not scored   |
| out | `logits`              | float32 | [batch, vocabulary]     | of the character to come      |
| out | `h_next`, `c_next`    | float32 | [batch, layers, hidden] | after all of it               |

The graph is written and read here byte by byte, in protobuf's wire format, so that whoever draws a
text waits for no import of onnx. This module imports neither Torch nor onnx.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from charlm.data.system.errors import ModelFileError
from charlm.data.system.wire import Pieces, fields, packed, part, whole
from charlm.export import contract
from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, C, H, Metadata
from charlm.export.contract_siblings import (
    BYTE_VOCABULARY,
    INVERSE_TEMPERATURE,
    LENGTHS,
    LOG_PROBABILITY,
    MIN_P,
    NATIVE,
    POSITION,
    PROMPT,
    SCORED,
    SEED,
    STEPS,
    STREAM,
    TOKENS,
    TOP_K,
    TOP_P,
    properties,
    tensors,
)

DOMAIN, OPERATOR = "charlm", "CharLSTM"
KEY_PRECISION, KEY_THREADS = f"custom_op.{OPERATOR}.precision", f"custom_op.{OPERATOR}.threads"
KEY_DEVICE, KEY_NVRTC = f"custom_op.{OPERATOR}.device", f"custom_op.{OPERATOR}.nvrtc"
WIDE = f"{OPERATOR}Wide"

# Names of the step graph's weights, and of the operator's.
TABLE, RECURRENT, HEAD, HEAD_BIAS = "table", "recurrent", "head", "head_bias"
UPPER, UPPER_BIAS = "upper", "upper_bias"

# As the operator takes and gives them, after the weights.
INPUTS = (
    H, C, PROMPT, LENGTHS, SCORED, STEPS, SEED, STREAM, POSITION,
    INVERSE_TEMPERATURE, TOP_K, TOP_P, MIN_P,
)  # fmt: skip
OUTPUTS = (TOKENS, LOG_PROBABILITY, LOGITS, H_NEXT, C_NEXT)


def stacked_name(layer: int) -> str:
    """The step graph's weights of a layer past the first, [2 * hidden, 4 * hidden]."""
    return f"stacked_{layer}"


def stacked_bias_name(layer: int) -> str:
    """The step graph's bias of a layer past the first, [4 * hidden]."""
    return f"stacked_bias_{layer}"


# Fields of ONNX's messages, by their numbers in onnx.proto.
_MODEL_IR, _MODEL_PRODUCER, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_PROPERTY = 1, 2, 7, 8, 14
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_ARRAY, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_DOMAIN = 1, 2, 3, 4, 7
_ARRAY_SIZE, _ARRAY_TYPE, _ARRAY_NAME, _ARRAY_BYTES = 1, 2, 8, 9
_FLOAT = 1
_ELEMENTS = {
    "tensor(float)": _FLOAT, "tensor(uint8)": 2, "tensor(int32)": 6, "tensor(int64)": 7,
    "tensor(bool)": 9, "tensor(uint64)": 13,
}  # fmt: skip
_SECOND = {PROMPT: "time", TOKENS: "steps", LOG_PROBABILITY: "scored_time"}  # names of free sizes


@dataclass(frozen=True)
class _Array:
    """float32 weights: their sizes and their bytes."""

    sizes: tuple[int, ...]
    content: bytes | memoryview


def properties_of(content: bytes, where: str) -> dict[str, str]:
    """The `metadata_props` of an ONNX file.

    Raises:
        ModelFileError: not an ONNX file.
    """
    found = {}
    with _reading(where):
        for number, value in fields(memoryview(content)):
            if number == _MODEL_PROPERTY and isinstance(value, memoryview):
                entry = dict(fields(value))
                key, text = (bytes(_bytes_of(entry.get(each, b""))).decode() for each in (1, 2))
                found[key] = text
    return found


def native_graph(content: bytes, metadata: Metadata, where: str) -> bytes:
    """The native graph of the weights of a step graph, with its metadata and `charlm.kind`.

    Args:
        content: of a step graph that `charlm-export` wrote.
        metadata: of it.
        where: its name, for messages.

    Raises:
        ModelFileError: its weights are missing or of other sizes.
    """
    hidden, size, upper = metadata.hidden, len(metadata.vocabulary), metadata.layers - 1
    arrays = _arrays(content, where)

    def array(name: str, *sizes: int) -> _Array:
        found = arrays.get(name)
        if found is None or found.sizes != sizes or len(found.content) != 4 * math.prod(sizes):
            raise ModelFileError(
                f"{where}: its weights {name!r} are missing or not float32 of shape {list(sizes)}"
            )
        return found

    def stacked(name: Callable[[int], str], *sizes: int) -> Pieces:
        return [array(name(layer), *sizes).content for layer in range(1, upper + 1)]

    gates = 4 * hidden
    weights: dict[str, tuple[tuple[int, ...], Pieces]] = {
        TABLE: ((size, gates), [array(TABLE, size, 1, gates).content]),
        RECURRENT: ((hidden, gates), [array(RECURRENT, hidden, gates).content]),
        UPPER: ((upper, 2 * hidden, gates), stacked(stacked_name, 2 * hidden, gates)),
        UPPER_BIAS: ((upper, gates), stacked(stacked_bias_name, gates)),
        HEAD: ((hidden, size), [array(HEAD, hidden, size).content]),
        HEAD_BIAS: ((size,), [array(HEAD_BIAS, size).content]),
    }
    inputs, outputs = tensors(NATIVE, metadata)
    node = part(
        _GRAPH_NODE,
        *(part(_NODE_INPUT, name) for name in (*weights, *INPUTS)),
        *(part(_NODE_OUTPUT, name) for name in OUTPUTS),
        part(_NODE_NAME, OPERATOR),
        part(_NODE_OPERATOR, OPERATOR if size <= BYTE_VOCABULARY else WIDE),
        part(_NODE_DOMAIN, DOMAIN),
    )
    graph = part(
        _MODEL_GRAPH,
        node,
        part(_GRAPH_NAME, "charlm_native"),
        *(_initializer(name, *each) for name, each in weights.items()),
        *(_declared(_GRAPH_INPUT, name, *inputs[name]) for name in INPUTS),
        *(_declared(_GRAPH_OUTPUT, name, *outputs[name]) for name in OUTPUTS),
    )
    head = whole(_MODEL_IR, contract.IR_VERSION) + part(_MODEL_PRODUCER, "charlm")
    for domain, version in (("", contract.OPSET), (DOMAIN, 1)):
        head += part(_MODEL_OPSET, part(1, domain), whole(2, version))
    for key, value in properties(metadata, NATIVE).items():
        head += part(_MODEL_PROPERTY, part(1, key), part(2, value))
    return b"".join(head + graph)


def _arrays(content: bytes, where: str) -> dict[str, _Array]:
    """The float32 arrays that stand in the graph itself, by name."""
    found = {}
    with _reading(where):
        for number, graph in fields(memoryview(content)):
            if number != _MODEL_GRAPH or not isinstance(graph, memoryview):
                continue
            for inner, array in fields(graph):
                if inner == _GRAPH_ARRAY and isinstance(array, memoryview):
                    name, value = _array(array)
                    found[name] = value
    return found


def _array(message: memoryview) -> tuple[str, _Array]:
    name, sizes, kind = "", list[int](), 0
    content: bytes | memoryview = b""
    for number, value in fields(message):
        if number == _ARRAY_SIZE:
            sizes += [value] if isinstance(value, int) else packed(value)
        elif number == _ARRAY_TYPE and isinstance(value, int):
            kind = value
        elif number == _ARRAY_NAME:
            name = bytes(_bytes_of(value)).decode()
        elif number == _ARRAY_BYTES:
            content = _bytes_of(value)
    return name, _Array(tuple(sizes), content if kind == _FLOAT else b"")


def _bytes_of(value: int | bytes | memoryview) -> bytes | memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def _initializer(name: str, sizes: Sequence[int], content: Pieces) -> Pieces:
    dimensions = [whole(_ARRAY_SIZE, size) for size in sizes]
    kind = whole(_ARRAY_TYPE, _FLOAT)
    named = part(_ARRAY_NAME, name)
    return part(_GRAPH_ARRAY, *dimensions, kind, named, part(_ARRAY_BYTES, content))


def _declared(number: int, name: str, kind: str, sizes: Sequence[int | None]) -> Pieces:
    """An input or an output: its type with the sizes; those that are free have names."""
    names = ("batch", _SECOND.get(name, ""))
    each = [
        part(1, part(2, names[axis]) if size is None else whole(1, size))
        for axis, size in enumerate(sizes)
    ]
    tensor = part(1, whole(1, _ELEMENTS[kind]), part(2, *each))
    return part(number, part(1, name), part(2, tensor))


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as problem:  # of which UnicodeDecodeError is one
        raise ModelFileError(f"{where}: not a valid ONNX file: {problem}") from problem
