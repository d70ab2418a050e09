"""Medians, spreads and ratios of repeated trials."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of some trials."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Median, minimum and maximum; None of no trials."""
        if not values:
            return None
        return cls(statistics.median(values), min(values), max(values))


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
