"""Reading the weights back out of a step graph, to prove a file on its own."""

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from charlm.data.errors import ModelFileError
from charlm.export import step_graph
from charlm.export.contract import Metadata
from charlm.export.weights import Weights


def read_graph(content: bytes, where: str) -> tuple[Weights, Metadata]:
    """The weights and metadata of a step graph that `step_graph.build` wrote.

    Args:
        content: the file's bytes.
        where: its name, for messages.

    Raises:
        ModelFileError: not an ONNX file, not of charlm, or with other weights than it says.
    """
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    except (DecodeError, ValueError, onnx.checker.ValidationError) as problem:
        reason = str(problem).splitlines()[0]
        raise ModelFileError(f"{where}: not a valid ONNX file: {reason}") from problem
    properties = {entry.key: entry.value for entry in model.metadata_props}
    metadata = Metadata.from_properties(properties, where)
    hidden, size = metadata.hidden, len(metadata.vocabulary)
    shapes = {
        step_graph.TABLE: (size, 1, 4 * hidden),
        step_graph.RECURRENT: (hidden, 4 * hidden),
        step_graph.HEAD: (hidden, size),
        step_graph.HEAD_BIAS: (size,),
    }
    upper = range(1, metadata.layers)
    shapes |= {step_graph.stacked_name(layer): (2 * hidden, 4 * hidden) for layer in upper}
    shapes |= {step_graph.stacked_bias_name(layer): (4 * hidden,) for layer in upper}
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.float32:
            raise ModelFileError(
                f"{where}: its weights {name!r} are missing or not float32 of shape "
                f"{list(shape)}: not a step graph that charlm-export wrote"
            )
    weights = Weights(
        table=arrays[step_graph.TABLE],
        recurrent=arrays[step_graph.RECURRENT],
        stacked=tuple(arrays[step_graph.stacked_name(layer)] for layer in upper),
        stacked_bias=tuple(arrays[step_graph.stacked_bias_name(layer)] for layer in upper),
        head=arrays[step_graph.HEAD],
        head_bias=arrays[step_graph.HEAD_BIAS],
    )
    return weights, metadata
