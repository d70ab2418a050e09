"""Muon: momentum whose every update is made orthogonal, for the matrices between hidden units."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: singular values to 0.7 to 1.2 in five
ITERATIONS = 5
GATES = 4
NO_DIVISION_BY_ZERO = 1e-7


class Muon(Optimizer):
    """Nesterov momentum, made nearly orthogonal before it is applied (Jordan et al., 2024).

    An update then has the same length in every direction, where Adam's is ruled by a few. Torch's
    own Muon iterates in bfloat16, which most CPUs emulate; this one keeps float32, and makes each
    gate's block orthogonal by itself.

    Args:
        matrices: parameters of shape [4 * hidden, columns], the four gates one below the other.
        lr: the length of a step in every direction.
        weight_decay: the share of itself that a matrix loses in a step at `lr` 1.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        assert closure is None, "Muon looks at the gradient once"
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._move(matrix, matrix.grad, group)

    def _move(self, matrix: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        momentum = state["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        update = gradient.lerp(momentum, MOMENTUM)
        rate = group["lr"]
        if group["weight_decay"]:
            matrix.mul_(1 - rate * group["weight_decay"])
        if isinstance(rate, Tensor):  # read on the GPU, when the step is run
            matrix.sub_(self._direction(update) * rate)
        else:
            matrix.add_(self._direction(update), alpha=-rate)

    def _direction(self, update: Tensor) -> Tensor:
        return orthogonalise(update.view(GATES, -1, update.shape[1])).flatten(0, 1)


def orthogonalise(matrices: Tensor) -> Tensor:
    """The nearest matrices with orthogonal columns (or rows), roughly, by Newton-Schulz iteration.

    Args:
        matrices: float32 of shape [matrices, rows, columns].

    Returns:
        U·S·Vᵀ for each, in the same shape, with singular values S around one, where U and Vᵀ are
        the given matrix's.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + NO_DIVISION_BY_ZERO)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
