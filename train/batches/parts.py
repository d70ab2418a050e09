"""Which part of a corpus a run learns from, and which ones judge it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from charlm.data.system.errors import CorpusError
from charlm.data.text.corpus import Splits, split

MINIMUM_CHARACTERS = 1000  # less leaves fewer than fifty characters to be judged by


def check_length(texts: Sequence[Path], characters: int) -> None:
    """Whether a corpus has enough characters for its parts to mean something.

    Raises:
        CorpusError: it has not.
    """
    if characters < MINIMUM_CHARACTERS:
        raise CorpusError(
            f"{', '.join(map(str, texts))}: {characters} characters after normalisation, and a "
            f"model needs {MINIMUM_CHARACTERS} at the least (a hundred thousand to be worth while)"
        )


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
