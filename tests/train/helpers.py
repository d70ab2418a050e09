"""What tests of training share: small settings, an observer, runs that stop where wanted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from charlm.data.text.normalise import Normalisation
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.loop.display import Display
from charlm.train.runs.checkpoint import Checkpoint, Progress, Setup

Train = Callable[..., tuple[int, list[str]]]
FAST = [
    "--hidden", "8", "--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--threads", "1",
    "--device", "cpu",
]  # fmt: skip
EPOCH = 43  # steps of `FAST` on the tiny text


def refused(train: Train, *arguments: object) -> str:
    """The one line with which `charlm-train` refuses."""
    code, lines = train(*arguments)
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith("charlm-train: ")
    return lines[0]


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextmanager
def stopping_after(step: int) -> Iterator[None]:
    """Within, a run is asked to stop after so many steps, as by a signal without a number."""
    calls = count(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Display, "must_stop", lambda display: next(calls) == step)
        yield


@dataclass
class Watcher:
    """An observer that keeps what it is told, and asks to stop when `stop_when` says so."""

    stop_when: Callable[[], bool] = lambda: False
    records: list[dict[str, Any]] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    saved_steps: list[int] = field(default_factory=list)
    saved: Checkpoint | None = None

    def stepped(self, progress: Progress, bits: float, characters_per_second: float) -> None:
        assert 0 <= bits < 100
        assert characters_per_second > 0

    def evaluated(self, record: dict[str, Any], text: str) -> None:
        self.records.append(record)
        self.samples.append(text)

    def must_stop(self) -> bool:
        return self.stop_when()

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        self.saved_steps.append(checkpoint.progress.step)
        self.saved = checkpoint


def setup_of(config: TrainingConfig, **sizes: Any) -> Setup:
    """The setup of a model of four characters."""
    return Setup(
        model=ModelConfig(vocabulary=4, hidden=8, **sizes),
        training=config,
        normalisation=Normalisation(),
        encoding="utf-8",
        files=(),
        sha256="",
        vocabulary=tuple("abcd"),
        initial=(270, 270, 270, 270),
    )
