"""What a user asked of `charlm-train`, and a run that is ready to train."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from charlm.data.text.corpus import Splits
from charlm.data.text.rare import NOTHING_SAID, RareSettings
from charlm.train.runs.checkpoint import Progress, Setup, Tensors
from charlm.train.runs.lock import FolderLock


class Options(TypedDict, total=False):
    """Settings of a training by name; `ModelConfig` and `TrainingConfig` say what they are."""

    hidden: int
    layers: int
    dropout: float
    output_dropout: float
    recipe: Literal["stateful", "notebook"]
    epochs: int
    minutes: float
    batch_size: int
    seq_len: int
    optimiser: Literal["muon", "adam"]
    lr: float
    muon_lr: float
    weight_decay: float
    clip: float
    patience: int
    final: bool
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    autocast: Literal["none", "bf16"]
    step: Literal["eager", "compiled", "graph"]
    tf32: bool
    threads: int


@dataclass(frozen=True)
class Request:
    """What a user asked for; None wherever nothing was said.

    Attributes:
        texts: corpus files; empty for the corpus that ships, or that of the run resumed.
        out: run folder; None for `runs/<name of the first text>`.
        resume: go on with the run in `out` if there is one.
        overwrite: throw away the run in `out` if there is one.
        accept_changes: go on with a run though text, settings or versions differ, without asking.
        rare: which characters are rare, and what becomes of them.
        init_from: a run folder or model file whose weights the run begins with.
        options: fields of `ModelConfig` and `TrainingConfig` by name.
        processes: how many train together.
        lock: is taken on the run folder; None for a caller who knows to be alone.
    """

    texts: tuple[Path, ...] = ()
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    accept_changes: bool = False
    init_from: Path | None = None
    encoding: str | None = None
    case: str | None = None
    newlines: str | None = None
    nfc: bool | None = None
    rare: RareSettings = NOTHING_SAID
    options: dict[str, Any] | None = None
    processes: int = 1
    lock: FolderLock | None = None


@dataclass(frozen=True)
class Started:
    """A run that is ready to train: its folder exists and can be written."""

    folder: Path
    setup: Setup
    splits: Splits
    progress: Progress | None  # None at the very beginning
    weights: Tensors | None = None  # of the very beginning, where they are not drawn
