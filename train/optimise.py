"""Optimisers and learning-rate schedules of the two recipes."""

import torch
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from charlm.train.config import TrainingConfig
from charlm.train.model import CharLSTM

WARM_UP_DIVISOR = 25  # one-cycle starts at lr / 25, Torch's default
KERAS_EPSILON = 1e-7  # the notebook's optimiser is Keras's Adam, whose default this is


def make_optimiser(model: CharLSTM, config: TrainingConfig) -> Adam:
    """Adam; for the stateful recipe at the low rate that its schedule starts from."""
    if config.recipe == "notebook":
        return Adam(model.parameters(), lr=config.lr, eps=KERAS_EPSILON, fused=True)
    return Adam(model.parameters(), lr=config.lr / WARM_UP_DIVISOR, fused=True)


def make_schedule(optimiser: Optimizer, config: TrainingConfig, steps: int) -> OneCycleLR | None:
    """One-cycle over the `steps` to come (Smith, 2018); the notebook's rate is constant."""
    if config.recipe == "notebook":
        return None
    return OneCycleLR(
        optimiser, config.lr, total_steps=steps, div_factor=WARM_UP_DIVISOR, pct_start=0.3
    )


def clip_gradients(model: CharLSTM, config: TrainingConfig) -> None:
    """Scale the gradient down to a norm of `clip`; the notebook does not."""
    if config.recipe == "stateful":
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
