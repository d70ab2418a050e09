"""How far a graph is from the Torch model, and how far it may be.

An error is measured against s = max(1, the tensor's largest magnitude in its stream), since the
cells of a trained model can pass 600, where float32 itself is no finer than 6e-5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ExportError

STEP_TOLERANCE = 1e-5  # one step from Torch's own state
CARRIED_TOLERANCE = 1e-3  # after many steps from the graph's own state

Relative = dict[tuple[int, str], float]  # errors in s, by (batch, tensor name)
_Floats = npt.NDArray[np.float32]


class Errors:
    """The largest error and magnitude of each tensor in each stream, for each batch size."""

    def __init__(self) -> None:
        self._largest: dict[tuple[int, str], tuple[_Floats, _Floats]] = {}

    def add(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Compare the tensors of `wanted`, batch first, with those of the same names."""
        for name, theirs in wanted.items():
            batch = len(theirs)
            with np.errstate(over="ignore", invalid="ignore"):
                error = np.abs(found[name] - theirs).reshape(batch, -1).max(axis=1)
            magnitude = np.abs(theirs).reshape(batch, -1).max(axis=1)
            before = self._largest.get((batch, name), (error, magnitude))
            # np.maximum keeps NaN, so a graph that gives NaN can't pass.
            self._largest[batch, name] = (
                np.maximum(before[0], error),
                np.maximum(before[1], magnitude),
            )

    def relative(self) -> Relative:
        """The largest error of each tensor in s, over all streams."""
        return {
            key: float((error / np.maximum(1, magnitude)).max())
            for key, (error, magnitude) in self._largest.items()
        }


@dataclass(frozen=True)
class Proof:
    """What was found of one graph."""

    step: Relative  # errors of single steps from Torch's own state
    carried: Relative  # errors over all steps from the graph's own state
    steps: int  # how many those were
    drawn: int = 0  # how many characters it drew
    flips: int = 0  # how many of them only a near-tie excuses

    def check(self, where: str) -> None:
        """Refuse a graph with an error above its tolerance.

        Raises:
            ExportError: an error is larger, or not a number; the message says where and how large.
        """
        for when, errors, tolerance in self._parts("after one step", "within {} carried steps"):
            for (batch, name), error in errors.items():
                if not error <= tolerance:
                    raise ExportError(
                        f"{where} does not equal the Torch model: {name} {when} at batch {batch} "
                        f"differs by {error:.2e} of its size, and {tolerance:.0e} is allowed"
                    )

    def lines(self) -> list[str]:
        """For people: the largest errors over all batches, by tensor, and what was drawn."""
        shown = []
        for title, errors, tolerance in self._parts("one step", "{} carried steps"):
            largest: dict[str, float] = {}
            for (_, name), error in errors.items():
                largest[name] = max(error, largest.get(name, 0.0))
            each = ", ".join(f"{name} {error:.1e}" for name, error in largest.items())
            shown.append(f"largest relative error, {title}: {each} (allowed {tolerance:.0e})")
        if self.drawn:
            shown.append(f"{self.drawn:,} characters drawn as due, {self.flips} by near-ties")
        return shown

    def _parts(self, step: str, carried: str) -> tuple[tuple[str, Relative, float], ...]:
        return (
            (step, self.step, STEP_TOLERANCE),
            (carried.format(self.steps), self.carried, CARRIED_TOLERANCE),
        )
