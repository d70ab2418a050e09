"""How `--minutes` becomes a number of steps: measured once, in a warm-up, then fixed.

Everything after depends on the number only, not on the clock, so a resumed run ends as one
that was never stopped.
"""

from dataclasses import dataclass

UNTIMED_STEPS = 5  # first calls allocate, choose kernels, and record a CUDA graph
TIMED_STEPS = 10
TIMED_SECONDS = 1.0
TIMED_SHARE = 0.05  # of the budget, where that is less than TIMED_SECONDS


@dataclass
class WarmUp:
    """Times the first steps of a run with a budget of `minutes`."""

    minutes: float
    steps: int = 0
    seconds: float = 0.0
    last: float = 0.0

    def add(self, seconds: float) -> float | None:
        """Count a step that took `seconds`; the mean once enough were timed, None before."""
        self.steps += 1
        if self.steps > UNTIMED_STEPS:
            self.seconds += seconds
        self.last = seconds
        timed = self.steps - UNTIMED_STEPS
        enough = min(TIMED_SECONDS, TIMED_SHARE * 60 * self.minutes)
        if timed < TIMED_STEPS or self.seconds < enough:
            return None
        return self.seconds / timed

    def so_far(self) -> float:
        """Seconds a step as far as they are known: of the last one where none was timed."""
        timed = self.steps - UNTIMED_STEPS
        return self.seconds / timed if timed > 0 else self.last


def steps_for(
    *,
    seconds_left: float,
    seconds_a_step: float,
    seconds_an_evaluation: float,
    steps_an_epoch: int,
) -> int:
    """The steps that fit into the time left, with an evaluation after each epoch; at least one.

    One evaluation is set aside for the last, perhaps unfinished epoch.
    """
    left = seconds_left - seconds_an_evaluation
    each = seconds_a_step + seconds_an_evaluation / steps_an_epoch
    return max(1, int(left / each))
