"""The unit in which charlm says how well a text is predicted: bits, a character."""

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Nats = TypeVar("Nats", float, npt.NDArray[np.float64])


def in_bits(nats: Nats) -> Nats:
    """What a loss, or -ln p, is in bits: -log2 p."""
    return nats / math.log(2)
