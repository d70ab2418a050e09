"""The learning rate's course over a run."""

from typing import TypedDict

from charlm.train.optim.optimise import Optimisers

WARM_UP = 0.05  # share of the steps in which the rate rises; 0.3 with cosines cost 0.02 bits
START = 0.04  # share of the peak at the first step, and while a budget of time is being measured


class Taken(TypedDict):
    """Where a schedule is, in steps."""

    total_steps: int
    taken: int


class Schedule:
    """Every rate rises to its peak in a few steps, then falls to nothing, in straight lines.

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

    def state_dict(self) -> Taken:
        """What going on needs."""
        return {"total_steps": self.total_steps, "taken": self.taken}

    def load_state_dict(self, state: Taken) -> None:
        """Go on from what `state_dict` gave."""
        self.total_steps, self.taken = state["total_steps"], state["taken"]
        self._set()

    def _set(self) -> None:
        share = share_of_peak(self.taken, self.total_steps)
        for group in self.optimisers.param_groups:
            self.optimisers.set_rate(group, group["peak"] * share)


def hold_at_start(optimisers: Optimisers) -> None:
    """Give every rate its first value, for the steps before the number of steps is known."""
    for group in optimisers.param_groups:
        optimisers.set_rate(group, group["peak"] * START)


def share_of_peak(taken: int, total: int) -> float:
    """The rate, as a share of its peak, when `taken` of `total` steps are behind."""
    rising = max(WARM_UP * total, 1)
    if taken < rising:
        return START + (1 - START) * taken / rising
    return max(total - taken, 0) / max(total - rising, 1)
