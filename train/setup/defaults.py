"""What a corpus's size says of how to learn it: the rule behind the defaults.

A model that has few weights for the text it reads learns more from every pass and never learns it
by heart: it needs passes, and nothing that holds it back. One with more weights than there are
characters knows the text after ten passes and little else, unless dropout and weight decay keep it
from that. Which weights are many decides what they meet: those between hidden units are dropped as
they are many for the text, and those of single characters, of which a large vocabulary has
millions, decay and are dropped as they are. A model that drops weights takes longer to learn: in a
minute, or in a few passes over a short text, it drops fewer. `docs/EXPERIMENTS.md` has the trials.
"""

from collections.abc import Collection
from dataclasses import replace

from charlm.data.system.errors import SettingsError
from charlm.data.text.rare import ALPHABETS
from charlm.train.config import ADAM_LR, NOTEBOOK_DEFAULTS, ModelConfig, TrainingConfig

READ = 24_000_000  # characters to be read in all, as far as `OFTEN` allows
OFTEN = 20  # passes; what a text has to teach is then learnt, if it is long enough
ENOUGH = 6_000_000  # characters to be read in all of a text that is not, as far as `MOST` allows
MOST = 40  # passes
MOST_LARGE = 5  # passes where a large vocabulary makes each a long one
FINE_TUNING = 4  # passes at most from weights that know another text
DROPOUT = 0.35  # where there is a weight between units for each character, or more
REPAID = 3_000_000  # characters to be read in all for dropout to repay its time, or
REPAID_PASSES = 30  # passes; of fewer, in proportion less
OWN = 2  # a character's own weight counts twice: half as many have the same dropout
DECAY = 0.02  # weight decay where there is a weight for each character; in proportion, up to
MOST_DECAY = 0.1
NEGLIGIBLE = 0.1  # weights for each character of text, below which nothing holds them back
COPIES = 5  # weights, gradients, an optimiser's two moments, the best weights so far
FLOAT, GIB = 4, 1 << 30  # bytes
HELD_BACK = ("dropout", "output_dropout", "weight_decay")
"""The settings that keep a model from learning its text by heart."""


def fill_in(
    model: ModelConfig,
    training: TrainingConfig,
    characters: int,
    *,
    said: Collection[str] = (),
    most: int = MOST,
) -> tuple[ModelConfig, TrainingConfig]:
    """Settings with what was left to the corpus; of the notebook's recipe that is epochs alone.

    Args:
        model: its sizes.
        training: `epochs` and `minutes` both None where neither was said; with `minutes`, `passes`
            has what they allow.
        characters: that are learnt from.
        said: those of `HELD_BACK` that stay as they are.
        most: passes over the text.
    """
    if training.epochs is None and training.minutes is None:
        training = replace(training, epochs=min(epochs(model, characters), most))
    if training.recipe != "stateful":
        return model, training
    known = [each for each in (training.epochs, training.passes) if each is not None]
    passes = min(known, default=MOST)
    # How much of the dropout that a text wants is worth its time in so many passes.
    repaid = min(max(passes / REPAID_PASSES, passes * characters / REPAID), 1.0)
    between, own = weights(model) / characters, own_weights(model) / characters
    if "dropout" not in said:
        model = replace(model, dropout=_dropout(between, repaid))
    if "output_dropout" not in said:
        model = replace(model, output_dropout=_dropout(OWN * own, repaid))
    if "weight_decay" not in said:
        decay = round(min(DECAY * own, MOST_DECAY), 3) if OWN * own >= NEGLIGIBLE else 0.0
        training = replace(training, weight_decay=decay)
    return model, training


def epochs(model: ModelConfig, characters: int) -> int:
    """Passes over a text of so many characters: one at least, and no more than are worth it."""
    often = max(min(READ / characters, OFTEN), min(ENOUGH / characters, MOST))
    most = MOST if model.vocabulary <= ALPHABETS else MOST_LARGE
    return min(max(round(often), 1), most)


def weights(model: ModelConfig) -> int:
    """The recurrent weights of a model and those between its layers; characters' not counted."""
    return 4 * model.hidden**2 * (2 * model.layers - 1)


def own_weights(model: ModelConfig) -> int:
    """The characters' own weights: of each, from its input to four gates, and to its output."""
    return 5 * model.hidden * model.vocabulary


def check_fits(model: ModelConfig, memory: int | None) -> None:
    """Refuse a model whose weights alone, in training, take more memory than there is.

    Args:
        model: its sizes.
        memory: bytes; None where nobody knows.

    Raises:
        SettingsError: it can't be trained here.
    """
    needed = COPIES * FLOAT * (weights(model) + own_weights(model))
    if memory is not None and needed > memory:
        raise SettingsError(
            f"`hidden` {model.hidden} `layers` {model.layers} takes {needed / GIB:,.0f} GiB to "
            f"train, and this machine has {memory / GIB:,.0f}: choose a smaller model"
        )


def too_high(training: TrainingConfig) -> str:
    """What a training that diverged should have lower: what is above its default, or the rate."""
    notebook = training.recipe == "notebook"
    lr = ADAM_LR if training.optimiser == "adam" else TrainingConfig.lr
    usual = {"lr": NOTEBOOK_DEFAULTS["lr"] if notebook else lr}
    if training.optimiser == "muon":
        usual["muon_lr"] = TrainingConfig.muon_lr
    if not notebook:
        usual["weight_decay"] = MOST_DECAY
    above = [name for name, most in usual.items() if getattr(training, name) > most] or ["lr"]
    return " or ".join(f"`{name}` than {getattr(training, name):g}" for name in above)


def _dropout(ratio: float, repaid: float) -> float:
    """Dropout in proportion to the weights for each character of text, in steps of 0.05."""
    wanted = min(ratio, 1.0) * repaid
    return round(DROPOUT * wanted * 20) / 20 if wanted >= NEGLIGIBLE else 0.0
