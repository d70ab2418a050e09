"""The notebook's training as it stands, in Keras: windows of 40, one-hot, Adam, batch 192."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from charlm.benchmarks.harness import machine
from charlm.benchmarks.study.record import Record, append, judge
from charlm.data.system.extras import require
from charlm.data.text.bits import in_bits
from charlm.data.text.corpus import Corpus, split
from charlm.train.config import STRIDE, WINDOW
from charlm.train.keras.import_keras import to_torch
from charlm.train.keras.keras_architecture import Architecture
from charlm.train.keras.keras_file import KerasLSTM, KerasModel
from charlm.train.model import CharLSTM

SIDE = "notebook, Keras"
BATCH = 192


def train(corpus: Corpus, epochs: int, hidden: int, threads: int, seed: int, to: Path) -> None:
    """Train on the first 95 % and judge the last 5 % after every epoch."""
    tensorflow, keras = require("tensorflow", "bench"), require("keras", "bench")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)
    parts = split(corpus.ids)
    ids = corpus.ids[: len(parts.train) + len(parts.validation)]
    size = len(corpus.vocabulary)
    layers = [keras.layers.LSTM(hidden), keras.layers.Dense(size, activation="softmax")]
    model = keras.Sequential([keras.Input((WINDOW, size)), *layers])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    windows = _windows(tensorflow, ids, size, seed)
    spent = 0.0
    for epoch in range(1, epochs + 1):
        began = time.process_time()
        history = model.fit(windows, epochs=1, verbose=0)
        spent += time.process_time() - began
        bits = in_bits(float(history.history["loss"][0]))
        window, carried = judge(_in_torch(model.get_weights(), size, hidden), parts.test)
        cpu = machine.describe("cpu").cpu
        append(to, Record(SIDE, epoch, spent, bits, window, carried, cpu))


def _windows(tensorflow: Any, ids: Any, size: int, seed: int) -> Any:
    """Shuffled batches of (one-hot windows, targets); one-hot is made as it is read."""
    cut = np.lib.stride_tricks.sliding_window_view(ids, WINDOW + 1)[::STRIDE].astype(np.int32)

    def one_hot(rows: Any) -> Any:
        return tensorflow.one_hot(rows[:, :-1], size), rows[:, -1]

    rows = tensorflow.data.Dataset.from_tensor_slices(cut)
    return rows.shuffle(len(cut), seed=seed).batch(BATCH).map(one_hot)


def _in_torch(weights: list[Any], size: int, hidden: int) -> CharLSTM:
    """The Torch model of what `get_weights` gives, as an import makes it."""
    kernel, recurrent, bias, head, head_bias = weights
    architecture = Architecture(("lstm",), "dense", hidden, size, WINDOW, softmax=True)
    layers = (KerasLSTM(kernel, recurrent, bias),)
    return to_torch(KerasModel(architecture, layers, head, head_bias, ""), np.arange(size))
