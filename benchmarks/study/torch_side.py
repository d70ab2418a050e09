"""A side of the study that charlm's own loop trains: the notebook's recipe in Torch, or ours."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm.benchmarks.harness import machine
from charlm.benchmarks.study.record import STATEFUL, Record, append, judge
from charlm.data.text.corpus import Corpus, Splits, split
from charlm.train.config import ModelConfig, TrainingConfig, options_said
from charlm.train.loop import Trainer
from charlm.train.model import CharLSTM
from charlm.train.run import keep_freed_memory
from charlm.train.runs.checkpoint import Checkpoint, Progress, Setup
from charlm.train.setup import defaults
from charlm.train.setup.start import training_config

NOTEBOOK = "notebook, Torch"


def train(
    corpus: Corpus,
    recipe: str,
    epochs: int | None,
    hidden: int,
    threads: int,
    seed: int,
    to: Path,
) -> None:
    """Train on the first 95 % and judge the last 5 % after every epoch.

    Args:
        corpus: normalised as the notebook does.
        recipe: `notebook` or `stateful`, with its own defaults.
        epochs: None for the recipe's own.
        hidden: units.
        threads: of the CPU.
        seed: of weights and order.
        to: file of records, appended to.
    """
    keep_freed_memory()
    options = {"recipe": recipe, "epochs": epochs, "threads": threads, "seed": seed, "final": True}
    config = training_config(options_said(options | {"device": "cpu"}), TrainingConfig())
    parts = split(corpus.ids)
    learnt = len(parts.train) + len(parts.validation)
    splits = Splits(corpus.ids[:learnt], corpus.ids[learnt:learnt], parts.test)
    setup = _setup(corpus, config, hidden, learnt)
    side = NOTEBOOK if recipe == "notebook" else f"{STATEFUL}, epochs: {setup.training.epochs}"
    Trainer(setup, splits, None).run(_Judge(side, parts.test, to))


def _setup(corpus: Corpus, config: TrainingConfig, hidden: int, learnt: int) -> Setup:
    size = len(corpus.vocabulary)
    model, config = defaults.fill_in(ModelConfig(size, hidden), config, learnt)
    return Setup(
        model=model,
        training=config,
        normalisation=corpus.normalisation,
        encoding="utf-8",
        files=(),
        sha256=corpus.sha256,
        vocabulary=corpus.vocabulary.characters,
        initial=(1,) * size,
    )


@dataclass
class _Judge:
    """An observer that writes a record after each epoch and stops its clock meanwhile."""

    side: str
    test: Any
    to: Path
    cpu_seconds: float = 0.0
    began: float = field(default_factory=time.process_time)

    def stepped(self, progress: Progress, bits: float, characters_per_second: float) -> None:
        """Nothing: no bar."""

    def evaluated(self, record: dict[str, Any], text: str) -> None:
        """Nothing: `save` follows with the weights."""

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
        training = float(progress.metrics[-1]["train_bits"])
        cpu = machine.describe("cpu").cpu
        append(
            self.to,
            Record(self.side, progress.epoch, self.cpu_seconds, training, window, carried, cpu),
        )
        self.began = time.process_time()
