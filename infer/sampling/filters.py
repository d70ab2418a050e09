"""How a stream draws: by a temperature, by filters, which say what may be drawn, and by numbers.

Filters see the weights after the temperature, in this order, and ties go to the lowest id:
top-k keeps the k likeliest; top-p, of these, the likeliest that together reach the share p, the
one that crosses it included; min-p, those at least as likely as that share of the likeliest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import SettingsError
from charlm.export import contract
from charlm.export.contract import (
    INVERSE_TEMPERATURE,
    MIN_P,
    POSITION,
    SEED,
    STREAM,
    TOP_K,
    TOP_P,
)
from charlm.infer.sampling.philox import UniformStream

Array = npt.NDArray[np.float32]
FILTERS = (TOP_K, TOP_P, MIN_P)
NUMBER = (SEED, STREAM, POSITION)  # what fixes a random number
SETTINGS = np.dtype(
    [(INVERSE_TEMPERATURE, "f4"), (TOP_K, "i8"), (TOP_P, "f4"), (MIN_P, "f4"), ("greedy", "?")]
    + [(name, "u8") for name in NUMBER]
)
OPERATOR_INPUTS = (INVERSE_TEMPERATURE, *FILTERS, *NUMBER)
SMALLEST_TOP_P = 1e-30  # well inside float32; the likeliest character alone, as for anything small
TOP_P_OFF = np.float32(contract.TOP_P_OFF)


@dataclass(frozen=True)
class Filters:
    """Which characters may be drawn. By default all: the model's own distribution."""

    top_k: int = 0  # of the likeliest characters; 0 is off, since no character can't be meant
    top_p: float = 1.0  # share of the probability; 1 is off: the whole of it
    min_p: float = 0.0  # of the likeliest character's probability; 0 is off: all have as much

    def __post_init__(self) -> None:
        if not self.top_k >= 0 or self.top_k % 1:
            raise SettingsError(f"`top_k` is a whole number from 1, or 0 (off), not {self.top_k}")
        if not SMALLEST_TOP_P <= self.top_p <= 1:
            raise SettingsError(f"`top_p` is above 0 (from 1e-30) to 1 (off), not {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise SettingsError(f"`min_p` is from 0 (off) to 1, not {self.min_p}")

    def limits(self, vocabulary: int) -> tuple[int, np.float32, np.float32]:
        """(top_k, top_p, min_p) as the arithmetic takes them: what is off removes nothing."""
        top_k = min(int(self.top_k) or vocabulary, vocabulary)
        top_p = np.float32(self.top_p)
        return top_k, top_p if top_p < 1 else TOP_P_OFF, np.float32(self.min_p)


NO_FILTERS = Filters()


def inverse_temperature(temperature: float) -> np.float32:
    """float32(1 / T); 0 stands for greedy choice.

    Raises:
        SettingsError: a temperature that is negative, or so close to zero or so large that its
            inverse is not a float32.
    """
    if temperature == 0:
        return np.float32(0)
    if not 1e-30 < temperature < 1e30:
        raise SettingsError(
            f"`temperature` is 0 (greedy) or between 1e-30 and 1e30, not {temperature}"
        )
    return np.float32(1 / temperature)


@dataclass(frozen=True, eq=False)
class Sampling:
    """How each stream of a batch draws.

    Attributes:
        settings: `SETTINGS` [batch], the temperature and filters of each stream as the arithmetic
            takes them: what is off removes nothing, and greedy choice, the likeliest whatever the
            filters and the number are, is a temperature that leaves the others no weight; and what
            fixes the random number that the stream draws by next.
        vocabulary: how many characters there are.
    """

    settings: npt.NDArray[np.void]
    vocabulary: int

    @classmethod
    def of(
        cls,
        each: Sequence[tuple[float, Filters]],
        vocabulary: int,
        numbers: Sequence[UniformStream],
    ) -> "Sampling":
        """Settings of streams, from the temperature and the filters of each.

        Args:
            numbers: the random numbers of each stream, from the next on.

        Raises:
            SettingsError: an impossible temperature.
        """
        made = {distinct: _row(*distinct, vocabulary) for distinct in set(each)}
        settings = np.array([made[one] for one in each], SETTINGS)
        return cls(_numbered(settings, numbers), vocabulary)

    @classmethod
    def same(
        cls,
        batch: int,
        vocabulary: int,
        temperature: float = 1.0,
        filters: Filters = NO_FILTERS,
        numbers: Sequence[UniformStream] = (),
    ) -> "Sampling":
        """The same settings for all streams of a batch; see `of`. Readers need no numbers."""
        row = np.array(_row(temperature, filters, vocabulary), SETTINGS)
        return cls(_numbered(np.full(batch, row), numbers), vocabulary)

    def take(self, rows: Sequence[int] | slice | npt.NDArray[np.intp]) -> "Sampling":
        """The settings of some streams, in the order chosen."""
        return Sampling(self.settings[rows], self.vocabulary)

    def replaced(self, rows: npt.NDArray[np.intp], others: "Sampling") -> "Sampling":
        """The settings of a batch in which other streams have taken some rows."""
        changed = self.settings.copy()
        changed[rows] = others.settings
        return Sampling(changed, self.vocabulary)

    def numbers(self) -> list[UniformStream]:
        """The random numbers of each stream, from the next on."""
        return [UniformStream(*place) for place in self.settings[[*NUMBER]].tolist()]

    def moved(self, steps: int) -> "Sampling":
        """The same, so many numbers on."""
        settings = self.settings.copy()
        settings[POSITION] += np.uint64(steps)
        return Sampling(settings, self.vocabulary)

    def inputs(self) -> dict[str, npt.NDArray[np.generic]]:
        """The settings as charlm's operator takes them, by the names of its inputs."""
        return {name: np.array(self.settings[name]) for name in OPERATOR_INPUTS}

    @property
    def inverse_temperature(self) -> Array:
        """1 / T of each stream, float32 [batch]."""
        found: Array = self.settings[INVERSE_TEMPERATURE]
        return found

    @property
    def greedy(self) -> npt.NDArray[np.bool_]:
        """Which streams take the likeliest, bool [batch]."""
        found: npt.NDArray[np.bool_] = self.settings["greedy"]
        return found

    @property
    def filtered(self) -> npt.NDArray[np.bool_]:
        """Which streams' filters may remove a character, bool [batch]."""
        top_k, top_p, min_p = (self.settings[name] for name in FILTERS)
        some: npt.NDArray[np.bool_] = (top_k < self.vocabulary) | (top_p < TOP_P_OFF) | (min_p > 0)
        return some


def _row(temperature: float, filters: Filters, vocabulary: int) -> tuple[Any, ...]:
    """An element of `SETTINGS`, of the numbers from 0 on."""
    inverse, number = inverse_temperature(temperature), (0, 0, 0)
    if not inverse:
        return (np.float32(contract.GREEDY), *NO_FILTERS.limits(vocabulary), True, *number)
    return (inverse, *filters.limits(vocabulary), False, *number)


def _numbered(
    settings: npt.NDArray[np.void], numbers: Sequence[UniformStream]
) -> npt.NDArray[np.void]:
    if numbers:
        settings[SEED] = [each.seed for each in numbers]
        settings[STREAM] = [each.stream for each in numbers]
        settings[POSITION] = [each.position for each in numbers]
    return settings


def remove_from_one(weights: Array, top_k: int, top_p: np.float32, min_p: np.float32) -> None:
    """Set to 0 what filters remove from one stream's weights, float32 [vocabulary].

    The arguments are those of `remove_from_each`, for one stream.
    """
    order = (-weights).argsort(kind="stable")
    ranked = weights[order]
    kept = top_k
    if top_p < TOP_P_OFF:
        sums = np.add.accumulate(ranked[:kept])
        kept = 1 + int(sums[:-1].searchsorted(top_p * sums[-1]))
    if min_p:
        kept = min(kept, int((ranked >= min_p * ranked[0]).sum()))
    weights[order[kept:]] = 0


def remove_from_each(
    weights: Array, top_k: npt.NDArray[np.int64], top_p: Array, min_p: Array
) -> None:
    """Set to 0 what each stream's filters remove from its weights.

    All is float32. With s the weights in falling order, the lowest id first of equals, and X the
    sum of those before each, taken in that order over what top-k keeps, a stream keeps the ranks
    where rank < top_k, X < top_p * total and s >= min_p * s_0; total is that sum's own last
    element. Each of the three keeps the first so many.

    Args:
        weights: float32 [batch, vocabulary], not negative; changed in place.
        top_k: int64 [batch], from 1.
        top_p: float32 [batch], above 0.
        min_p: float32 [batch], at most 1.
    """
    vocabulary = weights.shape[1]
    # Floats that are not negative are ordered as their bits; the low half ranks the ids of equals.
    later = np.arange(vocabulary - 1, -1, -1, dtype=np.int64)
    keys = (weights.view(np.int32).astype(np.int64) << 32) | later
    ranked_keys = np.sort(keys, axis=1)[:, ::-1]
    ranked = (ranked_keys >> 32).astype(np.int32).view(np.float32)
    sums = np.add.accumulate(ranked * (np.arange(vocabulary) < top_k[:, None]), axis=1)
    within = (sums[:, :-1] < (top_p * sums[:, -1])[:, None]).sum(axis=1) + 1
    likely = (ranked >= (min_p * ranked[:, 0])[:, None]).sum(axis=1)
    kept = np.minimum(np.minimum(within, likely), top_k)
    least = ranked_keys[np.arange(len(weights)), kept - 1]
    weights[keys < least[:, None]] = 0
