"""Medians, spreads and ratios of repeated trials."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDE_QUARTILES = 0.15  # the middle half of the trials spans more than this share of the median
WIDE_ENDS = 1.5  # the highest trial is more than so many times the lowest
DIGITS = 5
QUARTILES_NEED = 4  # trials; of fewer, quartiles say nothing


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of some trials.

    Attributes:
        middle_half: from the lower quartile to the upper; 0 of too few trials.
    """

    median: float
    low: float
    high: float
    middle_half: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Median, minimum, maximum and quartiles; None of no trials."""
        if not values:
            return None
        middle_half = 0.0
        if len(values) >= QUARTILES_NEED:
            lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
            middle_half = upper - lower
        return cls(statistics.median(values), min(values), max(values), middle_half)

    @property
    def unstable(self) -> bool:
        """Whether the trials lie so far apart that the median deserves a warning."""
        return self.middle_half > WIDE_QUARTILES * abs(self.median) or (
            self.low > 0 and self.high > WIDE_ENDS * self.low
        )


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Ratio to `base` in each round: what slows a whole round down cancels out.

    Raises:
        ValueError: the two were not measured in the same number of rounds.
    """
    return [value / other for value, other in zip(values, base, strict=True)]


def significant(value: float, digits: int) -> float:
    """`value` rounded to so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def rounded(values: Sequence[float], factor: float = 1.0) -> tuple[float, ...]:
    """`values` times `factor`, as a report holds them: more digits would be noise."""
    return tuple(significant(value * factor, DIGITS) for value in values)
