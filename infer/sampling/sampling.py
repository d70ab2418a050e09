"""The settings of a batch's streams as arrays, one of its own for each stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import SettingsError
from charlm.export import contract
from charlm.infer.sampling.filters import NO_FILTERS, TOP_P_OFF, Array, Filters

# Greedy choice for a path that knows no other than drawing.
GREEDY_INVERSE_TEMPERATURE = np.float32(contract.GREEDY)
GREEDY_UNIFORM = np.float32(contract.GREEDY_UNIFORM)


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
            f"--temperature is 0 (greedy) or between 1e-30 and 1e30, not {temperature}"
        )
    return np.float32(1 / temperature)


@dataclass(eq=False)
class Sampling:
    """How each stream of a batch draws.

    Attributes:
        inverse_temperature: float32 [batch], 1 / T; `GREEDY_INVERSE_TEMPERATURE` where greedy.
        greedy: bool [batch], T = 0: the likeliest, whatever the other settings and the number are.
        top_k: int64 [batch], from 1 to the vocabulary's size, which is off.
        top_p: float32 [batch], above 0; 2 is off.
        min_p: float32 [batch], from 0, which is off, to 1.
        vocabulary: how many characters there are.
    """

    inverse_temperature: Array
    greedy: npt.NDArray[np.bool_]
    top_k: npt.NDArray[np.int64]
    top_p: Array
    min_p: Array
    vocabulary: int

    @classmethod
    def of(
        cls,
        temperatures: Sequence[float],
        filters: Sequence[Filters],
        vocabulary: int,
    ) -> "Sampling":
        """Settings of streams, from a temperature and filters for each.

        Raises:
            SettingsError: an impossible temperature.
        """
        made = cls.same(len(temperatures), vocabulary)
        alike: dict[tuple[float, Filters], list[int]] = {}
        for row, settings in enumerate(zip(temperatures, filters, strict=True)):
            alike.setdefault(settings, []).append(row)
        for settings, rows in alike.items():
            made.put(rows, *settings)
        return made

    @classmethod
    def same(
        cls,
        batch: int,
        vocabulary: int,
        temperature: float = 1.0,
        filters: Filters = NO_FILTERS,
    ) -> "Sampling":
        """The same settings for all streams of a batch.

        Raises:
            SettingsError: an impossible temperature.
        """
        made = cls(
            inverse_temperature=np.empty(batch, dtype=np.float32),
            greedy=np.empty(batch, dtype=np.bool_),
            top_k=np.empty(batch, dtype=np.int64),
            top_p=np.empty(batch, dtype=np.float32),
            min_p=np.empty(batch, dtype=np.float32),
            vocabulary=vocabulary,
        )
        made.put(slice(None), temperature, filters)
        return made

    def put(
        self, row: int | slice | list[int], temperature: float, filters: Filters = NO_FILTERS
    ) -> None:
        """Give a stream, or several, other settings: a new one has taken its place.

        Raises:
            SettingsError: an impossible temperature.
        """
        inverse = inverse_temperature(temperature)
        if not inverse:
            inverse, filters = GREEDY_INVERSE_TEMPERATURE, NO_FILTERS
        self.inverse_temperature[row] = inverse
        self.greedy[row] = temperature == 0
        self.top_k[row], self.top_p[row], self.min_p[row] = filters.limits(self.vocabulary)

    def rows(self, chosen: npt.NDArray[np.intp] | slice) -> "Sampling":
        """The settings of some streams, in the order chosen; a copy, but for a slice."""
        return Sampling(
            self.inverse_temperature[chosen],
            self.greedy[chosen],
            self.top_k[chosen],
            self.top_p[chosen],
            self.min_p[chosen],
            self.vocabulary,
        )

    def filtered(self) -> npt.NDArray[np.bool_]:
        """Which streams' filters may remove a character, bool [batch]."""
        some = self.top_k < self.vocabulary
        some |= self.top_p < TOP_P_OFF
        some |= self.min_p > 0
        return np.asarray(some)
