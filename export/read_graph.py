"""Reading the weights back out of a step graph, to prove a file on its own."""

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper
from onnx.shape_inference import InferenceError

from charlm.data.system.errors import ModelFileError
from charlm.export import contract_native as names
from charlm.export.contract import Metadata
from charlm.export.weights import Weights, sha256

Arrays = dict[str, npt.NDArray[np.float32]]


def read_graph(content: bytes, where: str) -> tuple[Weights, Metadata]:
    """The weights and metadata of a step graph that `names.build` wrote.

    Args:
        content: the file's bytes.
        where: its name, for messages.

    Raises:
        ModelFileError: not an ONNX file, not of charlm, or with other weights than it says.
    """
    model = _load(content, where)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    metadata = Metadata.from_properties(properties, where)
    arrays = _arrays(model, _shapes(metadata), where)
    upper = range(1, metadata.layers)
    weights = Weights(
        table=arrays[names.TABLE],
        recurrent=arrays[names.RECURRENT],
        stacked=tuple(arrays[names.stacked_name(layer)] for layer in upper),
        stacked_bias=tuple(arrays[names.stacked_bias_name(layer)] for layer in upper),
        head=arrays[names.HEAD],
        head_bias=arrays[names.HEAD_BIAS],
    )
    if sha256(weights) != metadata.weights_sha256:
        raise ModelFileError(
            f"{where}: its weights are not those that it was written with (their sha256 differs "
            "from its metadata's): the file is damaged; export it again"
        )
    return weights, metadata


def _load(content: bytes, where: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
        # Before the checker, which looks for the other files from the current folder.
        if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
            raise ModelFileError(f"{where}: its weights are in another file: not a charlm model")
        onnx.checker.check_model(model, full_check=True)
        # protobuf gives bytes, or an error, where a string is not UTF-8.
        texts = [text for entry in model.metadata_props for text in (entry.key, entry.value)]
        texts += [tensor.name for tensor in model.graph.initializer]
        if not all(isinstance(text, str) for text in texts):
            raise ModelFileError(f"{where}: its names or metadata are not UTF-8")
    except (DecodeError, ValueError, onnx.checker.ValidationError, InferenceError) as problem:
        reason = str(problem).strip().partition("\n")[0]
        raise ModelFileError(f"{where}: not a valid ONNX file: {reason}") from problem
    return model


def _shapes(metadata: Metadata) -> dict[str, tuple[int, ...]]:
    """The shape of each of the weights, by name."""
    hidden, size = metadata.hidden, len(metadata.vocabulary)
    shapes: dict[str, tuple[int, ...]] = {
        names.TABLE: (size, 1, 4 * hidden),
        names.RECURRENT: (hidden, 4 * hidden),
        names.HEAD: (hidden, size),
        names.HEAD_BIAS: (size,),
    }
    for layer in range(1, metadata.layers):
        shapes[names.stacked_name(layer)] = (2 * hidden, 4 * hidden)
        shapes[names.stacked_bias_name(layer)] = (4 * hidden,)
    return shapes


def _arrays(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], where: str) -> Arrays:
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays: Arrays = {}
    for name, shape in shapes.items():
        tensor = found.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or tuple(tensor.dims) != shape:
            raise ModelFileError(
                f"{where}: its weights {name!r} are missing or not float32 of shape "
                f"{list(shape)}: not a step graph that charlm-export wrote"
            )
        try:
            arrays[name] = numpy_helper.to_array(tensor)
        except ValueError as problem:
            raise ModelFileError(f"{where}: its weights {name!r} are damaged") from problem
    return arrays
