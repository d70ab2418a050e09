"""How fast a model trains here and now: a few steps of one that is thrown away afterwards."""

import time
from dataclasses import replace
from itertools import count
from statistics import median

import torch

from charlm.data.text.corpus import Splits
from charlm.train.batches.batches import make_batches, sent
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.evaluate import JUDGED, seconds_a_character
from charlm.train.memory import shortage_explained
from charlm.train.model import CharLSTM
from charlm.train.optim.objective import Objective
from charlm.train.optim.optimise import make_optimiser
from charlm.train.optim.precision import allow_tf32
from charlm.train.optim.step import make_step
from charlm.train.setup.budget import steps_for

UNTIMED_STEPS = 2  # first calls allocate and choose kernels
TIMED_STEPS, TIMED_SECONDS = 3, 0.3  # both are reached


def passes(model: ModelConfig, config: TrainingConfig, splits: Splits, processes: int = 1) -> int:
    """How often a text is about to be read in `config.minutes`; once at least.

    A guess, for what has to be settled before the first step. What a run makes of its minutes is
    measured in its own warm-up (`budget`).

    Args:
        model: its sizes.
        config: with `minutes`.
        splits: token ids.
        processes: that share the streams.

    Raises:
        TrainingError: the memory does not suffice.
    """
    torch.set_num_threads(config.threads)
    allow_tf32(config.tf32)
    config = replace(config, step="eager")
    with shortage_explained():
        network = CharLSTM(model).to(config.device)
        evaluated = 0 if config.final else min(len(splits.validation), JUDGED)
        steps_an_epoch = len(make_batches(config, splits.train))
        steps = steps_for(
            seconds_left=60 * (config.minutes or 0.0),
            seconds_a_step=_seconds_a_step(network, config, splits, processes),
            seconds_an_evaluation=seconds_a_character(network, splits.train) * evaluated,
            steps_an_epoch=steps_an_epoch,
        )
    return max(1, round(steps / steps_an_epoch))


def _seconds_a_step(
    network: CharLSTM, config: TrainingConfig, splits: Splits, processes: int
) -> float:
    share = slice(0, config.batch_size // processes)
    tokens, targets = next(iter(make_batches(config, splits.train, share).epoch(0, 0)))
    step = make_step(Objective(network, config), network, make_optimiser(network, config), config)
    taken: list[float] = []
    for done in count():
        began = time.perf_counter()
        state = network.zero_state(tokens.shape[1])
        loss, _ = step(sent(tokens, config.device), sent(targets, config.device), state)
        loss.item()  # waits for the GPU
        if done >= UNTIMED_STEPS:
            taken.append(time.perf_counter() - began)
        if len(taken) >= TIMED_STEPS and sum(taken) >= TIMED_SECONDS:
            break
    return median(taken)
