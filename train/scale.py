"""What a corpus's size says of how to learn it: the rule behind the defaults.

A model that has few weights for the text it reads learns more from every pass and never learns it
by heart: it needs passes, and no dropout. One with more weights than there are characters knows
the text after ten passes and little else, unless dropout keeps it from that. `EXPERIMENTS.md` has
the trials.
"""

from dataclasses import replace

from charlm.data.rare import ALPHABETS
from charlm.train.config import ModelConfig, TrainingConfig

READ = 24_000_000  # characters to be read in all, as far as `MOST` allows
MOST = 20  # passes; what a small text has to teach is then learnt
FINE_TUNING = 4  # passes at most from weights that know another text
BORNE = 5  # passes where a large vocabulary has as many weights of its own as there are characters
DROPOUT = 0.35  # where there is a weight for each character, or more
NEGLIGIBLE = 0.05  # dropout below this is not worth its time


def settle(
    model: ModelConfig,
    training: TrainingConfig,
    characters: int,
    *,
    dropout_said: bool,
    most: int = MOST,
) -> tuple[ModelConfig, TrainingConfig]:
    """Fill in what was left to the corpus; the notebook's recipe has no dropout.

    Args:
        model: its sizes.
        training: `epochs` and `minutes` both None where neither was said.
        characters: that are learnt from.
        dropout_said: leave the model's dropout as it is.
        most: passes over the text.
    """
    if training.epochs is None and training.minutes is None:
        passes = min(epochs(characters), most, by_heart(model, characters))
        training = replace(training, epochs=passes)
    if not dropout_said and training.recipe == "stateful":
        model = replace(model, dropout=dropout(model, characters))
    return model, training


def epochs(characters: int) -> int:
    """Passes over a text of so many characters: one at least, `MOST` at the most."""
    return min(max(round(READ / characters), 1), MOST)


def by_heart(model: ModelConfig, characters: int) -> int:
    """Passes that the weights of a large vocabulary's characters bear; `MOST` for an alphabet.

    A character's row of the input and its output meet no dropout. Of thousands of characters they
    are most of the model, and what they have been shown a few times they know by heart.
    """
    if model.vocabulary <= ALPHABETS:
        return MOST
    own = 5 * model.hidden * model.vocabulary
    return max(1, round(BORNE * characters / own))


def dropout(model: ModelConfig, characters: int) -> float:
    """Dropout in proportion to the weights that there are for each character, in steps of 0.05."""
    ratio = min(weights(model) / characters, 1.0)
    share = round(DROPOUT * ratio * 20) / 20
    return share if share > NEGLIGIBLE else 0.0


def weights(model: ModelConfig) -> int:
    """The recurrent weights of a model and those between its layers; characters' not counted."""
    return 4 * model.hidden**2 * (2 * model.layers - 1)
