"""What the study writes down after each epoch, and the held-out text judged in both ways."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from charlm.data.system.errors import CorpusError, SettingsError
from charlm.data.system.files import os_errors_as
from charlm.data.text.corpus import Corpus, split
from charlm.train.config import WINDOW
from charlm.train.loop.evaluate import bits_per_character, windowed_bits
from charlm.train.model import CharLSTM

STATEFUL = "stateful"  # how the name of a side of ours begins


@dataclass(frozen=True)
class EpochRecord:
    """One side after one epoch."""

    side: str  # which training
    epoch: int  # epochs behind it
    cpu_seconds: float  # of training alone, all threads, evaluation left out
    training_bits: float  # mean over the epoch's targets, bits per character
    window_bits: float  # on the test text, each character from the last 40 and a zero state
    carried_bits: float  # on the same characters, the state carried from the first to the last
    machine: str  # the processor's name


def check_judged(corpus: Corpus, text: Path) -> None:
    """Whether the last 5 % of a text hold a window and a character after it.

    Raises:
        CorpusError: they don't.
    """
    if len(split(corpus.ids).test) <= WINDOW:
        raise CorpusError(
            f"{text}: {len(corpus.ids)} characters after normalisation, and the last 5 % must hold "
            f"more than a window of {WINDOW}: give a text of {20 * (WINDOW + 1)} at the least"
        )


def prepare(path: Path) -> None:
    """Make the file of records, or find that lines can be added to the one that is there.

    Raises:
        SettingsError: they can't.
    """
    with os_errors_as(SettingsError, f"can't write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()


def append(path: Path, record: EpochRecord) -> None:
    """Add a line to `path`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def read(path: Path) -> list[EpochRecord]:
    """Every line of `path`.

    Raises:
        SettingsError: it can't be read, or holds something else.
    """
    try:
        with os_errors_as(SettingsError, f"can't read {path}"):
            lines = path.read_text(encoding="utf-8").splitlines()
        return [EpochRecord(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as problem:
        raise SettingsError(f"{path}: no records of a study: {problem}") from problem


def judge(model: CharLSTM, ids: npt.NDArray[Any]) -> tuple[float, float]:
    """Bits per character by windows, and with the state carried.

    Args:
        model: is left in evaluation mode.
        ids: token ids of the held-out text, shape [characters].
    """
    model.eval()
    return windowed_bits(model, ids, WINDOW), bits_per_character(model, ids)
