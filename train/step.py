"""One optimiser step, in three forms that learn the same: eager, compiled, or a CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from charlm.train.config import TrainingConfig
from charlm.train.graph import Graphed
from charlm.train.model import CharLSTM, State, lstm
from charlm.train.optimise import Optimisers, clip_gradients

Step = Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
"""Learns from a batch: (tokens, targets, state before) -> (mean loss in nats, state after).

What it returns holds until the next step only, as a graph writes into the same memory again.
"""

# Torch's autocast gives cuDNN's LSTM float16 whatever it was asked for, and the mean over thousands
# of characters leaves each a gradient below what that can tell from zero. A power of two: where
# nothing is rounded, nothing changes.
LOSS_SCALE = 1024.0


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
        model.run_lstm = torch.compiler.disable(lstm)  # type: ignore[no-untyped-call]  # it would unroll the steps
        forward = torch.compile(objective)

    scale = LOSS_SCALE if config.autocast == "bf16" else 1.0

    def step(tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        loss, (h, c) = forward(tokens, targets, state)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss * scale if scale != 1.0 else loss)
        if scale != 1.0:
            torch._foreach_mul_(
                [p.grad for p in model.parameters() if p.grad is not None], 1 / scale
            )
        clip_gradients(model, config)
        optimiser.step()
        return loss.detach(), (h.detach().float(), c.detach().float())

    if config.step != "graph":
        return step
    optimiser.rates_on(config.device)
    return Graphed(step)
