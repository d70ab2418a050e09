"""How much is measured, fixed by the run and not by a clock: the same run gives the same report."""

from dataclasses import dataclass

from charlm.train.config import ModelConfig

LEAST_SECONDS, MOST_SECONDS = 5.0, 60.0
SHARE = 0.1  # of the time that training took
# Characters a second of one core, as a rough rule: a model of a million multiplications a
# character reads so many where the texts lie side by side, and half of them where there is one.
SIDE_BY_SIDE = 16e9
LONG = 1_000_000  # characters read without a reset
SAMPLE = 100_000
LAPS = 4  # at the least in what is read without a reset
COMPARED = 5_000_000  # characters of the corpus that are searched for copies and n-grams


@dataclass(frozen=True)
class Extent:
    """How many characters each measurement reads.

    Attributes:
        long: read without a reset.
        held_out: of the held-out text, which is read round in that.
        resets: of it, read once for each length of context.
        sample: drawn at temperature 1; a quarter of it at each other temperature.
        compared: of the training text's end, which n-grams, compressors and the search for
            copies are given.
        seconds: what that takes on one free core, roughly.
    """

    long: int
    held_out: int
    resets: int
    sample: int
    compared: int
    seconds: float


def seconds_for(training_seconds: float | None) -> float:
    """What a report may take: a tenth of the training, within bounds."""
    if training_seconds is None:
        return MOST_SECONDS
    return min(MOST_SECONDS, max(LEAST_SECONDS, SHARE * training_seconds))


def choose(
    model: ModelConfig,
    learnt: int,
    held_out: int,
    seconds: float,
    sample: int | None = None,
) -> Extent:
    """How much to measure of a model in so many seconds.

    Args:
        model: its sizes.
        learnt: characters of the training text.
        held_out: characters of the held-out text, at least two.
        seconds: what it may take, roughly.
        sample: characters to draw; None for as many as fit.
    """
    rate = SIDE_BY_SIDE / _multiplications(model)
    long = int(max(1000, min(LONG, 0.4 * seconds * rate / 2)))
    lap = min(held_out, max(2, long // LAPS))
    resets = min(lap, max(1000, int(0.33 * seconds * rate / 12)))
    drawn = min(SAMPLE, max(1000, int(0.15 * seconds * rate / 3)))
    compared = min(learnt, COMPARED, max(1_500_000, int(50_000 * seconds)))
    return Extent(max(long, lap), lap, resets, sample or drawn, compared, seconds)


def _multiplications(model: ModelConfig) -> int:
    """Of a character: gates of every layer, and the output."""
    hidden = model.hidden
    inner = (2 * model.layers - 1) * 4 * hidden * hidden
    return inner + 5 * hidden * model.vocabulary // 4 + 20_000
