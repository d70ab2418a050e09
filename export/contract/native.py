"""charlm's own operator: its library, and the graph of it that is made from a step graph.

A native graph is a single node. `CharLSTM`, of the domain `charlm`, reads prompts and draws
characters, any number in one run. It is in a library of custom operators that ONNX Runtime loads
(`infer/native/`), from any language: register it with the session's options. Where a vocabulary has
more than 256 characters, it is `CharLSTMWide`, whose ids are int32. Entries of those options:

- `custom_op.CharLSTM.precision`: `float32`; on the CPU `int8`; on a GPU `fp16`.
- `custom_op.CharLSTM.threads`: as many as the session's intra-op threads.
- `custom_op.CharLSTM.device`: `cuda`: the work is a GPU's, whatever the session's providers, and
  all tensors are the host's. Where nothing is said, a session on the CUDA provider has it do so.
- `custom_op.CharLSTM.nvrtc`: where NVIDIA's compiler may stand: paths, with colons between them.

The library's `void* charlm_gpu_pinned(size_t)` gives pinned memory, which a GPU fills at its full
rate where outputs are bound to it; `void charlm_gpu_unpin(void*)` takes it back.

|     | name                  | type    | shape                   |                               |
|-----|-----------------------|---------|-------------------------|-------------------------------|
| in  | `h`, `c`              | float32 | [batch, layers, hidden] | zeros start a text            |
| in  | `prompt`              | uint8   | [batch, time]           | read first; time may be 0     |
| in  | `lengths`             | int64   | [batch]                 | how many ids each reads       |
| in  | `scored`              | int64   | []                      | 1: `log_probability` is       |
|     |                       |         |                         | wanted; 2: both are; else 0   |
| in  | `steps`               | int64   | []                      | how many to draw; may be 0    |
| in  | `seed`, `stream`      | uint64  | [batch]                 | the key of its random words   |
| in  | `position`            | uint64  | [batch]                 | of the first word, from 0     |
| in  | `inverse_temperature` | float32 | [batch]                 | float32(1/T); `GREEDY`        |
| in  | `top_k`               | int64   | [batch]                 | off: the vocabulary's size    |
| in  | `top_p`, `min_p`      | float32 | [batch]                 | off: `TOP_P_OFF`, 0           |
| out | `tokens`              | uint8   | [batch, steps]          | drawn by sampling version 1   |
| out | `log_probability`     | float32 | [batch, time]           | of each id read and the next, |
|     |                       |         |                         | given all before; then 0.     |
|     |                       |         |                         | [batch, 0] where not wanted   |
| out | `log_probabilities`   | float32 | [batch, time,           | of every id in its place; on  |
|     |                       |         |  vocabulary]            | the CPU only. [batch, 0,      |
|     |                       |         |                         | vocabulary] where not wanted  |
| out | `logits`              | float32 | [batch, vocabulary]     | of the character to come      |
| out | `h_next`, `c_next`    | float32 | [batch, layers, hidden] | after all of it               |

The graph is written and read here byte by byte, in protobuf's wire format, so that whoever draws a
text waits for no import of onnx. This module imports neither Torch nor onnx.
"""

import contextlib
import ctypes
import functools
import importlib.util
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from charlm.data.system.errors import ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.data.system.wire import Pieces, fields, packed, part, whole
from charlm.export import contract
from charlm.export.contract import Metadata

_FILES = {"darwin": "libcharlm.dylib", "win32": "charlm.dll"}
LIBRARY = Path(__file__).parents[2] / "infer/native" / _FILES.get(sys.platform, "libcharlm.so")
BUILD = "install charlm again where there is a C++ compiler, g++ or clang++"

DOMAIN, OPERATOR = "charlm", "CharLSTM"
KEY_PRECISION, KEY_THREADS = f"custom_op.{OPERATOR}.precision", f"custom_op.{OPERATOR}.threads"
KEY_DEVICE, KEY_NVRTC = f"custom_op.{OPERATOR}.device", f"custom_op.{OPERATOR}.nvrtc"
WIDE = f"{OPERATOR}Wide"

# Names of the step graph's weights, and of the operator's.
TABLE, RECURRENT, HEAD, HEAD_BIAS = "table", "recurrent", "head", "head_bias"
UPPER, UPPER_BIAS = "upper", "upper_bias"

# As the operator takes and gives them, after the weights.
INPUTS = (
    contract.H, contract.C, contract.PROMPT, contract.LENGTHS, contract.SCORED, contract.STEPS,
    contract.SEED, contract.STREAM, contract.POSITION,
    contract.INVERSE_TEMPERATURE, contract.TOP_K, contract.TOP_P, contract.MIN_P,
)  # fmt: skip
OUTPUTS = (
    contract.TOKENS, contract.LOG_PROBABILITY, contract.LOG_PROBABILITIES, contract.LOGITS,
    contract.H_NEXT, contract.C_NEXT,
)  # fmt: skip


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
    "tensor(uint64)": 13,
}  # fmt: skip
_SECOND = {
    contract.PROMPT: "time",
    contract.TOKENS: "steps",
    contract.LOG_PROBABILITY: "scored_time",
    contract.LOG_PROBABILITIES: "known_time",
}  # names of free sizes
Array = tuple[tuple[int, ...], bytes | memoryview]  # its sizes, and its content


def problem() -> str | None:
    """Why the operator can't be used here, and what to do; None where it can."""
    if not LIBRARY.is_file():
        return f"the native operator was not built: {BUILD}"
    return _refusal(os.environ.get("CHARLM_ISA"))


def add_entries(options: Any, precision: str, threads: int, device: str = "cpu") -> None:
    """Make the operator known to a session, and say how it computes there.

    Args:
        precision: `float32`; `int8` on the CPU, `fp16` on a GPU.

    Raises:
        Exception: of ONNX Runtime: the library is damaged, or for another machine.
    """
    options.add_session_config_entry(KEY_PRECISION, precision)
    options.add_session_config_entry(KEY_DEVICE, device)
    if device == "cuda":
        options.add_session_config_entry(KEY_NVRTC, ":".join(map(str, _compilers())))
    else:
        options.add_session_config_entry(KEY_THREADS, str(threads))
    options.register_custom_ops_library(str(LIBRARY))


def _compilers() -> Iterator[Path]:
    """Where packages have put NVRTC, NVIDIA's compiler; the newest first."""
    found = importlib.util.find_spec("nvidia")
    for folder in (found and found.submodule_search_locations) or ():
        paths = Path(folder).glob("*/lib/libnvrtc.so.[0-9]*")
        yield from sorted(paths, key=lambda path: path.name, reverse=True)


def gpu() -> tuple[int, str]:
    """The multiprocessors of the GPU that is here, and its name; 0 and why there is none to use.

    Raises:
        OSError: the library can't be loaded; see `problem`.
    """
    said = ctypes.create_string_buffer(200)
    count = ctypes.CDLL(str(LIBRARY)).charlm_gpu_processors(said, ctypes.c_size_t(len(said)))
    return int(count), said.value.decode(errors="replace")


def instruction_set() -> str:
    """The instruction set that the operator uses here, such as `avx512`.

    Raises:
        OSError: the library can't be loaded; see `problem`.
    """
    name = ctypes.CDLL(str(LIBRARY)).charlm_instruction_set
    name.restype = ctypes.c_char_p
    return (name() or b"").decode()


@functools.cache
def _refusal(instruction_set: str | None) -> str | None:
    del instruction_set  # which the library reads for itself
    try:
        require_onnxruntime().SessionOptions().register_custom_ops_library(str(LIBRARY))
    except Exception as refusal:
        reason = str(refusal).strip().partition("\n")[0].rpartition("CharLSTM: ")[2]
        return f"the native operator can't be used: {reason} ({LIBRARY}); {BUILD}"
    return None


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


def weight_sizes(metadata: Metadata) -> dict[str, tuple[int, ...]]:
    """The sizes of each of a step graph's weights, by name; all are float32."""
    gates, size = 4 * metadata.hidden, len(metadata.vocabulary)
    upper = range(1, metadata.layers)
    return {
        TABLE: (size, 1, gates),
        RECURRENT: (metadata.hidden, gates),
        **{stacked_name(layer): (2 * metadata.hidden, gates) for layer in upper},
        **{stacked_bias_name(layer): (gates,) for layer in upper},
        HEAD: (metadata.hidden, size),
        HEAD_BIAS: (size,),
    }


def read_weights(content: bytes, metadata: Metadata, where: str) -> dict[str, bytes | memoryview]:
    """The little-endian bytes of a step graph's weights, by name, of the sizes of `weight_sizes`.

    Raises:
        ModelFileError: its weights are missing, of other sizes, or in another file.
    """
    found = _arrays(content, where)
    weights = {}
    for name, due in weight_sizes(metadata).items():
        sizes, weights[name] = found.get(name, ((), b""))
        if sizes != due or len(weights[name]) != 4 * math.prod(due):
            raise ModelFileError(
                f"{where}: its weights {name!r} are missing or not float32 of shape {list(due)}: "
                "not a step graph that charlm-export wrote"
            )
    return weights


def native_graph(content: bytes, metadata: Metadata, where: str) -> bytes:
    """The native graph of the weights of a step graph, with its metadata and `charlm.kind`.

    Args and errors: see `read_weights`.
    """
    hidden, size, upper = metadata.hidden, len(metadata.vocabulary), metadata.layers - 1
    gates, layers = 4 * hidden, range(1, metadata.layers)
    found = read_weights(content, metadata, where)
    weights: dict[str, tuple[tuple[int, ...], Pieces]] = {
        TABLE: ((size, gates), [found[TABLE]]),
        RECURRENT: ((hidden, gates), [found[RECURRENT]]),
        UPPER: ((upper, 2 * hidden, gates), [found[stacked_name(layer)] for layer in layers]),
        UPPER_BIAS: ((upper, gates), [found[stacked_bias_name(layer)] for layer in layers]),
        HEAD: ((hidden, size), [found[HEAD]]),
        HEAD_BIAS: ((size,), [found[HEAD_BIAS]]),
    }
    inputs, outputs = contract.tensors(contract.NATIVE, metadata)
    node = part(
        _GRAPH_NODE,
        *(part(_NODE_INPUT, name) for name in (*weights, *INPUTS)),
        *(part(_NODE_OUTPUT, name) for name in OUTPUTS),
        part(_NODE_NAME, OPERATOR),
        part(_NODE_OPERATOR, OPERATOR if size <= contract.BYTE_VOCABULARY else WIDE),
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
    for key, value in contract.properties(metadata, contract.NATIVE).items():
        head += part(_MODEL_PROPERTY, part(1, key), part(2, value))
    return b"".join(head + graph)


def _arrays(content: bytes, where: str) -> dict[str, Array]:
    """The sizes and bytes of the arrays that stand in the graph itself; no bytes but of float32."""
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


def _array(message: memoryview) -> tuple[str, Array]:
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
    return name, (tuple(sizes), content if kind == _FLOAT else b"")


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
        raise ModelFileError(
            f"{where}: not an ONNX file, or damaged: name one that charlm-export wrote"
        ) from problem
