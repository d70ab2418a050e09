"""An exported model as a source of weights for `charlm-train --init-from`."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from charlm.export.contract import read_model_bytes
from charlm.export.weights import Weights, from_graph, to_torch
from charlm.train.model import CharLSTM
from charlm.train.setup.source import Source


def read_onnx(path: Path) -> Source:
    """Read the weights back out of a step graph.

    Raises:
        ModelFileError: not a charlm model, or damaged.
    """
    weights, metadata = from_graph(read_model_bytes(path), str(path))
    return Source(
        name=path.name, sha256=metadata.weights_sha256, model=_unfolded(weights),
        vocabulary=metadata.vocabulary, normalisation=metadata.normalisation, rare=metadata.rare,
    )  # fmt: skip


def _unfolded(weights: Weights) -> CharLSTM:
    """The Torch model, the first layer's bias taken out of its table again.

    The graph's table holds a character's input weights plus the bias, and the two can't be told
    apart. Any part that all rows share may be the bias: their mean is, so that a character that is
    new finds the gates where those that are known have them, and not all at zero.
    """
    model = to_torch(weights)
    rows = weights.table[:, 0].astype(np.float64)
    mean = rows.mean(axis=0)
    centred = (rows - mean).astype(np.float32)
    biased = to_torch(replace(weights, table=centred[:, None]))
    bias = to_torch(
        replace(weights, table=mean.astype(np.float32)[None, None].repeat(len(rows), 0))
    )
    state = model.state_dict()
    state["lstm.weight_ih_l0"] = biased.state_dict()["lstm.weight_ih_l0"]
    state["lstm.bias_ih_l0"] = bias.state_dict()["lstm.weight_ih_l0"][:, 0].clone()
    model.load_state_dict(state)
    return model
