"""Sampling version 1 once more, in float64 and independent of every other path: what a proof holds.

It tells which character is due, and whether another that was drawn instead is excused: float32
sums may cross a boundary that lies within a hair of the number drawn, in either direction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.export.contract_siblings import GREEDY, GREEDY_UNIFORM, TOP_P_OFF

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

NEAR = 2e-5  # times max(1, 1/T): the distance within which another choice is excused
# Of the streams of a proof in turn: 0 is greedy, and `HOT` draws nearly evenly, so that rare
# characters are read too. That only for a few steps: a text that the model never met drives it to
# where float32 itself is coarse (logits past 100), and right graphs would be refused.
HOT, HOT_STEPS = 100.0, 7
TEMPERATURES = (1.0, 0.0, 0.7, 0.3, 1.5, HOT)
# (top_k, top_p, min_p), one more than temperatures: in 42 streams each meets each.
FILTERS = (
    (0, TOP_P_OFF, 0.0),
    (5, TOP_P_OFF, 0.0),
    (0, 0.9, 0.0),
    (0, TOP_P_OFF, 0.05),
    (12, 0.95, 0.02),
    (1, 0.5, 0.0),
    (0, 0.3, 1.0),
)


@dataclass(frozen=True)
class Settings:
    """How each stream draws, as a graph's inputs; all [batch].

    Attributes:
        inverse_temperature: float32; `GREEDY` is greedy choice.
        top_k: int64, from 1; the vocabulary's size is off.
        top_p: float32; `TOP_P_OFF` is off.
        min_p: float32; 0 is off.
    """

    inverse_temperature: Floats
    top_k: Ids
    top_p: Floats
    min_p: Floats

    @classmethod
    def mixed(cls, batch: int, turn: int, steps: int, vocabulary: int, filters: bool) -> "Settings":
        """Streams that differ from one another, and from themselves in the next turn of steps."""
        places = range(turn, turn + batch)
        usable = TEMPERATURES if steps <= HOT_STEPS else (*TEMPERATURES[:-1], 1.0)
        temperatures = [usable[place % len(usable)] for place in places]
        chosen = [FILTERS[place % len(FILTERS) if filters else 0] for place in places]
        top_k, top_p, min_p = zip(*chosen, strict=True)
        return cls(
            np.array([1 / each if each else GREEDY for each in temperatures], dtype=np.float32),
            np.array([min(each or vocabulary, vocabulary) for each in top_k], dtype=np.int64),
            np.array(top_p, dtype=np.float32),
            np.array(min_p, dtype=np.float32),
        )

    @classmethod
    def plain(cls, batch: int) -> "Settings":
        """Temperature 1 and no filters."""
        ones, zeros = np.ones(batch, dtype=np.float32), np.zeros(batch, dtype=np.float32)
        most = np.iinfo(np.int64).max
        return cls(ones, np.full(batch, most), np.full(batch, TOP_P_OFF, np.float32), zeros)

    @property
    def greedy(self) -> npt.NDArray[np.bool_]:
        """Which streams take the likeliest."""
        return np.asarray(self.inverse_temperature == np.float32(GREEDY))


def numbers(random: np.random.RandomState, settings: Settings, steps: int) -> Floats:
    """u for each stream and position, float32 [batch, steps]: the smallest and largest too."""
    batch = len(settings.top_k)
    words = random.randint(0, 1 << 23, (batch, steps))
    rare = random.randint(0, 5000, (batch, steps))
    words[rare == 0], words[rare == 1] = 0, (1 << 23) - 1
    uniform = ((words + 0.5) * 2.0**-23).astype(np.float32)
    uniform[settings.greedy] = GREEDY_UNIFORM
    return uniform


def due(logits: Floats, uniform: Floats, settings: Settings) -> Ids:
    """The character that each stream draws at each position, int64 [batch, steps].

    Args:
        logits: [batch, steps, vocabulary].
        uniform: [batch, steps].
        settings: of the streams.
    """
    weights = _weights(logits, settings.inverse_temperature[:, None])
    if (settings.top_k < logits.shape[2]).any() or (settings.top_p < TOP_P_OFF).any() or (
        settings.min_p > 0
    ).any():  # fmt: skip
        order = np.argsort(-weights, axis=2, kind="stable")
        ranked = np.take_along_axis(weights, order, axis=2)
        limits = (each[:, None, None] for each in (settings.top_k, settings.top_p, settings.min_p))
        removed = np.where(_kept(ranked, *limits), ranked, 0)
        np.put_along_axis(weights, order, removed, axis=2)
    sums = weights.cumsum(axis=2)
    bound = uniform.astype(np.float64) * sums[:, :, -1]
    return np.asarray((sums >= bound[:, :, None]).argmax(axis=2), dtype=np.int64)


def excused(logits: Floats, uniform: float, drawn: int, settings: Settings, stream: int) -> bool:
    """Whether rounding explains the character that was drawn at one position.

    Args:
        logits: [vocabulary].
        uniform: u.
        drawn: the character, not the one that was due.
        settings: of the streams.
        stream: which of them.
    """
    if settings.greedy[stream]:
        return bool(logits.max() - logits[drawn] <= NEAR)
    inverse = settings.inverse_temperature[stream]
    tolerance = NEAR * max(1.0, float(inverse))
    weights = _weights(logits[None], inverse)[0]
    limits = (int(settings.top_k[stream]), settings.top_p[stream], settings.min_p[stream])
    return any(
        _is_near(np.where(kept, weights, 0), uniform, drawn, tolerance)
        for kept in _possible(weights, *limits, tolerance)
    )


def _weights(logits: Floats, inverse: npt.NDArray[np.float32] | np.float32) -> Doubles:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide *= np.asarray(inverse, dtype=np.float64)[..., None]
    return np.asarray(np.exp(wide))


def _kept(
    ranked: Doubles, top_k: npt.ArrayLike, top_p: npt.ArrayLike, min_p: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Which ranks, the likeliest first, the filters leave; the first so many."""
    among = np.where(np.arange(ranked.shape[-1]) < np.asarray(top_k), ranked, 0)
    sums = among.cumsum(axis=-1)
    kept = sums - among < np.asarray(top_p, dtype=np.float64) * sums[..., -1:]
    kept &= ranked >= np.asarray(min_p, dtype=np.float64) * ranked[..., :1]
    kept &= np.arange(ranked.shape[-1]) < np.asarray(top_k)
    kept[..., 0] = True
    return np.asarray(kept)


def _possible(
    weights: Doubles, top_k: int, top_p: float, min_p: float, tolerance: float
) -> Iterator[npt.NDArray[np.bool_]]:
    """The sets of characters that the filters may leave of weights a little different."""
    order = np.argsort(-weights, kind="stable")
    ranked = weights[order]
    counts = set()
    for change in (-tolerance, 0, tolerance):
        for ratio in (1 - tolerance, 1, 1 + tolerance):
            reach = top_p if top_p >= TOP_P_OFF else top_p + change
            counts.add(int(_kept(ranked, top_k, reach, min_p * ratio).sum()))
    for count in counts:
        kept = np.zeros(len(weights), dtype=np.bool_)
        kept[order[:count]] = True
        yield kept
        tied = count < len(weights) and ranked[count - 1] - ranked[count] <= (
            tolerance * ranked[count - 1]
        )
        if tied:  # either may stand on the last rank
            other = kept.copy()
            other[order[count - 1]], other[order[count]] = False, True
            yield other


def _is_near(weights: Doubles, uniform: float, drawn: int, tolerance: float) -> bool:
    """Whether u lies within the tolerance of every boundary between what is due and what came."""
    sums = weights.cumsum()
    bound = uniform * sums[-1]
    wanted = int((sums >= bound).argmax())
    between = slice(*sorted((wanted, drawn)))
    gaps = np.abs(bound - sums[between])
    return bool(weights[drawn] > 0 and (gaps <= tolerance * sums[-1]).all())
