"""One optimiser step, in three forms that learn the same: eager, compiled, or a CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from charlm.train.config import TrainingConfig
from charlm.train.graph import Graphed
from charlm.train.model import CharLSTM, State
from charlm.train.optimise import Optimisers, clip_gradients

Step = Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
"""Learns from a batch: (tokens, targets, state before) -> (mean loss in nats, state after).

What it returns holds until the next step only, as a graph writes into the same memory again.
"""


def make_step(
    objective: nn.Module, model: CharLSTM, optimiser: Optimisers, config: TrainingConfig
) -> Step:
    """The form that `config.step` names. None of them waits for the GPU.

    Args:
        objective: an `Objective` of `model`, or its replica among processes.
        model: whose gradients are clipped.
        optimiser: what moves its parameters.
        config: the settings.
    """
    forward: Callable[..., tuple[Tensor, State]] = objective
    if config.step == "compiled":
        forward = torch.compile(objective)

    def step(tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        loss, (h, c) = forward(tokens, targets, state)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        clip_gradients(model, config)
        optimiser.step()
        return loss.detach(), (h.detach().float(), c.detach().float())

    if config.step != "graph":
        return step
    optimiser.rates_on(config.device)
    return Graphed(step)
