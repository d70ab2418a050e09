"""`training_state.pt`: everything that a run is, in one file, and the only truth about it."""

import io
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from charlm.data.errors import RunError
from charlm.data.files import os_errors_as, write_bytes
from charlm.data.normalise import Normalisation
from charlm.data.rare import NOTHING_RARE, Rare
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.format import check_format
from charlm.train.model import CharLSTM

FILE = "training_state.pt"
FORMAT = 3  # those before, never released, knew no rare characters, then no weight decay
Tensors = dict[str, Tensor]


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
    initialised_from: dict[str, str] | None = None  # name and sha256 of the weights of step 0
    versions: dict[str, str] | None = None  # of what it was trained with; None: not recorded

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, as `torch.load(weights_only=True)` allows."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Setup":
        """Read what `as_dict` gave."""
        return cls(
            model=ModelConfig(**values["model"]),
            training=TrainingConfig(**values["training"]),
            normalisation=Normalisation.from_dict(values["normalisation"]),
            encoding=values["encoding"],
            files=tuple(values["files"]),
            sha256=values["sha256"],
            vocabulary=tuple(values["vocabulary"]),
            initial=tuple(values["initial"]),
            rare=Rare.from_dict(values["rare"]),
            initialised_from=values.get("initialised_from"),
            versions=values.get("versions"),
        )


@dataclass
class Progress:
    """What changes while training; together with a `Setup` it is the whole state of a run."""

    weights: Tensors
    optimiser: dict[str, Any]
    rng: Tensor
    carried: tuple[Tensor, Tensor] | None = None  # (h, c) of the streams, None at an epoch's start
    schedule: dict[str, Any] | None = None  # None until the number of steps is fixed
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
    metrics: list[dict[str, Any]] = field(default_factory=list)
    test_bits: float | None = None
    finished: bool = False


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
        torch.save({"format": FORMAT, "setup": self.setup.as_dict(), "progress": progress}, buffer)
        doing = f"can't save {folder / FILE} (what was saved before is still there)"
        with os_errors_as(RunError, doing):
            write_bytes(folder / FILE, buffer.getvalue())

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Read `training_state.pt` from `folder`.

        Raises:
            RunError: the file is missing, damaged, from a later version, or holds weights that
                its settings have no model for.
        """
        path = folder / FILE
        if path.is_dir():
            raise RunError(f"{path}: a folder is where a file should be: move it away")
        try:
            with os_errors_as(RunError, f"can't read {path}"):
                content = path.read_bytes()
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if not isinstance(saved, dict):
                raise TypeError
            check_format(path, saved["format"], FORMAT)
            setup, progress = Setup.from_dict(saved["setup"]), Progress(**saved["progress"])
            _check_shapes(setup.model, progress.weights, progress.best_weights)
            return cls(setup, progress)
        except RunError:
            raise
        except Exception:  # a damaged pickle can raise anything
            raise RunError(
                f"{path}: damaged, or not a training state of charlm; "
                "train again into another folder with --out"
            ) from None


def _check_shapes(config: ModelConfig, *saved: Tensors | None) -> None:
    """Whether weights are those of a model of these sizes; a `ValueError` if not."""
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in CharLSTM(config).state_dict().items()}
    for weights in saved:
        if weights is not None and {name: w.shape for name, w in weights.items()} != wanted:
            raise ValueError


def exists(folder: Path) -> bool:
    """Whether `folder` holds a run that could be resumed."""
    return (folder / FILE).exists()
