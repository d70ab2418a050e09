"""Which batches a recipe reads."""

from typing import Any

import numpy.typing as npt

from charlm.train.config import TrainingConfig
from charlm.train.streams import Streams
from charlm.train.windows import Windows


def make_batches(config: TrainingConfig, ids: npt.NDArray[Any]) -> Streams | Windows:
    """The batches of a recipe.

    Raises:
        CorpusError: `ids` are too few for them.
    """
    if config.recipe == "notebook":
        return Windows(ids, config.batch_size, config.seed)
    return Streams(ids, config.batch_size, config.seq_len)
