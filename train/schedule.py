"""The learning rate's course over a run."""

import math
from typing import Any

from charlm.train.optimise import Optimisers

WARM_UP = 0.3  # share of the steps in which the rate rises
START, END = 1 / 25, 1e-5  # shares of the peak, at the first and after the last step


class OneCycle:
    """Every rate rises to its peak and falls to nothing, along cosines (Smith, 2018).

    Args:
        optimisers: their groups' `peak` says how high; `lr` is set.
        total_steps: from here to the end of training.
    """

    def __init__(self, optimisers: Optimisers, total_steps: int) -> None:
        self.optimisers, self.total_steps, self.taken = optimisers, total_steps, 0
        self._set()

    def step(self) -> None:
        """To be called after each of the optimiser's steps."""
        self.taken += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """What going on needs."""
        return {"total_steps": self.total_steps, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.total_steps, self.taken = int(state["total_steps"]), int(state["taken"])
        self._set()

    def _set(self) -> None:
        share = share_of_peak(self.taken, self.total_steps)
        for group in self.optimisers.param_groups:
            self.optimisers.set_rate(group, group["peak"] * share)


def share_of_peak(taken: int, total: int) -> float:
    """The rate, as a share of its peak, when `taken` of `total` steps are behind."""
    rising = max(WARM_UP * total - 1, 1)
    if taken < rising:
        return _cosine(START, 1.0, taken / rising)
    return _cosine(1.0, END, min((taken - rising) / max(total - 1 - rising, 1), 1.0))


def _cosine(begin: float, end: float, way: float) -> float:
    return begin + (end - begin) * (1 - math.cos(math.pi * way)) / 2
