"""How near two ways of drawing a character came to a tie, by the rule of sampling version 1."""

import numpy as np
import numpy.typing as npt

from charlm.infer import sampler
from charlm.infer.engine import Array
from charlm.infer.filters import NO_FILTERS, Filters, remove_from_one

TOLERANCE = 2e-5  # of C_last, at T >= 1


def tie_distance(
    logits: Array,
    uniform: np.float32,
    temperature: float,
    choices: tuple[int, int],
    filters: Filters = NO_FILTERS,
) -> float:
    """How far u lies from the nearest boundary between two choices, in multiples of the allowed.

    Allowed is |u * C_last - C_k| <= 2e-5 * max(1, 1/T) * C_last at a boundary k between the two, C
    being the reference's cumulative sums; or a filter's threshold as close to what it is held to.

    Args:
        logits: float32 [vocabulary] of the reference.
        uniform: u.
        temperature: T, above 0.
        choices: two different tokens.
        filters: of both.
    """
    inverse = sampler.inverse_temperature(temperature)
    weights = np.exp((logits - logits.max()) * inverse)
    threshold = _threshold_distance(weights.astype(np.float64), filters)
    if filters != NO_FILTERS:
        remove_from_one(weights, *filters.limits(len(weights)))
    sums: npt.NDArray[np.float64] = np.add.accumulate(weights).astype(np.float64)
    between = sums[min(choices) : max(choices)]
    gap = float(np.abs(float(uniform) * sums[-1] - between).min())
    return min(gap, threshold) / float(TOLERANCE * max(1.0, 1 / temperature) * sums[-1])


def _threshold_distance(weights: npt.NDArray[np.float64], filters: Filters) -> float:
    """How near a filter came to keeping a character more or less, in the weights' units."""
    first, share, least = filters.limits(len(weights))
    ordered = np.sort(weights)[::-1]
    found = [float("inf")]
    if first < len(ordered):
        found.append(float(ordered[first - 1] - ordered[first]))
    left = ordered[:first]
    if share <= 1:
        found.append(float(np.abs(left.cumsum() - float(share) * left.sum()).min()))
    if least > 0:
        found.append(float(np.abs(left - float(least) * left[0]).min()))
    return min(found)
