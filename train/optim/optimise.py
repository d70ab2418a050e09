"""The optimisers of the two recipes: what moves which parameters, and how fast."""

import inspect
from collections.abc import Callable
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from charlm.train.config import TrainingConfig
from charlm.train.model import CharLSTM
from charlm.train.optim.muon import Muon
from charlm.train.runs.format import check_tensors, check_types

KERAS_EPSILON = 1e-7  # the notebook's optimiser is Keras's Adam, whose default this is

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


REMEMBERED = {False: ("exp_avg", "exp_avg_sq", "step"), True: ("momentum",)}
"""What an optimiser keeps of a parameter: Adam, and Muon."""


class _SavedPart(TypedDict):
    state: dict[int, dict[str, Tensor]]
    param_groups: list[dict[str, Any]]


class _Saved(TypedDict):
    parts: list[_SavedPart]


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

    def check_state(self, state: dict[str, Any], begun: bool) -> None:
        """Whether `load_state_dict` can take what was read from a file, and steps follow on it.

        Args:
            state: what `state_dict` gave, or a damaged file.
            begun: steps have been taken, so that there is something to remember.

        Raises:
            ValueError: something is missing, of another type or shape, or not finite.
        """
        check_types(state, _Saved, "optimiser")
        if len(state["parts"]) != len(self.parts):
            raise ValueError(f"optimiser has {len(state['parts'])} parts, not {len(self.parts)}")
        for part, saved in zip(self.parts, state["parts"], strict=True):
            own = part.state_dict()["param_groups"]
            if len(own) != len(saved["param_groups"]):
                raise ValueError("optimiser.param_groups are not as many as the optimiser's")
            for group, found in zip(own, saved["param_groups"], strict=True):
                _check_group(group, found)
            parameters = [each for group in part.param_groups for each in group["params"]]
            if saved["state"].keys() != set(range(len(parameters) if begun else 0)):
                raise ValueError("optimiser.state is not of the model's parameters")
            for number, found in saved["state"].items():
                shape = tuple(parameters[number].shape)
                remembered = REMEMBERED[isinstance(part, Muon)]
                wanted = {name: () if name == "step" else shape for name in remembered}
                check_tensors(found, wanted, f"optimiser.state[{number}]")

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


def _check_group(own: dict[str, Any], found: dict[str, Any]) -> None:
    """Whether a group that was saved is the optimiser's own; flags of a later Torch may lack."""
    for name, value in own.items():
        if name not in found and not (value is None or isinstance(value, bool)):
            raise ValueError(f"optimiser.param_groups: {name} is missing")
        if name in ("lr", "peak", "weight_decay"):
            check_types(found[name], float, name)
            if found[name] < 0 or (name == "peak" and not found[name]):
                raise ValueError(f"optimiser.param_groups: {name} is {found[name]}")
        elif name == "capturable":  # on a GPU alone
            check_types(found.get(name, value), bool, name)
        elif name in found and (type(found[name]) is not type(value) or found[name] != value):
            raise ValueError(f"optimiser.param_groups: {name} is {found[name]!r}, not {value!r}")


def set_decay(group: dict[str, Any], weight_decay: float) -> None:
    """Give a group's matrices a weight decay; biases have none."""
    group["weight_decay"] = weight_decay if group.get("matrices", True) else 0.0


def _adam(parameters: list[nn.Parameter], config: TrainingConfig) -> AdamW:
    matrices = {"params": [p for p in parameters if p.dim() > 1], "matrices": True}
    biases = {"params": [p for p in parameters if p.dim() == 1], "matrices": False}
    adam = _AdamW([matrices, biases], lr=config.lr, fused=True)
    for group in adam.param_groups:
        set_decay(group, config.weight_decay)
    return adam


def clip_gradients(model: CharLSTM, config: TrainingConfig) -> None:
    """Scale the gradient down to a norm of `clip`; the notebook does not."""
    if config.recipe == "stateful":
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
