"""`training_state.pt`: everything that a run is, in one file, and the only truth about it."""

import io
import platform
import shlex
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Required, TypedDict

import numpy as np
import torch
from torch import Tensor

from charlm.data.system.errors import CharlmError, RunError
from charlm.data.system.files import os_errors_as, write_bytes
from charlm.data.system.package import version
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_RARE, Rare
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.runs import STATE, WEIGHTS

FILE = STATE
# Those before, never released, knew no rare characters, then no weight decay, and then had another
# order of the notebook recipe's windows for texts of over fifty million characters.
FORMAT = 4
Tensors = dict[str, Tensor]


class Begun(TypedDict):
    """The weights of step 0, where those were not drawn."""

    name: str
    sha256: str


class Schedule(TypedDict):
    """Where the course of the rates is, in steps since the number of steps was fixed."""

    total_steps: int
    taken: int


class Record(TypedDict, total=False):
    """A line of `metrics.jsonl`: an evaluation, in bits per character and seconds of training.

    Runs of before have less; either `seconds` or `characters_per_second` is always there.
    """

    step: int
    epoch: Required[float]
    train_bits: Required[float]
    validation_bits: float | None
    seconds: float
    characters_per_second: float
    lr: float


@dataclass(frozen=True)
class Setup:
    """What is fixed before the first step: settings, and which text they apply to."""

    model: ModelConfig
    training: TrainingConfig
    normalisation: Normalisation
    encoding: str
    files: tuple[str, ...]  # absolute, so that --resume finds them from anywhere
    sha256: str
    vocabulary: tuple[str, ...]
    initial: tuple[int, ...]  # occurrences of each character in the training part
    rare: Rare = NOTHING_RARE
    initialised_from: Begun | None = None
    versions: dict[str, str] | None = None  # of what it was trained with; None: not recorded

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Setup":
        """Read what `asdict` gave: plain containers, as `torch.load(weights_only=True)` allows."""
        return cls(
            **values
            | {name: tuple(values[name]) for name in ("files", "vocabulary", "initial")}
            | {
                "model": ModelConfig(**values["model"]),
                "training": TrainingConfig(**values["training"]),
                "normalisation": Normalisation.from_dict(values["normalisation"]),
                "rare": Rare.from_dict(values["rare"]),
            }
        )


@dataclass
class Progress:
    """What changes while training; together with a `Setup` it is the whole state of a run."""

    weights: Tensors
    optimiser: dict[str, Any]
    rng: Tensor
    carried: tuple[Tensor, Tensor] | None = None  # (h, c) of the streams, None at an epoch's start
    schedule: Schedule | None = None  # None until the number of steps is fixed
    total_steps: int | None = None
    step: int = 0  # optimiser steps taken
    epoch: int = 0  # epochs completed
    step_in_epoch: int = 0
    loss_sum: float = 0.0  # nats, over the characters of this epoch so far
    loss_characters: int = 0
    seconds: float = 0.0  # spent training, over all resumptions
    epoch_seconds: float = 0.0
    best_weights: Tensors | None = None
    best_bits: float | None = None
    best_epoch: int = 0
    stale_epochs: int = 0
    metrics: list[Record] = field(default_factory=list)
    test_bits: float | None = None
    finished: bool = False

    def epochs_read(self, evaluations: int) -> float:
        """How often the text was read by an evaluation: 6.6 times where the seventh was cut."""
        return self.metrics[evaluations - 1]["epoch"] if evaluations else 0.0


@dataclass(frozen=True)
class Checkpoint:
    """A run at one moment."""

    setup: Setup
    progress: Progress

    def save(self, folder: Path) -> None:
        """Write `training_state.pt` into `folder`, atomically.

        Raises:
            RunError: the folder can't be written or the disk is full; the file then holds
                what it held before.
        """
        progress = {f.name: getattr(self.progress, f.name) for f in fields(Progress)}
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "setup": asdict(self.setup), "progress": progress}, buffer)
        doing = f"can't save {folder / FILE} (what was saved before is still there)"
        with os_errors_as(RunError, doing):
            write_bytes(folder / FILE, buffer.getvalue())

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Read `training_state.pt` from `folder`.

        Raises:
            RunError: the file is missing, of another version, or damaged: something in it is
                missing, of the wrong type or shape, not finite, or contradicts the rest.
        """
        from charlm.train.runs import checks  # which build on this module

        path = folder / FILE
        refuse_folder(path)
        try:
            with os_errors_as(RunError, f"can't read {path}"):
                content = path.read_bytes()
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if not isinstance(saved, dict):
                raise TypeError
            check_format(path, saved["format"], FORMAT)
            setup, progress = Setup.from_dict(saved["setup"]), Progress(**saved["progress"])
            checks.check_setup(setup)
            checks.check_progress(setup, progress)
            return cls(setup, progress)
        except RunError:
            raise
        except Exception as problem:  # a damaged pickle can raise anything
            again = shlex.quote(str(folder))
            reason = f" ({problem})" if isinstance(problem, ValueError | CharlmError) else ""
            whole = (folder / WEIGHTS).is_file()
            again = f"--init-from {again}" if whole else f"--overwrite --out {again}"
            raise RunError(
                f"{path}: damaged, or not a training state of charlm{reason}; bring back a copy, "
                f"or train again with: charlm-train TEXT {again}"
            ) from problem


def check_format(path: Path, found: object, readable: int) -> None:
    """Refuse a file of another format than `readable`.

    Raises:
        RunError: says whether charlm is too old for the file, or the file for charlm.
    """
    if found == readable:
        return
    if isinstance(found, int) and found > readable:
        raise RunError(
            f"{path}: format {found}, of a newer charlm, and this one reads {readable}: "
            "update charlm (pip install --upgrade charlm)"
        )
    raise RunError(f"{path}: format {found}, and this charlm reads {readable}: train again")


def refuse_folder(path: Path) -> None:
    """Refuse a folder where a run has a file."""
    if path.is_dir():
        raise RunError(f"{path}: a folder is where a file should be: move it away")


def exists(folder: Path) -> bool:
    """Whether `folder` holds a run that could be resumed."""
    return (folder / FILE).exists()


def random_state(device: str) -> Tensor:
    """The state of the generator that dropout draws from."""
    return torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()


def set_random_state(device: str, state: Tensor) -> None:
    """Put that generator back into a state."""
    if device == "cuda":
        torch.cuda.set_rng_state(state)
    else:
        torch.set_rng_state(state)


def current_versions() -> dict[str, str]:
    """The versions in this process that a run's bits depend on, by name."""
    return {
        "charlm": version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # its own class would not be read back
        "numpy": np.__version__,
    }
