"""Keras's LSTM by its own formula in NumPy, and the proof that the Torch model equals it.

Formula and layout are those of `keras.layers.LSTMCell.call`: z = x·kernel + h·recurrent + bias,
cut into i, f, c, o; c' = σ(f)·c + σ(i)·tanh(c); h' = σ(o)·tanh(c'). Nothing here knows Torch's
layout, so that a gate in the wrong place can't hide on both sides.
"""

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import ModelFileError
from charlm.train.keras.keras_file import KerasLSTM, KerasModel
from charlm.train.keras.keras_h5 import Array
from charlm.train.model import CharLSTM

TOLERANCE = 1e-4  # relative to the logits' largest magnitude, or to 1: both sides round in float32
WINDOWS = 64
STEPS = 1 << 12  # of all windows together, which bounds memory: there are fewer of long ones


def keras_logits(model: KerasModel, windows: npt.NDArray[np.int64]) -> Array:
    """Logits after each window, read from a zero state.

    Args:
        windows: token ids in Keras's order, shape [windows, time].

    Returns:
        float32 of shape [windows, vocabulary]; Keras's own output is their softmax.
    """
    bottom, *others = model.layers
    # One-hot rows times the kernel are its rows: formed by index, whatever the vocabulary's size.
    states = _run(bottom, bottom.kernel[windows])
    for layer in others:
        states = _run(layer, states @ layer.kernel)
    logits: Array = states[:, -1] @ model.head + model.head_bias
    return logits


def prove_equal(
    model: KerasModel, ours: CharLSTM, ids: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> float:
    """Run both over windows and compare.

    Args:
        model: Keras's.
        ours: the Torch model made of it.
        ids: windows of our token ids, shape [windows, time].
        order: Keras's token id of each of ours, shape [vocabulary].

    Returns:
        The largest difference of a logit, relative to max(1, the largest magnitude).

    Raises:
        ModelFileError: they differ by more than `TOLERANCE`.
    """
    wanted = keras_logits(model, order[ids])[:, order]
    tokens = torch.from_numpy(ids.T.copy())
    with torch.no_grad():
        hidden, _ = ours(tokens, ours.zero_state(len(ids)))
        found = ours.head(hidden[-1]).numpy()
    scale = max(1.0, float(np.abs(wanted).max()))
    error = float(np.abs(found - wanted).max()) / scale
    if not error <= TOLERANCE:  # NaN too
        raise ModelFileError(
            f"the imported model differs from Keras's formula by {error:.1e} of its largest logit "
            f"({TOLERANCE:.0e} is allowed), so nothing was written: please report it"
        )
    return error


def _run(layer: KerasLSTM, products: Array) -> Array:
    """Hidden states [windows, time, hidden] over x·kernel, [windows, time, 4 * hidden]."""
    windows, hidden = len(products), len(layer.recurrent)
    h = c = np.zeros((windows, hidden), dtype=np.float32)
    states = []
    for product in products.swapaxes(0, 1):
        z = product + h @ layer.recurrent + layer.bias
        z_i, z_f, z_c, z_o = np.split(z, 4, axis=1)
        c = _sigmoid(z_f) * c + _sigmoid(z_i) * np.tanh(z_c)
        h = _sigmoid(z_o) * np.tanh(c)
        states.append(h)
    return np.stack(states, axis=1)


def _sigmoid(x: Array) -> Array:
    half = np.float32(0.5)
    # Equal to 1 / (1 + exp(-x)), and never overflows.
    return np.asarray(half * np.tanh(half * x) + half)
