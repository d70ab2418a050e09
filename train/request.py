"""What a user asked of `charlm-train`, and a run that is ready to train."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.data.corpus import Splits
from charlm.data.rare import NOTHING_SAID, Wanted
from charlm.train.checkpoint import Progress, Setup, Tensors
from charlm.train.lock import FolderLock


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
    rare: Wanted = NOTHING_SAID
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
