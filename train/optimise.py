"""The optimisers of the two recipes: what moves which parameters, and how fast."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from charlm.train.config import TrainingConfig
from charlm.train.model import CharLSTM
from charlm.train.muon import Muon

KERAS_EPSILON = 1e-7  # the notebook's optimiser is Keras's Adam, whose default this is


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

    def set_rate(self, group: dict[str, Any], rate: float) -> None:
        """Set the rate of one of the groups, wherever it is kept."""
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

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none)

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
        return Optimisers(Adam(model.parameters(), lr=config.lr, eps=KERAS_EPSILON, fused=True))
    if config.optimiser == "adam":
        return Optimisers(_adam(list(model.parameters()), config))
    between = model.hidden_to_hidden()
    chosen = {id(matrix) for matrix in between}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return Optimisers(_adam(rest, config), Muon(between, config.muon_lr, config.weight_decay))


def set_decay(group: dict[str, Any], weight_decay: float) -> None:
    """Give a group's matrices a weight decay; biases have none."""
    group["weight_decay"] = weight_decay if group.get("matrices", True) else 0.0


def _adam(parameters: list[nn.Parameter], config: TrainingConfig) -> AdamW:
    matrices = {"params": [p for p in parameters if p.dim() > 1], "matrices": True}
    biases = {"params": [p for p in parameters if p.dim() == 1], "matrices": False}
    adam = AdamW([matrices, biases], lr=config.lr, fused=True)
    for group in adam.param_groups:
        set_decay(group, config.weight_decay)
    return adam


def clip_gradients(model: CharLSTM, config: TrainingConfig) -> None:
    """Scale the gradient down to a norm of `clip`; the notebook does not."""
    if config.recipe == "stateful":
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
