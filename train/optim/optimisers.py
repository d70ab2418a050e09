"""The optimisers of the two recipes: what moves which parameters, how far, and when."""

import copy
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from charlm.train.config import TrainingConfig
from charlm.train.model import CharLSTM

KERAS_EPSILON = 1e-7  # the notebook's optimiser is Keras's Adam, whose default this is
WARM_UP = 0.05  # share of the steps in which the rate rises; 0.3 with cosines cost 0.02 bits
START = 0.04  # share of the peak at the first step, and while a budget of time is being measured
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: singular values to 0.7 to 1.2 in five
ITERATIONS = 5
GATES = 4
NO_DIVISION_BY_ZERO = 1e-7

# Torch wraps these so that its compiler passes over them, and the first call of one imports the
# compiler, which takes two seconds. A step of an optimiser is never compiled here.
for _method in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    if _plain := getattr(getattr(Optimizer, _method), "__wrapped__", None):
        _plain.__dynamo_disable = _plain


class _Adam(Adam):
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        inspect.unwrap(Adam.step)(self, closure)


class _AdamW(AdamW):
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        inspect.unwrap(AdamW.step)(self, closure)


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


def share_of_peak(taken: int, total: int) -> float:
    """The rate, as a share of its peak, when `taken` of `total` steps are behind.

    It rises to the peak in a few steps, then falls to nothing, in straight lines.
    """
    rising = max(WARM_UP * total, 1)
    if taken < rising:
        return START + (1 - START) * taken / rising
    return max(total - taken, 0) / max(total - rising, 1)


class Optimisers:
    """One or two optimisers that step together, in the manner of one.

    Each group has a `peak`, the highest rate that a schedule gives it.
    """

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts
        for group in self.param_groups:
            group["peak"] = group["lr"]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of every part."""
        return [group for part in self.parts for group in part.param_groups]

    def set_share(self, share: float) -> None:
        """Give every group this share of its peak rate."""
        for group in self.param_groups:
            rate = group["peak"] * share
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def rates_on(self, device: str) -> None:
        """Keep the rates there, as float32: a CUDA graph repeats numbers and reads tensors anew."""
        for group in self.param_groups:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=device)
            if "capturable" in group:
                group["capturable"] = device == "cuda"

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        """Move the parameters."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """What going on needs, with rates as numbers."""
        parts = [part.state_dict() for part in self.parts]
        for part in parts:
            for group in part["param_groups"]:
                group["lr"] = float(group["lr"])
        return {"parts": parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; before `rates_on`."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def make_optimiser(model: CharLSTM, config: TrainingConfig) -> Optimisers:
    """Adam as the notebook has it; or Muon for matrices between hidden units, Adam for the rest."""
    if config.recipe == "notebook":
        return Optimisers(_Adam(model.parameters(), lr=config.lr, eps=KERAS_EPSILON, fused=True))
    if config.optimiser == "adam":
        return Optimisers(_adam(list(model.parameters()), config))
    between = model.hidden_to_hidden()
    chosen = {id(matrix) for matrix in between}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return Optimisers(_adam(rest, config), Muon(between, config.muon_lr, config.weight_decay))


def with_settings(state: dict[str, Any], config: TrainingConfig) -> dict[str, Any]:
    """What `Optimisers.state_dict` gave, with the peak rates and the decay of other settings."""
    state = copy.deepcopy(state)
    for part, peak in zip(state["parts"], (config.lr, config.muon_lr), strict=False):
        for group in part["param_groups"]:
            group["lr"] *= peak / group["peak"]
            group["peak"] = peak
            if config.recipe == "stateful":
                _set_decay(group, config.weight_decay)
    return state


def _adam(parameters: list[nn.Parameter], config: TrainingConfig) -> AdamW:
    matrices = {"params": [p for p in parameters if p.dim() > 1], "matrices": True}
    biases = {"params": [p for p in parameters if p.dim() == 1], "matrices": False}
    adam = _AdamW([matrices, biases], lr=config.lr, fused=True)
    for group in adam.param_groups:
        _set_decay(group, config.weight_decay)
    return adam


def _set_decay(group: dict[str, Any], weight_decay: float) -> None:
    """Give a group's matrices a weight decay; biases have none."""
    group["weight_decay"] = weight_decay if group.get("matrices", True) else 0.0
