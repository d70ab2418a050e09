"""What a training run tells whoever watches it, so that the loop need not know who does."""

from typing import Any, Protocol

from charlm.train.runs.checkpoint import Checkpoint, Progress
from charlm.train.signals import StopSignals


class Observer(Protocol):
    """What a training run tells whoever watches it."""

    def stepped(self, progress: Progress, bits: float, characters_per_second: float) -> None:
        """After every few steps: the mean training loss of this epoch, and the speed."""

    def evaluated(self, record: dict[str, Any], text: str) -> None:
        """After each epoch: its line of `metrics.jsonl`, and a sample of text."""

    def must_stop(self) -> bool:
        """Whether to save and stop now."""

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        """Keep the run's state; called every half minute, and at the end of each epoch."""


class Silent:
    """Watches a run on a rank above 0, where nothing is shown or kept.

    Args:
        signals: tells when to stop.
    """

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals

    def stepped(self, progress: Progress, bits: float, characters_per_second: float) -> None:
        """Nothing: rank 0 shows it."""

    def evaluated(self, record: dict[str, Any], text: str) -> None:
        """Nothing: rank 0 shows it."""

    def must_stop(self) -> bool:
        """Whether a signal has asked for it."""
        return self.signals.received is not None

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        """Nothing: rank 0 writes."""
