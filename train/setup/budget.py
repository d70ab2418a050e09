"""How `--minutes` becomes a number of steps: guessed before the run, measured once in its warm-up.

Everything after depends on the number only, not on the clock, so a resumed run ends as one
that was never stopped.
"""

import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy.typing as npt
import torch

from charlm.data.text.corpus import Splits
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.loop.batches import make_batches, sent
from charlm.train.loop.evaluate import JUDGED, bits_per_character
from charlm.train.model import CharLSTM
from charlm.train.optim.optimisers import make_optimiser
from charlm.train.optim.step import Objective, allow_tf32, make_step

UNTIMED_STEPS = 5  # first calls allocate, choose kernels, and record a CUDA graph
TIMED_STEPS = 10
TIMED_SECONDS = 1.0
TIMED_SHARE = 0.05  # of the budget, where that is less than TIMED_SECONDS
GUESS_UNTIMED, GUESS_TIMED, GUESS_SECONDS = 2, 3, 0.3  # the same for a guess; both are reached
PROBE = 4096  # characters scored to learn what scoring takes


@dataclass
class WarmUp:
    """Times the first steps of a run with a budget of `minutes`."""

    minutes: float
    steps: int = 0
    seconds: float = 0.0
    last: float = 0.0

    def add(self, seconds: float) -> float | None:
        """Count a step that took `seconds`; the mean once enough were timed, None before."""
        self.steps += 1
        if self.steps > UNTIMED_STEPS:
            self.seconds += seconds
        self.last = seconds
        timed = self.steps - UNTIMED_STEPS
        enough = min(TIMED_SECONDS, TIMED_SHARE * 60 * self.minutes)
        if timed < TIMED_STEPS or self.seconds < enough:
            return None
        return self.seconds / timed

    def so_far(self) -> float:
        """Seconds a step as far as they are known: of the last one where none was timed."""
        timed = self.steps - UNTIMED_STEPS
        return self.seconds / timed if timed > 0 else self.last


def steps_for(
    *, seconds_left: float, seconds_a_step: float, seconds_an_evaluation: float, steps_an_epoch: int
) -> int:
    """The steps that fit into the time left, with an evaluation after each epoch; at least one.

    One evaluation is set aside for the last, perhaps unfinished epoch.
    """
    left = seconds_left - seconds_an_evaluation
    each = seconds_a_step + seconds_an_evaluation / steps_an_epoch
    return max(1, int(left / each))


def seconds_a_character(model: CharLSTM, ids: npt.NDArray[Any]) -> float:
    """What `bits_per_character` takes for each, by the clock, on the first of some token ids."""
    probe = ids[:PROBE]
    began = time.perf_counter()
    bits_per_character(model, probe)
    return (time.perf_counter() - began) / len(probe)


def guess_passes(
    model: ModelConfig, config: TrainingConfig, splits: Splits, processes: int = 1
) -> int:
    """How often a text is about to be read in `config.minutes` by so many processes; once at least.

    For what has to be known before the first step: a few steps of a model that is thrown away.
    """
    torch.set_num_threads(config.threads)
    allow_tf32(config.tf32)
    network = CharLSTM(model).to(config.device)
    evaluated = 0 if config.final else min(len(splits.validation), JUDGED)
    steps_an_epoch = len(make_batches(config, splits.train))
    share = slice(0, config.batch_size // processes)
    batch = next(iter(make_batches(config, splits.train, share).epoch(0, 0)))
    steps = steps_for(
        seconds_left=60 * (config.minutes or 0.0),
        seconds_a_step=_seconds_a_step(network, replace(config, step="eager"), *batch),
        seconds_an_evaluation=seconds_a_character(network, splits.train) * evaluated,
        steps_an_epoch=steps_an_epoch,
    )
    return max(1, round(steps / steps_an_epoch))


def _seconds_a_step(
    model: CharLSTM, config: TrainingConfig, tokens: torch.Tensor, targets: torch.Tensor
) -> float:
    step = make_step(Objective(model, config), model, make_optimiser(model, config), config)
    taken: list[float] = []
    while len(timed := taken[GUESS_UNTIMED:]) < GUESS_TIMED or sum(timed) < GUESS_SECONDS:
        began = time.perf_counter()
        state = model.zero_state(tokens.shape[1])
        loss, _ = step(sent(tokens, config.device), sent(targets, config.device), state)
        loss.item()  # waits for the GPU
        taken.append(time.perf_counter() - began)
    return median(timed)
