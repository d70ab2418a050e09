"""Corpora, normalisation and vocabulary: everything that turns text into token ids and back.

Here stand the limits that every part of charlm shares, training and generating alike, and
`CharlmError`, of which all errors are that a user can mend.
"""

from typing import TYPE_CHECKING

from charlm.data.system.package import lazily

if TYPE_CHECKING:
    from charlm.data.system.errors import CharlmError

__all__ = ["MAX_HIDDEN", "MAX_LAYERS", "MAX_WINDOW", "CharlmError"]
__getattr__, __dir__ = lazily(__name__, {"CharlmError": "system.errors"})

MAX_HIDDEN = 1 << 13  # units a layer: recurrent weights of one this wide fill a model file
MAX_LAYERS = 1 << 8  # far beyond use; with MAX_HIDDEN it bounds what a state can ask for
MAX_WINDOW = 1 << 12  # characters: each drawn costs so many steps; past it, carry the state
