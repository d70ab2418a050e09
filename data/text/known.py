"""Another text for a model that has its vocabulary already."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from charlm.data.system.errors import CorpusError
from charlm.data.text.limit import NAMED, Counts, Limited
from charlm.data.text.rare import Rare, named
from charlm.data.text.vocabulary import Vocabulary


class Known(NamedTuple):
    """What a model knows, and what becomes of all else."""

    vocabulary: Vocabulary
    rare: Rare

    def covering(self, counts: Counts, where: str) -> Limited:
        """The same for a text with such characters, its rare ones counted anew.

        Args:
            counts: how often each code point occurs in the normalised text, shape [0x110000].
            where: the text's name, for messages.

        Raises:
            CorpusError: some are outside the vocabulary, and are neither dropped nor replaced.
        """
        known = [ord(character) for character in self.vocabulary.characters]
        outside = np.setdiff1d(np.flatnonzero(counts), known)
        if len(outside) and self.rare.policy == "error":
            listed = ", ".join(named(chr(code)) for code in outside[:NAMED])
            raise CorpusError(
                f"{where}: {len(outside)} of its characters are outside the model's vocabulary "
                f"({listed}{', …' if len(outside) > NAMED else ''}): begin another run from this "
                "one with --init-from, which adds them"
            )
        share = round(int(counts[outside].sum()) / int(counts.sum()), 6)
        rare = replace(self.rare, characters=len(outside), share=share, held_out_share=share)
        return Limited(self.vocabulary, rare)
