"""The notebook's procedure in Keras: a one-hot window and a `model.predict` for each character."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks.cases.common import Arrays, load_weights, lstm_layers, run_of
from charlm.benchmarks.harness.settings import CaseSettings, Run
from charlm.data.system.extras import require


def window(settings: CaseSettings) -> Run:
    """Build the notebook's model with the same weights as the other cases'.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # this row is about the CPU
    tensorflow = require("tensorflow", "bench")
    tensorflow.get_logger().setLevel("ERROR")
    tensorflow.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(settings.threads)
    arrays, tokens, characters = load_weights(settings)
    model = build(require("keras", "bench"), arrays, len(tokens))
    return run_of(_stream(model, tokens.tolist(), characters, settings))


def build(keras: Any, arrays: Arrays, length: int) -> Any:
    """LSTM layers and a softmax over a (length, vocabulary) one-hot window."""
    vocabulary, hidden = arrays["head.weight"].shape
    given = lstm_layers(arrays)
    layers = [keras.layers.LSTM(hidden, return_sequences=each is not given[-1]) for each in given]
    head = keras.layers.Dense(vocabulary, activation="softmax")
    model = keras.Sequential([keras.Input((length, vocabulary)), *layers, head])
    for layer, (into, own, bias) in zip(layers, given, strict=True):
        layer.set_weights([into.T, own.T, bias])  # the gates' order is Torch's: i, f, c, o
    head.set_weights([arrays["head.weight"].T, arrays["head.bias"]])
    return model


def _stream(
    model: Any, tokens: list[int], characters: list[str], settings: CaseSettings
) -> Iterator[str]:
    """Characters without end, each as the notebook draws it."""
    random = np.random.default_rng(settings.seed)
    while True:
        one_hot = np.zeros((1, len(tokens), len(characters)))
        for place, token in enumerate(tokens):
            one_hot[0, place, token] = 1.0
        probabilities = model.predict(one_hot, verbose=0)[0]
        drawn = _gibbs(probabilities, settings.temperature, random)
        yield characters[drawn]
        tokens = [*tokens[1:], drawn]


def _gibbs(
    probabilities: npt.NDArray[np.float32], temperature: float, random: np.random.Generator
) -> int:
    """A draw from p ~ exp(-H / T) with H = -log p, as the notebook renormalises."""
    energies = -np.log(probabilities.astype(np.float64))
    weights = np.exp(-energies / temperature)
    return int(random.multinomial(1, weights / weights.sum()).argmax())
