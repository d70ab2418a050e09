"""The sides of the study: the notebook's training in Keras and in Torch, and ours.

Each trains on the first 95 % of a text, and a record is added after every epoch.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from charlm.benchmarks.harness import machine
from charlm.benchmarks.study.record import STATEFUL, EpochRecord, append, judge
from charlm.data.system.extras import require
from charlm.data.text.bits import in_bits
from charlm.data.text.corpus import Corpus, Splits, split
from charlm.train.config import STRIDE, WINDOW, ModelConfig, TrainingConfig, options_said
from charlm.train.keras.import_keras import to_torch
from charlm.train.loop.display import Observer
from charlm.train.loop.training import Trainer
from charlm.train.model import CharLSTM
from charlm.train.run import keep_freed_memory
from charlm.train.runs.checkpoint import Checkpoint, Setup
from charlm.train.setup import defaults
from charlm.train.setup.start import training_config

NOTEBOOK_EPOCHS, NOTEBOOK_BATCH = 10, 192


@dataclass(frozen=True)
class SideOptions:
    """What a side is told; `epochs` is None for the recipe's own."""

    epochs: int | None
    hidden: int
    threads: int
    seed: int
    records: Path


def train_keras(corpus: Corpus, options: SideOptions) -> None:
    """The notebook's training as it stands: windows of 40, one-hot, Adam, batches of 192.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    tensorflow, keras = require("tensorflow", "bench"), require("keras", "bench")
    tensorflow.config.threading.set_intra_op_parallelism_threads(options.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(options.threads)
    keras.utils.set_random_seed(options.seed)
    splits, size = _splits(corpus), len(corpus.vocabulary)
    layers = [keras.layers.LSTM(options.hidden), keras.layers.Dense(size, activation="softmax")]
    model = keras.Sequential([keras.Input((WINDOW, size)), *layers])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    cut = np.lib.stride_tricks.sliding_window_view(splits.train, WINDOW + 1)[::STRIDE]

    def one_hot(rows: Any) -> Any:
        return tensorflow.one_hot(rows[:, :-1], size), rows[:, -1]

    rows = tensorflow.data.Dataset.from_tensor_slices(cut.astype(np.int32))
    windows = rows.shuffle(len(cut), seed=options.seed).batch(NOTEBOOK_BATCH).map(one_hot)
    spent = 0.0
    for epoch in range(1, (options.epochs or NOTEBOOK_EPOCHS) + 1):
        began = time.process_time()
        history = model.fit(windows, epochs=1, verbose=0)
        spent += time.process_time() - began
        bits = in_bits(float(history.history["loss"][0]))
        window, carried = judge(to_torch(model.get_weights(), np.arange(size)), splits.test)
        cpu = machine.describe("cpu").cpu
        record = EpochRecord("notebook, Keras", epoch, spent, bits, window, carried, cpu)
        append(options.records, record)


def train_torch(corpus: Corpus, recipe: str, options: SideOptions) -> None:
    """A side that charlm's own loop trains, by the recipe `notebook` or `stateful`."""
    keep_freed_memory()
    told = {
        "recipe": recipe, "epochs": options.epochs, "threads": options.threads,
        "seed": options.seed, "final": True, "device": "cpu",
    }  # fmt: skip
    splits, size = _splits(corpus), len(corpus.vocabulary)
    config = training_config(options_said(told), TrainingConfig())
    model, config = defaults.fill_in(ModelConfig(size, options.hidden), config, len(splits.train))
    setup = Setup(
        model=model,
        training=config,
        normalisation=corpus.normalisation,
        encoding="utf-8",
        files=(),
        sha256=corpus.sha256,
        vocabulary=corpus.vocabulary.characters,
        initial=(1,) * size,
    )
    ours = f"{STATEFUL}, epochs: {config.epochs}"
    side = "notebook, Torch" if recipe == "notebook" else ours
    Trainer(setup, splits, None).run(_Judge(side, splits.test, options.records))


def _splits(corpus: Corpus) -> Splits:
    """The first 95 % to learn from, nothing for validation, and the last 5 %."""
    parts = split(corpus.ids)
    learnt = len(parts.train) + len(parts.validation)
    return Splits(corpus.ids[:learnt], corpus.ids[learnt:learnt], parts.test)


@dataclass
class _Judge(Observer):
    """An observer that writes a record after each epoch and stops its clock meanwhile."""

    side: str
    test: Any
    to: Path
    cpu_seconds: float = 0.0
    began: float = field(default_factory=time.process_time)

    def must_stop(self) -> bool:
        """Never."""
        return False

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        """Judge the weights at an epoch's end."""
        progress = checkpoint.progress
        if not epoch_ended or progress.finished:
            return
        self.cpu_seconds += time.process_time() - self.began
        model = CharLSTM(checkpoint.setup.model)
        model.load_state_dict(progress.weights)
        window, carried = judge(model, self.test)
        bits = float(progress.metrics[-1]["train_bits"])
        cpu = machine.describe("cpu").cpu
        epoch = progress.epoch
        append(self.to, EpochRecord(self.side, epoch, self.cpu_seconds, bits, window, carried, cpu))
        self.began = time.process_time()
