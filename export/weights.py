"""A model's weights as the graph lays them out: from Torch and back, and out of a step graph."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import ModelFileError
from charlm.export.contract import Metadata
from charlm.export.contract import native as names
from charlm.export.contract.ops import check_operators
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM
from charlm.train.runs.run_folder import Run

Array = npt.NDArray[np.float32]

# Blocks of Torch's gates i, f, g, o in ONNX's order i, o, f, c: the three that take a sigmoid
# are neighbours, so one Sigmoid serves them.
TORCH_TO_ONNX = (0, 3, 1, 2)
ONNX_TO_TORCH = (0, 2, 3, 1)


@dataclass(frozen=True)
class Weights:
    """float32 arrays, gates in the order i, o, f, c along the last axis.

    Attributes:
        table: [vocabulary, 1, 4 * hidden], input weights and both biases of the first layer: a
            one-hot character times the input weights is a row of them.
        stacked: for each further layer [2 * hidden, 4 * hidden]: input over recurrent weights.
    """

    table: Array
    recurrent: Array  # [hidden, 4 * hidden], of the first layer
    stacked: tuple[Array, ...]
    stacked_bias: tuple[Array, ...]  # for each further layer [4 * hidden]
    head: Array  # [hidden, vocabulary]
    head_bias: Array  # [vocabulary]

    @property
    def hidden(self) -> int:
        """Units a layer."""
        return int(self.recurrent.shape[0])

    @property
    def layers(self) -> int:
        """LSTM layers."""
        return 1 + len(self.stacked)

    @property
    def vocabulary(self) -> int:
        """Characters."""
        return int(self.table.shape[0])


def from_torch(model: CharLSTM) -> Weights:
    """Lay out a copy of a Torch model's weights as the graph wants them."""
    state = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    transposed: dict[str, Array] = {}
    for name, array in state.items():
        if name.startswith("lstm"):
            array = _reorder(array, TORCH_TO_ONNX)
        transposed[name] = np.array(array.T, dtype=np.float32, order="C")

    def bias(layer: int) -> npt.NDArray[np.float64]:
        # In float64, so that folding two biases into one rounds once.
        given, own = (transposed[f"lstm.bias_{part}_l{layer}"] for part in ("ih", "hh"))
        return given.astype(np.float64) + own

    table = transposed["lstm.weight_ih_l0"].astype(np.float64) + bias(0)
    upper = range(1, model.config.layers)
    matrices = ([transposed[f"lstm.weight_{part}_l{n}"] for part in ("ih", "hh")] for n in upper)
    return Weights(
        table.astype(np.float32)[:, None], transposed["lstm.weight_hh_l0"],
        stacked=tuple(map(np.concatenate, matrices)),
        stacked_bias=tuple(bias(layer).astype(np.float32) for layer in upper),
        head=transposed["head.weight"], head_bias=transposed["head.bias"],
    )  # fmt: skip


def from_graph(content: bytes, where: str) -> tuple[Weights, Metadata]:
    """The weights and metadata of a step graph that `charlm-export` wrote.

    Raises:
        ModelFileError: not an ONNX file, not of charlm, or with other weights than it says.
    """
    check_operators(content, where)
    metadata = Metadata.from_properties(names.properties_of(content, where), where)
    found, sizes = names.read_weights(content, metadata, where), names.weight_sizes(metadata)
    arrays: dict[str, Array] = {
        name: np.frombuffer(found[name], "<f4").astype(np.float32).reshape(sizes[name])
        for name in sizes
    }
    upper = range(1, metadata.layers)
    weights = Weights(
        arrays[names.TABLE], arrays[names.RECURRENT],
        stacked=tuple(arrays[names.stacked_name(layer)] for layer in upper),
        stacked_bias=tuple(arrays[names.stacked_bias_name(layer)] for layer in upper),
        head=arrays[names.HEAD], head_bias=arrays[names.HEAD_BIAS],
    )  # fmt: skip
    if sha256(weights) != metadata.weights_sha256:
        raise ModelFileError(
            f"{where}: its weights are not those that it was written with (their sha256 differs "
            "from its metadata's): the file is damaged; export it again"
        )
    return weights, metadata


def described(run: Run, weights: Weights) -> Metadata:
    """What the model file of a run says of itself."""
    return Metadata(
        weights.hidden, weights.layers, run.vocabulary, run.normalisation, run.initial,
        sha256(weights), summary=run.summary, rare=run.rare,
    )  # fmt: skip


def to_torch(weights: Weights) -> CharLSTM:
    """The Torch model of a graph's weights; its folded biases all stand in `bias_ih`."""
    hidden = weights.hidden
    model = CharLSTM(ModelConfig(weights.vocabulary, hidden, weights.layers))
    zero = np.zeros(4 * hidden, dtype=np.float32)
    inputs = [weights.table[:, 0], *(array[:hidden] for array in weights.stacked)]
    recurrent = [weights.recurrent, *(array[hidden:] for array in weights.stacked)]
    biases = [zero, *weights.stacked_bias]
    state: dict[str, Any] = {"head.weight": weights.head.T, "head.bias": weights.head_bias}
    for layer in range(weights.layers):
        state[f"lstm.weight_ih_l{layer}"] = _reorder(inputs[layer].T, ONNX_TO_TORCH)
        state[f"lstm.weight_hh_l{layer}"] = _reorder(recurrent[layer].T, ONNX_TO_TORCH)
        state[f"lstm.bias_ih_l{layer}"] = _reorder(biases[layer], ONNX_TO_TORCH)
        state[f"lstm.bias_hh_l{layer}"] = zero
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    model.load_state_dict(tensors)
    return model.eval()


def sha256(weights: Weights) -> str:
    """The identity of a model's weights: a hash of names, shapes and little-endian float32.

    It is taken over the graph's layout, so that a reader of a file can check it.
    """
    digest = hashlib.sha256()
    for part in fields(weights):
        value = getattr(weights, part.name)
        for index, array in enumerate(value if isinstance(value, tuple) else (value,)):
            digest.update(f"{part.name} {index} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _reorder(array: Array, order: tuple[int, ...]) -> Array:
    """Permute the four gate blocks along the first axis."""
    blocks = np.split(array, 4)
    return np.concatenate([blocks[index] for index in order])
