"""Which part of a corpus a run learns from, and which ones judge it."""

from typing import Any

import numpy.typing as npt

from charlm.data.corpus import Splits, split


def learnt_percent(final: bool) -> int:
    """Percent of a text, from its beginning, that is learnt from."""
    return 95 if final else 90


def parts(ids: npt.NDArray[Any], final: bool) -> Splits:
    """The splits of a corpus; with `final`, validation is learnt from too and is empty."""
    found = split(ids)
    if not final:
        return found
    learnt = len(found.train) + len(found.validation)
    return Splits(ids[:learnt], ids[learnt:learnt], found.test)
