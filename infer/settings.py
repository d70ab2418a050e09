"""How one text is drawn: with the model and the prompt, all that fixes it."""

from dataclasses import dataclass

from charlm.data.errors import SettingsError
from charlm.data.vocabulary import Unknown
from charlm.infer import sampler
from charlm.infer.sampler import Filters
from charlm.infer.window import check_window


@dataclass(frozen=True)
class Settings:
    """How a text is drawn. With the model and the prompt it fixes the text."""

    length: int = 200  # characters to draw; 0: without end
    temperature: float = 1.0  # the model's own distribution; 0: always the likeliest
    top_k: int = 0  # of the likeliest characters; 0: all
    top_p: float = 1.0  # share of the probability that the likeliest must reach; 1: all of it
    min_p: float = 0.0  # of the likeliest character's probability; 0: however little
    seed: int = 0
    unknown: Unknown | None = None  # what the model lacks in a prompt; None: as with its corpus
    stop: str | tuple[str, ...] = ()  # the text ends before the first of them
    window: int | None = None  # each follows from so many before it alone; None: from all of them

    def __post_init__(self) -> None:
        if self.length < 0:
            raise SettingsError(f"--length is 0 (without end) or more, not {self.length}")
        sampler.check_seed(self.seed)
        sampler.inverse_temperature(self.temperature)
        check_window(self.window)
        _ = self.filters

    @property
    def filters(self) -> Filters:
        """Which characters may be drawn.

        Raises:
            SettingsError: a filter out of range.
        """
        return Filters(self.top_k, self.top_p, self.min_p)
